"""Data sets as text: what json writes, and numbers as they came."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcmweb.dicom import json_fast
from dcmweb.dicom.json_model import parse_json
from dcmweb.dicom.json_numbers import Seen
from dcmweb.dicom.json_text import as_line, compact, indented
from dcmweb.errors import ProtocolError

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
_VALUES = st.recursive(
    _SCALARS | st.fixed_dictionaries({"vr": st.text(), "Value": st.lists(st.text(), max_size=2)}),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
_DATASETS = st.dictionaries(st.text(), _VALUES, max_size=4)
ODD = ["0.1234567890123456789", "1e400", "-1e400", "0.50", "1E2", "1.0", "12345678901234567890"]


@settings(deadline=None)
@given(_DATASETS)
def test_it_is_what_json_writes(dataset: dict[str, Any]) -> None:
    assert as_line(dataset) == json.dumps(dataset, sort_keys=True)
    assert f"[\n  {indented(dataset)}\n]" == json.dumps([dataset], indent=2, sort_keys=True)


@settings(deadline=None)
@given(_DATASETS)
def test_it_is_what_json_writes_where_msgspec_does(dataset: dict[str, Any]) -> None:
    before, json_fast._Seen.size = json_fast._Seen.size, json_fast.LARGE
    try:
        test_it_is_what_json_writes.hypothesis.inner_test(dataset)  # type: ignore[attr-defined]
        tight = json.dumps(dataset, sort_keys=True, separators=(",", ":"))
        assert compact(dataset) == tight.encode()
    finally:
        json_fast._Seen.size = before


@settings(deadline=None)
@given(_DATASETS)
def test_so_it_is_after_an_odd_number_came(dataset: dict[str, Any]) -> None:
    parse_json(b'{"00101030": {"vr": "DS", "Value": [0.50]}}')
    assert Seen.any_odd
    assert as_line(dataset) == json.dumps(dataset, sort_keys=True)


@pytest.mark.parametrize("number", ODD)
def test_numbers_come_out_as_they_came(number: str) -> None:
    (dataset,) = parse_json(f'{{"00101030": {{"Value": [{number}], "vr": "DS"}}}}'.encode())
    assert as_line(dataset) == f'{{"00101030": {{"Value": [{number}], "vr": "DS"}}}}'
    assert f"        {number}\n" in indented(dataset)
    (value,) = dataset["00101030"]["Value"]
    assert isinstance(value, (int, float)) or value in ("inf", "-inf")
    assert float(value) == float(number)


def test_what_is_nested_too_deep_is_an_error_in_words() -> None:
    inside: Any = []
    for _ in range(100_000):
        inside = [inside]
    for write in (as_line, indented):
        with pytest.raises(ProtocolError, match="nested too deep"):
            write({"a": inside})
