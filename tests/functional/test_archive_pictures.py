"""Renderings and thumbnails of the embedded archive."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import numpy as np
import pytest
import requests
from PIL import Image

from tests.conftest import make_instance, write_files
from tests.functional.archives import (
    GOOGLE,
    STANDARD,
    Running,
    bodies,
    changed,
    parts_of,
    path_of,
    read,
    running,
    sample,
)

PNG, JPEG, GIF = "image/png", "image/jpeg", "image/gif"
FORMATS = {PNG: "PNG", JPEG: "JPEG", GIF: "GIF"}
PNG_PARTS = 'multipart/related; type="image/png"'
# Stored values 0 to 511 from left to right, on four lines; Hounsfield units are 100 less.
RAMP = np.tile(np.arange(512, dtype="<u2"), (4, 1))


def ramp(instance: str, **values: object) -> bytes:
    """An image on which a window can be seen, pixel by pixel."""
    return changed(
        make_instance("5.1", "5.1.1", instance),
        Rows=4,
        Columns=512,
        PixelData=RAMP.tobytes(),
        RescaleSlope="1",
        RescaleIntercept="-100",
        **values,
    )


FILES = {
    "plain": ramp("5.1.1.1"),
    "windowed": ramp("5.1.1.2", WindowCenter="150", WindowWidth="101"),
    "inverse": ramp("5.1.1.3", PhotometricInterpretation="MONOCHROME1"),
    "CT": sample("CT_small.dcm"),
    "colour": sample("examples_rgb_color.dcm"),
    "palette": sample("examples_palette.dcm"),
    "frames": sample("examples_ybr_color.dcm"),
    "report": sample("test-SR.dcm"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("archive") / "folder"
    write_files(folder, [*FILES.values()])
    with running(folder) as server:
        yield server


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def rendered(
    server: Running, kind: str, query: str = "", accept: str = PNG, frame: int | None = None
) -> requests.Response:
    at = f"{path_of(FILES[kind])}/frames/{frame}" if frame else path_of(FILES[kind])
    return server.get(f"{at}/rendered", accept, params=query)


def line_of(response: requests.Response) -> list[int]:
    """The gray values of the first line."""
    assert response.status_code == 200, response.text
    return [int(gray) for gray in np.asarray(opened(response.content))[0]]


@pytest.mark.parametrize("dialect", [STANDARD, GOOGLE])
@pytest.mark.parametrize("kind", [kind for kind in FILES if kind != "report"])
def test_every_picture_can_be_had_in_every_format(server: Running, dialect: str, kind: str) -> None:
    dataset = read(FILES[kind])
    for below in ("rendered", "frames/1/rendered"):
        path = f"{dialect}/{path_of(FILES[kind])}/{below}"
        for accept, expected in ((None, JPEG), *((name, name) for name in FORMATS)):
            response = server("GET", path, accept)
            assert response.headers["Content-Type"] == expected
            image = opened(response.content)
            assert image.format == FORMATS[expected]
            assert image.size == (dataset.Columns, dataset.Rows)
            assert response.headers["Content-Length"] == str(len(response.content))


def test_colours_are_those_of_the_file(server: Running) -> None:
    image = opened(rendered(server, "colour").content)
    assert (np.asarray(image) == read(FILES["colour"]).pixel_array).all()
    assert opened(rendered(server, "palette").content).mode == "RGB"


def test_without_a_window_the_values_are_stretched_to_all_grays(server: Running) -> None:
    line = line_of(rendered(server, "plain"))
    assert (line[0], line[-1], line == sorted(line)) == (0, 255, True)
    assert line_of(rendered(server, "inverse")) == [255 - gray for gray in line]


@pytest.mark.parametrize(
    ("kind", "query", "black", "white"),
    [
        # The last stored value that is black, and the first that is white.
        ("windowed", "", 199, 300),
        ("plain", "window=150,101,linear", 199, 300),
        ("windowed", "window=0,51,LINEAR", 74, 125),
        ("plain", "window=150,100,linear-exact", 200, 300),
        ("plain", "window=-99,2,linear", 0, 1),
    ],
)
def test_a_window_is_in_units_of_the_modality(
    server: Running, kind: str, query: str, black: int, white: int
) -> None:
    line = line_of(rendered(server, kind, query))
    assert all(gray == 0 for gray in line[: black + 1])
    assert all(gray == 255 for gray in line[white:])
    between = line[black + 1 : white]
    assert between == sorted(between)
    assert all(0 < gray < 255 for gray in between)
    assert not between or abs(between[len(between) // 2] - 128) <= 5


def test_a_sigmoid_window_has_its_middle_at_its_center(server: Running) -> None:
    line = line_of(rendered(server, "plain", "window=150,100,sigmoid"))
    assert abs(line[250] - 128) <= 1
    assert 0 < line[200] < line[250] < line[300] < 255


@pytest.mark.parametrize(
    ("viewport", "size"),
    [
        ("64,64", (64, 64)),
        ("64,1000", (64, 64)),
        ("256,256", (256, 256)),
        ("10,20", (10, 10)),
        ("32,32,0,0,64,64", (32, 32)),
        ("64,64,0,0,128,32", (64, 16)),
        ("64,64,,,,", (64, 64)),
    ],
)
def test_a_viewport_bounds_the_picture_and_keeps_its_proportions(
    server: Running, viewport: str, size: tuple[int, int]
) -> None:
    response = rendered(server, "CT", f"viewport={viewport}")
    assert opened(response.content).size == size


def test_a_viewport_shows_its_region_and_flips_it(server: Running) -> None:
    whole = np.asarray(opened(rendered(server, "CT").content))
    part = np.asarray(opened(rendered(server, "CT", "viewport=32,16,10,20,32,16").content))
    assert (part == whole[20:36, 10:42]).all()
    flipped = np.asarray(opened(rendered(server, "CT", "viewport=128,128,0,0,-128,128").content))
    assert (flipped == whole[:, ::-1]).all()


def test_a_better_quality_takes_more_bytes_and_is_nearer(server: Running) -> None:
    whole = np.asarray(opened(rendered(server, "CT").content)).astype(int)
    sizes, differences = [], []
    for quality in (5, 50, 100):
        picture = rendered(server, "CT", f"quality={quality}", JPEG).content
        sizes.append(len(picture))
        differences.append(np.abs(np.asarray(opened(picture)).astype(int) - whole).mean())
    assert sizes == sorted(sizes)
    assert differences == sorted(differences, reverse=True)


@pytest.mark.parametrize("dialect", [STANDARD, GOOGLE])
@pytest.mark.parametrize(
    "query",
    [
        "viewport=64",
        "viewport=64,64,1",
        "viewport=0,64",
        "viewport=64,64,500,0,10,10",
        "viewport=99999,10",
        "viewport=a,b",
        "window=40,400",
        "window=40,400,cubic",
        "window=40,0,linear",
        "window=nan,400,linear",
        "quality=0",
        "quality=101",
        "quality=best",
    ],
)
def test_a_rendering_that_makes_no_sense_is_a_bad_request(
    server: Running, dialect: str, query: str
) -> None:
    response = server("GET", f"{dialect}/{path_of(FILES['CT'])}/rendered", params=query)
    assert response.status_code == 400
    words = (
        response.text
        if dialect == STANDARD
        else json.loads(response.content)[0]["error"]["message"]
    )
    assert query.partition("=")[0] in words


def test_frames_are_rendered_each_on_its_own(server: Running) -> None:
    path = path_of(FILES["frames"])
    alone = [rendered(server, "frames", frame=n).content for n in (1, 17, 30)]
    assert len(set(alone)) == 3
    together = server.get(f"{path}/frames/1,17,30/rendered", PNG_PARTS)
    assert bodies(together) == alone
    assert {headers["content-type"] for headers, _ in parts_of(together)} == {PNG}
    assert server.get(f"{path}/frames/31/rendered").status_code == 404
    assert server.get(f"{path}/frames/1,2/rendered", PNG).status_code == 406


@pytest.mark.parametrize("levels", [1, 2])
def test_the_pictures_of_a_study_or_series_come_as_parts(server: Running, levels: int) -> None:
    kinds = ["plain", "windowed", "inverse"]
    parts = parts_of(server.get(f"{path_of(FILES['plain'], levels)}/rendered", PNG_PARTS))
    assert [body for _, body in parts] == [rendered(server, kind).content for kind in kinds]
    assert [headers["content-location"] for headers, _ in parts] == [
        f"{server.url}/{path_of(FILES[kind])}" for kind in kinds
    ]


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize(
    ("kind", "query", "longest"),
    [("CT", "", 128), ("colour", "", 200), ("colour", "viewport=50,50", 50)],
)
def test_a_thumbnail_is_small(
    server: Running, levels: int, kind: str, query: str, longest: int
) -> None:
    for accept, expected in ((None, JPEG), (PNG, PNG)):
        response = server.get(f"{path_of(FILES[kind], levels)}/thumbnail", accept, params=query)
        assert response.headers["Content-Type"] == expected
        assert max(opened(response.content).size) == longest
