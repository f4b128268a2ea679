"""Values of data sets as people read them."""

from __future__ import annotations

from typing import Any

import pytest

from dcmweb.dicom.readable import readable


def name(alphabetic: str = "", ideographic: str = "", phonetic: str = "") -> dict[str, str]:
    groups = {"Alphabetic": alphabetic, "Ideographic": ideographic, "Phonetic": phonetic}
    return {group: text for group, text in groups.items() if text}


@pytest.mark.parametrize(
    ("vr", "values", "expected"),
    [
        ("PN", [name("Doe^Jane")], "Doe, Jane"),
        ("PN", [name("Doe^Jane^Ann^Dr^PhD")], "Doe, Jane Ann, Dr, PhD"),
        ("PN", [name("Doe")], "Doe"),
        ("PN", [name("^^^^")], ""),
        ("PN", [name("Müller^Jürgen")], "Müller, Jürgen"),
        ("PN", [name("Yamada^Tarou", "山田^太郎", "やまだ^たろう")], "Yamada, Tarou (山田 太郎)"),
        ("PN", [name("", "山田^太郎")], "山田 太郎"),
        ("PN", [name("", "", "やまだ^たろう")], "やまだ たろう"),
        ("PN", ["Doe^Jane"], "Doe, Jane"),
        ("PN", [name("Yamada^Tarou=山田^太郎=やまだ^たろう")], "Yamada, Tarou (山田 太郎)"),
        ("PN", [name("Yamada^Tarou=山田^太郎", "李")], "Yamada, Tarou (山田 太郎)"),
        ("PN", [name("=山田^太郎")], "山田 太郎"),
        ("PN", [name("==やまだ")], "やまだ"),
        ("PN", [name("Doe=", "山田")], "Doe (山田)"),
        ("PN", ["Yamada^Tarou=山田^太郎"], "Yamada, Tarou (山田 太郎)"),
        ("PN", [name("A^B"), name("C^D")], "A, B; C, D"),
        ("PN", [{}], ""),
        ("PN", [{"Alphabetic": None}], ""),
        ("DA", ["20240131"], "2024-01-31"),
        ("DA", ["1997.04.24"], "1997.04.24"),
        ("TM", ["101112"], "10:11:12"),
        ("TM", ["101112.500000"], "10:11:12.5"),
        ("TM", ["101112.000"], "10:11:12"),
        ("TM", ["10"], "10"),
        ("TM", ["1011"], "10:11"),
        ("TM", ["noon"], "noon"),
        ("DT", ["20240131101112.5+0100"], "2024-01-31 10:11:12.5+0100"),
        ("DT", ["20240131"], "2024-01-31"),
        ("DT", ["?"], "?"),
        ("CS", ["CT", "MR"], "CT; MR"),
        ("CS", ["CT", None, "MR"], "CT; ; MR"),
        ("CS", [None], ""),
        ("IS", [5], "5"),
        ("IS", ["5"], "5"),
        ("DS", [1.0, 0.5], "1; 0.5"),
        ("US", [0], "0"),
        ("UI", ["1.2.840.10008.5.1.4.1.1.2"], "1.2.840.10008.5.1.4.1.1.2"),
        ("AT", ["00100010"], "00100010"),
        ("LO", [["odd"]], "['odd']"),
        ("SQ", [], ""),
        ("", ["x"], "x"),
    ],
)
def test_values_are_readable(vr: str, values: list[Any], expected: str) -> None:
    assert readable([{"vr": vr, "Value": values}]) == expected


def test_codes_are_triplets_and_other_items_name_their_elements() -> None:
    code = {
        "00080100": {"vr": "SH", "Value": ["T-04000"]},
        "00080102": {"vr": "SH", "Value": ["SRT"]},
        "00080104": {"vr": "LO", "Value": ["Breast"]},
    }
    other = {
        "00400009": {"vr": "SH", "Value": ["1"]},
        "00091001": {"vr": "LO", "Value": ["private"]},
        "00400008": {"vr": "SQ", "Value": [code]},
    }
    assert readable([{"vr": "SQ", "Value": [code]}]) == '(T-04000, SRT, "Breast")'
    assert readable([{"vr": "SQ", "Value": [other, {}]}]) == (
        '{00091001: private, ScheduledProtocolCodeSequence: (T-04000, SRT, "Breast"), '
        "ScheduledProcedureStepID: 1}; {}"
    )


def test_bulk_data_is_told_of() -> None:
    assert readable([{"vr": "OB", "InlineBinary": "AAAA"}]) == "(3 bytes)"
    assert readable([{"vr": "OB", "BulkDataURI": "http://h/x"}]) == "http://h/x"


def test_registered_uids_may_be_named() -> None:
    element = {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2", "1.2.3"]}
    assert readable([element], names_uids=True) == "CT Image Storage; 1.2.3"


@pytest.mark.parametrize(
    "element", [{}, {"vr": 5}, {"Value": "x"}, {"vr": "SQ", "Value": ["x", 1, None, [2]]}]
)
def test_malformed_elements_do_no_harm(element: dict[str, Any]) -> None:
    readable([element])


def test_sequences_that_are_too_deep_end_somewhere() -> None:
    element: dict[str, Any] = {"vr": "LO", "Value": ["deep"]}
    for _ in range(5000):
        element = {"vr": "SQ", "Value": [{"00081032": element}]}
    assert "..." in readable([element])
