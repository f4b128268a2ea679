"""`dcmweb BASE_URL ping`."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from dcmweb.cli import table_options
from dcmweb.cli.command import Command
from dcmweb.cli.options import Invocation, of_command_line, with_client
from dcmweb.errors import DcmwebError, ExitCode, Interrupted

if TYPE_CHECKING:
    from dcmweb.library.client import Client
    from dcmweb.transactions.ping.finding import Finding

_NAME, _VERDICT = 12, 9  # columns


@click.command(cls=Command)
@click.option(
    "--write-test",
    is_flag=True,
    help="Also store an instance made for this, look for it, retrieve it, and delete it again.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@table_options.named("orthanc-api")
@table_options.named("reject-as")
@with_client
def ping(invocation: Invocation, client: Client, as_json: bool, **options: Any) -> int:
    """Find out whether a server is there, is DICOMweb, and what it offers."""
    for name in ("orthanc_api", "reject_as"):
        if options[name] and not options["write_test"]:
            of_command_line(name, "it is for --write-test")
    console = invocation.console
    given = {name: value for name, value in options.items() if value}
    findings: list[Finding] = []
    error: DcmwebError | None = None
    try:
        with closing(client.ping(**given)) as run:
            for finding in run:
                findings.append(finding)
                if not as_json:
                    console.data(_line(finding))
    except Interrupted:
        raise
    except DcmwebError as raised:
        error = raised
    code = _exit_code(findings, error)
    if as_json:
        console.data(json.dumps(_as_json(client.base_url, findings, error, code), indent=2))
    if error is not None:
        raise error
    return code


def _line(finding: Finding) -> str:
    from dcmweb.cli.text import visible

    words = visible(finding.words)
    return f"{finding.name:{_NAME}}  {finding.verdict.value:{_VERDICT}}  {words}".rstrip()


def _exit_code(findings: list[Finding], error: DcmwebError | None) -> int:
    if error is not None:
        return int(error.exit_code)
    from dcmweb.transactions.ping.finding import Verdict

    failed = any(finding.verdict is Verdict.FAILED for finding in findings)
    return ExitCode.SOME_FAILED if failed else ExitCode.OK


def _as_json(
    url: str, findings: list[Finding], error: DcmwebError | None, code: int
) -> dict[str, Any]:
    listed = [
        {"name": one.name, "verdict": one.verdict.value, "words": one.words, **one.details}
        for one in findings
    ]
    failed = {"error": str(error)} if error else {}
    return {"url": url, "findings": listed, **failed, "exit_code": int(code)}
