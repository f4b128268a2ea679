"""Pictures of frames: what is asked for, and what is seen."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from werkzeug.exceptions import BadRequest, NotAcceptable, NotFound

from dcmweb.archive.representations.rendering import (
    Rendering,
    Viewport,
    Window,
    parse_rendered_query,
    render,
    thumbnail,
)
from tests.conftest import make_instance
from tests.unit.archive.test_frames import READABLE, SHIPPED, make

RAMP = bytes(range(0, 150, 10)) + b"\0"  # 3 rows, 5 columns


def picture(path: Path, frame: int = 1, **asked: object) -> Image.Image:
    data = render(str(path), frame, "image/png", Rendering(**asked))  # type: ignore[arg-type]
    return Image.open(io.BytesIO(data))


def pixels(path: Path, frame: int = 1, **asked: object) -> list[int]:
    return [int(v) for v in np.asarray(picture(path, frame, **asked)).ravel()]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("viewport", "10"),
        ("viewport", "0,10"),
        ("viewport", "10001,10"),
        ("viewport", "10,x"),
        ("viewport", "10,10,0,0"),
        ("viewport", "10,10,-1,0,5,5"),
        ("viewport", "10,10,0,0,0,5"),
        ("window", "1,2"),
        ("window", "1,0,linear"),
        ("window", "nan,2,linear"),
        ("window", "1,2,cubic"),
        ("quality", "0"),
        ("quality", "101"),
        ("quality", ""),
    ],
)
def test_nonsense_is_turned_down(name: str, text: str) -> None:
    with pytest.raises(BadRequest, match=name):
        parse_rendered_query({name: text})


def test_parameters_are_read() -> None:
    args = {"viewport": "20,10,,1,-3,", "window": "40,400,sigmoid", "quality": "7", "other": "x"}
    viewport = Viewport(20, 10, 0, 1, -3, None)
    assert parse_rendered_query(args) == Rendering(viewport, Window(40, 400, "sigmoid"), 7)
    assert parse_rendered_query({}) == Rendering()


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize(
    ("media_type", "kind"), [("image/png", "PNG"), ("image/jpeg", "JPEG"), ("image/gif", "GIF")]
)
@pytest.mark.filterwarnings("ignore")
def test_every_kind_of_frame_is_rendered(name: str, media_type: str, kind: str) -> None:
    seen = Image.open(io.BytesIO(render(str(SHIPPED / name), 1, media_type, Rendering())))
    low, high = seen.convert("L").getextrema()
    assert seen.format == kind
    assert low != high


def test_values_are_stretched_without_a_window(tmp_path: Path) -> None:
    seen = pixels(make(tmp_path / "a", RAMP))
    assert (seen[0], seen[7], seen[14]) == (0, 128, 255)


def test_monochrome1_is_inverted_once(tmp_path: Path) -> None:
    values = {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}
    seen = pixels(make(tmp_path / "a", RAMP, **values))
    assert (seen[0], seen[14]) == (255, 0)


def test_padding_does_not_count(tmp_path: Path) -> None:
    path = make(tmp_path / "a", RAMP[:14] + b"\xff\0", PixelPaddingValue=255)
    assert pixels(path)[13] == 255


@pytest.mark.parametrize("low", [0, 1, 3])
def test_segmentations_with_padding_are_seen(tmp_path: Path, low: int) -> None:
    data = bytes([low, low, low + 1] * 5) + b"\0"
    path = make(tmp_path / "a", data, PixelPaddingValue=low)
    assert pixels(path) == [0, 0, 255] * 5


def lut(data: Any, *, bits: int, vr: str = "US", first: int = 0, entries: int = 4) -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [entries, first, bits])
    item.add_new("LUTData", vr, data)
    return Sequence([item])


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("VOILUTSequence", lut([0, 51, 102, 255], bits=8), [0, 51, 102, 255]),
        ("VOILUTSequence", lut([0, 1024, 2048, 4095], bits=8), [0, 64, 128, 255]),
        ("VOILUTSequence", lut([0, 1024, 2048, 4095], bits=12), [0, 64, 128, 255]),
        ("VOILUTSequence", lut(b"\x00\x33\x66\xff", bits=8, vr="OW"), [0, 51, 102, 255]),
        ("VOILUTSequence", lut([0, 65535], bits=16, first=1, entries=2), [0, 0, 255, 255]),
        ("ModalityLUTSequence", lut([0, 1000, 2000, 4000], bits=8), [0, 64, 128, 255]),
        ("ModalityLUTSequence", lut([0, 1000, 2000, 4000], bits=16), [0, 64, 128, 255]),
    ],
)
def test_lookup_tables(tmp_path: Path, name: str, values: Sequence, expected: list[int]) -> None:
    data = bytes([0, 1, 2, 3]) * 4
    given: dict[str, Any] = {name: values}
    path = make(tmp_path / "a", data, **given)
    assert pixels(path)[:4] == expected


@pytest.mark.parametrize(
    ("bits", "width", "entries", "expected"),
    [(8, 1, [0, 51, 102, 255], 51), (8, 2, [0, 51, 102, 255], 51), (16, 2, [0, 13107, 0, 1], 51)],
)
def test_palettes(tmp_path: Path, bits: int, width: int, entries: list[int], expected: int) -> None:
    table = np.array(entries, f"<u{width}").tobytes()
    values: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name in ("Red", "Green", "Blue"):
        values[f"{name}PaletteColorLookupTableDescriptor"] = [4, 0, bits]
        values[f"{name}PaletteColorLookupTableData"] = table
    path = make(tmp_path / "a", bytes([0, 1, 2, 3]) * 4, **values)
    assert pixels(path)[:6] == [0, 0, 0] + [expected] * 3


def test_an_empty_lookup_table_cannot_be_applied(tmp_path: Path) -> None:
    path = make(tmp_path / "a", RAMP, VOILUTSequence=lut(b"", bits=8, vr="OW"))
    with pytest.raises(NotAcceptable, match="lookup table"):
        pixels(path)


def test_window_of_the_file_applies_to_rescaled_values(tmp_path: Path) -> None:
    values: dict[str, Any] = {"RescaleSlope": 2, "RescaleIntercept": -100}
    path = make(tmp_path / "a", RAMP, WindowCenter=0, WindowWidth=81, **values)
    seen = pixels(path)
    assert (seen[3], seen[5], seen[7]) == (2, 129, 255)  # -40, 0 and 40


@pytest.mark.parametrize(
    ("function", "expected"), [("linear", 129), ("linear-exact", 128), ("sigmoid", 128)]
)
def test_window_asked_for(tmp_path: Path, function: str, expected: int) -> None:
    seen = pixels(make(tmp_path / "a", RAMP), window=Window(50, 81, function))
    assert seen[5] == expected
    assert seen == sorted(seen)


def test_windows_of_frames(tmp_path: Path) -> None:
    groups = []
    for center in (20, 120):
        voi, group = Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth = center, 1
        group.FrameVOILUTSequence = Sequence([voi])
        groups.append(group)
    values: dict[str, Any] = {
        "PerFrameFunctionalGroupsSequence": Sequence(groups),
        "NumberOfFrames": 2,
    }
    path = make(tmp_path / "a", RAMP[:15] * 2, **values)
    assert [pixels(path, frame).count(255) for frame in (1, 2)] == [13, 3]


def test_proportions_are_kept(tmp_path: Path) -> None:
    path = make(tmp_path / "a", RAMP)
    assert picture(path, viewport=Viewport(50, 50)).size == (50, 30)
    assert picture(path, viewport=Viewport(50, 3)).size == (5, 3)


def test_region_is_cut_out_and_flipped(tmp_path: Path) -> None:
    path = make(tmp_path / "a", RAMP)
    full = np.asarray(picture(path))
    flipped = np.asarray(picture(path, viewport=Viewport(2, 2, 1, 1, -2, -2)))
    assert np.array_equal(flipped, full[1:3, 1:3][::-1, ::-1])
    with pytest.raises(BadRequest, match="outside"):
        picture(path, viewport=Viewport(2, 2, 5, 0, 2, 2))


def test_thumbnails_are_small() -> None:
    path = str(SHIPPED / "examples_ybr_color.dcm")
    assert max(Image.open(io.BytesIO(thumbnail(path))).size) == 200
    asked = thumbnail(path, 1, "image/png", viewport=Viewport(32, 32))
    assert max(Image.open(io.BytesIO(asked)).size) == 32


def test_quality_makes_a_difference() -> None:
    path = str(SHIPPED / "CT_small.dcm")
    low, high = (render(path, 1, "image/jpeg", Rendering(quality=q)) for q in (5, 95))
    assert len(low) < len(high)


def test_what_cannot_be_shown(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no pixel data to render"):
        picture(SHIPPED / "test-SR.dcm")
    path = make(tmp_path / "a", RAMP)
    with pytest.raises(NotFound, match="only 1"):
        picture(path, 2)
    with pytest.raises(NotAcceptable):
        render(str(path), 1, "image/webp", Rendering())


def test_a_picture_that_would_take_much_memory_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(make_instance())
    assert render(str(path), 1, "image/png", Rendering())
    monkeypatch.setattr("dcmweb.archive.representations.rendering.LARGEST_PICTURE", 10)
    with pytest.raises(NotAcceptable, match="more than 10 samples"):
        render(str(path), 1, "image/png", Rendering())
    with pytest.raises(NotAcceptable, match="more than 10 samples"):
        thumbnail(str(path))
