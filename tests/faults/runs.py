"""A run of the command through the proxy, by a seed, and what must be true of it afterwards.

The model knows what the servers have, as they are asked directly, and what the proxy did. It holds
the command to this:

- each item is named once, and the exit code is 0 only if all is well with all of them. Of a run
  that stops early, what was not begun may be left out, except by `store`;
- the summary counts what the events say;
- *stored* and *retrieved* mean that it is there, byte for byte; *deleted* that it is gone;
- *failed* means that it is not there, unless the proxy said so in place of the server;
- *unknown* may be either;
- nothing but whole files is in the output folder, and no temporary file stays;
- the same command again, without faults, ends well, and does not send what is recorded as stored.

A disk may be too small for output, manifest and temporary files (`Hardship`): then the run ends
with 7, what it said by then is true, the manifest can be read, and the second run has room. The
clock may jump: then all is as if it did not.

Where the proxy changes bytes, nobody can find each change: TCP and TLS do that. There the model
only wants that all are named, and that nothing is added, lost or put under another name: a file
on disk differs from that of the server by the changed byte at most, or is not there.
"""

from __future__ import annotations

import json
import random
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import requests
import trustme
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from dcmweb.transfer.manifest import read_events
from dcmweb.transfer.outcomes import Status
from tests import forks
from tests.conftest import DCMWEB, clean_environment, make_instance, tree, write_files
from tests.faults.disk import Disk, small_disk
from tests.faults.proxy import Proxy, proxying
from tests.functional import archives
from tests.functional.archive import multipart_body, sent_parts
from tests.functional.archives import ALL_AS_STORED, bodies, multipart
from tests.functional.archives import uids as uids_of
from tests.functional.certificates import context_of
from tests.functional.origin import Request
from tests.live import orthanc

ROOT = Path(__file__).parents[2]
LONG = 120.0  # seconds after which a command hangs
CODES = (0, 1, 4, 5, 6, 8)
STATUSES = frozenset(status.name.lower() for status in Status)
GOOD = ("stored", "exists", "done_before", "retrieved", "skipped", "deleted")
_MODES: tuple[tuple[str, ...], ...] = ((), ("-m",), ("-j", "3"))
_SIZES = (64, 64, 600, 20_000, 1_300_000)
_WEIGHTS = {"store": 4, "retrieve": 4, "copy": 2, "delete": 2}

_PATIENCE = Retry(40, backoff_factor=0.05, backoff_max=0.5, allowed_methods=None)  # with restarts

Key = tuple[str, str, str]
Files = dict[Key, bytes]


class Wrong(AssertionError):
    """The command said or did something that is not true."""


@dataclass(frozen=True)
class Place:
    """A server to test with: its port, and the path of its service."""

    port: int
    path: str
    delete_options: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{self.path}"

    def files_of(self, session: requests.Session, studies: Sequence[str]) -> Files:
        """Ask for what it has."""
        found: Files = {}
        for study in studies:
            answer = session.get(
                f"{self.url}/studies/{study}", headers={"Accept": ALL_AS_STORED}, timeout=LONG
            )
            if answer.status_code == 404:
                continue
            assert answer.status_code == 200, answer.text
            for data in bodies(answer):
                assert uids_of(data) not in found
                found[uids_of(data)] = data
        return found

    def put(self, session: requests.Session, files: Sequence[bytes]) -> None:
        for at in range(0, len(files), 8):
            answer = session.post(
                f"{self.url}/studies",
                data=multipart_body(files[at : at + 8]),
                headers={**multipart(), "Accept": "application/dicom+json"},
                timeout=LONG,
            )
            assert answer.status_code == 200, answer.text


