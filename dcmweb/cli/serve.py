"""`dcmweb serve`."""

from __future__ import annotations

import importlib
import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

import click

from dcmweb.cli import table_options
from dcmweb.cli.activity import Activity
from dcmweb.cli.command import Command
from dcmweb.cli.options import Invocation
from dcmweb.errors import AuthError, UsageError
from dcmweb.local.windows import IS_WINDOWS
from dcmweb.transfer.meter import Phase
from dcmweb.transfer.stop import Stop
from dcmweb.transfer.summary import Progress

_INDEXING = Activity("Indexing", "file", moves_bytes=False)
_BETWEEN_LOOKS = 0.1  # seconds
_GRACE = 10  # seconds for which a command may go on after a signal


class ServeCommand(Command):
    """A command whose arguments after `--` are a command line of their own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Split off the command line after `--`."""
        command: list[str] = []
        if "--" in args:
            at = args.index("--")
            args, command = args[:at], args[at + 1 :]
            if not command:
                raise UsageError("there is no command after --")
        ctx.meta["command"] = command
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Add the command line to the usage line."""
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND...]"]


@click.command(cls=ServeCommand)
@click.argument("folder")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    metavar="N",
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--user",
    metavar="NAME:PASSWORD",
    help="Require basic authentication; the password may be in DCMWEB_PASSWORD.",
)
@click.option(
    "--token-file",
    metavar="FILE",
    help="Require the bearer token in this file; it may be in DCMWEB_TOKEN instead.",
)
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Let web pages from there read, store and delete, such as https://viewer.example; * for "
    "all. Pages of this machine may read anyway.",
)
@click.option(
    "--index",
    metavar="DIR",
    help="Keep the index in DIR instead of FOLDER/.dcmweb.",
)
@click.option(
    "--strict",
    is_flag=True,
    help="Refuse in the Google dialect what Google refuses.",
)
@click.option(
    "--page-can-delete",
    is_flag=True,
    help="Let the page in a browser delete; otherwise it only reads. Clients can delete anyway.",
)
@table_options.named("log-file")
@click.option("-v", "--verbose", is_flag=True, help="Log every request to stderr.")
@click.pass_context
def serve(ctx: click.Context, /, folder: str, **options: Any) -> int:
    """Serve a folder as a small DICOMweb archive; the first line on stdout is its base URL.

    A browser gets a page at the root of the same address, to search, look and download.

    With a COMMAND, serve only while it runs. It finds the base URLs in DCMWEB_URL and
    DCMWEB_GOOGLE_URL, and its exit code is that of `serve`.
    """
    invocation: Invocation = ctx.obj
    if options["log_file"]:
        from dcmweb.cli.run_log import start_log

        start_log(ctx, options["log_file"], level="INFO" if options["verbose"] else "")
    server = archive_module("server")
    access = archive_module("access").Access(
        *_user(options["user"]),
        token=_token(options["token_file"]),
        origins=options["origins"],
    )
    how = server.ServerOptions(
        options["host"],
        options["port"],
        index=options["index"] or "",
        is_strict=options["strict"],
        logs_requests=options["verbose"],
        pages_can_delete=options["page_can_delete"],
    )
    command: Sequence[str] = ctx.meta["command"]
    console, indexing = invocation.console, _Indexing()
    with ExitStack() as stack:
        with console.watching(lambda: indexing.progress, _INDEXING):
            serving = server.serving(folder, how, access, console.line, indexing.note)
            urls = stack.enter_context(serving)
        invocation.stop.is_watched = True  # from here on, signals are looked for by this thread
        if command:
            invocation.console.line(f"The base URL is {urls.standard}")
        else:
            invocation.console.line(f"A page for people is at {urls.page}")
            invocation.console.data(urls.standard)
        if IS_WINDOWS:
            invocation.console.line("Please note: on Windows the archive is not tested regularly")
        if not server.is_loopback(how.host):
            guarded = access.user or access.token
            invocation.console.line(
                f"Please note: the archive can be reached from other machines, at {how.host}"
                + ("" if guarded else ", by anyone, without credentials")
            )
        if command:
            environment = {"DCMWEB_URL": urls.standard, "DCMWEB_GOOGLE_URL": urls.google}
            return _exit_code_of(command, environment, invocation.stop)
        # A wait without a timeout would miss a signal that comes just before it begins.
        while invocation.stop.cause is None:
            time.sleep(_BETWEEN_LOOKS)
        return invocation.stop.cause.exit_code


class _Indexing:
    """How many files have been indexed."""

    def __init__(self) -> None:
        self.progress = Progress(counts={})

    def note(self, done: int, expected: int | None) -> None:
        """Take note of files that were indexed, of so many."""
        phase = Phase("", "", done, expected)
        self.progress = Progress(counts={}, phase=phase, is_counting=expected is None)


def _exit_code_of(command: Sequence[str], environment: dict[str, str], stop: Stop) -> int:
    """Run a command to its end and return its exit code; pass signals on to it."""
    try:
        process = subprocess.Popen(  # noqa: S603 - the command that the user wrote
            command, env={**os.environ, **environment}
        )
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"the command {command[0]} cannot be run: {reason}") from None
    while stop.cause is None:
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(_BETWEEN_LOOKS)
            return 128 - code if code < 0 else code
    if not IS_WINDOWS:  # there, the console passes Ctrl-C on
        process.send_signal(stop.cause.exit_code - 128)
    _wait_or_kill(process)
    return stop.cause.exit_code


def _wait_or_kill(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def archive_module(name: str) -> Any:
    """Import a module of the archive, which is an extra; raises UsageError if it is missing."""
    try:
        importlib.import_module("dcmweb.archive.server")
        return importlib.import_module(f"dcmweb.archive.{name}")
    except ModuleNotFoundError as error:
        from dcmweb.extras import how_to_install

        raise UsageError(
            f"the archive is not installed: there is no {error.name}",
            f"run: {how_to_install('archive')}",
        ) from None


def _user(given: str | None) -> tuple[str, str]:
    user, _, password = (given or "").partition(":")
    password = password or os.environ.get("DCMWEB_PASSWORD", "")
    if given and not user:
        raise UsageError("--user lacks a name", "write NAME:PASSWORD")
    if user and not password:
        raise UsageError("--user lacks a password", "write NAME:PASSWORD, or set DCMWEB_PASSWORD")
    return user, password


def _token(path: str | None) -> str:
    from dcmweb.http.auth import read_token

    try:
        return read_token(path or "")
    except AuthError as error:
        raise UsageError(error.message, error.hint) from None
