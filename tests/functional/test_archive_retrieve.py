"""Retrieving from the embedded archive: instances, frames and metadata."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.encaps import generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from tests.conftest import Dcmweb, make_instance, make_series, tree, write_files
from tests.functional.archives import (
    ALL_AS_STORED,
    AS_STORED,
    DIALECTS,
    GOOGLE,
    STANDARD,
    XML_PARTS,
    Running,
    bodies,
    changed,
    module_of,
    parts_of,
    path_of,
    post,
    read,
    rows_of,
    running,
    sample,
    uids,
    value,
    values,
)

DICOM = "application/dicom"
PARTS = 'multipart/related; type="application/dicom"'
OCTETS = "application/octet-stream"
PNG_SIGNATURE, JPEG_SIGNATURE = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
SERIES = make_series(3)


def copy(name: str, study: str) -> bytes:
    """Read a file of pydicom, and give it UIDs that no other has."""
    given = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1"}
    return changed(sample(name), **given, SOPInstanceUID=f"{study}.1.1")


FILES = {
    "native": sample("CT_small.dcm"),
    "implicit": sample("MR_small_implicit.dcm"),
    "big endian": copy("MR_small_bigendian.dcm", "2.1"),
    "deflated": changed(
        sample("image_dfl.dcm"), PatientName="Some^One", ReferringPhysicianName="Doctor^A"
    ),
    "RLE": copy("MR_small_RLE.dcm", "2.2"),
    "RLE, two frames": copy("SC_rgb_rle_2frame.dcm", "2.3"),
    "JPEG": sample("SC_rgb_jpeg_dcmtk.dcm"),
    "JPEG 2000": copy("MR_small_jp2klossless.dcm", "2.4"),
    "report": sample("test-SR.dcm"),
    "waveform": sample("waveform_ecg.dcm"),
}
SYNTAXES = {
    "native": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "RLE": RLELossless,
    "RLE, two frames": RLELossless,
    "JPEG": JPEGBaseline8Bit,
    "JPEG 2000": JPEG2000Lossless,
    "report": ExplicitVRLittleEndian,
    "waveform": ExplicitVRLittleEndian,
}
PICTURES = [kind for kind in FILES if kind not in ("report", "waveform")]
COMPRESSED = ["RLE", "RLE, two frames", "JPEG", "JPEG 2000"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("archive") / "folder"
    write_files(folder, [*FILES.values(), *SERIES])
    with running(folder) as server:
        yield server


# Instances.


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_as_stored_is_byte_for_byte(server: Running, kind: str, levels: int) -> None:
    data = FILES[kind]
    for dialect in DIALECTS:
        ((headers, body),) = parts_of(
            server("GET", f"{dialect}/{path_of(data, levels)}", ALL_AS_STORED)
        )
        assert body == data
        assert headers["content-type"] == f"{DICOM}; transfer-syntax={SYNTAXES[kind]}"
        assert headers["content-location"] == f"{server.root}/{dialect}/{path_of(data)}"
    if levels == 3:
        response = server.get(path_of(data), AS_STORED)
        assert response.content == data
        assert response.headers["Content-Length"] == str(len(data))
        assert response.headers["Content-Type"] == f"{DICOM}; transfer-syntax={SYNTAXES[kind]}"


@pytest.mark.parametrize("path", ["studies/1.2.3", "studies/1.2.3/series/1.2.3.4"])
@pytest.mark.parametrize(
    "accept",
    [
        None,
        "*/*",
        PARTS,
        'Multipart/Related; transfer-syntax="*"; type=application/dicom',
        'multipart/related; type="application/dicom;transfer-syntax=*"',
        f"image/png, {PARTS};q=0.5, text/*",
        "multipart/related",
    ],
)
def test_all_instances_of_a_resource_come_as_parts(
    server: Running, path: str, accept: str | None
) -> None:
    response = server.get(path, accept)
    assert response.headers["Content-Type"].startswith(f'{PARTS}; boundary="'[:-1])
    assert bodies(response) == SERIES


@pytest.mark.parametrize("kind", [kind for kind in FILES if kind != "native"])
@pytest.mark.parametrize(
    ("accept", "syntax"),
    [
        (DICOM, ExplicitVRLittleEndian),
        (PARTS, ExplicitVRLittleEndian),
        (f"{DICOM}; transfer-syntax={ExplicitVRLittleEndian}", ExplicitVRLittleEndian),
        (f"{DICOM}; transfer-syntax={ImplicitVRLittleEndian}", ImplicitVRLittleEndian),
    ],
)
def test_what_is_not_asked_for_as_stored_is_transcoded_to_little_endian(
    server: Running, kind: str, accept: str, syntax: str
) -> None:
    data = FILES[kind]
    response = server.get(path_of(data), accept)
    assert response.status_code == 200, response.text
    if accept == PARTS:
        ((headers, body),) = parts_of(response)
        told = headers["content-type"]
    else:
        told, body = response.headers["Content-Type"], response.content
    assert told == f"{DICOM}; transfer-syntax={syntax}"
    before, after = read(data), read(body)
    assert after.file_meta.TransferSyntaxUID == syntax
    assert after.SOPInstanceUID == after.file_meta.MediaStorageSOPInstanceUID == uids(data)[2]
    changes = {"PixelData", "PhotometricInterpretation", "PlanarConfiguration"}
    assert {e.keyword for e in before} == {e.keyword for e in after}
    for element in before:
        # Implicit VR does not tell what private elements are.
        if not (element.keyword in changes or element.VR == "SQ" or element.tag.is_private):
            assert after[element.tag].value == element.value
    if kind in PICTURES:
        difference = np.abs(before.pixel_array.astype(int) - after.pixel_array.astype(int)).max()
        assert difference <= (2 if kind == "JPEG" else 0)
    elif syntax == SYNTAXES[kind]:
        assert body == data


@pytest.mark.parametrize("dialect", [STANDARD, GOOGLE])
@pytest.mark.parametrize(
    ("kind", "below", "accept"),
    [
        ("native", "", "image/png"),
        ("native", "", f"{DICOM}; transfer-syntax={JPEGBaseline8Bit}"),
        ("native", "", f"{DICOM};q=0"),
        ("JPEG", "", f"{PARTS}; transfer-syntax={RLELossless}"),
        ("native", "/metadata", DICOM),
        ("native", "/metadata", "text/html"),
        ("native", "/frames/1", DICOM),
        ("native", "/frames/1", "image/jls"),
        ("native", "/frames/1", f"{OCTETS}; transfer-syntax={RLELossless}"),
        ("native", "/rendered", "image/tiff"),
        ("native", "/thumbnail", "video/mp4"),
    ],
)
def test_what_cannot_be_had_in_the_form_asked_for_says_what_can(
    server: Running, dialect: str, kind: str, below: str, accept: str
) -> None:
    response = server("GET", f"{dialect}/{path_of(FILES[kind])}{below}", accept)
    assert response.status_code == 406
    if dialect == STANDARD:
        assert response.headers["Content-Type"].startswith("text/plain")
        words = response.text
    else:
        (body,) = json.loads(response.content)
        assert (body["error"]["code"], body["error"]["status"]) == (406, "INVALID_ARGUMENT")
        words = body["error"]["message"]
    assert "this is available as " in words


@pytest.mark.parametrize("levels", [1, 2])
def test_a_study_or_series_is_no_single_file(server: Running, levels: int) -> None:
    assert server.get(path_of(SERIES[0], levels), AS_STORED).status_code == 406


CT = path_of(FILES["native"])
NOT_THERE = [
    "studies/9.9",
    "studies/1.2.3/series/9.9",
    "studies/1.2.3/series/1.2.3.4/instances/9.9",
    "studies/2.1/series/1.2.3.4",
    "studies/9.9/metadata",
    "studies/9.9/rendered",
    "studies/1.2.3/series/9.9/thumbnail",
    f"{CT}/frames/2",
    f"{CT}/frames/1,2",
    f"{CT}/frames/2/rendered",
    f"{CT}/bulkdata/00420011",
    f"{CT}/bulkdata/7FE00010/1/00080018",
    f"{path_of(FILES['report'])}/frames/1",
    f"{path_of(FILES['report'])}/rendered",
    f"{path_of(FILES['report'])}/thumbnail",
    f"{CT}/nonsense",
    "nonsense",
]


@pytest.mark.parametrize("path", NOT_THERE)
def test_what_is_not_there_is_not_found(server: Running, path: str) -> None:
    response = server.get(path)
    assert (response.status_code, response.headers["Content-Type"][:10]) == (404, "text/plain")
    google = server("GET", f"{GOOGLE}/{path}")
    assert google.status_code == 404
    (body,) = json.loads(google.content)
    assert (body["error"]["code"], body["error"]["status"]) == (404, "NOT_FOUND")
    assert body["error"]["message"] == response.text.strip()


@pytest.mark.parametrize(
    "below", ["frames/0", "frames/x", "frames/1,,2", "frames/-1", "bulkdata/PixelData"]
)
def test_what_makes_no_sense_is_a_bad_request(server: Running, below: str) -> None:
    assert server.get(f"{CT}/{below}").status_code == 400


# Frames.


def frames_of(data: bytes) -> list[bytes]:
    """The frames uncompressed, in little endian."""
    dataset = read(data)
    pixels = dataset.pixel_array.reshape(int(dataset.get("NumberOfFrames") or 1), -1)
    return [frame.astype(frame.dtype.newbyteorder("<")).tobytes() for frame in pixels]


@pytest.mark.parametrize("kind", [kind for kind in PICTURES if kind != "JPEG"])
@pytest.mark.parametrize("accept", [None, OCTETS, f"multipart/related; type={OCTETS}"])
def test_frames_come_uncompressed_unless_asked_for_otherwise(
    server: Running, kind: str, accept: str | None
) -> None:
    data = FILES[kind]
    expected = frames_of(data)
    numbers = range(1, len(expected) + 1) if accept != OCTETS else [1]
    response = server.get(f"{path_of(data)}/frames/{','.join(map(str, numbers))}", accept)
    told = f"{OCTETS}; transfer-syntax={ExplicitVRLittleEndian}"
    if accept == OCTETS:
        assert (response.headers["Content-Type"], response.content) == (told, expected[0])
        return
    parts = parts_of(response)
    assert [body for _, body in parts] == expected
    for number, (headers, _) in zip(numbers, parts, strict=True):
        assert headers["content-type"] == told
        assert headers["content-location"] == f"{server.url}/{path_of(data)}/frames/{number}"


@pytest.mark.parametrize("kind", COMPRESSED)
def test_frames_as_stored_are_what_the_file_has(server: Running, kind: str) -> None:
    data = FILES[kind]
    dataset = read(data)
    count = int(dataset.get("NumberOfFrames") or 1)
    expected = list(generate_frames(dataset.PixelData, number_of_frames=count))
    media_type = {"RLE": "image/dicom-rle", "JPEG 2": "image/jp2"}.get(kind[:6].rstrip(), "")
    media_type = media_type or ("image/dicom-rle" if kind.startswith("RLE") else "image/jpeg")
    for accept in (
        f"multipart/related; type={OCTETS}; transfer-syntax=*",
        f'multipart/related; type="{media_type}"',
        f'multipart/related; type="{media_type}"; transfer-syntax={SYNTAXES[kind]}',
    ):
        wanted = ",".join(str(n) for n in range(count, 0, -1))
        parts = parts_of(server.get(f"{path_of(data)}/frames/{wanted}", accept))
        bare = [body.rstrip(b"\0") for _, body in parts]
        assert bare == [frame.rstrip(b"\0") for frame in reversed(expected)]
        syntaxes = {headers["content-type"].partition("=")[2] for headers, _ in parts}
        assert syntaxes == {str(SYNTAXES[kind])}


@pytest.mark.parametrize("kind", PICTURES)
def test_frames_can_be_had_as_pictures(server: Running, kind: str) -> None:
    for name, signature in (("image/png", PNG_SIGNATURE), ("image/jpeg", JPEG_SIGNATURE)):
        response = server.get(f"{path_of(FILES[kind])}/frames/1", name)
        assert response.content.startswith(signature)
        assert response.headers["Content-Type"].partition(";")[0] == name


# Metadata and bulk data.


def references(dataset: dict[str, Any], *above: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """The BulkDataURIs of a data set, with the places they stand at."""
    for tag, element in dataset.items():
        if "BulkDataURI" in element:
            yield (*above, tag), element["BulkDataURI"]
        for number, item in enumerate(values(dataset, tag) if element["vr"] == "SQ" else []):
            yield from references(item, *above, tag, str(number))


@pytest.mark.parametrize("dialect", [STANDARD, GOOGLE])
@pytest.mark.parametrize("kind", FILES)
def test_metadata_refers_to_bulk_data_that_can_be_had(
    server: Running, dialect: str, kind: str
) -> None:
    data = FILES[kind]
    (told,) = rows_of(server("GET", f"{dialect}/{path_of(data)}/metadata"))
    assert rows_of(server("GET", f"{dialect}/{path_of(data, 2)}/metadata", XML_PARTS)) == [told]
    assert values(told, "00083002") == [str(SYNTAXES[kind])]
    places = dict(references(told))
    assert (("7FE00010",) in places) == (kind in PICTURES)
    assert places or kind == "report"
    for place, url in places.items():
        assert url.startswith(f"{server.root}/{dialect}/{path_of(data)}/bulkdata/")
        found: Any = read(data)
        for step in place:
            found = (
                found[int(step)]
                if isinstance(found, (list, tuple)) or len(step) < 8
                else (found[int(step, 16)].value)
            )
        got = bodies(server("GET", url, 'multipart/related; type="*/*"'))
        if kind in COMPRESSED and place == ("7FE00010",):
            count = int(read(data).get("NumberOfFrames") or 1)
            assert len(got) == count
        elif kind == "big endian":
            assert np.frombuffer(got[0], "<u2").tolist() == np.frombuffer(found, ">u2").tolist()
        else:
            assert got == [found]
            assert server("GET", url, OCTETS).content == found


BULK_FORMS: dict[str, list[tuple[str, int, str]]] = {
    # Accept: number of parts, media type of each; no parts is 406.
    "native": [
        (f"multipart/related; type={OCTETS}", 1, OCTETS),
        (f"multipart/related; type={OCTETS}; transfer-syntax=*", 1, OCTETS),
        (f"multipart/related; type={OCTETS}; transfer-syntax={RLELossless}", 0, ""),
        ("multipart/related; type=image/jpeg", 0, ""),
        ("image/jpeg", 0, ""),
        ("text/html", 0, ""),
    ],
    "RLE, two frames": [
        (f"multipart/related; type={OCTETS}", 1, f"{OCTETS}; transfer-syntax=1.2.840.10008.1.2.1"),
        (f"multipart/related; type={OCTETS}; transfer-syntax=*", 2, OCTETS),
        (f"multipart/related; type={OCTETS}; transfer-syntax={RLELossless}", 2, OCTETS),
        (f"multipart/related; type={OCTETS}; transfer-syntax={JPEG2000Lossless}", 0, ""),
        ("multipart/related; type=image/dicom-rle", 2, "image/dicom-rle"),
        (f"multipart/related; type=image/dicom-rle; transfer-syntax={RLELossless}", 2, "image/"),
        ("multipart/related; type=image/jpeg", 0, ""),
        ("image/dicom-rle", 0, ""),
        ("*/*", 2, "image/dicom-rle"),
    ],
}


@pytest.mark.parametrize(
    ("kind", "accept", "count", "media_type"),
    [(kind, *form) for kind, forms in BULK_FORMS.items() for form in forms],
)
def test_bulk_data_is_sent_as_it_is_accepted(
    server: Running, kind: str, accept: str, count: int, media_type: str
) -> None:
    data = FILES[kind]
    response = server.get(f"{path_of(data)}/bulkdata/7FE00010", accept)
    if not count:
        assert response.status_code == 406
        return
    parts = parts_of(response)
    assert len(parts) == count
    assert all(headers["content-type"].startswith(media_type) for headers, _ in parts)
    if count == 1:
        assert parts[0][1] == read(data).pixel_array.tobytes() or kind != "native"
        assert len(parts[0][1]) == read(data).pixel_array.nbytes


def test_uncompressed_bulk_data_may_be_a_single_body(server: Running) -> None:
    data = FILES["RLE, two frames"]
    response = server.get(f"{path_of(data)}/bulkdata/7FE00010", OCTETS)
    assert len(response.content) == read(data).pixel_array.nbytes
    assert response.headers["Content-Type"].startswith(OCTETS)


@pytest.mark.parametrize("accept", [DICOM, PARTS, "*/*", ""])
def test_one_instance_that_cannot_be_transcoded_is_not_acceptable_in_any_form(
    tmp_path: Path, accept: str
) -> None:
    """Within a study it comes as it is stored; its part says so."""
    data = changed(FILES["JPEG"], StudyInstanceUID="3", SeriesInstanceUID="3.1")
    broken = data.replace(b"\xff\xda", b"\xff\x00")
    write_files(tmp_path / "in", [broken])
    with running(tmp_path / "in") as server:
        assert server.get(path_of(broken), accept or None).status_code == 406
        assert server.get(path_of(broken), AS_STORED).content == broken
        ((headers, body),) = parts_of(server.get("studies/3", PARTS))
        assert (body, headers["content-type"]) == (
            broken,
            f"{DICOM}; transfer-syntax={JPEGBaseline8Bit}",
        )


ODD_UIDS = [
    "1.2/3",
    "1.2%2F3",
    "a b",
    "1?2",
    "1#2",
    "1&2",
    "a+b",
    "1;2",
    "1'2",
    "x\\y",
    "%zz",
    "1..2",
]


@pytest.mark.parametrize("uid", ODD_UIDS)
@pytest.mark.parametrize("dialect", [STANDARD, GOOGLE])
def test_odd_uids_are_served_at_the_urls_that_are_printed(
    tmp_path: Path, uid: str, dialect: str
) -> None:
    data = odd_instance(uid)
    with running(tmp_path / "folder") as server:
        stored = module_of(post(server, [data], f"{dialect}/studies", "application/dicom+json"))
        url = value(value(stored, "00081199"), "00081190")
        assert server("GET", url, AS_STORED).content == data
        (row,) = rows_of(server("GET", f"{dialect}/instances"))
        assert value(row, "00081190") == url
        assert server("DELETE", url).status_code in (200, 204)
        assert server.files() == {}


@pytest.mark.parametrize("uid", [".", "..", "1\r\n2", "1\x072", "é", "1" * 129])
def test_uids_that_no_url_can_name_are_refused(tmp_path: Path, uid: str) -> None:
    with running(tmp_path / "folder") as server:
        assert post(server, [odd_instance(uid)]).status_code == 409
        assert server.files() == {}


def odd_instance(uid: str) -> bytes:
    data = make_instance("1.2.3", "1.2.4", "1.2.5")
    return raw_element(raw_element(data, b"1.2.3\0", uid), b"1.2.4\0", uid)


def raw_element(data: bytes, old: bytes, uid: str) -> bytes:
    """Put a value into the place of a UID, which pydicom would not write."""
    value = uid.encode("latin-1")
    value += b"\0" * (len(value) % 2)
    at = data.index(b"UI" + struct.pack("<H", len(old)) + old)
    return data[:at] + b"UI" + struct.pack("<H", len(value)) + value + data[at + 4 + len(old) :]


def test_metadata_of_a_study_is_that_of_all_instances(server: Running) -> None:
    rows = rows_of(server.get("studies/1.2.3/metadata"))
    assert [values(row, "00080018") for row in rows] == [[uids(data)[2]] for data in SERIES]
    for row in rows:
        assert values(row, "00100010") == [{"Alphabetic": "Test^Someone"}]
        assert "00020010" not in row


# The project's own client.


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_projects_own_client_gets_everything_as_it_is(
    server: Running, dcmweb: Dcmweb, tmp_path: Path, dialect: str
) -> None:
    result = dcmweb("-m", f"{server.root}/{dialect}", "retrieve", "--output", tmp_path / "out")
    assert result.code == 0, result.err
    expected = {"/".join(uids(data)) + ".dcm": data for data in (*FILES.values(), *SERIES)}
    assert tree(tmp_path / "out") == expected