@dataclass(frozen=True)
class Plan:
    """What a seed asks for."""

    seed: int
    command: str
    mode: tuple[str, ...]
    retries: int
    rate: float
    corrupts: bool
    has_tls: bool
    has_manifest: bool
    studies: tuple[str, ...]
    files: tuple[bytes, ...] = field(repr=False)
    is_served: float = 0.0  # part of the files that the server has before

    @classmethod
    def of(cls, seed: int, *, prefix: str = "1.3", commands: Sequence[str] = ()) -> Plan:
        chance = random.Random(seed)
        names = [name for name in _WEIGHTS if not commands or name in commands]
        (command,) = chance.choices(names, [_WEIGHTS[name] for name in names])
        largest = chance.randrange(1, len(_SIZES) + 1)
        studies = [f"{prefix}.{seed}.{n}" for n in range(1, chance.choice([1, 1, 2, 3]) + 1)]
        files = [
            make_instance(
                study, f"{study}.{s}", f"{study}.{s}.{n}", chance.choice(_SIZES[:largest])
            )
            for study in studies
            for s in range(1, chance.choice([1, 1, 2]) + 1)
            for n in range(1, chance.choice([1, 2, 3, 8]) + 1)
        ]
        return cls(
            seed,
            command,
            chance.choice(_MODES),
            chance.choice([0, 0, 1, 2]),
            chance.choice([0.1, 0.25, 0.5, 0.8]),
            chance.random() < 0.2,
            chance.random() < 0.3,
            chance.random() < 0.6,
            tuple(studies),
            tuple(files),
        )


@dataclass(frozen=True)
class Hardship:
    """What a run meets on this machine, beside the faults of the proxy."""

    fills_disk: bool = False
    jumps_clock: bool = False

    def size_of_disk(self, plan: Plan) -> int:
        """Draw how much there is room for: nothing, a part of the files, or all."""
        chance = random.Random(plan.seed)
        files = sum(map(len, plan.files)) if plan.command == "retrieve" else 0
        return int(files * 1.2 * chance.random()) + chance.choice([0, 5_000, 9_000, 40_000])


class Lab:
    """Servers, certificates and a process that runs commands, for many seeds."""

    def __init__(self, folder: Path, fork_server: forks.ForkServer, place: Place, other: Place):
        self.folder = folder
        self.place = place
        self.other = other
        self._forks = fork_server
        authority = trustme.CA()
        self.tls: ssl.SSLContext = context_of(authority.issue_cert("127.0.0.1"))
        self.bundle = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.bundle))
        self.faults: Counter[str] = Counter()

    def kill(self, args: Sequence[str], cwd: Path, after: float) -> bool:
        """Run the command, and kill it after so many seconds unless it has ended."""
        try:
            self.run(args, cwd, after)
        except subprocess.TimeoutExpired:
            return True
        return False

    def run(
        self, args: Sequence[str], cwd: Path, most: float = LONG
    ) -> tuple[int, list[dict[str, Any]], str]:
        """Run the command; its exit code, its events and what it wrote to stderr."""
        environment = _environment(cwd, "tmp")
        return _read(*self._forks.run(list(args), cwd, environment, b"", most))

    def run_hard(
        self, args: Sequence[str], cwd: Path, disk: Disk | None, seed: int | None
    ) -> tuple[int, list[dict[str, Any]], str]:
        """Run the command where the disk is, with a clock that jumps by a seed."""
        jumping = [sys.executable, "-m", "tests.faults.jumping", str(seed)]
        command = [*(DCMWEB if seed is None else jumping), *args]
        environment = {**_environment(cwd, "disk/tmp" if disk else "tmp"), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            disk.inside(["sh", "-c", f"mkdir -p disk/tmp; exec {shlex.join(command)}"])
            if disk
            else command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LONG,
            check=False,
        )
        return _read(done.returncode, done.stdout, done.stderr)


def _environment(cwd: Path, temporary: str) -> dict[str, str]:
    for name in ("tmp", "home"):
        (cwd / name).mkdir(exist_ok=True)
    changed = {"HOME": str(cwd / "home"), "TMPDIR": str(cwd / temporary)}
    return {**clean_environment(), **changed}


def _read(code: int, out: bytes, err: bytes) -> tuple[int, list[dict[str, Any]], str]:
    text = err.decode()
    check("Traceback" not in text, f"a traceback: {text}")
    check(all(c == "\n" or c.isprintable() for c in text), f"control characters: {text!r}")
    events = [json.loads(line) for line in out.splitlines()]
    _check_summary([event for event in events if event["type"] == "summary"], events, text)
    return code, [event for event in events if "item" in event], text


