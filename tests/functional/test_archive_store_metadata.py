"""Storing instances as metadata and bulk data, of which the archive makes files."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, SecondaryCaptureImageStorage

from dcmweb.dicom.native_xml import write_native_xml
from tests.functional.archives import (
    AS_STORED,
    GOOGLE,
    STANDARD,
    Part,
    Running,
    body_of,
    module_of,
    multipart,
    new_series,
    running,
    uids,
    value,
    values,
)

JSON, XML = "application/dicom+json", "application/dicom+xml"
REFERENCED, FAILED = "00081199", "00081198"
WIDTH, HEIGHT = 64, 48
PIXELS = "http://client.invalid/pixels"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("archive") / "folder") as server:
        yield server


def picture() -> Image.Image:
    """A picture that JPEG hardly changes."""
    across, down = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    return Image.fromarray((across * 2 + down * 2).astype(np.uint8))


def jpeg() -> bytes:
    file = io.BytesIO()
    picture().save(file, "JPEG", quality=95)
    return file.getvalue()


def metadata(syntax: str = "", pixels: dict[str, Any] | None = None) -> dict[str, Any]:
    """Describe an instance that no other test has, its pixels elsewhere."""
    study, series, instance = uids(new_series()[0])
    elements: dict[str, tuple[str, Any]] = {
        "00080016": ("UI", SecondaryCaptureImageStorage),
        "00080018": ("UI", instance),
        "00080060": ("CS", "OT"),
        "00100010": ("PN", {"Alphabetic": "Müller^Jürgen"}),
        "0020000D": ("UI", study),
        "0020000E": ("UI", series),
        "00280002": ("US", 1),
        "00280004": ("CS", "MONOCHROME2"),
        "00280010": ("US", HEIGHT),
        "00280011": ("US", WIDTH),
        "00280100": ("US", 8),
        "00280101": ("US", 8),
        "00280102": ("US", 7),
        "00280103": ("US", 0),
    }
    if syntax:
        elements["00020010"] = ("UI", syntax)
    dataset: dict[str, Any] = {
        tag: {"vr": vr, "Value": [content]} for tag, (vr, content) in sorted(elements.items())
    }
    return {**dataset, "7FE00010": pixels or {"vr": "OB", "BulkDataURI": PIXELS}}


def described(*datasets: dict[str, Any], kind: str = JSON) -> Part:
    content = json.dumps(datasets).encode() if kind == JSON else write_native_xml(datasets[0])
    return {"Content-Type": kind}, content


def bulk(content: bytes, media_type: str, location: str = PIXELS) -> Part:
    return {"Content-Type": media_type, "Content-Location": location}, content


def store(
    server: Running, *parts: Part, kind: str = JSON, dialect: str = STANDARD
) -> requests.Response:
    body = body_of(parts)
    return server("POST", f"{dialect}/studies", JSON, data=body, headers=multipart(kind))


def fetched(server: Running, dataset: dict[str, Any]) -> pydicom.FileDataset:
    study, series, instance = (value(dataset, tag) for tag in ("0020000D", "0020000E", "00080018"))
    path = f"studies/{study}/series/{series}/instances/{instance}"
    response = server.get(path, AS_STORED)
    assert response.status_code == 200, response.text
    assert server.files()[f"{study}/{series}/{instance}.dcm"] == response.content
    return pydicom.dcmread(io.BytesIO(response.content))


@pytest.mark.parametrize("dialect", [STANDARD, GOOGLE])
@pytest.mark.parametrize("kind", [JSON, XML])
@pytest.mark.parametrize(
    ("media_type", "syntax"),
    [
        (f"image/jpeg; transfer-syntax={JPEGBaseline8Bit}", JPEGBaseline8Bit),
        ("image/jpeg", JPEGBaseline8Bit),
        ("application/octet-stream", ""),
    ],
)
def test_metadata_and_pixels_become_an_instance_that_can_be_decoded(
    server: Running, dialect: str, kind: str, media_type: str, syntax: str
) -> None:
    dataset = metadata(syntax)
    pixels = jpeg() if syntax else picture().tobytes()
    response = store(
        server, described(dataset, kind=kind), bulk(pixels, media_type), kind=kind, dialect=dialect
    )
    assert response.status_code == 200, response.text
    assert value(value(module_of(response), REFERENCED), "00081155") == value(dataset, "00080018")
    made = fetched(server, dataset)
    assert made.file_meta.TransferSyntaxUID == (syntax or ExplicitVRLittleEndian)
    assert made.PatientName == "Müller^Jürgen"
    shown = made.pixel_array.astype(int)
    difference = np.abs(shown - np.asarray(picture()).astype(int)).max()
    assert difference <= (4 if syntax else 0)
    assert server.partial_files() == []


def test_several_instances_of_one_request_have_pixels_of_their_own(server: Running) -> None:
    datasets = [metadata(pixels={"vr": "OB", "BulkDataURI": f"pixels/{n}"}) for n in range(3)]
    parts = [
        bulk(bytes([n]) * (WIDTH * HEIGHT), "application/octet-stream", f"pixels/{n}")
        for n in range(3)
    ]
    response = store(server, described(*datasets), *reversed(parts))
    assert (response.status_code, len(values(module_of(response), REFERENCED))) == (200, 3)
    for number, dataset in enumerate(datasets):
        assert set(fetched(server, dataset).PixelData) == {number}


def test_metadata_that_holds_everything_needs_no_further_part(server: Running) -> None:
    dataset = metadata()
    del dataset["7FE00010"]
    dataset["00420011"] = {"vr": "OB", "InlineBinary": "JVBERi0x"}
    dataset["00081140"] = {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2.3"]}}]}
    assert store(server, described(dataset)).status_code == 200
    made = fetched(server, dataset)
    assert made.EncapsulatedDocument == b"%PDF-1"
    assert made.ReferencedImageSequence[0].ReferencedSOPInstanceUID == "1.2.3"


def without(tag: str) -> dict[str, Any]:
    return {name: element for name, element in metadata().items() if name != tag}


# What is wrong with one instance is said of that; the rest of the request goes on.
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no part of that name": (metadata(pixels={"vr": "OB", "BulkDataURI": "no/such"}), "no/such"),
    "no study": (without("0020000D"), "StudyInstanceUID"),
    "no class": (without("00080016"), "SOPClassUID"),
    "no UID": (
        {**without("7FE00010"), "0020000E": {"vr": "UI", "Value": ["../../x"]}},
        "SeriesInstanceUID",
    ),
    "no such vr": ({**without("7FE00010"), "00104000": {"vr": "XX"}}, "vr"),
    "no number": ({**without("7FE00010"), "00280010": {"vr": "US", "Value": ["x"]}}, "Rows"),
    "no Base64": ({**without("7FE00010"), "00420011": {"vr": "OB", "InlineBinary": "!"}}, "Base64"),
    "no such syntax": (metadata("1.2.3.4", {"vr": "OB", "InlineBinary": "AAAA"}), "1.2.3.4"),
    "compressed inline": (
        metadata(JPEGBaseline8Bit, {"vr": "OB", "InlineBinary": "AAAA"}),
        "PixelData",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_metadata_that_makes_no_instance_is_refused_in_words_and_the_others_are_kept(
    server: Running, kind: str
) -> None:
    wrong, words = WRONG[kind]
    good = metadata()
    pixels = bulk(picture().tobytes(), "application/octet-stream")
    alone = store(server, described(wrong))
    assert (alone.status_code, words in alone.text) == (409, True)
    mixed = store(server, described(wrong, good), pixels)
    assert (mixed.status_code, words in mixed.text) == (202, True)
    assert [value(item, "00081155") for item in values(module_of(mixed), REFERENCED)] == [
        value(good, "00080018")
    ]
    assert fetched(server, good).pixel_array.shape == (HEIGHT, WIDTH)
    assert server.partial_files() == []


def test_pixels_in_another_syntax_than_the_metadata_says_are_refused(server: Running) -> None:
    told = f"image/jpeg; transfer-syntax={JPEGBaseline8Bit}"
    for syntax, media_type in ((ExplicitVRLittleEndian, told), (JPEGBaseline8Bit, "image/jls")):
        response = store(server, described(metadata(syntax)), bulk(jpeg(), media_type))
        assert response.status_code == 409
        assert "PixelData" in response.text


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([described(metadata()), ({"Content-Type": "image/jpeg"}, b"x")], "Content-Location"),
        (
            [described(metadata()), bulk(b"x", "image/jpeg"), bulk(b"y", "image/jpeg", "b")],
            "part b",
        ),
        ([({"Content-Type": JSON}, b"[{")], ""),
        ([({"Content-Type": JSON}, b"17")], ""),
        ([({"Content-Type": JSON}, b"[]")], "no instance"),
        ([bulk(b"x", "image/jpeg")], ""),
    ],
    ids=["unnamed", "unused", "cut", "no data set", "empty", "only bulk"],
)
def test_a_request_whose_parts_do_not_go_together_stores_nothing(
    server: Running, parts: list[Part], words: str
) -> None:
    before = server.files()
    response = store(server, *parts)
    assert (response.status_code, words in response.text) == (400, True)
    assert server.files() == before
    assert server.partial_files() == []
