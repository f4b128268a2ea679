"""Frames rendered as pictures (PS3.18 sections 8.3.5.1 and 10.4.1.1, PS3.3 section C.11)."""

from __future__ import annotations

import io
import math
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image
from pydicom.pixels.processing import apply_color_lut
from werkzeug.exceptions import BadRequest, NotAcceptable, NotFound

from dcmweb.archive.representations.decoding import Array
from dcmweb.archive.representations.frames import Frames
from dcmweb.archive.representations.luts import LookupTable, read_lut

LARGEST_SIDE = 10_000
LARGEST_PICTURE = 40_000_000  # samples; rendering takes up to 16 bytes of memory for each
_PLACES = threading.BoundedSemaphore(2)  # pictures that are made at a time, as each is large
THUMBNAIL_SIDE = 200
_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/gif": "GIF"}
RENDERED = tuple(_FORMATS)  # media types, the one that is sent by default first
_FUNCTIONS = ("linear", "linear-exact", "sigmoid")
_DEFAULT_QUALITY = 90
# What malformed values lead to; RuntimeError is pydicom's for unknown VRs.
_MALFORMED = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
_Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Viewport:
    """The size to fit into, in pixels, and the region of the frame to show.

    A negative `source_width` or `source_height` flips the picture; None means all of it.
    """

    width: int
    height: int
    x: float = 0
    y: float = 0
    source_width: float | None = None
    source_height: float | None = None


@dataclass(frozen=True)
class Window:
    """A VOI window in units of the modality LUT's output: PS3.3 section C.11.2.1."""

    center: float
    width: float
    function: str = "linear"

    def apply(self, values: _Floats) -> _Floats:
        """Map values to 0..1."""
        if self.function == "sigmoid":
            exponent = np.clip(-4 * (values - self.center) / self.width, -80, 80)
            return np.asarray(1 / (1 + np.exp(exponent)))
        if self.function == "linear-exact":
            return np.asarray(np.clip((values - self.center) / self.width + 0.5, 0, 1))
        if self.width <= 1:
            return np.asarray(values > self.center - 0.5, values.dtype)
        share = (values - (self.center - 0.5)) / (self.width - 1) + 0.5
        return np.asarray(np.clip(share, 0, 1))


@dataclass(frozen=True)
class Rendering:
    """Parameters of rendering; None means the default of the file."""

    viewport: Viewport | None = None
    window: Window | None = None
    quality: int | None = None


def parse_rendered_query(args: Mapping[str, str]) -> Rendering:
    """Read the query parameters viewport, window and quality; raises BadRequest if malformed."""
    viewport, window, quality = (args.get(name) for name in ("viewport", "window", "quality"))
    return Rendering(
        None if viewport is None else _parse_viewport(viewport),
        None if window is None else parse_window(window),
        None if quality is None else _whole("quality", quality, 100),
    )


def _parse_viewport(text: str) -> Viewport:
    values = text.split(",")
    if len(values) not in (2, 6):
        raise BadRequest("viewport is written as width,height or width,height,sx,sy,sw,sh")
    width, height = (_whole("viewport", value, LARGEST_SIDE) for value in values[:2])
    region = [_number("viewport", value) if value.strip() else None for value in values[2:]]
    x, y, source_width, source_height = region or [None] * 4
    if (x or 0) < 0 or (y or 0) < 0 or 0 in (source_width, source_height):
        raise BadRequest("viewport: the region is empty or outside of the picture")
    return Viewport(width, height, x or 0, y or 0, source_width, source_height)


def parse_window(text: str) -> Window:
    """Read `center,width,function`; raises BadRequest if it is malformed."""
    values = text.split(",")
    if len(values) != 3:
        raise BadRequest("window is written as center,width,function")
    center, width = (_number("window", value) for value in values[:2])
    function = values[2].strip().lower()
    if function not in _FUNCTIONS:
        raise BadRequest(f"window: the function is one of {', '.join(_FUNCTIONS)}")
    if width < 1 if function == "linear" else width <= 0:
        raise BadRequest("window: the width is too small")
    return Window(center, width, function)


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadRequest(f"{name}: {text!r} is not a number")
    return value


def _whole(name: str, text: str, most: int) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise BadRequest(f"{name}: {text!r} is not a whole number from 1 to {most}")
    return int(text)


