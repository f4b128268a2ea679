"""The grammar `dcmweb [OPTIONS] BASE_URL COMMAND [ARGS]...`, and the way out of every run."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

import click

from dcmweb import __version__
from dcmweb.cli.commands import LOCAL, Commands
from dcmweb.cli.console import Console, ReaderGone
from dcmweb.cli.options import URL_VARIABLE, Invocation, common_options
from dcmweb.errors import DcmwebError, ExitCode, Interrupted


class BaseUrlGroup(click.Group):
    """A group whose commands come after a BASE_URL, with options before and after both."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take BASE_URL out, and hand the options before the command on to the command."""
        options, rest = self._split_options(ctx, args)
        given = os.environ.get(URL_VARIABLE, "")
        if rest and rest[0] not in self.commands:
            given = rest[0]
            ctx.obj.is_addressed = True
            more, rest = self._split_options(ctx, rest[1:])
            options += more
        if given and rest and rest[0] not in LOCAL:
            ctx.obj.go_to(given)
            if ctx.obj.profile:
                ctx.default_map = {name: dict(ctx.obj.profile.values) for name in self.commands}
        if not rest:
            return super().parse_args(ctx, options)
        return super().parse_args(ctx, [*_own(options), rest[0], *_others(options), *rest[1:]])

    def _split_options(self, ctx: click.Context, args: list[str]) -> tuple[list[str], list[str]]:
        """Split off the options that come first, with their values."""
        _, rest, _ = self.make_parser(ctx).parse_args(list(args))
        count = len(args) - len(rest)
        return [arg for arg in args[:count] if arg != "--"], rest

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Report what is missing; click would call BASE_URL an unknown command."""
        is_local = args[0] in LOCAL
        if is_local and ctx.obj.is_addressed:
            raise click.UsageError(f"{args[0]} takes no BASE_URL")
        if not is_local and not ctx.obj.base_url and not {"--help", "-h"} & set(args):
            raise click.UsageError(
                f"BASE_URL comes before the command: dcmweb http://HOST/dicom-web {args[0]} ... "
                f"(or @NAME of a profile; or it is in {URL_VARIABLE})"
            )
        return super().resolve_command(ctx, args)

    def format_usage(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the usage line with BASE_URL in its place."""
        formatter.write_usage("dcmweb", "[OPTIONS] BASE_URL COMMAND [ARGS]...")


_OWN_OPTIONS = ("--help", "-h", "--version")


def _own(options: Sequence[str]) -> list[str]:
    return [option for option in options if option in _OWN_OPTIONS]


def _others(options: Sequence[str]) -> list[str]:
    return [option for option in options if option not in _OWN_OPTIONS]


@click.group(
    cls=BaseUrlGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Options can be given before BASE_URL or after the command.",
)
@click.version_option(__version__, prog_name="dcmweb", message="%(prog)s %(version)s")
@common_options
def cli(**_options: Any) -> None:
    """Move medical images in and out of DICOMweb servers.

    \b
    dcmweb http://localhost:8042/dicom-web store ./images
    dcmweb http://localhost:8042/dicom-web search studies PatientName=Doe*
    dcmweb http://localhost:8042/dicom-web retrieve studies/1.2.3 --output ./data
    dcmweb http://localhost:8042/dicom-web delete studies/1.2.3
    dcmweb http://localhost:8042/dicom-web copy http://other:8042/dicom-web
    dcmweb http://localhost:8042/dicom-web check ./images
    dcmweb http://localhost:8042/dicom-web ping

    BASE_URL is the root of a DICOMweb service, or @NAME: a profile that `dcmweb config` has made.
    """


cli.commands = Commands()


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    console = Console()
    invocation = Invocation(console)
    _install_signal_handlers(invocation)
    code = _exit_code(sys.argv[1:] if args is None else args, invocation)
    console.close(code)
    _drop_unwritten()
    sys.exit(code)


def _exit_code(args: Sequence[str], invocation: Invocation) -> int:
    """Run a command and make the exit code of what it returns or raises."""
    try:
        code = cli.main(args=list(args), prog_name="dcmweb", standalone_mode=False, obj=invocation)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = ExitCode.USAGE
    except click.ClickException as error:
        invocation.console.problem(error.format_message().rstrip("."), _usage_hint(error))
        code = ExitCode.USAGE
    except click.Abort:
        code = ExitCode.SIGINT
    except ReaderGone:
        code = ExitCode.OK
    except SystemExit:  # as click ends where nobody reads its help any more
        code = ExitCode.OK
    except OSError as error:  # of click's own writing; all others have been translated
        invocation.console.problem(f"cannot write to stdout: {error.strerror}")
        code = ExitCode.LOCAL_IO
    except Interrupted as error:
        invocation.console.interruption(str(error))
        code = error.exit_code
    except DcmwebError as error:
        invocation.console.problem(str(error))
        code = error.exit_code
    except Exception as error:
        invocation.console.defect(error)
        code = ExitCode.DEFECT
    return int(code or ExitCode.OK)


def _usage_hint(error: click.ClickException) -> str:
    ctx = getattr(error, "ctx", None)
    if ctx is None or ctx.info_name in (None, "dcmweb"):
        return "see dcmweb --help"
    return f"see dcmweb {ctx.info_name} --help"


def _drop_unwritten() -> None:
    """Keep Python from writing, on its way out, what could not be written to stdout before."""
    with suppress(OSError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _install_signal_handlers(invocation: Invocation) -> None:
    """Stop in good order at the first signal, at once at the second."""
    ctrl_break = getattr(signal, "SIGBREAK", None)  # of Windows, also when its window is closed

    def handle(number: int, _frame: FrameType | None) -> None:
        number = signal.SIGTERM if number == ctrl_break else number
        if invocation.stop.cause is not None:
            os._exit(128 + number)
        invocation.stop.request(Interrupted(number))

    for number in filter(None, (signal.SIGINT, signal.SIGTERM, ctrl_break)):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and `&` in scripts set it
            signal.signal(number, handle)
