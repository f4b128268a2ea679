"""What Windows wants of names and paths, so that a tree can be copied there, or made there."""

from __future__ import annotations

import os
import re

IS_WINDOWS = os.name == "nt"
LONGEST_PATH = 247  # characters; folders have no more without a prefix, files twelve more

# Devices, whatever follows a dot: CON, NUL.txt, com1. Windows takes superscript digits as well.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\..*)?", re.I | re.S)
_FORBIDDEN = re.compile(r'[<>:"|?*\\/\x00-\x1f]')
_VERBATIM = "\\\\?\\"


def is_device(name: str) -> bool:
    """Return True if a name means a device on Windows, in any folder."""
    return _DEVICE.fullmatch(name) is not None


def forbidden_in(text: str) -> str:
    """Return the characters of a name that Windows does not allow."""
    return "".join(dict.fromkeys(_FORBIDDEN.findall(text)))


def loses_its_end(name: str) -> bool:
    """Return True if Windows drops dots or spaces at the end of a name."""
    return name.endswith((".", " "))


def long_path(path: str) -> str:
    r"""Write a path so that Windows takes it although it is long: with `\\?\` before it."""
    whole = os.path.abspath(path) if IS_WINDOWS and path else ""
    return verbatim(whole) if len(whole) > LONGEST_PATH else path


def verbatim(path: str) -> str:
    r"""Put `\\?\` before an absolute path of Windows."""
    if path.startswith((_VERBATIM, "\\\\.\\")):
        return path
    if path.startswith("\\\\"):
        return f"{_VERBATIM}UNC{path[1:]}"
    return _VERBATIM + path
