"""The table of options: each is an option of the command line, a variable, and a key of a profile.

`--token-file FILE`, `DCMWEB_TOKEN_FILE` and `token-file = "FILE"` mean the same. The command line,
profiles and the documentation are made from this table.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import cache
from typing import Any, NamedTuple

from dcmweb.settings.credentials import VARIABLES, VARIABLES_OF_DESTINATION, AuthScheme
from dcmweb.settings.servers import NAMES, StowForm
from dcmweb.settings.settings import ADAPTIVE_WORKERS, MOST_ROWS, MOST_WORKERS, Settings


class Kind(Enum):
    """What the value of an option is."""

    FLAG = "true or false"
    TEXT = "text"
    FILE = "the path of a file"
    OUTPUT = "the path of a file that is written"
    COUNT = "a whole number"
    SECONDS = "a number of seconds above 0"
    NUMBER = "a number above 0"
    SIZE = "a number of bytes, as 500K (500,000) or 8Mi (8 MiB)"
    TEXTS = "a list of texts"
    PAIRS = "a list of NAME: VALUE"


PATHS = (Kind.FILE, Kind.OUTPUT)


TO = "to-"  # before the names of options of the server that is copied to


class Group(Enum):
    """What an option is about: the heading that it is shown under, in the order of the headings."""

    WHAT = "What"
    WHERE = "Where"
    OUTPUT = "Output"
    SAFETY = "Safety"
    RECORDS = "Records"
    SPEED = "Speed"
    LOGGING = "Logging"
    CREDENTIALS = "Credentials"
    CONNECTION = "Connection"
    DESTINATION = "Destination"
    OTHER = "Other"


class Option(NamedTuple):
    """One option, by its long name without dashes; `short` is its other name, if it has one.

    `field` is that of Settings or Credentials; without one, the value is for the command line.
    """

    name: str
    kind: Kind
    group: Group
    help: str
    metavar: str = ""
    short: str = ""
    field: str = ""
    default: float | None = None  # shown; that of the field counts
    lowest: int | None = None
    highest: int | None = None
    choices: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()  # those that take it; without any, all that use a server
    separator: str = ":"  # between the name and the value of a pair

    @property
    def key(self) -> str:
        """The name as Python has it."""
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """The environment variable that sets the option."""
        return f"DCMWEB_{self.key.upper()}"

    @property
    def off(self) -> str:
        """The name that switches off a flag of a profile; `-m` has none, as `-j 1` does that."""
        if self.kind is not Kind.FLAG or self.name == "parallel":
            return ""
        is_other = self.name.startswith(TO)
        return f"{TO}no-{self.name.removeprefix(TO)}" if is_other else f"no-{self.name}"


def _credential(name: str, metavar: str, text: str, **more: Any) -> Option:
    kind = {"FILE": Kind.FILE}.get(metavar, Kind.TEXT)
    given = {"kind": kind, "field": name.replace("-", "_"), **more}
    return Option(name=name, metavar=metavar, help=text, group=Group.CREDENTIALS, **given)


def _connection(name: str, kind: Kind, metavar: str, text: str, **more: Any) -> Option:
    given = {"field": name.replace("-", "_"), **more}
    return Option(name=name, kind=kind, metavar=metavar, help=text, group=Group.CONNECTION, **given)


def _speed(name: str, kind: Kind, metavar: str, text: str, **more: Any) -> Option:
    given = {"field": name.replace("-", "_"), **more}
    return Option(name=name, kind=kind, metavar=metavar, help=text, group=Group.SPEED, **given)


IF_EXISTS = ("skip", "replace", "fail")
SCHEMES = ", ".join(scheme.value for scheme in AuthScheme)

OPTIONS: tuple[Option, ...] = (
    Option(
        name="parallel",
        short="m",
        kind=Kind.FLAG,
        group=Group.SPEED,
        help="Transfer in parallel; adapts the number of concurrent requests, up to "
        f"{ADAPTIVE_WORKERS}.",
    ),
    Option(
        name="workers",
        short="j",
        kind=Kind.COUNT,
        group=Group.SPEED,
        metavar="N",
        lowest=1,
        highest=MOST_WORKERS,
        help="Transfer in parallel with N concurrent requests.",
    ),
    _speed(
        "requests-per-second",
        Kind.NUMBER,
        "N",
        "Send at most N requests per second, with all workers together.",
    ),
    _speed(
        "rate-limit",
        Kind.SIZE,
        "BYTES/s",
        "Move at most this many bytes per second, as 500K (500,000) or 8Mi (8 MiB), with all "
        "workers together.",
    ),
    _speed(
        "page-size",
        Kind.COUNT,
        "N",
        "Ask for N search results at a time; by default what the kind of server takes, at most "
        f"{MOST_ROWS}.",
        lowest=1,
    ),
    _speed(
        "batch-size",
        Kind.SIZE,
        "BYTES",
        "Put small files together up to this size in a request, as 8Mi (8 MiB, the default) or "
        "100M (100,000,000 bytes).",
        field="batch_bytes",
        commands=("store",),
    ),
    _speed(
        "batch-count",
        Kind.COUNT,
        "N",
        "Put at most N files into a request.",
        lowest=1,
        commands=("store",),
    ),
    _connection(
        "stow-form",
        Kind.TEXT,
        "FORM",
        "Begin with requests of this form: multipart (several files) or single (one file as "
        "application/dicom).",
        choices=tuple(form.value for form in StowForm),
        commands=("store",),
    ),
    Option(
        name="on",
        kind=Kind.TEXT,
        group=Group.SPEED,
        metavar="WHERE",
        help="Have worker processes do it: local or local:N for N of this machine, "
        "tls://HOST:PORT, tcp://HOST:PORT or a scheduler file for a Dask cluster.",
        commands=("store", "retrieve"),
    ),
    Option(
        name="if-exists",
        kind=Kind.TEXT,
        group=Group.SAFETY,
        metavar="RULE",
        help="What to do with an instance that the server has: skip it, replace it where the bytes "
        "differ, or fail.",
        choices=IF_EXISTS,
        commands=("store", "copy"),
    ),
    _connection(
        "orthanc-api",
        Kind.TEXT,
        "URL",
        "Delete with Orthanc's own REST API at URL; auto takes it to be one level above BASE_URL.",
        commands=("store", "delete", "ping"),
        field="",
    ),
    _connection(
        "reject-as",
        Kind.TEXT,
        "CODE",
        "Reject first, as dcm4chee wants it, for the reason CODE, such as 113001^DCM.",
        commands=("delete", "ping"),
        field="",
    ),
    _credential(
        "auth",
        "SCHEME",
        f"How to authenticate: {SCHEMES}, or a scheme of an installed package. By default, "
        "Google's, Amazon's and Azure's own credentials are used for their servers, and other "
        "credentials where you give them.",
        field="scheme",
    ),
    _credential(
        "user",
        "NAME",
        "User name for basic or digest authentication. The password is taken from "
        "DCMWEB_PASSWORD, or asked for in the terminal.",
    ),
    _credential("password-file", "FILE", "Read the password from FILE."),
    _credential("password-command", "COMMAND", "Run COMMAND, and read the password it prints."),
    _credential(
        "token-file",
        "FILE",
        "Read a bearer token from FILE. DCMWEB_TOKEN can hold a token instead.",
    ),
    _credential(
        "token-command",
        "COMMAND",
        "Run COMMAND, and read the bearer token it prints, again before the token expires.",
    ),
    _credential(
        "service-account",
        "FILE",
        "Use the Google credentials in FILE, such as the key of a service account.",
    ),
    _credential("quota-project", "ID", "Google project that requests are billed to."),
    _credential("token-url", "URL", "Where OAuth2 tokens are issued."),
    _credential(
        "client-id",
        "ID",
        "OAuth2 client; its secret is in DCMWEB_CLIENT_SECRET. For Azure, a managed identity.",
    ),
    _credential("client-secret-file", "FILE", "Read the OAuth2 client's secret from FILE."),
    _credential(
        "client-secret-command", "COMMAND", "Run COMMAND, and read the client's secret it prints."
    ),
    _credential(
        "scope",
        "SCOPE",
        "OAuth2 scope to ask for; can be given several times.",
        kind=Kind.TEXTS,
        field="scopes",
    ),
    _credential("aws-profile", "NAME", "Profile of the AWS configuration to take credentials of."),
    _credential("aws-region", "REGION", "AWS region; by default the one in the host name."),
    _credential(
        "cert", "FILE", "Present the client certificate in FILE (PEM or PKCS #12) to the server."
    ),
    _credential(
        "key",
        "FILE",
        "Private key of --cert, if it is in a file of its own. Its password is in "
        "DCMWEB_KEY_PASSWORD, or asked for in the terminal.",
    ),
    _credential("key-password-file", "FILE", "Read the password of the private key from FILE."),
    _credential(
        "key-password-command",
        "COMMAND",
        "Run COMMAND, and read the password of the private key it prints.",
    ),
    _credential(
        "header",
        "'NAME: VALUE'",
        "Send this header field with each request; can be given several times. @FILE as VALUE "
        "reads it from a file, $NAME from a variable.",
        kind=Kind.PAIRS,
        field="headers",
    ),
    _credential(
        "query",
        "NAME=VALUE",
        "Send this parameter with each request; can be given several times. VALUE is as that of "
        "--header.",
        kind=Kind.PAIRS,
        separator="=",
    ),
    _credential(
        "auth-option",
        "NAME=VALUE",
        "Option of a scheme that another package brings, or parameter of the request for an OAuth2 "
        "token, such as audience=URL; can be given several times.",
        kind=Kind.PAIRS,
        separator="=",
        field="options",
    ),
    _connection(
        "ca-bundle",
        Kind.FILE,
        "FILE",
        "Trust the CA certificates in FILE, which can be a folder, instead of the system's.",
    ),
    _connection("insecure", Kind.FLAG, "", "Do not check the server's certificate."),
    _connection(
        "proxy",
        Kind.TEXT,
        "URL",
        "Connect through this HTTP or SOCKS proxy; by default that of HTTPS_PROXY, HTTP_PROXY or "
        "ALL_PROXY.",
    ),
    _connection(
        "server",
        Kind.TEXT,
        "KIND",
        f"The kind of server: {', '.join(NAMES)}. By default it is guessed by the address, and "
        "learned from answers.",
        choices=NAMES,
    ),
    _connection("qido-root", Kind.TEXT, "URL", "Root of the search service, if it has its own."),
    _connection("wado-root", Kind.TEXT, "URL", "Root of the retrieve service, if it has its own."),
    _connection("stow-root", Kind.TEXT, "URL", "Root of the store service, if it has its own."),
    _connection(
        "timeout",
        Kind.SECONDS,
        "SECONDS",
        "Give up if no data moves on a connection for this long, or next to none (less than 10 "
        "bytes a second).",
        field="idle_timeout",
        default=Settings.idle_timeout,
    ),
    _connection(
        "connect-timeout",
        Kind.SECONDS,
        "SECONDS",
        "Give up if the server does not accept a connection for this long.",
        default=Settings.connect_timeout,
    ),
    _connection(
        "retries",
        Kind.COUNT,
        "N",
        "Number of retries for transient failures.",
        lowest=0,
        default=Settings.retries,
    ),
    Option(
        name="log-file",
        kind=Kind.OUTPUT,
        group=Group.LOGGING,
        metavar="FILE",
        help="Append what happens to FILE: failures, retries, how far the run is, the summary and "
        "the exit code; with -v also each item and request.",
    ),
)

BY_KEY = {option.key: option for option in OPTIONS}

# Of two servers, the one that is copied to has options of its own for these, with TO before them.
_OF_EACH_SERVER = (
    *("ca-bundle", "insecure", "proxy", "server"),
    *("qido-root", "wado-root", "stow-root", "orthanc-api"),
)


def to_destination(text: str) -> str:
    """Name the options and variables of the server that is copied to in their place."""
    options = re.sub(rf"--(?!{TO})(?=[a-z])", f"--{TO}", text)
    return re.sub(rf"{VARIABLES}(?!TO_)", VARIABLES_OF_DESTINATION, options)


@cache
def options_of_destination() -> tuple[Option, ...]:
    """Return the options of the server that is copied to; few commands need them."""
    return tuple(
        option._replace(
            name=f"{TO}{option.name}",
            short="",
            group=Group.DESTINATION,
            help=f"Destination: {to_destination(option.help[0].lower() + option.help[1:])}",
            commands=("copy",),
        )
        for option in OPTIONS
        if option.group is Group.CREDENTIALS or option.name in _OF_EACH_SERVER
    )
