"""Searches of the embedded archive as viewers and Google's clients send them, and hostile ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_instance, write_files
from tests.functional.archives import (
    DIALECTS,
    GOOGLE,
    STANDARD,
    Running,
    changed,
    rows_of,
    running,
    value,
    values,
)

STUDY = "0020000D"
MEMBERS = {"1": "CT", "2": "MR", "3": "US"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("archive") / "folder"
    files = []
    for study, modality in MEMBERS.items():
        data = make_instance(study, f"{study}.1", f"{study}.1.1")
        files.append(changed(data, Modality=modality, PatientID="a" * 60, AccessionNumber=study))
    files.append(changed(make_instance("1", "1.2", "1.2.1"), Modality="SR", PatientID=None))
    files[1] = changed(files[1], AccessionNumber="", StudyDescription="one, two")
    write_files(folder, files)
    with running(folder) as server:
        yield server


def found(server: Running, query: str, path: str = "studies") -> list[str]:
    rows = rows_of(server.get(path, params=query))
    return sorted(value(row, STUDY) for row in rows)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # Several UIDs in one parameter or in several (PS3.18 section 8.3.4.1).
        ("StudyInstanceUID=1&StudyInstanceUID=2", ["1", "2"]),
        ("StudyInstanceUID=1&0020000D=3", ["1", "3"]),
        ("SeriesInstanceUID=1.2&SeriesInstanceUID=2.1,3.1", ["1", "2", "3"]),
        ("SOPInstanceUID=1.1.1&SOPInstanceUID=9", ["1"]),
        ("StudyInstanceUID=1&SeriesInstanceUID=2.1", []),
        # Lists of coded values, as OHIF sends them.
        ("ModalitiesInStudy=CT,MR", ["1", "2"]),
        ("ModalitiesInStudy=CT%5CUS", ["1", "3"]),
        ("ModalitiesInStudy=CT&ModalitiesInStudy=SR", ["1"]),
        ("ModalitiesInStudy=CT&ModalitiesInStudy=MR", []),
        ("Modality=US,XA", ["3"]),
        ("StudyDescription=one, two", ["2"]),
        # Empty and multiple values.
        ('AccessionNumber=""&emptyvaluematching=true', ["1", "2"]),
        ('AccessionNumber=""', []),
        ("AccessionNumber=1%5C3&multiplevaluematching=true", ["1", "3"]),
        ("AccessionNumber=1%5C3", []),
        # Parameters that are not attributes.
        ("alt=json&key=k&prettyPrint=false&access_token=t&$.xgafv=2&_=17", ["1", "2", "3"]),
        ("quotaUser=u&userProject=p&fields=*&StudyInstanceUID=2", ["2"]),
        ("AvailableTransferSyntaxUID=1.2.840.10008.1.2.1", ["1", "2", "3"]),
        ("AvailableTransferSyntaxUID=1.2.840.10008.1.2", []),
    ],
)
def test_queries_of_viewers(server: Running, query: str, expected: list[str]) -> None:
    assert found(server, query) == expected


def test_the_modalities_of_a_study_select_all_its_series(server: Running) -> None:
    assert found(server, "ModalitiesInStudy=SR", "series") == ["1", "1"]
    assert found(server, "ModalitiesInStudy=SR&Modality=CT", "series") == ["1"]


@pytest.mark.parametrize(
    ("path", "empty"),
    [
        ("studies", ["00080020", "00080030", "00080090", "00100030", "00100040", "00200010"]),
        ("series", ["0008103E", "00200011", "00400244", "00400245", "00400275", "00100040"]),
        ("instances", ["00200013", "00200011"]),
    ],
)
def test_required_attributes_are_there_though_empty(
    server: Running, path: str, empty: list[str]
) -> None:
    for row in rows_of(server.get(path)):
        for tag in empty:
            assert set(row[tag]) == {"vr"}
    (without_id,) = rows_of(server.get("series", params="SeriesInstanceUID=1.2"))
    assert without_id["00100020"] == {"vr": "LO"}


def test_a_series_search_reads_the_request_attributes(server: Running) -> None:
    below = rows_of(server.get("studies/1/series"))
    assert all("00400275" in row and "00100020" not in row for row in below)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", ["AvailableTransferSyntaxUID", "00083002"])
def test_transfer_syntaxes_are_told_when_asked_for(
    server: Running, dialect: str, name: str
) -> None:
    rows = rows_of(server("GET", f"{dialect}/instances", params={"includefield": name}))
    assert [values(row, "00083002") for row in rows] == [["1.2.840.10008.1.2.1"]] * 4
    assert "00083002" not in rows_of(server("GET", f"{dialect}/instances"))[0]


def test_google_tells_of_the_file_meta_information(server: Running) -> None:
    """EZ-WSI-DICOMweb asks Google for the Transfer Syntax UID (0002,0010)."""
    expected = ["1.2.840.10008.1.2.1"]
    path = "studies/1/series/1.1/instances"
    for query in ("includefield=00020010", "includefield=all"):
        (row,) = rows_of(server("GET", f"{GOOGLE}/{path}", params=query))
        assert values(row, "00020010") == expected
        (row,) = rows_of(server.get(path, params=query))
        assert "00020010" not in row
    (metadata,) = rows_of(server("GET", f"{GOOGLE}/{path}/1.1.1/metadata"))
    assert values(metadata, "00020010") == expected
    assert values(metadata, "00020003") == ["1.1.1"]
    assert "00020000" not in metadata
    (metadata,) = rows_of(server.get(f"{path}/1.1.1/metadata"))
    assert not any(tag.startswith("0002") for tag in metadata)


# Searches that take long, or would.


@pytest.mark.parametrize(
    ("key", "last"), [("PatientID", "b"), ("PatientName", "b"), ("IssuerOfPatientID", "b")]
)
@pytest.mark.parametrize("part", ["*a", "*?", "*a?"])
def test_wildcards_do_not_hold_up_the_archive(
    server: Running, key: str, last: str, part: str
) -> None:
    assert found(server, f"{key}={part * 30}*{last}") == []
    assert server.get("studies").status_code == 200


@pytest.mark.parametrize("dialect", [STANDARD, GOOGLE])
@pytest.mark.parametrize(
    "parameters",
    [
        [("PatientID", str(n)) for n in range(999)],
        [("PatientID", "a" * 2000)],
        [("PatientName", "*a" * 2000)],
        [("includefield", f"{n:08X}") for n in range(1500)],
    ],
    ids=["keys", "value", "wildcards", "fields"],
)
def test_what_is_too_much_is_a_bad_request(
    server: Running, dialect: str, parameters: list[tuple[str, str]]
) -> None:
    response = server("GET", f"{dialect}/studies", params=parameters)
    assert response.status_code == 400
    body: Any = response.text
    if dialect == GOOGLE:
        (error,) = json.loads(body)
        assert error["error"]["status"] == "INVALID_ARGUMENT"


def test_a_huge_limit_is_capped(server: Running) -> None:
    assert found(server, "limit=999999999999999") == ["1", "2", "3"]
    assert server.get("studies", params="offset=999999999999999").status_code == 204
    assert server.get("studies", params="limit=" + "9" * 400).status_code == 400


def test_more_attributes_than_anyone_wants_are_refused(tmp_path: Path) -> None:
    with running(tmp_path / "folder") as server:
        for count, status in ((1000, 204), (1001, 400)):
            tags = ",".join(f"0009{number:04X}" for number in range(0x1000, 0x1000 + count))
            assert server.get(f"studies?includefield={tags}").status_code == status
