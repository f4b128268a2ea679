"""`store --metadata`: instances made of DICOM JSON, and of images and documents."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import (
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)

from dcmweb.http.media_types import parse
from dcmweb.http.multipart import read_parts
from tests.conftest import Dcmweb, Result
from tests.functional.archive import Archive, json_answer
from tests.functional.archives import GOOGLE, STANDARD, Running, running
from tests.functional.origin import Answer, Request, serving
from tests.functional.pictures import (
    COLUMNS,
    PDF,
    ROWS,
    element,
    encoded,
    jpeg,
    picture,
    uids,
    whole,
    write,
)
from tests.functional.storing import became, first, posts, taking

PLACE = "studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.5"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("archive") / "folder") as server:
        yield server


def stored(archive: Archive) -> list[pydicom.FileDataset]:
    """The instances of an archive, in the order of their numbers."""
    found = [pydicom.dcmread(io.BytesIO(data)) for data in archive.files.values()]
    return sorted(found, key=lambda one: int(one.InstanceNumber))


def parts(request: Request) -> list[tuple[dict[str, str], bytes]]:
    boundary = parse(request.headers["content-type"]).parameters["boundary"]
    found = read_parts(io.BytesIO(request.body).read, boundary)
    return [(dict(part.headers), b"".join(part.body)) for part in found]


@pytest.mark.parametrize("face", [STANDARD, GOOGLE])
def test_the_example_of_the_guide_is_stored_and_rendered(
    server: Running, dcmweb: Dcmweb, tmp_path: Path, face: str
) -> None:
    identifiers = {"study": "1.2.3", "series": f"1.2.3.{len(face)}", "instance": f"1.{len(face)}"}
    data = jpeg(coloured=True)
    write(tmp_path, instance__json=[whole(**identifiers)], image__jpg=data)
    result = dcmweb(f"{server.root}/{face}", "store", "--metadata", "instance.json", "image.jpg")
    place = "studies/{study}/series/{series}/instances/{instance}".format(**identifiers)
    assert result.code == 0
    assert f"image.jpg uploaded as {server.root}/{face}/{place}\n" in result.err
    shown = server("GET", f"{face}/{place}/rendered", "image/png").content
    expected = np.asarray(Image.open(io.BytesIO(data))).astype(int)
    assert np.abs(np.asarray(Image.open(io.BytesIO(shown))).astype(int) - expected).max() <= 4


def test_the_request_is_that_of_the_guide(dcmweb: Dcmweb, tmp_path: Path) -> None:
    data = jpeg(coloured=True)
    write(tmp_path, instance__json=[whole()], image__jpg=data)
    with serving(Archive()) as origin:
        assert dcmweb(origin.url, "store", "--metadata", "instance.json", "image.jpg").code == 0
    (request,) = posts(origin)
    assert request.headers["content-type"].startswith(
        'multipart/related; type="application/dicom+json"; boundary='
    )
    (root, body), (headers, image) = parts(request)
    assert root == {"content-type": "application/dicom+json"}
    (sent,) = json.loads(body)
    assert {tag: sent[tag] for tag in whole()} == whole()
    assert headers["content-location"] == "jpeg-image"
    assert parse(headers["content-type"]) == parse(
        f"image/jpeg; transfer-syntax={JPEGBaseline8Bit}"
    )
    assert image == data


def made(
    dcmweb: Dcmweb, folder: Path, metadata: Any, *names: str, **files: Any
) -> tuple[Result, list[pydicom.FileDataset]]:
    """Store files with metadata; what the archive has then."""
    write(folder, metadata__json=metadata, **files)
    archive = Archive()
    with serving(archive) as origin:
        result = dcmweb(origin.url, "store", "--metadata", "metadata.json", *names)
    return result, stored(archive)


def test_what_the_metadata_leaves_out_comes_from_the_image(dcmweb: Dcmweb, tmp_path: Path) -> None:
    metadata = {"00100010": element("PN", {"Alphabetic": "Müller^Jörg"})}
    result, (found,) = made(
        dcmweb, tmp_path, metadata, "a.jp2", a__jp2=encoded(picture(), "JPEG2000")
    )
    assert result.code == 0
    assert found.file_meta.TransferSyntaxUID == JPEG2000Lossless
    assert (found.PatientName, found.SpecificCharacterSet) == ("Müller^Jörg", "ISO_IR 192")
    assert found.SOPClassUID == SecondaryCaptureImageStorage
    assert (found.Rows, found.Columns, found.PhotometricInterpretation) == (48, 64, "MONOCHROME2")
    assert np.array_equal(found.pixel_array, np.asarray(picture()))
    uids = {found.StudyInstanceUID, found.SeriesInstanceUID, found.SOPInstanceUID}
    assert len(uids) == 3
    assert all(uid.startswith("2.25.") for uid in uids)


def test_what_the_metadata_says_is_kept(dcmweb: Dcmweb, tmp_path: Path) -> None:
    metadata = {
        **uids(),
        "00080016": element("UI", "1.2.840.10008.5.1.4.1.1.77.1.4"),
        "00080060": element("CS", "XC"),
        "00200013": element("IS", 17),
        "00280004": element("CS", "MONOCHROME1"),
    }
    result, (found,) = made(dcmweb, tmp_path, metadata, "a.jpg", a__jpg=jpeg())
    assert PLACE in result.err
    told = (
        found.SOPClassUID,
        found.Modality,
        found.InstanceNumber,
        found.PhotometricInterpretation,
    )
    assert told == ("1.2.840.10008.5.1.4.1.1.77.1.4", "XC", 17, "MONOCHROME1")
    assert "ConversionType" not in found


def test_an_image_that_is_to_be_shown_turned_is_named(dcmweb: Dcmweb, tmp_path: Path) -> None:
    orientation = Image.Exif()
    orientation[0x0112] = 6
    turned = encoded(picture(), exif=orientation)
    result, (found,) = made(dcmweb, tmp_path, uids(), "a.jpg", a__jpg=turned)
    assert "a.jpg is to be shown turned or mirrored" in result.err
    assert found.PixelData.rstrip(b"\0").endswith(turned[-8:])
    again, _ = made(dcmweb, tmp_path, uids(), "b.jpg", b__jpg=jpeg())
    assert "turned" not in again.err


def test_several_images_make_a_series(dcmweb: Dcmweb, tmp_path: Path) -> None:
    files = {f"{n}__jpg": jpeg(n) for n in range(3)}
    result, found = made(dcmweb, tmp_path, {}, "?.jpg", **files)
    assert became(result) == dict.fromkeys(["0.jpg", "1.jpg", "2.jpg"], "uploaded")
    assert [one.InstanceNumber for one in found] == [1, 2, 3]
    assert len({one.SeriesInstanceUID for one in found}) == 1
    assert len({one.SOPInstanceUID for one in found}) == 3
    for number, one in enumerate(found):
        assert abs(int(one.pixel_array[0, 0]) - 10 * number) <= 3


@pytest.mark.parametrize(
    "metadata",
    [
        {"00280008": element("IS", 3)},
        {"00080016": element("UI", MultiFrameGrayscaleByteSecondaryCaptureImageStorage)},
    ],
    ids=["frames", "class"],
)
def test_several_images_make_one_instance_of_several_frames_if_the_metadata_says_so(
    dcmweb: Dcmweb, tmp_path: Path, metadata: Any
) -> None:
    frames = {f"{n}__jpg": jpeg(n) for n in range(3)}
    result, (found,) = made(dcmweb, tmp_path, metadata, "2.jpg", "0.jpg", "1.jpg", **frames)
    assert became(result) == {"metadata.json": "uploaded"}
    assert found.SOPClassUID == MultiFrameGrayscaleByteSecondaryCaptureImageStorage
    assert (found.NumberOfFrames, found.pixel_array.shape) == (3, (3, ROWS, COLUMNS))
    assert [round(int(frame[0, 0]), -1) for frame in found.pixel_array] == [20, 0, 10]


def test_each_data_set_goes_with_the_file_it_names_or_else_with_that_of_its_place(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    for uris, shades in (
        (["b.jpg", "a.jpg"], {"1.0": 90, "1.1": 0}),
        (["one", "two"], {"1.0": 0, "1.1": 90}),
        (["same", "same"], {"1.0": 0, "1.1": 90}),
        ([], {"1.0": 0, "1.1": 90}),
    ):
        datasets: list[dict[str, Any]] = [uids(instance=f"1.{n}") for n in range(2)]
        for dataset, uri in zip(datasets, uris, strict=False):
            dataset["7FE00010"] = {"vr": "OB", "BulkDataURI": uri}
        files = {"a__jpg": jpeg(0), "b__jpg": jpeg(9)}
        _, found = made(dcmweb, tmp_path, datasets, "a.jpg", "b.jpg", **files)
        assert shades == {
            one.SOPInstanceUID: round(int(one.pixel_array[0, 0]), -1) for one in found
        }


def test_a_file_can_be_part_of_several_instances(dcmweb: Dcmweb, tmp_path: Path) -> None:
    result, found = made(dcmweb, tmp_path, [{}, {}], "a.jpg", "a.jpg", a__jpg=jpeg())
    assert became(result) == {"a.jpg[1]": "uploaded", "a.jpg[2]": "uploaded"}
    assert len({one.SOPInstanceUID for one in found}) == 2


def test_a_pdf_becomes_an_encapsulated_document(dcmweb: Dcmweb, tmp_path: Path) -> None:
    result, (found,) = made(dcmweb, tmp_path, uids(), "report", report=PDF)
    assert PLACE in result.err
    assert (found.SOPClassUID, found.Modality) == (EncapsulatedPDFStorage, "DOC")
    assert found.MIMETypeOfEncapsulatedDocument == "application/pdf"
    assert found.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert found.EncapsulatedDocument[: found.EncapsulatedDocumentLength] == PDF
    for required in (
        "ContentDate",
        "DocumentTitle",
        "ConceptNameCodeSequence",
        "BurnedInAnnotation",
    ):
        assert required in found


def test_metadata_without_bulk_data_is_an_instance_by_itself(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    metadata = [
        {**uids(instance=f"1.{n}"), "00080016": element("UI", "1.2.840.10008.5.1.4.1.1.88.11"),
         "00200013": element("IS", n)}
        for n in range(2)
    ]  # fmt: skip
    result, found = made(dcmweb, tmp_path, metadata)
    assert became(result) == {"metadata.json[1]": "uploaded", "metadata.json[2]": "uploaded"}
    assert [one.SOPInstanceUID for one in found] == ["1.0", "1.1"]


def test_uncompressed_pixel_data_goes_with_metadata_that_describes_it(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    data = np.asarray(picture()).astype("<u2").tobytes()
    metadata = {
        **whole(),
        "00020010": element("UI", ExplicitVRLittleEndian),
        "00280002": element("US", 1),
        "00280004": element("CS", "MONOCHROME2"),
        "00280100": element("US", 16),
    }
    for gone in ("7FE00010", "00280006"):
        del metadata[gone]
    result, (found,) = made(dcmweb, tmp_path, metadata, "pixels.raw", pixels__raw=data)
    assert result.code == 0
    assert np.array_equal(found.pixel_array, np.asarray(picture()))
    result, found_now = made(dcmweb, tmp_path, metadata, "pixels.raw", pixels__raw=data[:-2])
    assert (result.code, found_now) == (2, [])
    assert "pixels.raw failed: it has 6,142 bytes" in result.err


def test_metadata_can_come_on_stdin(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write(tmp_path, image__jpg=jpeg())
    archive = Archive()
    with serving(archive) as origin:
        result = dcmweb(
            origin.url, "store", "--metadata", "-", "image.jpg", text=json.dumps(uids())
        )
        refused = dcmweb(
            origin.url, "store", "--metadata", "-", "image.jpg", "--manifest", "m", text="{}"
        )
    assert PLACE in result.err
    assert (refused.code, len(archive.files)) == (2, 1)


WRONG: dict[str, tuple[Any, dict[str, Any], list[str]]] = {
    "rows": (
        {"00280010": element("US", 47)},
        {"a__jpg": jpeg()},
        ["(0028,0010) Rows differs", "48"],
    ),
    "syntax": (
        {"00020010": element("UI", JPEG2000Lossless)},
        {"a__jpg": jpeg()},
        ["(0002,0010) TransferSyntaxUID", JPEGBaseline8Bit],
    ),
    "two things": (
        {"00280010": element("US", "x"), "0020000D": element("UI", "1.x")},
        {"a__jpg": jpeg()},
        ["(0028,0010) Rows has a value", "(0020,000D) StudyInstanceUID is not a valid UID"],
    ),
    "cut": ({}, {"a__jpg": jpeg()[:-300]}, ["a.jpg failed: it breaks off"]),
    "PNG": ({}, {"a__jpg": encoded(picture(), "PNG")}, ["a.jpg failed: it is a PNG image"]),
    "progressive": ({}, {"a__jpg": encoded(picture(), progressive=True)}, ["progressive"]),
    "empty": ({}, {"a__jpg": b""}, ["a.jpg failed: the file is empty"]),
    "one of two": ({}, {"a__jpg": jpeg(), "b__jpg": b"junk"}, ["b.jpg failed: it is not an image"]),
    "sizes": (
        {"00280008": element("IS", 2)},
        {"a__jpg": jpeg(), "b__jpg": encoded(picture().resize((8, 8)))},
        ["b.jpg is an image of another"],
    ),
    "frames": (
        {"00280008": element("IS", 3)},
        {"a__jpg": jpeg(), "b__jpg": jpeg(1)},
        ["NumberOfFrames differs from the files given: it should be 2"],
    ),
    "one UID": (uids(), {"a__jpg": jpeg(), "b__jpg": jpeg(1)}, ["one SOPInstanceUID"]),
    "counts": ([{}, {}], {"a__jpg": jpeg()}, ["2 data sets", "1 file"]),
    "no file": (whole(), {}, ["refers to 'jpeg-image'"]),
    "same UID": (
        [whole("a"), whole("b")],
        {"a__jpg": jpeg(coloured=True), "b__jpg": jpeg(1, coloured=True)},
        ["b.jpg failed: it has the SOPInstanceUID of a.jpg"],
    ),
    "keyword": ({"PatientName": {}}, {"a__jpg": jpeg()}, ["00100010"]),
    "no JSON": (b"[{", {"a__jpg": jpeg()}, ["metadata.json is not valid JSON"]),
    "document": (
        {**uids(), "00420012": element("LO", "text/xml")},
        {"a": PDF},
        ["application/pdf"],
    ),
    "no class": (uids(), {}, ["(0008,0016) SOPClassUID is missing"]),
}


@pytest.mark.parametrize("kind", WRONG)
def test_input_is_checked_before_anything_is_sent(
    dcmweb: Dcmweb, tmp_path: Path, kind: str
) -> None:
    metadata, files, words = WRONG[kind]
    write(tmp_path, metadata__json=metadata, **files)
    names = sorted(name.replace("__", ".") for name in files)
    with serving(Archive()) as origin:
        result = dcmweb(origin.url, "store", "--metadata", "metadata.json", *names)
    assert (result.code, origin.requests) == (2, [])
    assert all(word in result.err for word in words), result.err


def test_a_missing_file_is_named(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write(tmp_path, metadata__json={}, a__jpg=jpeg())
    with serving(Archive()) as origin:
        result = dcmweb(origin.url, "store", "--metadata", "metadata.json", "a.jpg", "b.jpg")
        no_metadata = dcmweb(origin.url, "store", "--metadata", "none.json", "a.jpg")
    assert (result.code, no_metadata.code, origin.requests) == (2, 7, [])
    assert "b.jpg failed: no such file" in result.err
    assert "none.json cannot be read" in no_metadata.err


@pytest.mark.parametrize(
    "refusal",
    [
        Answer(415),
        Answer(501),
        json_answer({"Message": "Unsupported media type"}, 400),
    ],
    ids=["415", "501", "400"],
)
def test_a_server_that_takes_no_metadata_gets_files(
    dcmweb: Dcmweb, tmp_path: Path, refusal: Answer
) -> None:
    write(tmp_path, metadata__json={}, **{f"{n}__jpg": jpeg(n) for n in range(2)})
    archive = Archive()

    def store(request: Request) -> Answer:
        is_metadata = "dicom+json" in request.headers["content-type"]
        return refusal if is_metadata else archive.store(request)

    with serving(taking(archive, store)) as origin:
        result = dcmweb(origin.url, "store", "--metadata", "metadata.json", "0.jpg", "1.jpg")
    assert result.code == 0
    assert len(posts(origin)) == 2
    assert result.err.count("takes no metadata with bulk data") == 1
    assert [one.pixel_array.shape for one in stored(archive)] == [(ROWS, COLUMNS)] * 2


def test_the_same_input_makes_the_same_instances_again_and_after_a_fault(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    write(tmp_path, metadata__json={}, a__jpg=jpeg(), b__jpg=jpeg(1))
    archive = Archive()
    command = ("store", "--metadata", "metadata.json", "a.jpg", "b.jpg")
    with serving(taking(archive, first([lambda _: Answer(503)], archive.store))) as origin:
        assert dcmweb(origin.url, *command).code == 0
        before = dict(archive.files)
        assert dcmweb(origin.url, *command).code == 0
        sent = [parts(request) for request in posts(origin)]
        assert sent[0] == sent[1] == sent[2]
        assert archive.files == before
        write(tmp_path, b__jpg=jpeg(2))
        assert dcmweb(origin.url, *command).code == 0
    assert len(archive.files) == 4


def test_a_manifest_passes_over_what_is_done_until_image_or_metadata_change(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    write(tmp_path, metadata__json={**uids(), "00100020": element("LO", "1")}, a__jpg=jpeg())
    command = ("store", "--metadata", "metadata.json", "a.jpg", "--manifest", "m", "--verify")
    with serving(Archive()) as origin:
        assert "stored 1" in dcmweb(origin.url, *command).last
        again = dcmweb(origin.url, *command)
        assert "done before 1" in again.last
        assert "the server lists 1 of 1" in again.err
        write(tmp_path, metadata__json={**uids(), "00100020": element("LO", "2")})
        assert "already there 1" in dcmweb(origin.url, *command).last
        write(tmp_path, a__jpg=jpeg(1))
        assert "already there 1" in dcmweb(origin.url, *command).last


def test_an_image_that_changes_while_it_waits_is_named(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write(tmp_path, metadata__json={"00280008": element("IS", 2)}, a__jpg=jpeg(), b__jpg=jpeg(1))

    def change(request: Request) -> Answer:
        write(tmp_path, b__jpg=jpeg(2) + b"more")
        return Answer(503)

    archive = Archive()
    with serving(taking(archive, first([change], archive.store))) as origin:
        result = dcmweb(origin.url, "store", "--metadata", "metadata.json", "a.jpg", "b.jpg")
    assert (result.code, archive.files) == (1, {})
    assert "metadata.json failed: the file changed" in result.err


def test_a_dry_run_says_what_would_be_made(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write(tmp_path, metadata__json=uids(), a__jpg=jpeg())
    with serving(Archive()) as origin:
        result = dcmweb(
            origin.url, "store", "--metadata", "metadata.json", "a.jpg", "--dry-run", "--json"
        )
    assert (result.code, posts(origin)) == (0, [])
    assert json.loads(result.out.splitlines()[0])["instance"] == "1.2.3.4.5"
