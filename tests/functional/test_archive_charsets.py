"""Names in the character sets of the world: searched for, found and told by the archive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pydicom.data
import pytest

from tests.conftest import Dcmweb, write_files
from tests.functional.archives import (
    GOOGLE,
    STANDARD,
    XML_PARTS,
    Running,
    path_of,
    rows_of,
    running,
    value,
)

NAMES = {
    "chrArab": "قباني^لنزار",
    "chrFren": "Buc^Jérôme",
    "chrGerm": "Äneas^Rüdiger",
    "chrGreek": "Διονυσιος",
    "chrH31": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "chrH32": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "chrHbrw": "שרון^דבורה",
    "chrI2": "Hong^Gildong=洪^吉洞=홍^길동",
    "chrJapMulti": "やまだ^たろう",
    "chrKoreanMulti": "김희중",
    "chrRuss": "Люкceмбypг",  # noqa: RUF001 - as the file has it
    "chrX1": "Wang^XiaoDong=王^小東",
    "chrX2": "Wang^XiaoDong=王^小东",
}
FILES = {
    name: (Path(pydicom.data.__file__).parent / "charset_files" / f"{name}.dcm").read_bytes()
    for name in NAMES
}
GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("archive") / "folder"
    write_files(folder, [*FILES.values()])
    with running(folder) as server:
        yield server


@pytest.mark.parametrize("dialect", [STANDARD, GOOGLE])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_any_character_set_is_found_and_told(
    server: Running, name: str, dialect: str
) -> None:
    groups = NAMES[name].split("=")
    expected = dict(zip(GROUPS, groups, strict=False))
    study = path_of(FILES[name], 1)
    for searched in (NAMES[name], groups[-1], f"{groups[-1][:2]}*", groups[-1].lower()):
        rows = rows_of(server("GET", f"{dialect}/studies", params={"PatientName": searched}))
        (row,) = [row for row in rows if value(row, "0020000D") == study.partition("/")[2]]
        assert value(row, "00100010") == expected
        assert value(row, "00080005") == "ISO_IR 192"
    for accept in ("application/dicom+json", XML_PARTS):
        (told,) = rows_of(server("GET", f"{dialect}/{path_of(FILES[name])}/metadata", accept))
        assert value(told, "00100010") == expected


def test_the_projects_own_client_finds_a_name_too(server: Running, dcmweb: Dcmweb) -> None:
    result = dcmweb(server.url, "search", "studies", "PatientName=Äneas^Rüdiger")
    assert result.code == 0
    (row,) = json.loads(result.out)
    assert value(row, "00100010") == {"Alphabetic": "Äneas^Rüdiger"}
