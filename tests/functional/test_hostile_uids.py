"""`retrieve` from a server whose UIDs are names that mean something to some system."""

from __future__ import annotations

import warnings
from pathlib import Path

import pydicom
import pytest

from dcmweb.local import windows
from tests.conftest import Dcmweb, make_instance, tree
from tests.functional.archive import Archive, json_answer, multipart_answer
from tests.functional.archives import changed
from tests.functional.origin import Answer, Request, serving

UIDS = ("0020000D", "0020000E", "00080018")
# fmt: off
NAMES = (
    "C:", "C:\\x", "c:x", "\\\\host\\share", "\\\\?\\C:\\x", "//host/share", "x:stream",
    "~", "~root", "CON", "con.dcm", "NUL", "nul ", "COM1", "LPT9.x", "CONIN$", "AUX.", "1.2.",
    "1.2 ", "1.2. .", "1.2.aB", "1.2.Ab", "1.2.AB", "1.2.ab", "..", "../x", "..\\x", "/etc/x",
    "a/../../x", ".dcmweb",
    ".dcmweb-00000000-1-00000000-1.part", "-rf", "$HOME", "`x`", "%TEMP%", "*", "1" * 128,
)
# fmt: on
TOO_LONG = "1." * 5000 + "1"
LAYOUTS = [
    "",
    "{PatientID}/{SOPInstanceUID}",
    "{StudyInstanceUID}/{SeriesInstanceUID}",
    "{SOPInstanceUID}/{StudyInstanceUID}.{SeriesInstanceUID}",
    "{PatientID}{PatientName}/{InstanceNumber:03}",
]


def made(study: str, series: str, instance: str) -> bytes:
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        return changed(
            make_instance(),
            StudyInstanceUID=study,
            SeriesInstanceUID=series,
            SOPInstanceUID=instance,
            PatientID=instance[:64],
            PatientName=series[:64],
            InstanceNumber="1",
        )


class Server:
    """Lists instances, and sends all of a study in one stream."""

    def __init__(self, listed: list[tuple[str, str, str]]) -> None:
        self.listed = listed
        self.files = [made(*uids) for uids in listed]

    def __call__(self, request: Request) -> Answer:
        if request.path.endswith(("/studies/1.9", "/series/1.9.1")):
            return multipart_answer(self.files)
        for file, uids in zip(self.files, self.listed, strict=True):
            if request.path.endswith(f"/instances/{uids[2]}"):
                return multipart_answer([file])
        if request.path.endswith("/studies"):
            return json_answer([] if "offset" in request.query else [self.row(("1.9",))])
        if request.path.endswith("/instances"):
            rows = [self.row(uids) for uids in self.listed]
            return json_answer([] if "offset" in request.query else rows)
        return Answer(404)

    @staticmethod
    def row(uids: tuple[str, ...]) -> dict[str, object]:
        return {tag: {"vr": "UI", "Value": [uid]} for tag, uid in zip(UIDS, uids, strict=False)}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mode", [(), ("-j", "3")], ids=["serial", "parallel"])
def test_names_that_systems_take_for_something_else(
    dcmweb: Dcmweb, tmp_path: Path, layout: str, mode: tuple[str, ...]
) -> None:
    """Every instance is kept under a name that is harmless anywhere, or is a named failure."""
    server = Server([("1.9", "1.9.1", name) for name in [*NAMES, TOO_LONG]])
    inside = tmp_path / "deep" / "down" / "out"
    options = ("--layout", layout) if layout else ()
    with serving(server) as origin:
        result = dcmweb(
            "--retries", "0", *mode, origin.url, "retrieve", "studies/1.9", "-o", inside, *options
        )
        assert result.code in (0, 1, 8), result.err
    found = tree(tmp_path / "deep")
    assert len(found) == len(tree(inside))
    lost = [
        name
        for name, data in zip([*NAMES, TOO_LONG], server.files, strict=True)
        if data not in found.values()
    ]
    failed = result.err.count(" failed: ")
    assert set(lost) <= {"..", TOO_LONG}
    assert failed >= len(lost)
    assert len(found) == len(server.files) - len(lost)
    if "PatientName" not in layout:  # there, the file system says whether a place is free
        assert len({place.lower() for place in found}) == len(found)
    for place in tree(inside):
        for name in place.split("/"):
            assert not windows.is_device(name)
            assert not windows.loses_its_end(name)
            assert not windows.forbidden_in(name)
            assert not name.startswith((".", "~"))
            assert len(name.encode()) <= 255


@pytest.mark.parametrize("mode", [(), ("-j", "3")], ids=["serial", "parallel"])
@pytest.mark.parametrize("again", [(), ("--skip-existing",)], ids=["", "skipping"])
def test_uids_that_join_to_the_same_text_do_not_overwrite_each_other(
    dcmweb: Dcmweb, tmp_path: Path, mode: tuple[str, ...], again: tuple[str, ...]
) -> None:
    uids = [
        ("1.2", "3.4", "5.6"),
        ("1.2.3", "4", "5.6"),
        ("1.2", "3", "4.5.6"),
        ("1", "2.3", "4.5.6"),
    ]
    archive = Archive(*(made(*one) for one in uids))
    layout = "{StudyInstanceUID}.{SeriesInstanceUID}.{SOPInstanceUID}"
    with serving(archive) as origin:
        command = (*mode, origin.url, "retrieve", "-o", "out", "--layout", layout)
        assert dcmweb(*command).code == 0
        assert dcmweb(*command, *again).code == 0
    assert sorted(tree(tmp_path / "out").values()) == sorted(archive.files.values())
