"""The grammar `dcmweb [OPTIONS] BASE_URL COMMAND [ARGS]...`, and the way out of every run."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from dcmweb import __version__
from dcmweb.cli.command import CommandGroup
from dcmweb.cli.commands import LOCAL, OF_THE_PROGRAM, WITH_SERVER, Commands
from dcmweb.cli.console import Console, ReaderGone
from dcmweb.cli.options import SHELL_VARIABLE, URL_VARIABLE, Invocation, common_options
from dcmweb.errors import DcmwebError, ExitCode, Interrupted

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class BaseUrlGroup(CommandGroup):
    """A group whose commands come after a BASE_URL, with options before and after both."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take BASE_URL out, and hand the options before the command on to the command."""
        options, rest = self._split_options(ctx, args)
        given = os.environ.get(URL_VARIABLE, "")
        if rest and rest[0] not in self.commands:
            given = rest[0]
            _check_address(ctx, rest)
            ctx.obj.is_addressed = True
            more, rest = self._split_options(ctx, rest[1:])
            options += more
        if given and rest and rest[0] not in LOCAL and not ctx.resilient_parsing:
            ctx.obj.go_to(given)
            if ctx.obj.profile:
                ctx.default_map = {name: dict(ctx.obj.profile.values) for name in WITH_SERVER}
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
        if ctx.resilient_parsing:  # as a shell completes the line
            return super().resolve_command(ctx, args)
        is_local = args[0] in LOCAL
        if is_local and ctx.obj.is_addressed and args[0] not in OF_THE_PROGRAM:
            raise click.UsageError(f"{args[0]} takes no BASE_URL")
        if not is_local and not ctx.obj.base_url and not {"--help", "-h"} & set(args):
            raise click.UsageError(
                f"BASE_URL comes before the command: dcmweb http://HOST/dicom-web {args[0]} ... "
                f"(or @NAME of a profile; or it is in {URL_VARIABLE})"
            )
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return commands or profiles, and options where one has begun."""
        from dcmweb.cli.completing import first_words

        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        return first_words(ctx, incomplete)


def _check_address(ctx: click.Context, words: Sequence[str]) -> None:
    """Raise UsageError for a first word that is a command with a slip, rather than a BASE_URL."""
    is_address = any(mark in words[0] for mark in ":/@.")
    is_followed = len(words) > 1 and any(word in WITH_SERVER for word in words[1:])
    if not (is_address or is_followed or ctx.resilient_parsing):
        from dcmweb.cli.suggestions import neither_command_nor_url

        raise neither_command_nor_url(words[0])


_OWN_OPTIONS = ("--help", "-h", "--version")


def _own(options: Sequence[str]) -> list[str]:
    return [option for option in options if option in _OWN_OPTIONS]


def _others(options: Sequence[str]) -> list[str]:
    return [option for option in options if option not in _OWN_OPTIONS]


@click.group(
    cls=BaseUrlGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`dcmweb help COMMAND` shows the options of a command, and `dcmweb help options` those "
    "that all share. They can be given before BASE_URL or after the command.",
)
@click.version_option(__version__, prog_name="dcmweb", message="%(prog)s %(version)s")
@common_options
def cli(**_options: Any) -> None:
    """Move medical images in and out of DICOMweb servers.

    BASE_URL is the root of a DICOMweb service, or @NAME: a profile that `dcmweb config` has made.
    """


cli.commands = Commands()


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit; or answer a shell that completes one."""
    console = Console()
    invocation = Invocation(console)
    if shell := os.environ.get(SHELL_VARIABLE):
        from dcmweb.cli.shells import answer

        console.data(answer(cli, shell, invocation))
        sys.exit(0)
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
        invocation.console.problem(_usage_problem(error))
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


def _usage_problem(error: click.ClickException) -> str:
    """Say in one line what click did not understand, and what to do."""
    if isinstance(error, click.NoSuchOption):
        from dcmweb.cli.suggestions import unknown_option

        return str(unknown_option(error, cli))
    ctx: click.Context | None = getattr(error, "ctx", None)
    place = ctx.command_path if ctx else "dcmweb"
    return f"{error.format_message().rstrip('.')}; see {place} --help"


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
