"""The command line: alone in knowing click, tqdm and the terminal."""

from dcmweb.cli.app import main

__all__ = ["main"]
