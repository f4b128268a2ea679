"""Tags: the constants are those of the standard, and the only place where tags are spelt."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydicom.datadict import keyword_for_tag

import dcmweb
from dcmweb.dicom import tags

PACKAGE = Path(dcmweb.__file__).parent
# The dictionary is a table of its own; the archive's is one of columns.
TABLES = ("dicom/tags.py", "dicom/dictionary.py", "archive/storage/attributes.py")
CONSTANTS = {name: tag for name, tag in vars(tags).items() if name.isupper()}
GOOGLE = ("GOOGLE_ERROR_XML", "GOOGLE_ERROR_JSON")


@pytest.mark.parametrize("name", sorted(CONSTANTS.keys() - set(GOOGLE)))
def test_each_constant_is_named_by_the_keyword_of_its_tag(name: str) -> None:
    assert keyword_for_tag(int(CONSTANTS[name], 16)).upper() == name.replace("_", "")
    assert re.fullmatch("[0-9A-F]{8}", CONSTANTS[name])


def test_no_other_module_spells_a_tag() -> None:
    spelt = re.compile(r'"(?=[0-9A-F]*[0-9])[0-9A-F]{8}"|0x(?!F{8})[0-9A-F]{8}\b')
    found = {
        (path.relative_to(PACKAGE).as_posix(), match[0])
        for path in PACKAGE.rglob("*.py")
        for match in spelt.finditer(path.read_text(encoding="utf-8"))
    }
    assert {one for one in found if one[0] not in TABLES} == set()
