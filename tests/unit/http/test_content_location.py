"""Answers that name another resource than was asked for."""

from __future__ import annotations

import pytest

from dcmweb.http.content_location import names_another

BASE = "http://server.example/dicomweb"


@pytest.mark.parametrize(
    ("path", "location", "expected"),
    [
        ("studies/1", "", ""),
        ("studies/1", f"{BASE}/studies/1", ""),
        ("studies/1/metadata", "/dicomweb/studies/1", ""),
        ("studies/1", "/other/root/studies/1", ""),
        ("studies/1", "/files/17.dcm", ""),
        ("studies?StudyInstanceUID=1", f"{BASE}/studies/2", ""),
        ("studies/1", f"{BASE}/studies/1/series/2", ""),
        ("studies/1", "http://elsewhere.example/studies/2", ""),
        ("studies/1", "http://[", ""),
        ("studies/a%2Db", f"{BASE}/studies/a-b", ""),
        ("studies/1", f"{BASE}/studies/2", "/dicomweb/studies/2"),
        ("studies/1", "HTTP://Server.Example/dicomweb/studies/2", "/dicomweb/studies/2"),
        ("studies/1/series/2", "../../2/series/2", "/dicomweb/studies/2/series/2"),
        ("studies/1/series/2", "/studies/1/series/3", "/studies/1/series/3"),
        ("studies/1/series/2/instances/3/rendered", "4", ""),
        (
            "studies/1/series/2/instances/3/rendered",
            "/studies/1/series/2/instances/4",
            "/studies/1/series/2/instances/4",
        ),
    ],
)
def test_another_study_series_or_instance_is_told(path: str, location: str, expected: str) -> None:
    assert names_another(f"{BASE}/{path}", location) == expected
