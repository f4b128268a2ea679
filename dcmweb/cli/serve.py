"""`dcmweb serve`."""

from __future__ import annotations

import importlib
import os
import threading
from typing import Any

import click

from dcmweb.cli.command import Command
from dcmweb.cli.options import Invocation
from dcmweb.errors import AuthError, Interrupted, UsageError
from dcmweb.local.windows import IS_WINDOWS


@click.command(cls=Command)
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
    help="Want basic authentication; the password may come from DCMWEB_PASSWORD.",
)
@click.option(
    "--token-file",
    metavar="FILE",
    help="Want a bearer token, the one in this file; DCMWEB_TOKEN may hold it as well.",
)
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Let web pages from elsewhere than this machine read answers, such as "
    "https://viewer.example; * for all.",
)
@click.pass_obj
def serve(
    invocation: Invocation, /, folder: str, host: str, port: int, **access_options: Any
) -> int:
    """Serve a folder as a small DICOMweb archive; the first line on stdout is its base URL.

    \b
    serve ./images
    serve ./images --port 0 --user demo:secret
    """
    server = archive_module("server")
    access = archive_module("access").Access(
        *_user(access_options["user"]),
        token=_token(access_options["token_file"]),
        origins=access_options["origins"],
    )
    with server.serving(folder, host, port, access, invocation.console.line) as base_url:
        invocation.console.data(base_url)
        if IS_WINDOWS:
            invocation.console.line("Please note: on Windows the archive is not tested regularly")
        if not server.is_loopback(host):
            guarded = access.user or access.token
            invocation.console.line(
                f"Please note: the archive can be reached from other machines, at {host}"
                + ("" if guarded else ", by anyone, without credentials")
            )
        try:
            while True:  # until a signal, which Windows lets through between two waits only
                threading.Event().wait(1)
        except Interrupted as signal:
            return signal.exit_code


def archive_module(name: str) -> Any:
    """Import a module of the archive, which is an extra; raises UsageError where that lacks."""
    try:
        importlib.import_module("dcmweb.archive.server")
        return importlib.import_module(f"dcmweb.archive.{name}")
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the archive is not installed: there is no {error.name}",
            "run: pip install 'dcmweb[archive]'",
        ) from None


def _user(given: str | None) -> tuple[str, str]:
    user, _, password = (given or "").partition(":")
    password = password or os.environ.get("DCMWEB_PASSWORD", "")
    if user and not password:
        raise UsageError("--user lacks a password", "write NAME:PASSWORD, or set DCMWEB_PASSWORD")
    return user, password


def _token(path: str | None) -> str:
    from dcmweb.http.auth import read_token

    try:
        return read_token(path or "")
    except AuthError as error:
        raise UsageError(error.message, error.hint) from None
