"""`dcmweb completion`: scripts with which shells complete command lines."""

from __future__ import annotations

import click

from dcmweb.cli.command import Command
from dcmweb.cli.options import Invocation

SHELLS = ("bash", "zsh", "fish", "powershell")


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(SHELLS), metavar="|".join(SHELLS))
@click.pass_obj
def completion(invocation: Invocation, shell: str) -> int:
    """Print the script that makes a shell complete the command lines of dcmweb.

    Commands, options and their values, files, and profiles are completed. Nothing is asked of a
    server.
    """
    from dcmweb.cli.shells import script

    invocation.console.data(script(shell))
    return 0