def _check_summary(
    summaries: list[dict[str, Any]], events: list[dict[str, Any]], text: str
) -> None:
    """Check that the counts at the end are those of the events."""
    check(len(summaries) == 1, f"{len(summaries)} summaries: {text}")
    counts = Counter(event["type"] for event in events if "item" in event)
    said = {n: c for n, c in summaries[0].items() if n in STATUSES and c}
    check(said == counts, f"the summary says {said}, the events {counts}: {text}")


def check(is_true: bool, words: str) -> None:
    if not is_true:
        raise Wrong(words)


def run(lab: Lab, plan: Plan, *, kills: bool = False, hardship: Hardship | None = None) -> object:
    """Run what a seed asks for. Raises Wrong."""
    cwd = lab.folder / f"run-{plan.seed}"
    cwd.mkdir()
    with ExitStack() as stack:
        session = stack.enter_context(requests.Session())
        session.trust_env = False
        session.mount("http://", HTTPAdapter(max_retries=_PATIENCE))
        session.headers["Connection"] = "close"  # Orthanc closes idle ones after a second
        case = _CASES[plan.command](lab, plan, cwd, session)
        if hardship:
            case.hardship = hardship
            if hardship.fills_disk:
                case.disk = stack.enter_context(small_disk(cwd, hardship.size_of_disk(plan)))
        return case.run_killed() if kills else case.run()


