"""A report of runs as one HTML page, for the person who signs them off.

The page needs no network, no script and no other file. Every text in it is escaped, and its
Content-Security-Policy allows nothing but its own style.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from string import Template

from dcmweb import __version__
from dcmweb.cli.report_chart import chart
from dcmweb.cli.text import duration, visible
from dcmweb.counted import plural, size
from dcmweb.errors import ExitCode
from dcmweb.library.known_items import Group, KnownItem
from dcmweb.library.manifests import Manifests, ManifestSummary, Whole
from dcmweb.library.run_history import PastRun
from dcmweb.transfer.outcomes import Status

MOST_GROUPS, MOST_NAMED, MOST_FILES = 50, 50, 100
_MOST_CHARACTERS = 500  # of a reason or a name
_MEANING = {
    Status.STORED: "the server confirmed each of them",
    Status.EXISTS: "it was there before; nothing was moved",
    Status.DONE_BEFORE: "an earlier run did it",
    Status.PLANNED: "a dry run: nothing was changed",
    Status.RETRIEVED: "each came whole, and is in its file",
    Status.DELETED: "the server confirmed it",
    Status.BEGUN: "the server began an operation; how it ended is not known",
    Status.FINISHED: "the operation came to its end",
    Status.SKIPPED: "left out on purpose, as what is not DICOM",
    Status.FAILED: "not done, for the reasons below",
    Status.UNKNOWN: "no answer says whether it was done; check before you delete anything",
}
# What names a resource of the server, and so no file of this machine.
_RESOURCE = re.compile(r"(?:studies|series|instances)/[0-9.]+(?:/[a-z]+(?:/[0-9.,-]+)?)*")
# What names a file or folder of this machine in a reason; a layout makes folders of patients.
_PLACE = re.compile(
    r"(?<= into )(?!the file).+?(?=: |, where |$)|(?<=its copy is ).+"
    r"|(?<![\w/:.])(?:~|\.{1,2})?[/\\][^\s:;,]+|\b[A-Za-z]:\\[^\s:;,]+"
)
_WITHOUT_NAMES = (
    "Names, numbers and other data of patients. Names of files are left out as well, since they "
    "may be made of those: what failed is named by its UIDs, or by its line in the manifest. "
    "dcmweb report --with-paths shows the names of files, and dcmweb manifest --failed lists them. "
    "Reasons are those of the server, in its words."
)
_WITH_NAMES = (
    "Data of patients that dcmweb has read in files or answers. The names of files are shown, as "
    "asked for; they may have names of patients in them. Reasons are those of the server, in its "
    "words."
)


def page(manifests: Manifests, *, with_paths: bool) -> bytes:
    """Return the page."""
    style = _package_text("report.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    wholes = manifests.wholes
    title = _title(wholes[0]) if len(wholes) == 1 else f"{len(wholes)} servers or commands"
    sections = (
        _section(manifests, whole, number, with_paths=with_paths)
        for number, whole in enumerate(wholes, start=1)
    )
    return (
        Template(_package_text("report.html"))
        .substitute(
            title=escaped(f"Report: {title}"),
            style=style,
            style_hash=f"sha256-{digest}",
            made=_moment(time.time()),
            version=escaped(__version__),
            sections="\n".join(sections),
            privacy=escaped(_WITH_NAMES if with_paths else _WITHOUT_NAMES),
        )
        .encode("utf-8", "backslashreplace")
    )


def _package_text(name: str) -> str:
    return (resources.files("dcmweb.cli") / name).read_text(encoding="utf-8")


def escaped(text: str) -> str:
    """Make control characters visible, and nothing in a text HTML."""
    shown = text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."
    return html.escape(visible(shown), quote=True)


def _title(whole: Whole) -> str:
    return f"{whole.command} at {whole.base_url}"


def _section(manifests: Manifests, whole: Whole, number: int, *, with_paths: bool) -> str:
    summary = manifests.summary(whole)
    totals = [(status, count, total) for status, count, total in manifests.known.totals(whole.key)]
    parts = [
        f'<section aria-labelledby="part-{number}">',
        f'<h2 id="part-{number}">{escaped(_title(whole))}</h2>',
        _verdict(summary),
        _when(whole, summary),
        _outcomes(totals),
        *_reasons(manifests, whole, with_paths=with_paths),
        chart(whole.timeline, number),
        _runs(whole),
        *_parts(whole, summary),
        "</section>",
    ]
    return "\n".join(filter(None, parts))


def _verdict(summary: ManifestSummary) -> str:
    """Say in words whether all is done; only what is known to be done counts."""
    troubles = [
        f"{plural(count, 'item')} {status.value}"
        for status, count in summary.counts.items()
        if count and (not status.is_good or status is Status.BEGUN)
    ]
    if summary.unfinished:
        troubles.append(f"{plural(len(summary.unfinished), 'run')} ended early or never")
    if summary.missing:
        troubles.append(f"{plural(len(summary.missing), 'part')} without a manifest")
    total = sum(summary.counts.values())
    if summary.counts.get(Status.PLANNED):
        troubles.append("a dry run, which changed nothing")
    elif not total:
        troubles.append("no item was recorded")
    if troubles:
        words = f"<strong>Not complete.</strong> {escaped('; '.join(troubles))}."
        return f'<p class="verdict bad">{words}</p>'
    done = f"{plural(total, 'item')}, none of them failed; each run came to its end"
    if skipped := summary.counts.get(Status.SKIPPED):
        done += f"; {plural(skipped, 'item')} skipped, for the reasons below"
    return f'<p class="verdict good"><strong>Complete.</strong> {escaped(done)}.</p>'


def _when(whole: Whole, summary: ManifestSummary) -> str:
    runs = whole.history.runs
    first = min((run.started for run in runs if run.started is not None), default=None)
    last = max((run.ended for run in runs if run.ended is not None), default=None)
    codes = [run.exit_code for run in runs if run.exit_code is not None]
    rows = [
        ("Began", _moment(first)),
        ("Ended", _moment(last)),
        ("From begin to end", _length(first, last)),
        ("Runs", f"{whole.history.count:,}"),
        ("Exit code of the last run", _code(codes[-1] if codes else None)),
        ("Bytes of all items", size(summary.bytes)),
    ]
    return table("Overview", (), [(_row_head(name), _cell(value)) for name, value in rows])


def _outcomes(totals: Sequence[tuple[Status, int, int]]) -> str:
    rows = [
        (
            _row_head(status.value),
            _number(f"{count:,}"),
            _number(size(total) if total else ""),
            _cell(_MEANING.get(status, "")),
        )
        for status, count, total in totals
    ]
    rows.append(
        (
            _row_head("all"),
            _number(f"{sum(count for _, count, _ in totals):,}"),
            _number(size(sum(total for _, _, total in totals))),
            _cell(""),
        )
    )
    return table("Outcomes", ("outcome", "#items", "#bytes", "meaning"), rows)


def _reasons(manifests: Manifests, whole: Whole, *, with_paths: bool) -> Iterator[str]:
    """Write the groups of items with the same reason: first what failed, then what has a note."""
    groups = manifests.known.groups(whole.key, MOST_GROUPS, failed_only=False)
    for is_bad, title in ((True, "Failures by reason"), (False, "Remarks by reason")):
        chosen = [group for group in groups if group.status.is_good is not is_bad]
        if not chosen:
            continue
        rows = []
        for group in chosen:
            known = list(manifests.known.items(whole.key, group, MOST_NAMED))
            rows.append(_reason(group, known, with_paths=with_paths))
        yield table(title, ("outcome", "#items", "reason", "which"), rows)
    left = manifests.known.number_with_reason(whole.key) - sum(group.count for group in groups)
    if left > 0:
        yield f"<p>And {plural(left, 'item')} with other reasons.</p>"


def _reason(group: Group, known: Sequence[KnownItem], *, with_paths: bool) -> tuple[str, ...]:
    names = "<br>".join(escaped(_name(one, with_paths=with_paths)) for one in known)
    if group.count > len(known):
        names += f"<br>and {plural(group.count - len(known), 'other')}"
    reason = group.reason if with_paths else without_places(group.reason)
    return (
        _row_head(group.status.value),
        _number(f"{group.count:,}"),
        _cell(reason or "no reason is known"),
        f'<td class="paths">{names}</td>',
    )


def without_places(reason: str) -> str:
    """Take the paths of this machine out of a reason."""
    return _PLACE.sub("...", reason)


def _name(one: KnownItem, *, with_paths: bool) -> str:
    """Name an item: by its path on the server, and on this machine if that is asked for."""
    if with_paths or _RESOURCE.fullmatch(one.item):
        return one.item
    if one.resource:
        return one.resource
    return f"line {one.line} of {_base(one.file)}" if one.file else f"outcome {one.line - 1}"


def _base(path: str) -> str:
    return re.split(r"[/\\]", path)[-1]


def _runs(whole: Whole) -> str:
    history = whole.history
    rows = [_run(run) for run in history.runs]
    if not rows:
        return ""
    title = "Runs"
    if history.count > len(rows):
        title = f"The last {len(rows):,} of {history.count:,} runs"
    head = ("run", "manifest", "began", "ended", "#duration", "#items", "how it ended", "exit code")
    return table(title, head, rows)


def _run(run: PastRun) -> tuple[str, ...]:
    return (
        _row_head(run.id or "not known"),
        _cell(_base(run.file) or "none"),
        _cell(_moment(run.started)),
        _cell(_moment(run.ended)),
        _number(_length(run.started, run.ended)),
        _number(f"{run.items:,}"),
        _cell(run.how),
        _cell(_code(run.exit_code)),
    )


def _parts(whole: Whole, summary: ManifestSummary) -> Iterator[str]:
    """Write what is missing of a divided run, and the manifests that it was read from."""
    if summary.missing:
        yield "<h3>Parts without a manifest</h3>"
        yield f"<p>{_some(summary.missing)}</p>"
    if whole.unfinished:
        yield "<h3>Runs that did not come to their end</h3>"
        named = [f"{_base(path) or 'this run'}: {how}" for path, how in whole.unfinished.items()]
        yield f"<p>{_some(named)}</p>"


def _some(texts: Sequence[str]) -> str:
    shown = ", ".join(map(escaped, texts[:MOST_FILES]))
    left = len(texts) - MOST_FILES
    return f"{shown} and {plural(left, 'other')}" if left > 0 else shown


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table of cells that are HTML already; `#` marks the head of a column of numbers."""
    cells = "".join(
        f'<th scope="col"{_NUMERIC if one.startswith("#") else ""}>{escaped(one.lstrip("#"))}</th>'
        for one in head
    )
    lines = [f"<table><caption>{escaped(caption)}</caption>"]
    if head:
        lines.append(f"<thead><tr>{cells}</tr></thead>")
    lines.append("<tbody>")
    lines += [f"<tr>{''.join(row)}</tr>" for row in rows]
    return "\n".join([*lines, "</tbody></table>"])


_NUMERIC = ' class="number"'


def _row_head(text: str) -> str:
    return f'<th scope="row">{escaped(text)}</th>'


def _cell(text: str) -> str:
    return f"<td>{escaped(text)}</td>"


def _number(text: str) -> str:
    return f"<td{_NUMERIC}>{escaped(text)}</td>"


def _moment(seconds: float | None) -> str:
    if seconds is None:
        return "not recorded"
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _length(first: float | None, last: float | None) -> str:
    return "not recorded" if first is None or last is None else duration(max(0.0, last - first))


def _code(code: int | None) -> str:
    if code is None:
        return "none: it did not end by itself"
    meaning = next((known.meaning for known in ExitCode if known == code), "")
    return f"{code}: {meaning.replace('`', '')}" if meaning else str(code)
