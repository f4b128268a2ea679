"""Options that all commands share, and the settings made from them."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dcmweb.cli.console import Console
from dcmweb.errors import UsageError
from dcmweb.settings import AuthScheme, Credentials, Settings, parse_base_url
from dcmweb.transfer.stop import Stop

if TYPE_CHECKING:
    from dcmweb.transactions.context import RunContext

MOST_WORKERS = 20  # that -m tries; what Google advises

_Function = TypeVar("_Function", bound=Callable[..., Any])
_DEFAULTS = Settings(base_url="")


@dataclass
class Run:
    """One run of the command line: where it goes, who sees it, what stops it."""

    console: Console
    base_url: str = ""
    stop: Stop = field(default_factory=Stop)


_OPTIONS = [
    click.option(
        "-m",
        "parallel",
        is_flag=True,
        help="Transfer in parallel, with as many requests at a time as do good.",
    ),
    click.option(
        "-j",
        "--workers",
        type=click.IntRange(1, 64),
        metavar="N",
        help="Transfer in parallel with N requests at a time.",
    ),
    click.option("-q", "--quiet", is_flag=True, help="Tell of what failed, and the summary, only."),
    click.option("-v", "--verbose", is_flag=True, help="Tell of every request and retry."),
    click.option(
        "--debug",
        is_flag=True,
        help="Tell of the header fields of every request and answer as well, without secrets.",
    ),
    click.option(
        "--auth",
        type=click.Choice([scheme.value for scheme in AuthScheme]),
        default=AuthScheme.AUTO.value,
        help="How to authenticate; by default, Google credentials go to Google, and others to "
        "whom they are given for.",
    ),
    click.option(
        "--user",
        metavar="NAME",
        help="User name for basic authentication; the password is asked for, or taken from "
        "DCMWEB_PASSWORD.",
    ),
    click.option(
        "--token-file",
        metavar="FILE",
        help="File with a bearer token; DCMWEB_TOKEN may hold one as well.",
    ),
    click.option("--ca-bundle", metavar="FILE", help="Certificates of the CAs to trust."),
    click.option("--insecure", is_flag=True, help="Do not check the server's certificate."),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=_DEFAULTS.idle_timeout,
        show_default=True,
        metavar="SECONDS",
        help="Give up on a connection on which nothing moves for this long.",
    ),
    click.option(
        "--connect-timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=_DEFAULTS.connect_timeout,
        show_default=True,
        metavar="SECONDS",
        help="Give up on a server that does not accept a connection for this long.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(min=0),
        default=_DEFAULTS.retries,
        show_default=True,
        metavar="N",
        help="How often to try again what may succeed a moment later.",
    ),
]


def common_options(function: _Function) -> _Function:
    """Add the options that all commands share."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def with_client(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the run and a client instead of the options that all commands share."""

    @common_options
    @click.pass_obj
    @functools.wraps(function)
    def command(run: Run, /, **options: Any) -> int:
        shared = {name: options.pop(name) for name in _SHARED}
        quiet, verbose, debug = (shared.pop(name) for name in ("quiet", "verbose", "debug"))
        if quiet and (verbose or debug):
            raise UsageError("-q wants less, -v and --debug want more", "choose one")
        run.console.quiet = quiet
        if verbose or debug:
            run.console.show_log("DEBUG" if debug else "INFO")
        settings = _settings(run, **shared)
        with closing(_client(run, settings)) as client:
            return function(run, client, **options)

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


def _client(run: Run, settings: Settings) -> RunContext:
    from dcmweb.transactions.context import RunContext

    return RunContext(settings, stop=run.stop, notify=run.console.line, tick=run.console.tick)


def _settings(run: Run, **given: Any) -> Settings:
    base_url, url_user, url_password = parse_base_url(run.base_url)
    for option, path, is_there in (
        ("--ca-bundle", given["ca_bundle"], os.path.exists),  # a pipe will do, and a folder
        ("--token-file", given["token_file"], os.path.isfile),
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
    workers = given["workers"] or (MOST_WORKERS if given["parallel"] else 1)
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
    password = str(click.prompt(f"Password of {given.user}", hide_input=True, err=True))
    return replace(given, password=password)