class Case:
    """A command with the files of a plan, through a proxy."""

    hardship: Hardship | None = None
    disk: Disk | None = None

    def __init__(self, lab: Lab, plan: Plan, cwd: Path, session: requests.Session) -> None:
        self.lab, self.plan, self.cwd, self.session = lab, plan, cwd, session
        self.files: Files = {uids_of(data): data for data in plan.files}
        self.before()

    def before(self) -> None:
        """Put files where the command finds them."""

    def arguments(self, url: str) -> list[str]:
        raise NotImplementedError

    def check_events(self, proxy: Proxy, events: list[dict[str, Any]], *, is_stopped: bool) -> None:
        """Check what the events say against what is true."""
        raise NotImplementedError

    def check_end(self) -> None:
        """Check that all is where it should be."""
        raise NotImplementedError

    def named(self, name: str) -> str:
        """Name a file or folder that the command writes."""
        return f"disk/{name}" if self.disk else name

    def seen(self, name: str) -> Path:
        """Return where to look at what the command wrote."""
        return (self.disk.path if self.disk else self.cwd) / name

    def _run(self, args: Sequence[str]) -> tuple[int, list[dict[str, Any]], str]:
        if self.hardship is None:
            return self.lab.run(args, self.cwd)
        seed = self.plan.seed if self.hardship.jumps_clock else None
        return self.lab.run_hard(args, self.cwd, self.disk, seed)

    def run(self) -> str:
        plan, lab = self.plan, self.lab
        manifest = ["--manifest", self.named("manifest")] if plan.has_manifest else []
        with self.proxying(self.place, plan) as proxy:
            url = f"{proxy.root}/{self.place.path}"
            first = [*plan.mode, "--timeout", "2", "--retries", str(plan.retries)]
            common = [*(["--ca-bundle", str(lab.bundle)] if plan.has_tls else [])]
            code, events, err = self._run(
                [*first, *common, *self.arguments(url), "--json", *manifest]
            )
            try:
                self.check_run(proxy, code, events, err)
                lab.faults.update(e.fault for e in proxy.exchanges if e.fault)
                lab.faults.update(["full disk"] if code == 7 else [])
                if plan.corrupts:
                    return err
                proxy.rate = 0.0
                sent = len(proxy.exchanges)
                again = ["--timeout", "60", "--retries", "12", *common]
                if self.disk:
                    self.disk.grow()
                code, later, err_later = self._run(
                    [*again, *self.arguments(url), "--json", *self.goes_on(), *manifest]
                )
                done = [e for e in events if e["type"] in GOOD]
                self.check_again(proxy, sent, done, code, later, err_later)
            except Wrong as wrong:
                kinds = [
                    f"{e.method} {e.target} {e.fault} {e.status or ''}" for e in proxy.exchanges
                ]
                said = [f"{e['type']} {e['item']} {e.get('reason', '')}" for e in events]
                raise Wrong(
                    f"{plan}: {wrong}\ncode {code}\n" + "\n".join([*kinds, *said, err])
                ) from None
        return err

    def run_killed(self) -> bool:
        """Kill the command, and start it again until it is done; return True if it was killed."""
        plan, lab = self.plan, self.lab
        chance = random.Random(plan.seed)
        manifest = ["--manifest", "manifest"] if plan.has_manifest else []
        common = ["--ca-bundle", str(lab.bundle)] if plan.has_tls else []
        was_killed = False
        with self.proxying(self.place, replace(plan, corrupts=False, rate=0.2)) as proxy:
            arguments = self.arguments(f"{proxy.root}/{self.place.path}")
            again = [
                "--timeout",
                "60",
                "--retries",
                "20",
                *common,
                *plan.mode,
                *arguments,
                "--json",
            ]
            for _ in range(3):
                after = chance.random()
                killed = lab.kill([*again, *self.goes_on(), *manifest], self.cwd, after)
                was_killed |= killed
                self.check_files()
            proxy.rate = 0.0
            done = self.recorded() if manifest else []
            sent = len(proxy.exchanges)
            code, events, err = lab.run([*again, *self.goes_on(), *manifest], self.cwd)
            is_left = {"tmp": tree(self.cwd / "tmp")}
            shutil.rmtree(self.cwd / "tmp")  # of processes that were killed
            (self.cwd / "tmp").mkdir()
            try:
                self.check_again(proxy, sent, done, code, events, err)
            except Wrong as wrong:
                raise Wrong(f"{plan}: {wrong}\n{is_left}\n{err}") from None
        return was_killed

    def recorded(self) -> list[dict[str, Any]]:
        """Read what the manifest records as done."""
        path = self.seen("manifest")
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        events = [json.loads(line) for line in lines if line.endswith(b"\n")]
        return [event for event in events if event["type"] in GOOD]

    def check_files(self) -> None:
        """Check that what has its final name is whole."""

    @contextmanager
    def proxying(self, place: Place, plan: Plan) -> Iterator[Proxy]:
        tls = self.lab.tls if plan.has_tls else None
        with proxying(
            place.port, plan.seed, rate=plan.rate, corrupts=plan.corrupts, tls=tls
        ) as proxy:
            yield proxy

    @property
    def place(self) -> Place:
        return self.lab.place

    def goes_on(self) -> list[str]:
        """Return options of the second run, where there is no manifest."""
        return []

    def check_run(self, proxy: Proxy, code: int, events: list[dict[str, Any]], err: str) -> None:
        is_full = code == 7 and self.disk is not None
        check(code in CODES or (code == 3 and self.plan.corrupts) or is_full, f"exit code {code}")
        is_good = all(event["type"] in GOOD for event in events)
        check(is_good or code != 0, "exit code 0 though something failed")
        self.check_events(proxy, events, is_stopped=code not in (0, 1))
        self.check_leftovers()
        if self.plan.has_manifest and self.hardship:
            self.check_manifest(events)
        if not code:
            check(is_good, "exit code 0")
            if not self.plan.corrupts:
                self.check_end()

    def check_manifest(self, events: list[dict[str, Any]]) -> None:
        """Check that the manifest can be read, and has nothing but what was said."""
        path = self.seen("manifest")
        if not path.exists() or not path.stat().st_size:
            return  # not even its first line had room
        events_there = [e for e in read_events(str(path)) if "item" in e]
        written = {(e["item"].removeprefix(f"{self.cwd}/"), e["type"]) for e in events_there}
        said = {(event["item"], event["type"]) for event in events}
        more = {one for one in written - said if one[1] in GOOD}
        check(not more, f"the manifest has {more}, which was not said")

    def check_leftovers(self) -> None:
        check(tree(self.seen("tmp")) == {}, "temporary files are left")
        found = [*tree(self.cwd), *(tree(self.disk.path) if self.disk else ())]
        names = [n for n in found if n.endswith(".part") or "/.dcmweb" in f"/{n}"]
        check(not names, f"left: {names}")

    def check_again(
        self,
        proxy: Proxy,
        sent: int,
        done: list[dict[str, Any]],
        code: int,
        events: list[dict[str, Any]],
        err: str,
    ) -> None:
        check(code == 0, f"the second run ended with {code}: {err}")
        check(all(e["type"] in GOOD for e in events), f"the second run: {events}")
        self.check_leftovers()
        self.check_end()
        if self.plan.has_manifest:
            self.check_sent_again(proxy.exchanges[sent:], done)

    def check_sent_again(self, exchanges: Sequence[Any], done: list[dict[str, Any]]) -> None:
        """Check that what is recorded as done is not done again."""


