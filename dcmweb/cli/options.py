"""Options that all commands share, and the settings made from them."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import click

from dcmweb.cli.console import Console
from dcmweb.cli.text import visible
from dcmweb.errors import DcmwebError, UsageError
from dcmweb.settings import (
    ADAPTIVE_WORKERS,
    MOST_WORKERS,
    AuthScheme,
    Credentials,
    Settings,
    parse_base_url,
)
from dcmweb.transfer.stop import Stop

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass
class Invocation:
    """One call of the command line: where it goes, who sees it, what stops it."""

    console: Console
    base_url: str = ""
    stop: Stop = field(default_factory=Stop)


_OPTIONS = [
    click.option(
        "-m",
        "parallel",
        is_flag=True,
        help="Transfer in parallel; adapts the number of concurrent requests, up to 20.",
    ),
    click.option(
        "-j",
        "--workers",
        type=click.IntRange(1, MOST_WORKERS),
        metavar="N",
        help="Transfer in parallel with N concurrent requests.",
    ),
    click.option(
        "-q", "--quiet", is_flag=True, help="Print only what went wrong; nothing if all went well."
    ),
    click.option("-v", "--verbose", is_flag=True, help="Print every request and retry."),
    click.option(
        "--debug",
        is_flag=True,
        help="Also print the headers of every request and answer, without secrets.",
    ),
    click.option(
        "--auth",
        type=click.Choice([scheme.value for scheme in AuthScheme]),
        default=AuthScheme.AUTO.value,
        help="How to authenticate. By default, Google credentials are used for Google, and "
        "other credentials where you give them.",
    ),
    click.option(
        "--user",
        metavar="NAME",
        help="User name for basic authentication. The password is taken from DCMWEB_PASSWORD, or "
        "asked for in the terminal.",
    ),
    click.option(
        "--token-file",
        metavar="FILE",
        help="Read a bearer token from FILE. DCMWEB_TOKEN can hold a token instead.",
    ),
    click.option("--ca-bundle", metavar="FILE", help="Trust the CA certificates in FILE."),
    click.option("--insecure", is_flag=True, help="Do not check the server's certificate."),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=Settings.idle_timeout,
        show_default=True,
        metavar="SECONDS",
        help="Give up if no data moves on a connection for this long.",
    ),
    click.option(
        "--connect-timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=Settings.connect_timeout,
        show_default=True,
        metavar="SECONDS",
        help="Give up if the server does not accept a connection for this long.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(min=0),
        default=Settings.retries,
        show_default=True,
        metavar="N",
        help="Number of retries for transient failures.",
    ),
]


def common_options(function: _Function) -> _Function:
    """Add the options that all commands share."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def with_client(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the invocation and a client instead of the options that all commands share."""

    @common_options
    @click.pass_obj
    @functools.wraps(function)
    def command(invocation: Invocation, /, **options: Any) -> int:
        shared = {name: options.pop(name) for name in _SHARED}
        quiet, verbose, debug = (shared.pop(name) for name in ("quiet", "verbose", "debug"))
        if quiet and (verbose or debug):
            raise UsageError("-q cannot be combined with -v or --debug", "choose one")
        console = invocation.console
        console.quiet = quiet
        if verbose or debug:
            console.show_log("DEBUG" if debug else "INFO")
        from dcmweb.library.base import find_root
        from dcmweb.library.client import Client

        with closing(
            Client.of(
                _settings(invocation, **shared),
                on_note=console.note,
                on_progress=console.tick,
                stop=invocation.stop,
            )
        ) as client:
            try:
                return function(invocation, client, **options)
            except DcmwebError as error:
                if root := find_root(client, error):
                    error.hint = f"the DICOMweb service is at {root}: give that as BASE_URL"
                raise

    return command


_SHARED = (
    "quiet",
    "verbose",
    "debug",
    "parallel",
    "workers",
    "auth",
    "user",
    "token_file",
    "ca_bundle",
    "insecure",
    "timeout",
    "connect_timeout",
    "retries",
)


def _is_readable(path: str) -> bool:
    """Return True if there is a file or a pipe of this name, rather than a folder."""
    return os.path.exists(path) and not os.path.isdir(path)


def _settings(invocation: Invocation, **given: Any) -> Settings:
    base_url, url_user, url_password = parse_base_url(invocation.base_url)
    for option, path, is_there in (
        ("--ca-bundle", given["ca_bundle"], os.path.exists),  # a pipe will do, and a folder
        ("--token-file", given["token_file"], _is_readable),
    ):
        if path and not is_there(path):
            raise UsageError(f"{option}: there is no file {path}")
    user, _, password = (given["user"] or "").partition(":")
    credentials = Credentials(
        scheme=AuthScheme(given["auth"]),
        user=user or url_user,
        password=password or url_password,
        token_file=given["token_file"] or "",
    )
    workers = given["workers"] or (ADAPTIVE_WORKERS if given["parallel"] else 1)
    return Settings(
        base_url=base_url,
        credentials=_with_password(credentials),
        workers=workers,
        adapts=given["parallel"] and not given["workers"],
        retries=given["retries"],
        connect_timeout=given["connect_timeout"],
        idle_timeout=given["timeout"],
        ca_bundle=given["ca_bundle"] or "",
        insecure=given["insecure"],
    )


def _with_password(given: Credentials) -> Credentials:
    """Ask for the password of a user in a terminal, if it is not known."""
    if not given.user or given.password or "DCMWEB_PASSWORD" in os.environ:
        return given
    if not sys.stdin.isatty():
        return given
    password = str(click.prompt(f"Password of {visible(given.user)}", hide_input=True, err=True))
    return replace(given, password=password)