def render(path: str, frame: int, media_type: str, rendering: Rendering) -> bytes:
    """Render a frame, counted from 1, as PNG, JPEG or GIF with 8 bits per sample.

    Raises NotFound if there is no such frame, NotAcceptable if it cannot be decoded or encoded,
    BadRequest if the region asked for is outside of it.
    """
    with _PLACES:
        picture = _picture(path, frame, rendering.window)
        if rendering.viewport:
            picture = _fitted(picture, rendering.viewport)
        return _encoded(picture, media_type, rendering.quality)


def thumbnail(
    path: str,
    frame: int = 1,
    media_type: str = "image/jpeg",
    size: int = THUMBNAIL_SIDE,
    viewport: Viewport | None = None,
) -> bytes:
    """Render a frame so that its longest side has at most `size` pixels, or to fit a viewport."""
    if viewport:
        return render(path, frame, media_type, Rendering(viewport))
    with _PLACES:
        picture = _picture(path, frame, None)
        if max(picture.size) > size:
            picture = _fitted(picture, Viewport(size, size))
        return _encoded(picture, media_type, None)


def _picture(path: str, frame: int, window: Window | None) -> Image.Image:
    frames, array, colours = _decoded(path, frame)
    with _rendering(frame):
        shown = _shown(array, colours, frames.header, frame, window)
    return Image.fromarray(np.ascontiguousarray(shown))


def _decoded(path: str, frame: int) -> tuple[Frames, Array, str]:
    frames = Frames(path)
    if frames.element is None:
        raise NotFound("the instance has no pixel data to render")
    if frames.samples > LARGEST_PICTURE:
        raise NotAcceptable(f"a frame has more than {LARGEST_PICTURE:,} samples to be rendered")
    return frames, *frames.decoded(frame)