def _named_once(events: list[dict[str, Any]], names: set[str]) -> None:
    items = Counter(event["item"] for event in events)
    twice = [item for item, count in items.items() if count > 1]
    check(not twice, f"named twice: {twice}")
    check(set(items) == names, f"not named: {names - set(items)}; named: {set(items) - names}")


def _differs_by(one: bytes, other: bytes) -> int:
    """Return how many bytes differ; of another length, all."""
    if len(one) != len(other):
        return max(len(one), len(other))
    return sum(a != b for a, b in zip(one, other, strict=True))


class Store(Case):
    """`store` of a folder."""

    def before(self) -> None:
        paths = write_files(self.cwd / "in", list(self.plan.files))
        self.paths = {f"in/{path.name}": path.read_bytes() for path in paths}

    def arguments(self, url: str) -> list[str]:
        return [url, "store", "in"]

    def goes_on(self) -> list[str]:
        return [] if self.plan.has_manifest else ["--if-exists", "skip"]

    def check_events(self, proxy: Proxy, events: list[dict[str, Any]], *, is_stopped: bool) -> None:
        there = self.place.files_of(self.session, self.plan.studies)
        _named_once(events, set(self.paths))
        lied = proxy.happened("status after")
        for event in events:
            data = self.paths[event["item"]]
            has = there.get(uids_of(data))
            if self.plan.corrupts:
                if proxy.happened("corrupt request"):
                    continue  # what the server has is what came to it
                check(event["type"] != "stored" or has == data, f"{event}: it is not there")
                continue
            if event["type"] in ("stored", "exists"):
                check(has == data, f"{event}: the server has {len(has or b'')} bytes")
            elif event["type"] == "failed":
                check(has is None or lied, f"{event}: the server has it")
            else:
                check(event["type"] == "unknown", str(event))
        if not self.plan.corrupts:
            check(there.items() <= self.files.items(), "the server has something else")

    def check_end(self) -> None:
        there = self.place.files_of(self.session, self.plan.studies)
        check(there == self.files, "the server does not have what was sent")

    def check_sent_again(self, exchanges: Sequence[Any], done: list[dict[str, Any]]) -> None:
        known = {uids_of(self.paths[event["item"]]) for event in done}
        _check_not_sent(exchanges, known)


def _check_not_sent(exchanges: Sequence[Any], known: set[Key]) -> None:
    for exchange in exchanges:
        if exchange.method != "POST":
            continue
        if not exchange.body.startswith(b"--"):
            continue  # of another kind, such as a question to Orthanc
        head = exchange.body[2 : exchange.body.index(b"\r\n")].decode()
        kind = {"content-type": f'multipart/related; type="application/dicom"; boundary={head}'}
        parts = sent_parts(Request("POST", exchange.target, kind, exchange.body, 0))
        again = known & {uids_of(part) for part in parts}
        check(not again, f"sent again: {again}")


