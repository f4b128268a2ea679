"""What the Google dialect has beside DICOMweb, and what it refuses if it is strict."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests

from tests.conftest import Dcmweb, make_instance, write_files
from tests.functional.archives import (
    AS_STORED,
    DATASET,
    GOOGLE,
    GOOGLE_BETA,
    LONG,
    STANDARD,
    STORE,
    Running,
    body_of,
    changed,
    make_image,
    module_of,
    multipart,
    new_series,
    path_of,
    post,
    read,
    rows_of,
    running,
    sample,
    values,
)

LOCATION = "v1/projects/p/locations/l"
DICOM = {"Content-Type": "application/dicom"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("archive") / "folder") as server:
        yield server


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("strict") / "folder", "--strict") as server:
        yield server


def error_of(response: requests.Response) -> tuple[int, str]:
    body = response.json()
    error = (body[0] if isinstance(body, list) else body)["error"]
    assert error["code"] == response.status_code
    return response.status_code, error["status"]


# Datasets and DICOM stores.


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_script_begins_with_a_dataset_and_a_store(server: Running, version: str) -> None:
    location = f"{version}/projects/{version}/locations/l"
    assert server("GET", f"{location}/datasets").json() == {}
    created = server("POST", f"{location}/datasets?datasetId=ci&alt=json", json={"timeZone": "UTC"})
    operation = created.json()["name"]
    deadline = time.monotonic() + LONG
    while not (report := server("GET", f"{version}/{operation}").json()).get("done"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    dataset = f"projects/{version}/locations/l/datasets/ci"
    assert report["response"] == {"name": dataset, "timeZone": "UTC"}
    assert server("GET", f"{version}/{dataset}").json() == report["response"]
    assert server("GET", f"{location}/datasets").json() == {"datasets": [report["response"]]}

    stores = f"{version}/{dataset}/dicomStores"
    labels = {"labels": {"purpose": "test"}}
    created = server("POST", f"{stores}?dicomStoreId=s-1", json=labels)
    assert created.json() == {"name": f"{dataset}/dicomStores/s-1", **labels}
    assert server("GET", stores).json() == {"dicomStores": [created.json()]}
    changed = server("PATCH", f"{stores}/s-1?updateMask=labels", json={"labels": {}})
    assert changed.json() == {"name": f"{dataset}/dicomStores/s-1", "labels": {}}
    again = server("POST", f"{stores}?dicomStoreId=s-1", json={})
    assert error_of(again) == (409, "ALREADY_EXISTS")

    (data,) = new_series()
    assert post(server, [data], f"{stores}/s-1/dicomWeb/studies").status_code == 200
    url = f"{stores}/s-1/dicomWeb/{path_of(data)}"
    assert server("GET", url, AS_STORED).content == data
    assert server("DELETE", f"{version}/{dataset}").json() == {}
    for gone in (dataset, f"{dataset}/dicomStores/s-1"):
        for method in ("GET", "DELETE"):
            assert error_of(server(method, f"{version}/{gone}")) == (404, "NOT_FOUND")
    assert server("GET", url, AS_STORED).content == data


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("datasets", b"{}"),
        ("datasets?datasetId=", b"{}"),
        ("datasets?datasetId=a/b", b"{}"),
        ("datasets?datasetId=d", b"no JSON"),
        ("datasets?datasetId=d", b"[]"),
        ("datasets?datasetId=d", b"[" * 50_000),
        ("datasets/d/dicomStores?datasetId=s", b"{}"),
    ],
)
def test_resources_that_cannot_be_created(server: Running, path: str, body: bytes) -> None:
    response = server("POST", f"{LOCATION}/{path}", data=body)
    assert error_of(response) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("mask", ["", "name", "labels,name"])
def test_names_of_resources_stay(server: Running, mask: str) -> None:
    response = server("PATCH", f"{LOCATION}/datasets/x?updateMask={mask}", json={"name": "y"})
    assert error_of(response) == (400, "INVALID_ARGUMENT")


# Updates.


def test_put_replaces_instances_and_adds_those_that_are_missing(tmp_path: Path) -> None:
    stored, other = new_series(2)
    with running(tmp_path / "folder") as server:
        assert post(server, [stored]).status_code == 200
        newer = changed(stored, PatientName="Newer^Name")
        assert post(server, [newer]).status_code == 409
        for _ in range(2):
            response = server(
                "PUT",
                f"{GOOGLE_BETA}/studies",
                data=body_of([(DICOM, newer), (DICOM, other)]),
                headers=multipart(),
            )
            assert response.status_code == 200
            assert len(values(module_of(response), "00081199")) == 2
        assert server.get(path_of(stored), AS_STORED).content == newer
        assert sorted(server.files().values()) == sorted([newer, other])
        (row,) = rows_of(server.get("studies", params="PatientName=Newer*"))
        assert values(row, "00201208") == [2]
    with running(tmp_path / "folder") as server:
        assert server.get(path_of(stored), AS_STORED).content == newer
        assert len(rows_of(server.get("instances"))) == 2


def test_files_that_lay_in_the_folder_are_not_changed_by_updates(tmp_path: Path) -> None:
    (data,) = new_series()
    (path,) = write_files(tmp_path / "folder", [data])
    newer = changed(data, PatientName="Newer^Name")
    for _ in range(2):
        with running(tmp_path / "folder") as server:
            response = server("PUT", f"{GOOGLE_BETA}/studies", data=newer, headers=DICOM)
            assert response.status_code == 200
            assert server.get(path_of(data), AS_STORED).content == newer
            assert len(rows_of(server.get("instances"))) == 1
    assert path.read_bytes() == data


def test_json_cannot_replace_an_instance(server: Running) -> None:
    response = server(
        "PUT",
        f"{GOOGLE_BETA}/studies",
        data=body_of([({"Content-Type": "application/dicom+json"}, b"[{}]")]),
        headers=multipart("application/dicom+json"),
    )
    assert error_of(response) == (400, "INVALID_ARGUMENT")


def patch(server: Running, path: str, steps: Any) -> requests.Response:
    body = json.dumps(steps)
    headers = {"Content-Type": "application/json-patch+json"}
    return server("PATCH", f"{GOOGLE_BETA}/{path}/metadata", data=body, headers=headers)


NAME = {"vr": "PN", "Value": [{"Alphabetic": "Newer^Jörg"}]}


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_a_patch_changes_the_metadata_of_every_instance(tmp_path: Path, levels: int) -> None:
    files = [changed(data, PatientID="17", PatientSex="F") for data in new_series(3)]
    with running(tmp_path / "folder") as server:
        assert post(server, files).status_code == 200
        response = patch(
            server,
            path_of(files[0], levels),
            [
                {"op": "test", "path": "/00100020/Value/0", "value": "17"},
                {"op": "replace", "path": "/00100010", "value": NAME},
                {"op": "replace", "path": "/00100020/Value/0", "value": "18"},
                {"op": "remove", "path": "/00100040"},
                {"op": "add", "path": "/00081030", "value": {"vr": "LO", "Value": ["A"]}},
                {"op": "add", "path": "/00081030/Value/-", "value": "B"},
            ],
        )
        assert response.status_code == 200, response.text
        assert response.json() == {} if levels == 3 else "operations/" in response.json()["name"]
        count = 1 if levels == 3 else 3
        rows = rows_of(server.get("instances", params="PatientID=18"))
        assert len(rows) == count
        for data in files[:count]:
            after = read(server.get(path_of(data), AS_STORED).content)
            before = read(data)
            assert (str(after.PatientName), after.PatientID) == ("Newer^Jörg", "18")
            assert list(after.StudyDescription) == ["A", "B"]
            assert "PatientSex" not in after
            assert after.PixelData == before.PixelData
            assert after.file_meta.TransferSyntaxUID == before.file_meta.TransferSyntaxUID
        assert len(server.files()) == 3


def test_a_patch_keeps_compressed_frames_and_other_text(tmp_path: Path) -> None:
    data = changed(
        sample("SC_rgb_rle_2frame.dcm"), SpecificCharacterSet="ISO_IR 100", StudyDescription="Fuß"
    )
    with running(tmp_path / "folder") as server:
        assert post(server, [data]).status_code == 200
        assert patch(server, path_of(data), [{"op": "add", "path": "/00100010", "value": NAME}]).ok
        after = read(server.get(path_of(data), AS_STORED).content)
    assert after.PixelData == read(data).PixelData
    assert (str(after.PatientName), after.StudyDescription) == ("Newer^Jörg", "Fuß")


@pytest.mark.parametrize(
    "steps",
    [
        {},
        [],
        [1],
        [{"op": "move", "path": "/00100010", "from": "/00100020"}],
        [{"op": "replace", "path": "/00100010"}],
        [{"op": "replace", "path": "00100010", "value": NAME}],
        [{"op": "replace", "path": "/0020000D", "value": {"vr": "UI", "Value": ["9"]}}],
        [{"op": "replace", "path": "/00080018/Value/0", "value": "9"}],
        [{"op": "add", "path": "/7FE00010", "value": {"vr": "OW", "InlineBinary": "AAAA"}}],
        [{"op": "add", "path": "/00020010", "value": {"vr": "UI", "Value": ["1.2"]}}],
        [{"op": "remove", "path": "/00104000"}],
        [{"op": "replace", "path": "/00100010/Value/7", "value": {}}],
        [{"op": "replace", "path": "/00100010/Value/x", "value": {}}],
        [{"op": "test", "path": "/00100020/Value/0", "value": "other"}],
        [{"op": "add", "path": "/00100010", "value": "Jane"}],
        [{"op": "add", "path": "/00100010", "value": {"vr": "??", "Value": [1]}}],
        [{"op": "add", "path": "/00280120", "value": {"vr": "US", "Value": ["many"]}}],
        [{"op": "add", "path": "/00100010", "value": {"vr": "PN", "BulkDataURI": "http://x/"}}],
        [{"op": "add", "path": "/notatags", "value": NAME}],
    ],
)
def test_a_patch_that_cannot_be_applied_changes_nothing(server: Running, steps: Any) -> None:
    (data,) = new_series()
    assert post(server, [data]).status_code == 200
    response = patch(server, path_of(data), steps)
    assert error_of(response) == (400, "INVALID_ARGUMENT")
    assert server.get(path_of(data), AS_STORED).content == data


def test_updates_have_no_url_outside_of_google(server: Running) -> None:
    (data,) = new_series()
    assert server("PUT", f"{STANDARD}/studies", data=data, headers=DICOM).status_code == 405
    url = f"{STANDARD}/studies/9.9/metadata"
    assert server("PATCH", url, json=[]).status_code == 405
    assert error_of(patch(server, "studies/9.9", [{"op": "remove", "path": "/00100010"}])) == (
        404,
        "NOT_FOUND",
    )


# Strict.


@pytest.mark.parametrize(
    "query",
    [
        "StudyDescription=x",
        "ModalitiesInStudy=CT",
        "SOPInstanceUID=1",
        "00081030=x",
        "RequestAttributesSequence.ScheduledProcedureStepID=1",
        "viewer=x",
        "_=17",
    ],
)
def test_strict_searches_have_few_filters(strict: Running, server: Running, query: str) -> None:
    response = strict("GET", f"{GOOGLE}/studies", params=query)
    assert error_of(response) == (400, "INVALID_ARGUMENT")
    for other in (strict("GET", f"{STANDARD}/studies", params=query), server.get("studies")):
        assert other.status_code in (200, 204)


def test_strict_searches_are_literal(strict: Running) -> None:
    study = make_instance("5.1", "5.1.1", "5.1.1.1")
    data = changed(study, PatientID="A*", PatientName="Doe^Jane", StudyDate="20200101")
    assert post(strict, [data, make_instance("5.2", "5.2.1", "5.2.1.1")]).status_code == 200
    for query, count in {
        "PatientID=A*": 1,
        "PatientID=*": 0,
        "PatientID=secret*": 0,
        "PatientName=doe^jane": 0,
        "PatientName=Doe^Jane": 1,
        "PatientName=ja&fuzzymatching=true": 1,
        "StudyDate=2019-2021": None,
        "StudyDate=20190101-20211231": 1,
        "StudyInstanceUID=5.1,5.2": 0,
        "StudyInstanceUID=5.1&alt=json&key=k": 1,
        "PatientID=": 2,
    }.items():
        response = strict("GET", f"{GOOGLE}/studies", params=query)
        if count is None:
            assert response.status_code == 400
        else:
            assert len(rows_of(response)) == count, query


def test_strict_rows_have_few_attributes(strict: Running) -> None:
    data = changed(make_instance("5.3", "5.3.1", "5.3.1.1"), StudyDescription="A", SeriesNumber=3)
    assert post(strict, [data]).status_code == 200
    for path, uid, wanted in (
        ("studies", "StudyInstanceUID=5.3", "00081030"),
        ("series", "SeriesInstanceUID=5.3.1", "00200011"),
        ("instances", "SOPInstanceUID=5.3.1.1", "00081030"),
    ):
        (row,) = rows_of(strict("GET", f"{GOOGLE}/{path}?{uid}"))
        assert not {"00081030", "00080061", "00200011", "00201206", "00201208"} & row.keys()
        assert {"0020000D", "00081190"} <= row.keys()
        (row,) = rows_of(strict("GET", f"{GOOGLE}/{path}?{uid}&includefield={wanted}"))
        assert wanted in row
        (row,) = rows_of(strict("GET", f"{GOOGLE}/{path}?{uid}&includefield=all"))
        assert wanted in row


@pytest.mark.parametrize(
    ("below", "accept", "status"),
    [
        ("thumbnail", None, 404),
        ("frames/1/thumbnail", None, 404),
        ("rendered", "image/gif", 406),
        ("rendered", "image/png", 200),
        ("rendered", "image/*", 200),
        ("rendered?window=1,2,linear", None, 400),
        ("rendered?quality=3", None, 400),
        ("rendered?viewport=8,8&alt=media", None, 200),
        ("frames/1/rendered", None, 200),
        ("frames/1", 'multipart/related; type="image/gif"', 406),
    ],
)
def test_strict_rendering(strict: Running, below: str, accept: str | None, status: int) -> None:
    data = make_image(2)
    assert post(strict, [data]).status_code in (200, 409)
    response = strict("GET", f"{GOOGLE}/{path_of(data)}/{below}", accept)
    assert response.status_code == status
    if status == 200:
        assert response.headers["Content-Type"] in ("image/jpeg", "image/png")
    for levels in (1, 2):
        above = strict("GET", f"{GOOGLE}/{path_of(data, levels)}/rendered")
        assert above.status_code == 404
    assert strict.get(f"{path_of(data)}/thumbnail").status_code == 200


def test_strict_failures_have_no_uids(strict: Running) -> None:
    (data,) = new_series()
    assert post(strict, [data], f"{GOOGLE}/studies").status_code == 200
    files = [changed(data, PatientName="Other"), b"no DICOM"]
    for accept, tag in (("application/dicom+json", "00091097"), (None, "00090097")):
        response = post(strict, files, f"{GOOGLE}/studies", accept or "")
        assert response.status_code == 409
        module = module_of(response)
        failed = values(module, "00081198")
        assert [set(item) for item in failed] == [{"00081197", tag}] * 2
        assert "0008119A" not in module


def test_strict_updates_are_beta(strict: Running) -> None:
    (data,) = new_series()
    for base, status in ((GOOGLE, 404), (GOOGLE_BETA, 200)):
        response = strict("PUT", f"{base}/studies", data=data, headers=DICOM)
        assert response.status_code == status
    response = strict("PATCH", f"{GOOGLE}/studies/1/metadata", json=[])
    assert response.status_code == 404


METADATA: dict[str, Any] = {
    "00020010": {"vr": "UI", "Value": ["1.2.840.10008.1.2.1"]},
    "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
    "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.7"]},
    "00080018": {"vr": "UI", "Value": ["6.1.1.1"]},
    "0020000D": {"vr": "UI", "Value": ["6.1"]},
    "0020000E": {"vr": "UI", "Value": ["6.1.1"]},
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"00080005": None}, "SpecificCharacterSet is required"),
        ({"00080005": {"vr": "CS", "Value": ["ISO_IR 100"]}}, "must be ISO_IR 192"),
        ({"00020010": None}, "TransferSyntaxUID is required"),
        ({"00020010": {"vr": "UI", "Value": ["1.2.840.10008.1.2.2"]}}, "is not supported"),
        ({"00020010": {"vr": "UI", "Value": ["1.2.840.10008.1.2.1.99"]}}, "is not supported"),
        ({"7FE00010": {"vr": "OW", "InlineBinary": "AAAA"}}, "must be a BulkDataURI"),
        ({"00420011": {"vr": "OB", "BulkDataURI": "a"}}, ""),
        (
            {"00420011": {"vr": "OB", "BulkDataURI": "a"}, "7FE00010": {"BulkDataURI": "a"}},
            "one BulkDataURI only",
        ),
        ({"00420011": {"vr": "OD", "BulkDataURI": "a"}}, "must have one of the VRs"),
    ],
)
def test_strict_stores_check_json(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    metadata = {k: v for k, v in {**METADATA, **changes}.items() if v is not None}
    parts = [({"Content-Type": "application/dicom+json"}, json.dumps([metadata]).encode())]
    if "BulkDataURI" in json.dumps(metadata):
        kind = {"Content-Type": "application/octet-stream", "Content-Location": "a"}
        parts.append((kind, b"ab"))
    with running(tmp_path / "folder", "--strict") as strict:
        response = strict(
            "POST",
            f"{GOOGLE}/studies",
            "application/dicom+json",
            data=body_of(parts),
            headers=multipart("application/dicom+json"),
        )
        assert response.status_code == (409 if words else 200), response.text
        if words:
            (failed,) = values(module_of(response), "00081198")
            assert words in values(failed, "00091097")[0]


def test_strict_stores_take_no_xml(strict: Running) -> None:
    response = strict(
        "POST",
        f"{GOOGLE}/studies",
        data=body_of([({"Content-Type": "application/dicom+xml"}, b"<NativeDicomModel/>")]),
        headers=multipart("application/dicom+xml"),
    )
    assert error_of(response) == (400, "INVALID_ARGUMENT")


def test_the_projects_own_client_works_with_a_strict_archive(
    strict: Running, dcmweb: Dcmweb, tmp_path: Path
) -> None:
    write_files(tmp_path / "in", new_series(3))
    url = f"{strict.root}/v1/{STORE}"
    assert dcmweb(url, "store", "in").code == 0
    study = pydicom.dcmread(tmp_path / "in" / "1.dcm").StudyInstanceUID
    result = dcmweb(url, "search", "instances", f"StudyInstanceUID={study}", "--count")
    assert (result.code, result.out.strip()) == (0, "3")
    assert dcmweb(url, "retrieve", f"studies/{study}", "--output", "out").code == 0
    assert dcmweb(url, "delete", f"studies/{study}").code == 0
    assert DATASET in url
