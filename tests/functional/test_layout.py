"""`retrieve --layout`: files where people look for them, and none lost over it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Dcmweb, make_instance, make_series, tree
from tests.functional.archive import Archive, multipart_answer
from tests.functional.archives import changed, make_image, path_of
from tests.functional.origin import Answer, serving

LAYOUT = ("--layout", "{PatientID}/{StudyDate}/{Modality}")


def files(folder: Path) -> list[str]:
    return sorted(tree(folder))


@pytest.mark.parametrize("mode", [(), ("-m",)])
def test_instances_go_where_their_attributes_say(
    dcmweb: Dcmweb, tmp_path: Path, mode: tuple[str, ...]
) -> None:
    a, b = make_series(2)
    c = changed(
        make_instance("1.9", "1.9.1", "1.9.1.1"),
        SpecificCharacterSet="ISO_IR 192",
        PatientID="山田/4",
        StudyDate="20240229",
    )
    with serving(Archive(a, b, c)) as origin:
        result = dcmweb(*mode, origin.url, "retrieve", "-o", "out", *LAYOUT)
    assert result.code == 0, result.err
    found = tree(tmp_path / "out")
    known = [f"secret-id-17/unknown/CT/1.2.3.4.{n}.dcm" for n in (1, 2)]
    assert [found[name] for name in known] == [a, b]
    (other,) = found.keys() - set(known)
    assert other.startswith("山田_4-")
    assert other.endswith("/20240229/CT/1.9.1.1.dcm")
    assert found[other] == c


@pytest.mark.parametrize("mode", [(), ("-j", "4")])
def test_instances_that_share_a_uid_do_not_overwrite_each_other(
    dcmweb: Dcmweb, tmp_path: Path, mode: tuple[str, ...]
) -> None:
    twins = [make_instance(f"1.{n}", f"1.{n}.1", "5.5") for n in range(4)]
    with serving(Archive(*twins)) as origin:
        arguments = (*mode, origin.url, "retrieve", "-o", "out", *LAYOUT)
        assert dcmweb(*arguments).code == 0
        assert dcmweb(*arguments).code == 0
    assert sorted(tree(tmp_path / "out").values()) == sorted(twins)


@pytest.mark.parametrize("what", ["rendered", "thumbnail", "frames/1", "bulkdata", "metadata", ""])
@pytest.mark.parametrize("layout", ["{SOPInstanceUID}", "{PatientID}/{StudyDate}/{Modality}"])
def test_what_copies_with_one_uid_have_is_all_there(
    dcmweb: Dcmweb, tmp_path: Path, what: str, layout: str
) -> None:
    """In one study after the other, and in one run."""
    twins = [changed(make_image(1), StudyInstanceUID=f"1.{n}") for n in range(3)]
    paths = [f"{path_of(twin)}/{what}".rstrip("/") for twin in twins]
    with serving(Archive(*twins)) as origin:
        arguments = ("-j", "4", origin.url, "retrieve", "-o", "out", "--layout", layout)
        assert dcmweb(*arguments, paths[0]).code == 0
        again = dcmweb(*arguments, "--skip-existing", *paths)
        assert again.code == 0, again.err
        assert dcmweb(*arguments, *paths).code == 0
    assert " already there 1," in again.last
    assert len(files(tmp_path / "out")) == len(twins)


def test_what_is_something_else_in_a_place_is_left_alone(dcmweb: Dcmweb, tmp_path: Path) -> None:
    (data,) = make_series(1)
    place = tmp_path / "out" / "secret-id-17" / "unknown" / "CT" / "1.2.3.4.1.dcm"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"notes of mine")
    with serving(Archive(data)) as origin:
        for _ in range(2):
            assert dcmweb(origin.url, "retrieve", "-o", "out", *LAYOUT).code == 0
    assert sorted(tree(tmp_path / "out").values()) == sorted([data, b"notes of mine"])


@pytest.mark.parametrize("option", [("--skip-existing",), ("--manifest", "m")])
def test_what_is_in_its_place_is_passed_over(
    dcmweb: Dcmweb, tmp_path: Path, option: tuple[str, ...]
) -> None:
    with serving(Archive(*make_series(5))) as origin:
        arguments = (origin.url, "retrieve", "-o", "out", *LAYOUT, *option)
        assert dcmweb(*arguments).code == 0
        before = files(tmp_path / "out")
        (tmp_path / "out" / before[0]).unlink()
        result = dcmweb(*arguments)
    assert result.code == 0
    assert "retrieved 1, " in result.last
    assert files(tmp_path / "out") == before


def test_every_form_has_its_place_in_a_layout(dcmweb: Dcmweb, tmp_path: Path) -> None:
    image = make_image(2)
    instance = path_of(image)
    with serving(Archive(image)) as origin:
        for path, options in (
            (f"{instance}/rendered", ()),
            (f"{instance}/thumbnail", ()),
            (f"{instance}/frames/2", ()),
            (f"{instance}/bulkdata", ()),
            (f"{instance}/metadata", ()),
            (path_of(image, 1), ("--type", "image/png")),
        ):
            result = dcmweb(origin.url, "retrieve", path, "-o", "out", *options, *LAYOUT)
            assert result.code == 0, result.err
    stem = "secret-id-17/unknown/CT/1.2.3.4.5-2c1567f1bdd4"  # with a digest of its path
    ends = ["_7FE00010.raw", "_frame_1.png", "_frame_2.png", "_frame_2.raw", "_thumbnail.jpg"]
    assert files(tmp_path / "out") == sorted(stem + end for end in [*ends, ".jpg", ".json"])


@pytest.mark.parametrize("path", ["studies/1.2.3/thumbnail", "https://elsewhere.invalid/bulk"])
def test_what_is_no_instance_has_no_place_in_a_layout(dcmweb: Dcmweb, path: str) -> None:
    with serving(Archive(*make_series(1))) as origin:
        result = dcmweb(origin.url, "retrieve", path, *LAYOUT)
    assert result.code == 2
    assert not origin.requests


def test_what_has_no_room_is_not_begun(dcmweb: Dcmweb, tmp_path: Path) -> None:
    answer = multipart_answer(make_series(1), length=10**15)
    with serving(lambda _: answer) as origin:
        result = dcmweb(origin.url, "retrieve", "studies/1.2.3", "-o", "out")
    assert result.code == 7
    assert "1,000,000,000,000,000 bytes" in result.err
    assert tree(tmp_path / "out") == {}


def test_a_list_may_begin_with_what_is_not_understood(dcmweb: Dcmweb, tmp_path: Path) -> None:
    archive = Archive(*make_series(1))
    with serving(archive) as origin:
        arguments = (origin.url, "retrieve", "-", "-o", "out", "--json")
        result = dcmweb(*arguments, text="nonsense\nstudies/1.2.3\n")
    assert result.code == 1
    events = [json.loads(line) for line in result.out.splitlines()]
    assert [event["type"] for event in events] == ["failed", "retrieved", "summary"]
    assert tree(tmp_path / "out") == archive.tree()


def test_pictures_options_are_of_no_use_for_metadata(dcmweb: Dcmweb) -> None:
    with serving(lambda _: Answer(500)) as origin:
        result = dcmweb(origin.url, "retrieve", "studies/1/metadata", "--quality", "5")
    assert result.code == 2
    assert not origin.requests


# Names by the Instance Number.


NUMBERED = ("--layout", "{SeriesInstanceUID}/{InstanceNumber:03}")


def numbered(count: int, *numbers: str) -> list[bytes]:
    """Make instances of one series with these numbers, or those from 1 on."""
    files = []
    for index in range(count):
        number = numbers[index % len(numbers)] if numbers else str(index + 1)
        data = make_instance("1.2", "1.2.3", f"1.2.3.{index}")
        files.append(changed(data, InstanceNumber=number))
    return files


def test_slices_sort_as_slices_do(dcmweb: Dcmweb, tmp_path: Path) -> None:
    made = numbered(12)
    with serving(Archive(*made)) as origin:
        assert dcmweb(origin.url, "retrieve", "-o", "out", *NUMBERED).code == 0
    found = tree(tmp_path / "out")
    assert sorted(found) == [f"1.2.3/{n:03}.dcm" for n in range(1, 13)]
    assert [found[name] for name in sorted(found)] == made


@pytest.mark.parametrize("mode", [(), ("-j", "4")])
@pytest.mark.parametrize("option", [(), ("--skip-existing",), ("--manifest", "m")])
@pytest.mark.parametrize("numbers", [("7",), ("",), ("1", "2", "1")])
def test_instances_of_one_number_are_all_there_and_stay(
    dcmweb: Dcmweb,
    tmp_path: Path,
    mode: tuple[str, ...],
    option: tuple[str, ...],
    numbers: tuple[str, ...],
) -> None:
    """Also where a run goes on: a file that is there may be another instance's."""
    made = numbered(6, *numbers)
    with serving(Archive(*made)) as origin:
        arguments = (*mode, origin.url, "retrieve", "-o", "out", *NUMBERED, *option)
        assert dcmweb(*arguments).code == 0
        assert sorted(tree(tmp_path / "out").values()) == sorted(made)
        for name in files(tmp_path / "out")[1:4]:
            (tmp_path / "out" / name).unlink()
        assert dcmweb(*arguments).code == 0
        assert sorted(tree(tmp_path / "out").values()) == sorted(made)
        again = dcmweb(*arguments)
    assert sorted(tree(tmp_path / "out").values()) == sorted(made)
    if option:
        assert "retrieved 0, " in again.last


@pytest.mark.parametrize("form", ["metadata", "rendered"])
def test_other_forms_of_one_number_are_all_there(dcmweb: Dcmweb, tmp_path: Path, form: str) -> None:
    with serving(Archive(*numbered(4, "7"))) as origin:
        paths = [f"studies/1.2/series/1.2.3/instances/1.2.3.{n}/{form}" for n in range(4)]
        result = dcmweb(origin.url, "retrieve", *paths, "-o", "out", *NUMBERED)
    assert result.code == 0
    assert len(files(tmp_path / "out")) == 4
