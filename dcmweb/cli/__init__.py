"""The command line: alone in knowing click, tqdm and the terminal."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from typing import NoReturn

_GARBAGE = 50_000  # new objects before Python looks for garbage; imports make many that stay


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; an interrupt while it is still being loaded ends it as well."""
    gc.set_threshold(_GARBAGE)
    try:
        from dcmweb.cli.app import main as run
    except KeyboardInterrupt:
        os._exit(130)
    try:
        run(args)
    finally:
        gc.freeze()  # else Python looks through all there is for garbage, to free it as it ends