class Retrieve(Case):
    """`retrieve` of studies."""

    def before(self) -> None:
        self.place.put(self.session, self.plan.files)
        self.there = self.place.files_of(self.session, self.plan.studies)
        check(self.there == self.files, "the server does not have what it was given")

    def arguments(self, url: str) -> list[str]:
        return [
            url,
            "retrieve",
            *[f"studies/{uid}" for uid in self.plan.studies],
            "-o",
            self.named("out"),
        ]

    def goes_on(self) -> list[str]:
        return [] if self.plan.has_manifest else ["--skip-existing"]

    def on_disk(self) -> dict[str, bytes]:
        out = self.seen("out")
        return tree(out) if out.exists() else {}

    def check_events(self, proxy: Proxy, events: list[dict[str, Any]], *, is_stopped: bool) -> None:
        wanted = {"/".join(key) + ".dcm": data for key, data in self.there.items()}
        found = self.on_disk()
        strangers = found.keys() - wanted.keys()
        check(not strangers or self.plan.corrupts, f"strangers: {strangers}")
        for name, data in found.items():  # a changed byte may be one of a UID
            candidates = [wanted[name]] if name in wanted else wanted.values()
            differs = min(_differs_by(data, one) for one in candidates)
            check(differs <= (1 if self.plan.corrupts else 0), f"{name}: {differs} bytes differ")
        items = Counter(event["item"] for event in events)
        check(not [i for i, n in items.items() if n > 1], f"named twice: {items}")
        good = {e["item"] for e in events if e["type"] in ("retrieved", "skipped")}
        bad = [e["item"] for e in events if e["type"] not in ("retrieved", "skipped")]
        for key in self.there:
            path = "studies/{}/series/{}/instances/{}".format(*key)
            has = "/".join(key) + ".dcm" in found
            above = any(path == item or path.startswith(f"{item}/") for item in bad)
            check(has == (path in good), f"{path}: on disk {has}, said {path in good}")
            check(has or above or is_stopped, f"{path} is not named")

    def check_files(self) -> None:
        wanted = {"/".join(key) + ".dcm": data for key, data in self.there.items()}
        found = {n: data for n, data in self.on_disk().items() if n.endswith(".dcm")}
        check(found.items() <= wanted.items(), "a file is not whole")

    def check_end(self) -> None:
        wanted = {"/".join(key) + ".dcm": data for key, data in self.there.items()}
        check(self.on_disk() == wanted, "the folder does not have what the server has")


class Copy(Case):
    """`copy` of studies, through the proxy on the way in or out."""

    def before(self) -> None:
        self.is_out = self.plan.seed % 2 == 0
        self.source = self.lab.other if self.is_out else self.lab.place
        self.target = self.lab.place if self.is_out else self.lab.other
        self.source.put(self.session, self.plan.files)

    def arguments(self, url: str) -> list[str]:
        studies = [f"studies/{uid}" for uid in self.plan.studies]
        bundle = ["--to-ca-bundle", str(self.lab.bundle)] if self.plan.has_tls else []
        if self.is_out:
            return [self.source.url, "copy", *studies, url, *bundle]
        return [url, "copy", *studies, self.target.url]

    def goes_on(self) -> list[str]:
        return [] if self.plan.has_manifest else ["--if-exists", "skip"]

    def check_events(self, proxy: Proxy, events: list[dict[str, Any]], *, is_stopped: bool) -> None:
        there = self.target.files_of(self.session, self.plan.studies)
        if not self.plan.corrupts:
            check(there.items() <= self.files.items(), "the destination has something else")
        items = Counter(event["item"] for event in events)
        check(not [i for i, n in items.items() if n > 1], f"named twice: {items}")
        said = {event["item"]: event for event in events}
        lied = proxy.happened("status after") and self.is_out
        for key, data in self.files.items():
            path = "studies/{}/series/{}/instances/{}".format(*key)
            above = [e for i, e in said.items() if path == i or path.startswith(f"{i}/")]
            was_sent = any(key[2].encode() in e.body for e in proxy.exchanges)
            check(bool(above) or (is_stopped and not was_sent), f"{path} is not named")
            has = there.get(key)
            for event in above:
                if self.plan.corrupts:
                    continue
                if event["type"] in ("stored", "exists"):
                    check(has == data, f"{event}: the destination has {len(has or b'')} bytes")
                elif event["type"] == "failed" and event["item"] == path:
                    check(has is None or lied, f"{event}: the destination has it")

    def check_end(self) -> None:
        there = self.target.files_of(self.session, self.plan.studies)
        check(there == self.files, "the destination does not have what the source has")


