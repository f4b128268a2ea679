"""The command line: alone in knowing click, tqdm and the terminal."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NoReturn


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; an interrupt while it is still being loaded ends it as well."""
    try:
        from dcmweb.cli.app import main as run
    except KeyboardInterrupt:
        os._exit(130)
    run(args)
