"""How pictures are to be rendered (PS3.18 section 8.3.5)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from urllib.parse import urlencode

from dcmweb.errors import UsageError

_FUNCTIONS = ("linear", "linear-exact", "sigmoid")


@dataclass(frozen=True)
class RenderingParameters:
    """How a picture is wanted, as in the query (PS3.18 section 8.3.5); "" is up to the server."""

    viewport: str = ""
    window: str = ""
    quality: str = ""

    @property
    def query(self) -> str:
        """The query with its question mark, "" if nothing is wanted."""
        given = {name: value for name, value in vars(self).items() if value}
        return f"?{urlencode(given, safe=',')}" if given else ""


def parse_rendering(
    viewport: str | None, window: str | None, quality: int | None
) -> RenderingParameters:
    """Read the options of a rendering; raises UsageError for what no server can do.

    A viewport is `WIDTH,HEIGHT` or `WIDTHxHEIGHT` in pixels, with `,X,Y,WIDTH,HEIGHT` for a region
    of the frame; a window `CENTER,WIDTH` with `,linear`, `,linear-exact` or `,sigmoid`.
    """
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(f"--quality {quality} is not from 1 to 100")
    return RenderingParameters(
        _viewport(viewport) if viewport else "",
        _window(window) if window else "",
        str(quality) if quality else "",
    )


def _viewport(text: str) -> str:
    values = re.split("[,x]", text.replace(" ", ""))
    sizes_fit = all(re.fullmatch("[1-9][0-9]{0,5}", value) for value in values[:2])
    if len(values) not in (2, 6) or not sizes_fit or not all(map(_is_number, values[2:])):
        hint = "write it like 512,512 or 512,512,0,0,100,100"
        raise UsageError(f"--viewport {text} is not a valid width and height", hint)
    return ",".join(values)


def _window(text: str) -> str:
    values = text.replace(" ", "").split(",")
    function = values[2].lower() if len(values) == 3 else _FUNCTIONS[0]
    is_range = len(values) in (2, 3) and all(map(_is_number, values[:2])) and float(values[1]) > 0
    if not is_range or function not in _FUNCTIONS:
        hint = f"write it like 40,400 or 40,400,FUNCTION, one of {', '.join(_FUNCTIONS)}"
        raise UsageError(f"--window {text} is not a valid center and width", hint)
    return ",".join([*values[:2], function])


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