class Delete(Case):
    """`delete` of studies or of their series."""

    def before(self) -> None:
        self.place.put(self.session, self.plan.files)
        self.by_series = self.plan.seed % 3 == 0 and not self.place.delete_options
        keys = [key[: 2 if self.by_series else 1] for key in self.files]
        self.paths = {_path(key): key for key in dict.fromkeys(keys)}

    def arguments(self, url: str) -> list[str]:
        options = [o.replace("{url}", url.rpartition("/")[0]) for o in self.place.delete_options]
        return [url, "delete", *self.paths, "--yes", *options]

    def check_events(self, proxy: Proxy, events: list[dict[str, Any]], *, is_stopped: bool) -> None:
        there = self.place.files_of(self.session, self.plan.studies)
        named = {event["item"] for event in events}
        asked = {
            p
            for p in self.paths
            if any(e.method == "DELETE" and e.target.endswith(p) for e in proxy.exchanges)
        }
        is_alone = len(self.paths) == 1  # its error is that of the run
        wanted = named | (set() if is_alone else asked) if is_stopped else set(self.paths)
        _named_once(events, wanted)
        lied = proxy.happened("status after")
        for event in events:
            key = self.paths[event["item"]]
            left = [one for one in there if one[: len(key)] == key]
            if event["type"] == "deleted":
                check(not left, f"{event}: {left} are there")
            elif event["type"] == "failed":
                check(bool(left) or lied, f"{event}: it is gone")

    def check_again(
        self,
        proxy: Proxy,
        sent: int,
        done: list[dict[str, Any]],
        code: int,
        events: list[dict[str, Any]],
        err: str,
    ) -> None:
        # What is gone without anybody's knowledge is "no such resource" now.
        check(code in (0, 1, 3), f"the second run ended with {code}: {err}")
        self.check_end()

    def check_end(self) -> None:
        there = self.place.files_of(self.session, self.plan.studies)
        check(there == {}, "not all is gone")


def _path(key: Sequence[str]) -> str:
    names = ("studies", "series", "instances")
    return "/".join(f"{name}/{uid}" for name, uid in zip(names, key, strict=False))


_CASES: dict[str, Callable[[Lab, Plan, Path, requests.Session], Case]] = {
    "store": Store,
    "retrieve": Retrieve,
    "copy": Copy,
    "delete": Delete,
}


@contextmanager
def archive_lab(folder: Path, fork_server: forks.ForkServer) -> Iterator[Lab]:
    """Make a lab with two embedded archives."""
    with archives.running(folder / "one") as one, archives.running(folder / "two") as two:
        places = [Place(server.port, archives.STANDARD) for server in (one, two)]
        yield Lab(folder, fork_server, *places)


@contextmanager
def restarting_lab(folder: Path, fork_server: forks.ForkServer) -> Iterator[Lab]:
    """Make a lab whose first archive is killed every few seconds, and started again."""
    (folder / "one").mkdir()
    log = folder / "one.log"
    first = archives.start(folder / "one", log=log)
    over = threading.Event()

    def restart() -> None:
        server, chance = first, random.Random(1)
        while not over.wait(4 + 10 * chance.random()):
            archives.stop(server, signal.SIGKILL)
            server = archives.start(folder / "one", "--port", str(first.port), log=log)
        archives.stop(server)

    thread = threading.Thread(target=restart)
    with archives.running(folder / "two") as two:
        places = [Place(server.port, archives.STANDARD) for server in (first, two)]
        thread.start()
        try:
            yield Lab(folder, fork_server, *places)
        finally:
            over.set()
            thread.join()
    assert "Traceback" not in log.read_text()


@contextmanager
def orthanc_lab(folder: Path, fork_server: forks.ForkServer) -> Iterator[Lab]:
    """Make a lab with Orthanc, and an archive to copy from and to."""
    with (
        orthanc.running(folder / "orthanc", HttpThreadsCount=50) as server,
        archives.running(folder / "two") as two,
    ):
        place = Place(server.port, "dicom-web", ("--orthanc-api", "{url}"))
        yield Lab(folder, fork_server, place, Place(two.port, archives.STANDARD))
