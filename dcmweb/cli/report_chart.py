"""A chart of how much was moved over time, as inline SVG."""

from __future__ import annotations

import html
import time

from dcmweb.cli.text import duration
from dcmweb.counted import size
from dcmweb.library.run_history import Timeline

MOST_BARS = 120
_WIDTH, _HEIGHT, _LEFT, _TOP, _BELOW = 720, 220, 100, 14, 24


def chart(timeline: Timeline, number: int) -> str:
    """Return a chart of bytes per second, or of items where no bytes were moved."""
    slices = list(timeline.slices(MOST_BARS))
    if not slices:
        return "<p>The manifests say nothing of when items were done.</p>"
    in_bytes = any(one.bytes for _, one in slices)
    rates = [(one.bytes if in_bytes else one.items) / timeline.width for _, one in slices]
    most = max(rates)
    top = f"{size(most)}/s" if in_bytes else f"{most:,.1f} items/s"
    begin, end = slices[0][0], slices[-1][0] + timeline.width
    step = (_WIDTH - _LEFT) / len(slices)
    floor, scale = _HEIGHT - _BELOW, (_HEIGHT - _BELOW - _TOP) / most
    bars = [
        f'<rect x="{_LEFT + at * step:.1f}" y="{floor - rate * scale:.1f}"'
        f' width="{max(step - 1, 0.5):.1f}" height="{rate * scale:.1f}"/>'
        for at, rate in enumerate(rates)
        if rate
    ]
    what = "Bytes" if in_bytes else "Items"
    said = (
        f"{what} per second from {_moment(begin)} to {_moment(end)}, in parts of "
        f"{duration(timeline.width)}. The highest rate is {top}. An item counts when it was done."
    )
    lines = [
        f"<figure><figcaption>{html.escape(said)}</figcaption>",
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="chart-{number}">',
        f'<title id="chart-{number}">{html.escape(said)}</title>',
        *bars,
        f'<line x1="{_LEFT}" y1="{floor}" x2="{_WIDTH}" y2="{floor}"/>',
        f'<line x1="{_LEFT}" y1="{_TOP}" x2="{_LEFT}" y2="{floor}"/>',
        _text(_LEFT - 6, _TOP + 4, "end", top),
        _text(_LEFT - 6, floor, "end", "0"),
        _text(_LEFT, _HEIGHT - 6, "start", _moment(begin)),
        _text(_WIDTH, _HEIGHT - 6, "end", _moment(end)),
        "</svg></figure>",
    ]
    return "\n".join(lines)


def _text(x: int, y: int, anchor: str, text: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
