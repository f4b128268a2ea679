"""Searching the embedded archive: what is found, and what is told of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from tests.conftest import make_instance, write_files
from tests.functional.archives import (
    ALL_AS_STORED,
    DIALECTS,
    GOOGLE,
    STANDARD,
    XML_PARTS,
    Running,
    bodies,
    changed,
    parts_of,
    rows_of,
    running,
    value,
    values,
)

STUDY, SERIES, INSTANCE = "0020000D", "0020000E", "00080018"
NAME, MODALITIES = "00100010", "00080061"
PATHS = {"studies": STUDY, "series": SERIES, "instances": INSTANCE}

SCHEDULED = Dataset()
SCHEDULED.ScheduledProcedureStepID = "STEP-7"
SCHEDULED.ScheduledProcedureStepDescription = "Head scan"
DOCTOR = Dataset()
DOCTOR.InstitutionName = "Far Hospital"
DOCTOR.PersonIdentificationCodeSequence = [Dataset()]
DOCTOR.PersonIdentificationCodeSequence[0].CodeValue = "D17"

# Three studies: two series and three instances, one and two, one and one.
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "1.1": {
        "PatientName": "Adams^Anna Maria",
        "PatientID": "A-1",
        "AccessionNumber": "ACC1",
        "StudyDate": "20200101",
        "StudyTime": "101530.5",
        "StudyDescription": "Head (plain) [x]",
        "StudyID": "S1",
        "InstitutionName": "Near Clinic",
        "PatientAge": "030Y",
    },
    "1.2": {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": "Müller^Jürgen",
        "PatientID": "A-12",
        "AccessionNumber": "acc1",
        "StudyDate": "20200615",
        "StudyTime": "235959",
        "StudyDescription": "",
        "PatientWeight": "72.5",
    },
    "1.3": {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
        "PatientID": "B",
        "StudyDate": "20211231",
        "RequestAttributesSequence": [SCHEDULED],
        "ReferringPhysicianIdentificationSequence": [DOCTOR],
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    },
}
MEMBERS = [("1.1", "1", "CT"), ("1.1", "1", "CT"), ("1.1", "2", "MR"), ("1.2", "1", "US")]
MEMBERS += [("1.2", "1", "US"), ("1.3", "1", "CT")]


def instances() -> list[bytes]:
    files = []
    for number, (study, series, modality) in enumerate(MEMBERS, start=1):
        data = make_instance(study, f"{study}.{series}", f"{study}.{series}.{number}")
        values = {**ATTRIBUTES[study], "Modality": modality, "InstanceNumber": number}
        files.append(changed(data, **values, SeriesNumber=int(series)))
    return files


FILES = instances()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("archive") / "folder"
    write_files(folder, FILES)
    with running(folder) as server:
        yield server


def found(
    server: Running, path: str, query: Mapping[str, Any] | str = "", dialect: str = STANDARD
) -> list[dict[str, Any]]:
    return rows_of(server("GET", f"{dialect}/{path}", params=query))


def uids(rows: list[dict[str, Any]], tag: str = STUDY) -> list[str]:
    return sorted(value(row, tag) for row in rows)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("studies", ["1.1", "1.2", "1.3"]),
        ("series", ["1.1.1", "1.1.2", "1.2.1", "1.3.1"]),
        ("instances", ["1.1.1.1", "1.1.1.2", "1.1.2.3", "1.2.1.4", "1.2.1.5", "1.3.1.6"]),
        ("studies/1.1/series", ["1.1.1", "1.1.2"]),
        ("studies/1.1/instances", ["1.1.1.1", "1.1.1.2", "1.1.2.3"]),
        ("studies/1.1/series/1.1.1/instances", ["1.1.1.1", "1.1.1.2"]),
        ("studies/1.2/series/1.1.1/instances", []),
        ("studies/9/series", []),
    ],
)
def test_every_path_of_a_search_finds_what_is_below_it(
    server: Running, dialect: str, path: str, expected: list[str]
) -> None:
    rows = found(server, path, dialect=dialect)
    assert uids(rows, PATHS[path.rpartition("/")[2]]) == expected
    for row in rows:
        url = value(row, "00081190")
        assert url.startswith(f"{server.root}/{dialect}/studies/")
        assert url.endswith(value(row, PATHS[path.rpartition("/")[2]]))
        assert all(data in FILES for data in bodies(server("GET", url, ALL_AS_STORED)))


MATCHES: dict[str, list[str]] = {
    # Single values and lists of UIDs, by keyword and tag.
    "StudyInstanceUID=1.1": ["1.1"],
    "StudyInstanceUID=1.1,1.3": ["1.1", "1.3"],
    "0020000D=1.1%5C1.2": ["1.1", "1.2"],
    "SeriesInstanceUID=1.2.1": ["1.2"],
    "SOPInstanceUID=1.1.2.3": ["1.1"],
    "PatientID=A-1": ["1.1"],
    "00100020=a-1": [],
    "AccessionNumber=ACC1": ["1.1"],
    "Modality=CT": ["1.1", "1.3"],
    "ModalitiesInStudy=MR": ["1.1"],
    "Modality=CT&PatientID=B": ["1.3"],
    # Universal.
    "PatientID=": ["1.1", "1.2", "1.3"],
    "AccessionNumber=*": ["1.1", "1.2", "1.3"],
    # Wildcards, and characters that are none.
    "PatientID=A-*": ["1.1", "1.2"],
    "PatientID=A-1?": ["1.2"],
    "PatientID=*1*": ["1.1", "1.2"],
    "PatientID=A.1": [],
    "StudyDescription=Head (plain) [x]": ["1.1"],
    "StudyDescription=*(plain)*": ["1.1"],
    "PatientID=A%25": [],
    "PatientID=' OR 1=1 --": [],
    # Names, without regard to case, in any of their groups.
    "PatientName=adams^anna maria": ["1.1"],
    "PatientName=ADAMS*": ["1.1"],
    "PatientName=Adams": [],
    "PatientName=müller^jürgen": ["1.2"],
    "PatientName=山田^太郎": ["1.3"],
    "PatientName=やまだ*": ["1.3"],
    "PatientName=maria": [],
    "PatientName=mar anna&fuzzymatching=true": ["1.1"],
    "PatientName=mull&fuzzymatching=true": ["1.2"],
    "PatientName=uller&fuzzymatching=true": [],
    # Dates and times, and ranges of them.
    "StudyDate=20200101": ["1.1"],
    "StudyDate=20200102-20211231": ["1.2", "1.3"],
    "StudyDate=20200615-": ["1.2", "1.3"],
    "StudyDate=-20200615": ["1.1", "1.2"],
    "StudyTime=1015": ["1.1"],
    "StudyTime=101530": ["1.1"],
    "StudyTime=1016": [],
    "StudyTime=1015-2359": ["1.1", "1.2"],
    "StudyTime=1016-": ["1.2"],
    # Numbers, and attributes that only the files have.
    "InstanceNumber=4": ["1.2"],
    "Rows=16": ["1.1", "1.2", "1.3"],
    "PatientWeight=72.50": ["1.2"],
    "InstitutionName=near*": [],
    "InstitutionName=Near*": ["1.1"],
    "PatientAge=030Y&Modality=MR": ["1.1"],
    "ImageType=PRIMARY": ["1.3"],
    # Keys within sequences, by keywords and tags.
    "RequestAttributesSequence.ScheduledProcedureStepID=STEP-7": ["1.3"],
    "00400275.00400009=STEP-?": ["1.3"],
    "00400275.00400009=STEP-8": [],
    "ReferringPhysicianIdentificationSequence.InstitutionName=Far*": ["1.3"],
    "ReferringPhysicianIdentificationSequence.PersonIdentificationCodeSequence.CodeValue=D17": [
        "1.3"
    ],
}


@pytest.mark.parametrize("query", MATCHES)
def test_keys_match_as_their_attribute_does(server: Running, query: str) -> None:
    assert uids(found(server, "studies", query)) == MATCHES[query]


@pytest.mark.parametrize("dialect", [STANDARD, GOOGLE])
@pytest.mark.parametrize(
    "query",
    [
        "NoSuchAttribute=1",
        "includefield=NoSuchAttribute",
        "RequestAttributesSequence.NoSuch=1",
        "StudyDate=yesterday",
        "StudyDate=-",
        "StudyTime=25h",
        "Rows=many",
        "limit=-1",
        "limit=x",
        "offset=1.5",
    ],
)
def test_what_cannot_be_searched_for_is_a_bad_request(
    server: Running, dialect: str, query: str
) -> None:
    response = server("GET", f"{dialect}/studies", params=query)
    assert response.status_code == 400
    if dialect == STANDARD:
        words = response.text
    else:
        (error,) = json.loads(response.content)
        assert (error["error"]["code"], error["error"]["status"]) == (400, "INVALID_ARGUMENT")
        words = error["error"]["message"]
    said = query.partition("=")[2] if query[0] not in "NR" or "many" in query else "NoSuch"
    assert said in words


def test_a_study_is_told_of_by_its_attributes_and_counts(server: Running) -> None:
    (row,) = found(server, "studies", "PatientID=A-1")
    expected = {
        "00080005": ["ISO_IR 192"],
        "00080020": ["20200101"],
        "00080030": ["101530.5"],
        "00080050": ["ACC1"],
        "00080056": ["ONLINE"],
        MODALITIES: ["CT", "MR"],
        NAME: [{"Alphabetic": "Adams^Anna Maria"}],
        "00100020": ["A-1"],
        "00200010": ["S1"],
        "00201206": [2],
        "00201208": [3],
    }
    assert {tag: values(row, tag) for tag in expected} == expected
    assert row["00081190"] == {"vr": "UR", "Value": [f"{server.url}/studies/1.1"]}
    assert not {"00080060", "00080080", SERIES, INSTANCE} & row.keys()
    assert list(row) == sorted(row)
    (other,) = found(server, "studies", "PatientID=A-12")
    assert other["00081030"] == {"vr": "LO"}


def test_rows_of_a_level_have_what_the_path_does_not_tell(server: Running) -> None:
    series = found(server, "series", "SeriesInstanceUID=1.1.1")[0]
    assert (value(series, "00201209"), value(series, "00100020")) == (2, "A-1")
    below = found(server, "studies/1.1/series")[0]
    assert (value(below, "00200011"), "00100020" in below) == (1, False)
    instance = found(server, "instances", "SOPInstanceUID=1.2.1.5")[0]
    assert [value(instance, tag) for tag in (STUDY, SERIES, "00280010")] == ["1.2", "1.2.1", 16]
    google = found(server, "instances", "SOPInstanceUID=1.2.1.5", GOOGLE)[0]
    assert [value(google, tag) for tag in (STUDY, SERIES)] == ["1.2", "1.2.1"]
    assert "00100020" not in google


@pytest.mark.parametrize(
    ("path", "query", "tag", "expected"),
    [
        ("studies", "includefield=InstitutionName", "00080080", "Near Clinic"),
        ("studies", "includefield=00080080,00101010", "00101010", "030Y"),
        ("studies", "includefield=00080080&includefield=PatientAge", "00101010", "030Y"),
        ("studies", "includefield=all", "00080080", "Near Clinic"),
        ("series", "includefield=all", "00200011", 1),
        ("instances", "includefield=all", "00280002", 1),
        ("studies", "InstitutionName=Near Clinic", "00080080", "Near Clinic"),
    ],
)
def test_more_attributes_are_told_where_they_are_asked_for(
    server: Running, path: str, query: str, tag: str, expected: object
) -> None:
    row = found(server, path, f"PatientID=A-1&{query}")[0]
    assert value(row, tag) == expected
    assert "7FE00010" not in row


def test_attributes_within_a_sequence_come_with_it(server: Running) -> None:
    query = "00400275.00400009=STEP-7&includefield=00400275.00400007"
    (row,) = found(server, "studies", query)
    assert value(value(row, "00400275"), "00400009") == "STEP-7"
    assert value(value(row, "00400275"), "00400007") == "Head scan"


@pytest.mark.parametrize("dialect", [STANDARD, GOOGLE])
@pytest.mark.parametrize(
    ("query", "count", "remaining"),
    [
        ("limit=2", 2, 4),
        ("limit=2&offset=2", 2, 2),
        ("limit=4&offset=2", 4, 0),
        ("offset=5", 1, 0),
        ("offset=6", 0, 0),
        ("limit=1&Modality=CT", 1, 2),
        ("limit=1&offset=1&PatientAge=030Y", 1, 1),
    ],
)
def test_a_page_tells_on_the_standard_face_how_many_more_there_are(
    server: Running, dialect: str, query: str, count: int, remaining: int
) -> None:
    response = server("GET", f"{dialect}/instances", params=query)
    assert response.status_code == (200 if count else 204)
    assert len(rows_of(response)) == count
    warning = response.headers.get("Warning", "")
    if remaining and dialect == STANDARD:
        assert warning.startswith("299 ")
        assert f"There are {remaining} additional results that can be requested" in warning
    else:
        assert not warning


@pytest.mark.parametrize("path", PATHS)
def test_pages_one_after_the_other_are_all_there_is(server: Running, path: str) -> None:
    whole = [value(row, PATHS[path]) for row in found(server, path)]
    pages = [found(server, path, f"limit=2&offset={offset}") for offset in range(0, 8, 2)]
    assert [value(row, PATHS[path]) for page in pages for row in page] == whole


@pytest.mark.parametrize(
    ("path", "most"), [("studies", 5000), ("series", 5000), ("instances", 50_000)]
)
def test_google_has_limits_of_its_own(server: Running, path: str, most: int) -> None:
    for query, status in (
        (f"limit={most}", 200),
        (f"limit={most + 1}", 400),
        ("offset=1000000", 204),
        ("offset=1000001", 400),
    ):
        assert server("GET", f"{GOOGLE}/{path}", params=query).status_code == status, query
        assert server.get(path, params=query).status_code in (200, 204)


def test_google_gives_a_hundred_studies_and_a_thousand_instances_unless_told_otherwise(
    tmp_path: Path,
) -> None:
    studies = [make_instance(f"2.{n}", f"2.{n}.1", f"2.{n}.1.1", 32) for n in range(101)]
    write_files(
        tmp_path / "in", studies + [make_instance("3", "3.1", f"3.1.{n}", 32) for n in range(1001)]
    )
    with running(tmp_path / "in") as server:
        for path, default, total in (("studies", 100, 102), ("instances", 1000, 1102)):
            assert len(found(server, path, dialect=GOOGLE)) == default
            assert len(found(server, path, "limit=5000", GOOGLE)) == total
            assert len(found(server, path)) == total


@pytest.mark.parametrize("dialect", [STANDARD, GOOGLE])
def test_the_answer_can_be_had_as_xml(server: Running, dialect: str) -> None:
    response = server("GET", f"{dialect}/studies", XML_PARTS)
    assert {headers["content-type"] for headers, _ in parts_of(response)} == {
        "application/dicom+xml"
    }
    assert rows_of(response) == found(server, "studies", dialect=dialect)
    assert server("GET", f"{dialect}/studies", "image/png").status_code == 406
    assert server("GET", f"{dialect}/studies", params={"accept": XML_PARTS}).content.startswith(
        b"--"
    )
