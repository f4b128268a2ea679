"""`store` and `serve` with folders that hold anything but files, or fail while they are read."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from dcmweb.archive.storage.folder import Storage
from tests.conftest import DCMWEB, Dcmweb, clean_environment, make_series, tree, write_files
from tests.functional.archive import Archive
from tests.functional.archives import rows_of, running
from tests.functional.origin import serving
from tests.functional.storing import posts
from tests.hostile import put_pipe, put_socket

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes, links and names of POSIX")

NAMES = {
    "not utf-8": b"\xff\xfe\x80.dcm",
    "line end": b"one\ntwo\r.dcm",
    "looks like a report": b"x.dcm uploaded as y\n2024 -- stored 9, skipped 0, failed 0.dcm",
    "escape": b"\x1b[2J\x1b]0;title\x07.dcm",
    "right to left": "\u202emcd.exe.dcm".encode(),
    "option": b"--help",
    "mask": b"[*?]**.dcm",
    "member": b"a.zip!b.dcm",
    "address": b"s3:bucket.dcm",
    "long": b"n" * 255,
    "space": b" ",
}


def fill(folder: Path) -> list[bytes]:
    """Put an instance under each name into a folder, and all that is not a file beside them."""
    instances = make_series(len(NAMES) + 1)
    folder.mkdir()
    for raw, data in zip(NAMES.values(), instances, strict=False):
        (folder / os.fsdecode(raw)).write_bytes(data)
    put_pipe(folder / "pipe.dcm")
    put_socket(folder / "socket.dcm")
    for name, target in {
        "zero.dcm": "/dev/zero",
        "null.dcm": "/dev/null",
        "terminal.dcm": "/dev/tty",
        "self.dcm": "self.dcm",
        "ping": "pong",
        "pong": "ping",
        "nowhere.dcm": "nothing",
        "up": "..",
        "here": ".",
        "memory.dcm": "/proc/self/mem",
    }.items():
        (folder / name).symlink_to(target)
    deep = folder / "deep"
    deep.mkdir()
    (deep / "last.dcm").write_bytes(instances[-1])
    (deep / "again").symlink_to(folder / "deep")
    return instances


@pytest.mark.parametrize("mask", [".", "**"])
@pytest.mark.parametrize("mode", [(), ("-j", "3")], ids=["serial", "parallel"])
def test_all_instances_of_a_hostile_folder_are_stored_once(
    dcmweb: Dcmweb, tmp_path: Path, mask: str, mode: tuple[str, ...]
) -> None:
    folder, archive = tmp_path / "in", Archive()
    instances = fill(folder)
    with serving(archive) as origin:
        command = (*mode, origin.url, "store", "--manifest", tmp_path / "m", mask)
        result = dcmweb(*command, cwd=folder)
        assert Counter(archive.files.values()) == Counter(instances)
        assert result.code == 1  # as some links lead nowhere
        assert f"stored {len(instances)}," in result.last
        assert not set(result.err) & {"\x1b", "\x07", "\r", "\u202e"}
        assert sum(" -- stored " in line for line in result.err.split("\n")) == 1
        for name in ("pipe", "socket", "zero", "null", "terminal"):
            assert f"{name}.dcm skipped: not a regular file" in result.err
        for name in ("self.dcm", "ping", "pong", "nowhere.dcm"):
            assert f"{name} failed: " in result.err
        before = len(posts(origin))
        again = dcmweb(*command, cwd=folder)
        assert len(posts(origin)) == before
        assert again.code == 1
        assert "stored 0," in again.last


def test_names_of_any_bytes_are_taken_back_from_the_list_of_failures(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    """Those that hold no line end, as the list has a path in a line."""
    folder = tmp_path / "in"
    fill(folder)
    url = "http://127.0.0.1:1/dicomweb"
    failed = dcmweb("--retries", "0", url, "store", "--failed-to", "list", folder)
    assert failed.code in (1, 6)
    archive = Archive()
    with serving(archive) as origin:
        result = dcmweb(origin.url, "store", "--files-from", "list")
    assert result.code == 1, result.err
    assert len(archive.files) >= len(NAMES) - 2


def test_a_hostile_folder_is_served(tmp_path: Path) -> None:
    instances = fill(tmp_path / "folder")
    with running(tmp_path / "folder") as server:
        rows = rows_of(server.get("instances"))
        assert len(rows) == len(instances)
        for row in rows:
            uid = row["00080018"]["Value"][0]
            answer = server.get(f"studies/1.2.3/series/1.2.3.4/instances/{uid}/metadata")
            assert answer.status_code == 200
    with running(tmp_path / "folder") as server:  # with its index
        assert len(rows_of(server.get("instances"))) == len(instances)


# A library that makes the functions of the system fail, for what has the error in its name.
SHIM = r"""
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/types.h>

