"""HTML of the pages: templates, values for people, and header fields that keep pages safe."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from werkzeug.exceptions import NotFound, ServiceUnavailable
from werkzeug.wrappers import Request, Response

from dcmweb.archive.routes import PAGES_PATH
from dcmweb.archive.search import element
from dcmweb.archive.storage.attributes import INDEXED
from dcmweb.archive.storage.index import Entry
from dcmweb.dicom.readable import displayable, readable

if TYPE_CHECKING:
    from jinja2 import Environment

# Scripts, styles and pictures come from the archive alone, and none of them is within a page.
_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_STATIC = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "viewer.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_LONGEST_NOTE = 300  # characters of a reason that are written into a picture
_LINE = 38  # characters


def page(template: str, status: int = 200, **values: Any) -> Response:
    """Answer with a page, which no cache keeps: it has data of patients."""
    text = _environment().get_template(template).render(values)
    response = Response(text.encode("utf-8", "replace"), status)
    response.content_type = "text/html; charset=utf-8"
    response.headers["Cache-Control"] = "no-store"
    return safe(response)


def safe(response: Response) -> Response:
    """Add the header fields that keep a page from loading, or being part of, anything foreign."""
    response.headers.update(_HEADERS)
    return response


def static(name: str, request: Request) -> Response:
    """Answer with a style sheet, script or icon."""
    if name not in _STATIC:
        raise NotFound(f"there is no {name[:100]!r}")
    content = files(__package__).joinpath("static", name).read_bytes()
    response = safe(Response(content, content_type=_STATIC[name]))
    return revalidated(response, hashlib.sha256(content).hexdigest()[:16], request)


def revalidated(response: Response, tag: str, request: Request) -> Response:
    """Let the browser keep an answer, and ask each time whether it is still the same."""
    response.set_etag(tag)
    response.headers["Cache-Control"] = "private, no-cache"
    return response.make_conditional(request)


def note_picture(reason: str) -> Response:
    """Answer with a picture that says why there is none."""
    words = displayable(" ".join(reason.split()))[:_LONGEST_NOTE].split(" ")
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) >= _LINE:
            lines.append("")
        lines[-1] += f" {word}"[:_LINE]
    first = 160 - 10 * len(lines)
    text = "".join(
        f'<text x="160" y="{first + 20 * n}">{escape(line)}</text>' for n, line in enumerate(lines)
    )
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 320" width="320" height="320">'
        '<rect width="320" height="320" fill="#20262e"/>'
        '<g fill="#d5dae1" font-family="sans-serif" font-size="14" text-anchor="middle">'
        f"{text}</g></svg>"
    )
    return safe(Response(svg, content_type="image/svg+xml"))


def command_line(arguments: Sequence[str], user: str = "") -> str:
    """Write a dcmweb command as it is typed into a shell."""
    credentials = ["--user", user] if user else []
    return shlex.join(["dcmweb", *credentials, *arguments])


def shown(entry: Entry, keyword: str) -> str:
    """Write a value of the index for people."""
    text = entry.values.get(keyword, "")
    return displayable(readable([element(INDEXED[keyword].vr, text)])) if text else ""


def clock(text: str) -> str:
    """Write a time without its seconds."""
    return text[:5] if text[2:3] == ":" else text


@lru_cache(maxsize=1)
def _environment() -> Environment:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ModuleNotFoundError:
        hint = "pages need Jinja2: pip install 'dcmweb[archive]'"
        raise ServiceUnavailable(hint) from None

    environment = Environment(
        loader=PackageLoader("dcmweb.archive.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"pages": PAGES_PATH, "shown": shown, "clock": clock}
    environment.filters["displayable"] = displayable
    return environment
