"""Writes a contact sheet: as a page that needs nothing else, or as one picture."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from dcmweb.dicom.readable import displayable
from dcmweb.errors import ProtocolError
from dcmweb.local.partial_files import partial_file, sync_file
from dcmweb.transactions.contact_sheet.options import SIDE, SheetOptions
from dcmweb.transactions.contact_sheet.tiles import Tile, Tiles

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

MOST_IN_PICTURE = 1000  # series: a picture of them takes some hundred megabytes of memory
_WARNING = "This sheet shows data of patients: keep it as you keep their images."
_COLUMNS, _TEXT, _GAP = 6, 66, 12  # of the picture; lines of text and gaps in pixels
_LARGEST_SIDE = 20_000  # pixels of a picture that is scaled down
_STYLE = """
:root{color-scheme:light dark;--ground:#f6f7f9;--sheet:#fff;--text:#1c2430;--faint:#5b6675;
--line:#dfe3e9;--bad:#b42318}
@media (prefers-color-scheme:dark){:root{--ground:#12161c;--sheet:#1a2029;--text:#e4e8ee;
--faint:#9aa6b5;--line:#2d3643;--bad:#ff8a7d}}
body{margin:0 auto;max-width:1600px;padding:16px 24px;background:var(--ground);color:var(--text);
font:15px/1.4 system-ui,"Segoe UI","Noto Sans","DejaVu Sans",sans-serif;overflow-wrap:anywhere}
h1{font-size:20px;margin:0 0 4px}h2{font-size:16px;margin:24px 0 8px}p{margin:4px 0}
.faint{color:var(--faint)}.warning{font-weight:600}
main{display:flex;flex-wrap:wrap;gap:0 24px;align-items:flex-start}section{max-width:100%}
section>h2,section>p{width:0;min-width:100%}section>p.faint{font-size:12px}
ul{display:flex;flex-wrap:wrap;gap:12px;margin:8px 0 0;padding:0;list-style:none}
li{width:236px;background:var(--sheet);border:1px solid var(--line);border-radius:8px;padding:8px}
figure{margin:0}.picture{position:relative;display:grid;place-items:center;height:220px;
background:#0b0e12;border-radius:5px;overflow:hidden;color:#c9d1db;text-align:center}
.picture img{position:absolute;inset:0;width:100%;height:100%;object-fit:contain}
.picture p{padding:12px}.failed .picture p{color:#ffb4aa}figcaption p{margin:4px 0 0}
li,ul{box-sizing:border-box}
@media print{li{break-inside:avoid}}
"""


def write_sheet(tiles: Tiles, options: SheetOptions, server: str) -> None:
    """Write the file at once when it is complete. Raises LocalError if it cannot be written."""
    pieces = _picture(tiles, server) if options.is_picture else _page(tiles, server)
    path = os.path.realpath(options.file)  # what a link points to, not the link
    folder, name = os.path.split(path)
    with partial_file(folder) as partial:
        for piece in pieces:
            partial.write(piece)
        sync_file(partial.file)
        partial.move_to(name)


def _said(tiles: Tiles) -> str:
    failed = sum(tile.is_failure for tile in tiles)
    series = f"{len(tiles):,} series"
    return f"{series}, {failed:,} of them without their picture" if failed else series


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(" ", "seconds").replace("+00:00", " UTC")


def _page(tiles: Tiles, server: str) -> Iterator[bytes]:
    """Make the page piece by piece; its pictures are within it."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Contact sheet</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<h1>Contact sheet</h1>\n<p class="warning">{_WARNING}</p>\n'
        f'<p class="faint">{escape(_said(tiles))} · {escape(server)} · {_now()}</p>\n<main>\n'
    ).encode()
    for (patient, about, study), group in groupby(
        tiles, lambda tile: (tile.patient, tile.about_study, tile.study)
    ):
        head = f"<h2>{_value(patient or 'no name')}</h2>" if study else "<h2>Not listed</h2>"
        yield (
            f'<section>\n{head}\n<p>{_value(about)}</p>\n<p class="faint">{_value(study)}</p>\n'
            "<ul>\n"
        ).encode("utf-8", "replace")
        for tile in group:
            yield from _figure(tile)
        yield b"</ul>\n</section>\n"
    yield b"</main>\n</body>\n</html>\n"


def _figure(tile: Tile) -> Iterator[bytes]:
    yield f'<li{" class=failed" if tile.is_failure else ""}><figure><div class="picture">'.encode()
    if tile.picture:
        yield f'<img alt="" src="data:{tile.media_type};base64,'.encode()
        yield base64.b64encode(tile.content)
        yield b'">'
    else:
        yield f"<p>{_value(_problem(tile))}</p>".encode("utf-8", "replace")
    yield (
        f"</div><figcaption><p><strong>{_value(tile.modality or '?')}</strong> "
        f"{_value(_name(tile))}</p>"
        f'<p class="faint">{_value(_below(tile))}</p></figcaption></figure></li>\n'
    ).encode("utf-8", "replace")


def _name(tile: Tile) -> str:
    return tile.description or ("no description" if tile.study else tile.item)


def _problem(tile: Tile) -> str:
    return f"Not shown: {tile.problem}" if tile.is_failure else tile.problem


def _below(tile: Tile) -> str:
    number = f"series {tile.number}" if tile.number else ""
    return " · ".join(filter(None, [number, tile.counts]))


def _value(text: str) -> str:
    """Write a value as itself, whatever is in it."""
    return f"<bdi>{escape(displayable(text))}</bdi>"


# As a picture.


def shrunk(content: bytes) -> bytes:
    """Scale a picture down to its tile. Raises ProtocolError if it cannot be read."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as picture:
            if max(picture.size) > _LARGEST_SIDE:
                raise ValueError(f"it has {picture.width} x {picture.height} pixels")
            picture.thumbnail((SIDE, SIDE))
            buffer = io.BytesIO()
            picture.convert("RGB").save(buffer, "PNG")
            return buffer.getvalue()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ProtocolError(f"the picture cannot be read: {error}") from error


def _picture(tiles: Tiles, server: str) -> Iterable[bytes]:
    """Draw all tiles, and the warning above them."""
    from PIL import Image, ImageDraw, ImageFont

    columns = min(_COLUMNS, max(len(tiles), 3))
    rows = -(-len(tiles) // columns)
    width = columns * (SIDE + _GAP) + _GAP
    head = 64
    sheet = Image.new("RGB", (width, head + rows * (SIDE + _TEXT + _GAP)), "#f6f7f9")
    draw = ImageDraw.Draw(sheet)
    small = ImageFont.load_default(13)
    lines = [_WARNING, f"{_said(tiles)} · {displayable(server)} · {_now()}"]
    for number, line in enumerate(lines):
        _write(draw, (_GAP, 10 + 24 * number), line, small, width - 2 * _GAP)
    for number, tile in enumerate(tiles):
        left = _GAP + number % columns * (SIDE + _GAP)
        top = head + number // columns * (SIDE + _TEXT + _GAP)
        _draw_tile(sheet, draw, tile, (left, top))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return [buffer.getvalue()]


def _draw_tile(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, at: tuple[int, int]
) -> None:
    from PIL import Image, ImageFont

    left, top = at
    small = ImageFont.load_default(13)
    draw.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), "#0b0e12")
    if tile.picture:
        with Image.open(io.BytesIO(tile.content)) as picture:
            x, y = (SIDE - picture.width) // 2, (SIDE - picture.height) // 2
            sheet.paste(picture, (left + x, top + y))
    else:
        colour = "#ffb4aa" if tile.is_failure else "#c9d1db"
        for number, line in enumerate(_wrapped(_problem(tile), 34)[:8]):
            draw.text((left + 10, top + 90 + 18 * number), line, colour, font=small)
    lines = [
        f"{tile.modality or '?'}  {_name(tile)}",
        _below(tile),
        tile.patient,
    ]
    for number, line in enumerate(lines):
        _write(draw, (left, top + SIDE + 4 + 20 * number), line, small, SIDE)


def _write(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, font: object, width: int
) -> None:
    """Write a line, cut to a width."""
    line = displayable(text).replace("\n", " ")
    while line and draw.textlength(line, font=font) > width:  # type: ignore[arg-type]
        line = line[: -max(1, len(line) // 20)]
    draw.text(at, line, "#1c2430", font=font)  # type: ignore[arg-type]


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(displayable(text), width)