static int fault(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    const char *name = strrchr(path, '/');
    if (!name) return 0;
    if (strstr(name, "FAULT-EIO")) return EIO;
    if (strstr(name, "FAULT-ESTALE")) return ESTALE;
    return 0;
}

static int late(int fd) {  /* not at the beginning of a file */
    return lseek(fd, 0, SEEK_CUR) > 0;
}

ssize_t read(int fd, void *buffer, size_t size) {
    static ssize_t (*next)(int, void *, size_t);
    if (!next) next = dlsym(RTLD_NEXT, "read");
    int error = fault(fd);
    if (error && late(fd)) { errno = error; return -1; }
    return next(fd, buffer, error && size > 4096 ? 4096 : size);
}

struct dirent64 *readdir64(DIR *folder) {
    static struct dirent64 *(*next)(DIR *);
    static __thread int seen;
    if (!next) next = dlsym(RTLD_NEXT, "readdir64");
    int error = fault(dirfd(folder));
    if (error && ++seen % 5 == 0) { errno = error; return NULL; }
    return next(folder);
}

struct dirent *readdir(DIR *folder) { return (struct dirent *) readdir64(folder); }
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the library that makes reading fail."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or not compiler:
        pytest.skip("needs Linux and a C compiler")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    library = folder / "shim.so"
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(folder / "shim.c"), "-ldl"]
    built = subprocess.run(command, capture_output=True, check=False)
    if built.returncode:
        pytest.skip(f"a library cannot be built here: {built.stderr.decode()[:200]}")
    return library


@pytest.mark.parametrize("error", ["EIO", "ESTALE"])
@pytest.mark.parametrize("size", [1000, 100_000], ids=["small", "large"])
def test_errors_of_a_file_system_in_the_middle_are_named(
    tmp_path: Path, shim: Path, error: str, size: int
) -> None:
    archive = Archive()
    good, other, *rest = make_series(10, size=size)
    write_files(tmp_path / "in", [good, other])
    (tmp_path / "in" / f"FAULT-{error}.dcm").write_bytes(rest[0])
    write_files(tmp_path / "in" / f"FAULT-{error}-folder", rest[1:])
    with serving(archive) as origin:
        result = subprocess.run(
            [*DCMWEB, "--retries", "0", origin.url, "store", "in"],
            cwd=tmp_path,
            env={**clean_environment(), "LD_PRELOAD": str(shim)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    words = os.strerror(5 if error == "EIO" else 116)
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    stored = set(archive.files.values())
    assert stored >= {good, other}
    assert stored <= set(tree(tmp_path / "in").values())
    assert f"in/FAULT-{error}-folder failed: {words}" in result.stderr
    if size > 4096:
        assert f"in/FAULT-{error}.dcm failed: {words}" in result.stderr
        assert rest[0] not in stored


def test_the_archive_names_what_it_cannot_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "folder" / "good", make_series(3))
    (tmp_path / "folder" / "bad").mkdir()
    scandir = os.scandir

    class Stale:
        name, path = "2.dcm", "2.dcm"

        def is_dir(self, *, follow_symlinks: bool) -> bool:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    class Listing:
        def __enter__(self) -> list[Stale]:
            return [Stale()]

        def __exit__(self, *_: object) -> None:
            pass

    def failing(folder: str) -> object:
        return Listing() if folder.endswith("bad") else scandir(folder)

    monkeypatch.setattr("os.scandir", failing)
    lines: list[str] = []
    storage = Storage(str(tmp_path / "folder"), lines.append)
    storage.close()
    assert f"bad/2.dcm is not served: {os.strerror(errno.ESTALE)}" in lines
    assert any(line.startswith("Serving 3 instances") for line in lines)
