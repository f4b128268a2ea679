"""The four commands against a real Orthanc."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pydicom
import pydicom.data
import pytest

from tests.conftest import Dcmweb, make_instance, make_series, write_files
from tests.functional.archives import changed, make_image, path_of
from tests.live.conftest import StartOrthanc
from tests.live.orthanc import Orthanc

pytestmark = pytest.mark.live

PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
PNG = b"\x89PNG\r\n\x1a\n"


def uids(data: bytes) -> tuple[str, str, str]:
    found = pydicom.dcmread(
        pydicom.filebase.DicomBytesIO(data),
        force=True,
        specific_tags=["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"],
    )
    return tuple(
        str(found.get(name, ""))
        for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    )  # type: ignore[return-value]


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("workers", [[], ["-m"]])
def test_every_kind_of_file_comes_back_with_the_same_bytes(
    dcmweb: Dcmweb, orthanc: Orthanc, tmp_path: Path, workers: list[str]
) -> None:
    stored = dcmweb(*workers, orthanc.url, "store", PYDICOM_FILES)
    uploaded = re.findall(r" -- (.*) uploaded as ", stored.err)
    failed = re.findall(r" -- (.*) failed: ", stored.err)
    assert stored.code == 1
    assert {Path(name).name for name in failed} >= {"MR_truncated.dcm", "rtplan_truncated.dcm"}
    assert len(uploaded) > 100

    retrieved = dcmweb(*workers, orthanc.url, "retrieve", "--output", "out")
    assert retrieved.code == 0
    files = tree(tmp_path / "out")
    assert len(files) == orthanc.count_instances()
    candidates: dict[str, list[bytes]] = {}
    for name in uploaded:
        data = Path(name).read_bytes()
        candidates.setdefault("/".join(uids(data)) + ".dcm", []).append(data)
    assert files.keys() == candidates.keys()
    # Some files share a SOP Instance UID; Orthanc keeps the one that came first.
    assert all(data in candidates[name] for name, data in files.items())


def test_a_bad_file_among_good_ones_is_found_out(
    dcmweb: Dcmweb, orthanc: Orthanc, tmp_path: Path
) -> None:
    files = make_series(20)
    files[7] = files[7][:-100]
    write_files(tmp_path / "in", files)
    result = dcmweb(orthanc.url, "store", "in")
    assert result.code == 1
    assert (
        "in/08.dcm failed: refused with status 400; it ends inside element (7FE0,0010)"
        in result.err
    )
    assert "stored 19, skipped 0, failed 1" in result.last
    assert orthanc.count_instances() == 19


def test_storing_again_is_harmless(dcmweb: Dcmweb, orthanc: Orthanc, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(3))
    for _ in range(2):
        assert dcmweb(orthanc.url, "store", "in").code == 0
    assert orthanc.count_instances() == 3


@pytest.mark.slow
def test_a_thousand_small_files_arrive(dcmweb: Dcmweb, orthanc: Orthanc, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(1000))
    assert dcmweb("-m", orthanc.url, "store", "./in/**.dcm").code == 0
    assert orthanc.count_instances() == 1000
    assert dcmweb("-m", orthanc.url, "retrieve", "studies/1.2.3", "-o", "out").code == 0
    assert len(tree(tmp_path / "out")) == 1000


def test_search_at_all_levels(dcmweb: Dcmweb, orthanc: Orthanc, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(3) + make_series(2, "1.2.4", "1.2.4.1"))
    dcmweb(orthanc.url, "store", "in")

    def count(*args: str) -> int:
        result = dcmweb(orthanc.url, "search", *args)
        assert result.code == 0
        return len(json.loads(result.out))

    assert count() == 2
    assert count("series") == 2
    assert count("instances") == 5
    assert count("studies/1.2.3/series") == 1
    assert count("studies/1.2.4/series/1.2.4.1/instances") == 2
    assert count("studies", "PatientName=Test^*") == 2
    assert count("studies", "PatientName=Nobody^*") == 0
    assert count("instances", "limit=2&offset=1") == 2
    assert count("--path", "studies", "--parameters", "limit=1") == 1


@pytest.mark.parametrize(
    ("path", "files"),
    [
        ("", 5),
        ("studies/1.2.3", 3),
        ("/studies/1.2.4/series/1.2.4.1/", 2),
        ("studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.2", 1),
    ],
)
def test_retrieve_at_all_levels(
    dcmweb: Dcmweb, orthanc: Orthanc, tmp_path: Path, path: str, files: int
) -> None:
    given = make_series(3) + make_series(2, "1.2.4", "1.2.4.1")
    write_files(tmp_path / "in", given)
    dcmweb(orthanc.url, "store", "in")
    result = dcmweb(orthanc.url, "retrieve", *filter(None, [path]), "--output", "out")
    assert result.code == 0
    found = tree(tmp_path / "out")
    assert len(found) == files
    assert all(data in given for data in found.values())
    assert "Saving files into out" in result.err


def test_frames_and_pictures_have_their_real_numbers(
    dcmweb: Dcmweb, orthanc: Orthanc, tmp_path: Path
) -> None:
    multi_frame = PYDICOM_FILES / "SC_rgb_rle_2frame.dcm"
    study, series, instance = uids(multi_frame.read_bytes())
    path = f"studies/{study}/series/{series}/instances/{instance}"
    dcmweb(orthanc.url, "store", multi_frame)

    assert dcmweb(orthanc.url, "retrieve", f"{path}/frames/2", "-o", "frames").code == 0
    assert list(tree(tmp_path / "frames")) == [f"{study}/{series}/{instance}_frame_2.rle"]

    assert dcmweb(orthanc.url, "retrieve", "--output", "png", "--type", "image/png").code == 0
    pictures = tree(tmp_path / "png")
    assert sorted(pictures) == [f"{study}/{series}/{instance}_frame_{n}.png" for n in (1, 2)]
    assert all(data.startswith(PNG) for data in pictures.values())


def test_another_transfer_syntax_is_transcoded_by_the_server(
    dcmweb: Dcmweb, orthanc: Orthanc, tmp_path: Path
) -> None:
    dcmweb(orthanc.url, "store", PYDICOM_FILES / "SC_rgb_rle_2frame.dcm")
    kind = 'application/dicom;transfer-syntax="1.2.840.10008.1.2.1"'
    assert dcmweb(orthanc.url, "retrieve", "-o", "out", "--type", kind).code == 0
    (data,) = tree(tmp_path / "out").values()
    found = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data))
    assert found.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"


def test_delete_says_what_orthanc_lacks(dcmweb: Dcmweb, orthanc: Orthanc, tmp_path: Path) -> None:
    write_files(tmp_path / "in", [make_instance()])
    dcmweb(orthanc.url, "store", "in")
    result = dcmweb(orthanc.url, "delete", "studies/1.2.3")
    assert result.code == 5
    assert "no DICOMweb DELETE" in result.err
    assert orthanc.count_instances() == 1


def test_basic_authentication(dcmweb: Dcmweb, start_orthanc: StartOrthanc, tmp_path: Path) -> None:
    orthanc = start_orthanc(AuthenticationEnabled=True, RegisteredUsers={"alice": "se:cret"})
    write_files(tmp_path / "in", make_series(2))
    without = dcmweb(orthanc.url, "store", "in")
    assert without.code == 4
    assert "the server asks for Basic" in without.err
    with_password = {"DCMWEB_PASSWORD": "se:cret"}
    assert dcmweb(orthanc.url, "store", "in", "--user", "alice", env=with_password).code == 0
    wrong = dcmweb(orthanc.url, "search", "--user", "alice", env={"DCMWEB_PASSWORD": "no"})
    assert (wrong.code, wrong.out) == (4, "")


@pytest.mark.parametrize("base", ["{root}/wrong", "{root}"])
def test_a_wrong_base_url_is_said_to_be_one(dcmweb: Dcmweb, orthanc: Orthanc, base: str) -> None:
    result = dcmweb(base.format(root=orthanc.root), "search")
    assert result.code != 0
    assert result.out == ""
    assert "BASE_URL" in result.last


def test_every_form_of_a_multi_frame_image(
    dcmweb: Dcmweb, orthanc: Orthanc, tmp_path: Path
) -> None:
    image = make_image(10)
    write_files(tmp_path / "in", [image])
    assert dcmweb(orthanc.url, "store", "in").code == 0
    instance = path_of(image)
    for path, options, count in (
        ("rendered", (), 1),
        ("rendered", ("--type", "image/png", "--viewport", "8,8", "--window", "40,400"), 1),
        ("frames/2,9/rendered", ("--type", "image/png"), 2),
        ("frames/1,5-7", (), 4),
        ("bulkdata", (), 1),
        ("metadata", (), 1),
        ("metadata", ("--type", "application/dicom+xml"), 1),
    ):
        folder = f"out{len(list(tmp_path.iterdir()))}"
        result = dcmweb(orthanc.url, "retrieve", f"{instance}/{path}", "-o", folder, *options)
        assert result.code == 0, result.err
        assert len(tree(tmp_path / folder)) == count
    (bulk,) = (data for place, data in tree(tmp_path).items() if place.endswith("7FE00010.raw"))
    assert bulk == pydicom.dcmread(pydicom.filebase.DicomBytesIO(image)).PixelData
    one = dcmweb(orthanc.url, "retrieve", instance, "-o", "-")
    assert one.data == image
    metadata = dcmweb(orthanc.url, "retrieve", f"{path_of(image, 1)}/metadata")
    assert json.loads(metadata.out)[0]["00280008"]["Value"] == [10]


def test_searches_feed_other_commands(dcmweb: Dcmweb, orthanc: Orthanc, tmp_path: Path) -> None:
    files = [changed(data, StudyDate="20240229") for data in make_series(3)]
    write_files(tmp_path / "in", [*files, make_instance("1.9", "1.9.1", "1.9.1.1")])
    assert dcmweb(orthanc.url, "store", "in").code == 0
    dates = "StudyDate=2024-02..2024-03"
    table = dcmweb(orthanc.url, "search", dates, "--all", "--format", "table")
    assert table.out.splitlines()[1].startswith("2024-02-29")
    assert dcmweb(orthanc.url, "search", "instances", dates, "--count").out == "3\n"
    paths = dcmweb(orthanc.url, "search", dates, "--format", "uids").out
    layout = ("--layout", "{PatientID}/{StudyDate}")
    result = dcmweb(orthanc.url, "retrieve", "-", "-o", "out", *layout, text=paths)
    assert result.code == 0
    folder = tmp_path / "out" / "secret-id-17" / "20240229"
    assert sorted(tree(folder).values()) == sorted(files)


@pytest.mark.parametrize(
    "arguments", [["search"], ["search", "PatientID=x"], ["store", "in"], ["retrieve", "studies/1"]]
)
def test_the_address_without_dicom_web_leads_to_a_proposal(
    dcmweb: Dcmweb, orthanc: Orthanc, tmp_path: Path, arguments: list[str]
) -> None:
    write_files(tmp_path / "in", make_series(1))
    result = dcmweb(orthanc.root, *arguments)
    assert result.code in (3, 5)
    assert f"the DICOMweb service is at {orthanc.url}: give that as BASE_URL" in result.err


@pytest.mark.parametrize("workers", [[], ["-m"]])
def test_counts_that_are_in_the_files_are_not_those_of_the_server(
    dcmweb: Dcmweb, orthanc: Orthanc, tmp_path: Path, workers: list[str]
) -> None:
    """Orthanc answers an includefield of a count with the value in the file."""
    numbers = {"NumberOfStudyRelatedInstances": 896, "NumberOfSeriesRelatedInstances": 448}
    write_files(tmp_path / "in", [changed(data, **numbers) for data in make_series(2)])
    assert dcmweb(orthanc.url, "store", "in").code == 0
    for path in ([], ["studies/1.2.3"], ["studies/1.2.3/series/1.2.3.4"]):
        result = dcmweb(*workers, orthanc.url, "retrieve", *path, "--output", "out")
        assert result.code == 0, result.err
        assert "retrieved 2" in result.last
    for level, name in (("studies", "Study"), ("series", "Series")):
        fields = f"NumberOf{name}RelatedInstances"
        found = dcmweb(
            orthanc.url, "search", level, "--format", "tsv", "--fields", f"{fields},PatientID"
        )
        assert found.out.splitlines()[1].startswith("2\t")