@contextmanager
def _rendering(frame: int) -> Iterator[None]:
    """Translate what malformed values lead to."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except _MALFORMED as error:
        raise NotAcceptable(f"frame {frame} cannot be rendered: {error}") from error


def _shown(
    array: Array, colours: str, header: pydicom.Dataset, frame: int, window: Window | None
) -> npt.NDArray[np.uint8]:
    if colours == "PALETTE COLOR":
        palette = apply_color_lut(array, header)
        bits = int(header.RedPaletteColorLookupTableDescriptor[2])
        # Entries of 8 bits may stand in words of 16 (PS3.3 section C.7.6.3.1.6).
        is_narrow = palette.dtype == np.uint8 or (bits == 8 and palette.max(initial=0) < 256)
        return (palette if is_narrow else palette >> 8).astype(np.uint8)
    if array.ndim == 3:
        stored = int(header.get("BitsStored") or 8)
        whole = array if stored == 8 else array * (255 / (2**stored - 1)) + 0.5
        return np.clip(whole, 0, 255).astype(np.uint8)
    gray = _gray(array, header, frame, window)
    if (colours == "MONOCHROME1") or header.get("PresentationLUTShape") == "INVERSE":
        gray = 1 - gray
    return (np.nan_to_num(gray, nan=0) * 255 + 0.5).astype(np.uint8)


def _gray(array: Array, header: pydicom.Dataset, frame: int, window: Window | None) -> _Floats:
    """Map stored values to 0..1 through modality and VOI (PS3.3 sections C.11.1 and C.11.2)."""
    values = _modality(array, header, frame)
    if window:
        return window.apply(values)
    if table := _lut(header, "VOILUTSequence"):
        return np.asarray(np.clip(table.apply(values) / table.maximum, 0, 1))
    if own := _own_window(header, frame):
        return own.apply(values)
    if header.get("BitsAllocated") == 1:
        return np.asarray(array, np.float32)
    return _stretched(values, ~_padding(array, header) & np.isfinite(values))


def _own_window(header: pydicom.Dataset, frame: int) -> Window | None:
    """Read the window that a file has for a frame."""
    voi = _group(header, frame, "FrameVOILUTSequence")
    center, width = _first(voi.get("WindowCenter")), _first(voi.get("WindowWidth"))
    if center is None or width is None or width <= 0:
        return None
    function = str(voi.get("VOILUTFunction") or "linear").lower().replace("_", "-")
    return Window(center, width, function)


def shown_window(path: str, frame: int) -> Window | None:
    """Return the window that a frame is shown with by default, None for a picture in colour.

    Where the file has none, it is that of the range of values. Errors as of `render`.
    """
    with _PLACES:
        frames, array, colours = _decoded(path, frame)
        if array.ndim == 3 or colours == "PALETTE COLOR":
            return None
        with _rendering(frame):
            if own := _own_window(frames.header, frame):
                return own
            values = _modality(array, frames.header, frame)
            counted = values[np.isfinite(values) & ~_padding(array, frames.header)]
            if not counted.size:
                return Window(0, 1)
            low, high = float(counted.min()), float(counted.max())
            return Window((low + high) / 2, max(high - low, 1))


def _modality(array: Array, header: pydicom.Dataset, frame: int) -> _Floats:
    if table := _lut(header, "ModalityLUTSequence"):
        return np.asarray(table.apply(array), np.float64)
    exact = array.dtype.itemsize > 2
    values: _Floats = array.astype(np.float64 if exact else np.float32)
    rescale = _group(header, frame, "PixelValueTransformationSequence")
    slope, intercept = _first(rescale.get("RescaleSlope")), _first(rescale.get("RescaleIntercept"))
    return values * (1 if slope is None else slope) + (intercept or 0)


def _lut(header: pydicom.Dataset, name: str) -> LookupTable | None:
    items = header.get(name)
    is_big_endian = getattr(header, "original_encoding", (None, True))[1] is False
    return read_lut(items[0], is_big_endian=is_big_endian) if items else None


def _stretched(values: _Floats, counted: npt.NDArray[np.bool_]) -> _Floats:
    """Map the least of the counted values to 0, the greatest to 1.

    Padding counts if there is only one other value: segmentations name their background so.
    """
    finite = np.isfinite(values)
    if counted.any() and values[counted].min() == values[counted].max():
        counted = finite
    if not counted.any():
        return np.zeros_like(values)
    low, high = values[counted].min(), values[counted].max()
    return np.asarray(np.clip((values - low) / ((high - low) or 1), 0, 1))


def _padding(array: Array, header: pydicom.Dataset) -> npt.NDArray[np.bool_]:
    """Mark the values that pad the frame (PS3.3 section C.7.5.1.1.2)."""
    names = [n for n in ("PixelPaddingValue", "FloatPixelPaddingValue") if n in header]
    value = header.get(names[0]) if names else None
    if value is None:
        return np.zeros(array.shape, np.bool_)
    limit = header.get(names[0].replace("Value", "RangeLimit"), value)
    limit = value if limit is None else limit
    return np.asarray((array >= min(value, limit)) & (array <= max(value, limit)))


def _group(header: pydicom.Dataset, frame: int, name: str) -> pydicom.Dataset:
    """Find a functional group of a frame (PS3.3 section C.7.6.16); else the data set itself."""
    each = header.get("PerFrameFunctionalGroupsSequence") or ()
    shared = header.get("SharedFunctionalGroupsSequence") or ()
    for groups in (*each[frame - 1 : frame], *shared[:1]):
        if items := groups.get(name):
            found: pydicom.Dataset = items[0]
            return found
    return header


def _first(value: Any) -> float | None:
    if isinstance(value, pydicom.multival.MultiValue):
        value = value[0] if value else None
    return None if value in (None, "") else float(value)


def _fitted(picture: Image.Image, viewport: Viewport) -> Image.Image:
    """Cut out the region, flip it, and scale it into the viewport, its proportions kept."""
    width, height = picture.size
    across = viewport.source_width or width - viewport.x
    down = viewport.source_height or height - viewport.y
    left, top = int(viewport.x), int(viewport.y)
    right = min(width, math.ceil(viewport.x + abs(across)))
    bottom = min(height, math.ceil(viewport.y + abs(down)))
    if left >= right or top >= bottom:
        raise BadRequest(f"viewport: the region is outside of the {width} x {height} pixels")
    picture = picture.crop((left, top, right, bottom))
    if across < 0:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if down < 0:
        picture = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    scale = min(viewport.width / picture.width, viewport.height / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR)


def _encoded(picture: Image.Image, media_type: str, quality: int | None) -> bytes:
    if media_type not in _FORMATS:
        raise NotAcceptable(f"rendered images are not available as {media_type}")
    options = {"quality": quality or _DEFAULT_QUALITY} if media_type == "image/jpeg" else {}
    file = io.BytesIO()
    try:
        picture.save(file, _FORMATS[media_type], **options)
    except (OSError, ValueError) as error:
        raise NotAcceptable(f"the image cannot be encoded: {error}") from error
    return file.getvalue()
