"""Names of persons: groups and components, read and written."""

from __future__ import annotations

import pytest

from dcmweb.dicom.person_names import (
    join_components,
    join_groups,
    split_components,
    split_groups,
)


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("Doe^Jane", {"Alphabetic": "Doe^Jane"}),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう",
         {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}),
        ("=山田", {"Alphabetic": "", "Ideographic": "山田"}),
    ],
)  # fmt: skip
def test_groups(text: str, groups: dict[str, str]) -> None:
    assert split_groups(text) == groups
    assert join_groups(groups) == text


def test_groups_that_are_null_or_left_out_are_empty() -> None:
    assert join_groups({"Alphabetic": None, "Phonetic": "x"}) == "==x"
    assert join_groups({}) == ""


def test_components() -> None:
    assert [*split_components("Doe^Jane^M.").values()] == ["Doe", "Jane", "M.", "", ""]
    assert split_components("a^b^c^d^e^f")["NameSuffix"] == "e^f"
    assert join_components(["Doe", "", "M.", "", ""]) == "Doe^^M."
