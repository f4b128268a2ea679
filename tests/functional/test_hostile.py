"""The command with servers and folders that wish its users harm."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import pytest

from tests.conftest import Dcmweb, make_series, tree, write_files
from tests.functional.archive import Archive
from tests.functional.origin import Answer, Request, serving
from tests.hostile import INSTANCE, SERIES, deflated, nested, put_socket

BASE = "http://127.0.0.1:1/dicomweb"
posix = pytest.mark.skipif(sys.platform == "win32", reason="links and sockets of POSIX")


@posix
@pytest.mark.parametrize("place", ["1.2.3", "1.2.3/1.2.3.4"])
@pytest.mark.parametrize("form", ["", "/metadata", "/rendered", "/frames/1"])
def test_nothing_lands_outside_of_the_output_folder(
    dcmweb: Dcmweb, tmp_path: Path, place: str, form: str
) -> None:
    """Links wait there in place of the folders of a study or a series."""
    out, other = tmp_path / "out", tmp_path / "other"
    (out / place).parent.mkdir(parents=True)
    other.mkdir()
    (out / place).symlink_to(other)
    with serving(Archive(*make_series(1))) as origin:
        path = "studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.1"
        result = dcmweb(origin.url, "--retries", "0", "retrieve", path + form, "-o", out)
    assert tree(other) == {}
    assert result.code == 7
    assert "a symbolic link there leads out of the folder" in result.err


@posix
@pytest.mark.parametrize("place", ["1.2.3", "1.2.3/1.2.3.4"])
def test_nothing_lands_outside_where_a_link_takes_the_place_of_a_folder_in_use(
    dcmweb: Dcmweb, tmp_path: Path, place: str
) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    files = make_series(2)
    archive = Archive(*files)

    def put_link(request: Request) -> Answer:
        if request.path.endswith("/1.2.3.4.2"):  # the first one has been saved by then
            (out / place).rename(tmp_path / "moved")
            other.mkdir()
            (other / "1.2.3.4").mkdir()
            (out / place).symlink_to(other)
        return archive(request)

    with serving(put_link) as origin:
        below = "studies/1.2.3/series/1.2.3.4/instances/1.2.3.4"
        result = dcmweb(origin.url, "retrieve", f"{below}.1", f"{below}.2", "-o", out)
    assert result.code == 1
    assert "a symbolic link there leads out of the folder" in result.err
    assert tree(other) == {}
    assert list(tree(tmp_path / "moved").values()) == [files[0]]


@posix
def test_what_has_no_link_in_its_way_is_retrieved(dcmweb: Dcmweb, tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    out.mkdir()
    other.mkdir()
    (out / "1.2.3").symlink_to(other)
    studies = [*make_series(2), *make_series(2, "1.2.5", "1.2.5.1")]
    with serving(Archive(*studies)) as origin:
        result = dcmweb(origin.url, "retrieve", "studies/1.2.3", "studies/1.2.5", "-o", out)
    assert result.code == 1
    assert len(list((out / "1.2.5" / "1.2.5.1").iterdir())) == 2
    assert tree(other) == {}


@posix
def test_links_within_the_output_folder_and_to_it_are_followed(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    real = tmp_path / "real"
    (real / "disk").mkdir(parents=True)
    (real / "1.2.3").symlink_to("disk")
    (tmp_path / "out").symlink_to(real)
    with serving(Archive(*make_series(2))) as origin:
        result = dcmweb(origin.url, "retrieve", "studies/1.2.3", "-o", tmp_path / "out")
    assert result.code == 0, result.err
    assert len(list((real / "disk" / "1.2.3.4").iterdir())) == 2


@posix
def test_a_link_in_place_of_a_file_is_replaced(dcmweb: Dcmweb, tmp_path: Path) -> None:
    (data,) = make_series(1)
    precious, out = tmp_path / "precious", tmp_path / "out"
    precious.write_bytes(b"precious")
    place = out / "1.2.3" / "1.2.3.4" / "1.2.3.4.1.dcm"
    place.parent.mkdir(parents=True)
    place.symlink_to(precious)
    with serving(Archive(data)) as origin:
        result = dcmweb(origin.url, "retrieve", "studies/1.2.3", "-o", out)
    assert precious.read_bytes() == b"precious"
    assert result.code == 0, result.err


@posix
def test_a_socket_in_a_folder_is_skipped(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(1))
    put_socket(tmp_path / "in" / "socket")
    result = dcmweb(BASE, "store", "--dry-run", tmp_path / "in")
    assert result.code == 0
    assert "not a regular file" in result.err
    assert "planned 1, skipped 1" in result.err
    assert dcmweb(BASE, "store", "--dry-run", tmp_path / "in" / "socket").code == 1


def test_what_keeps_a_file_from_being_read_is_named(dcmweb: Dcmweb, tmp_path: Path) -> None:
    files = [nested(3000), deflated(b"", 100 << 20, INSTANCE + SERIES)]
    write_files(tmp_path / "in", files)
    result = dcmweb(BASE, "store", "--dry-run", tmp_path / "in")
    assert result.code == 1
    assert "nested too deep" in result.err
    assert "too large when inflated" in result.err


@pytest.mark.parametrize("command", [["search", "studies"], ["retrieve", "studies/1.2.3"]])
@pytest.mark.parametrize("rows", [b"{},", b'{"0020000D":{"vr":"UI","Value":["1.2"]}},'])
def test_a_little_gzip_does_not_become_much_memory(
    dcmweb: Dcmweb, command: list[str], rows: bytes
) -> None:
    bomb = gzip.compress(b"[" + rows * ((30 << 20) // len(rows)) + b"{}]")
    head = {"Content-Type": "application/dicom+json", "Content-Encoding": "gzip"}
    with serving(lambda _: Answer(200, bomb, head)) as origin:
        result = dcmweb(origin.url, "--retries", "0", *command)
    assert result.code == 8
    assert "Traceback" not in result.err


def test_a_mask_with_many_wildcards_ends(dcmweb: Dcmweb, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / ("a" * 200)).write_bytes(b"")
    for mask in ("*a" * 30 + "b", "**a" * 30 + "b"):
        assert dcmweb(BASE, "store", "--dry-run", f"{tmp_path}/in/{mask}").code == 3
