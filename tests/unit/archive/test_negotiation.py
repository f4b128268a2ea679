"""Accept headers, as clients write them."""

from __future__ import annotations

import pytest
from werkzeug.exceptions import NotAcceptable
from werkzeug.test import create_environ
from werkzeug.wrappers import Request

from dcmweb.archive.negotiation import accepted, choose_type

DICOM = "application/dicom"


def request(accept: str | None, query: str = "") -> Request:
    headers = {} if accept is None else {"Accept": accept}
    return Request(create_environ("/studies", query_string=query, headers=headers))


@pytest.mark.parametrize(
    ("text", "name", "multipart", "syntax"),
    [
        (f'multipart/related; type="{DICOM}"; transfer-syntax=*', DICOM, True, "*"),
        (f"multipart/related; type={DICOM}; transfer-syntax=*", DICOM, True, "*"),
        (f'multipart/related; type="{DICOM}; transfer-syntax=1.2"', DICOM, True, "1.2"),
        (f'Multipart/Related;TYPE="{DICOM}"', DICOM, True, ""),
        ("multipart/related", "*/*", True, ""),
        (f"{DICOM}; transfer-syntax=*", DICOM, False, "*"),
        ("image/jpg", "image/jpeg", False, ""),
        ("*/*", "*/*", True, ""),
        (None, "*/*", True, ""),
        ("", "*/*", True, ""),
    ],
)
def test_a_media_range_is_read(text: str | None, name: str, multipart: bool, syntax: str) -> None:
    (found,) = accepted(request(text))
    assert (found.name, found.is_multipart, found.transfer_syntax) == (name, multipart, syntax)


def test_the_most_wanted_comes_first_and_what_is_not_wanted_goes() -> None:
    text = "image/gif;q=0, image/png;q=0.5, image/jpeg, text/html;q=rubbish"
    assert [r.name for r in accepted(request(text))] == ["image/jpeg", "text/html", "image/png"]


def test_a_comma_within_quotes_splits_nothing() -> None:
    assert len(accepted(request('multipart/related; type="a,b"'))) == 1


def test_the_query_goes_before_the_header() -> None:
    (found,) = accepted(request("image/png", "accept=image/jpeg"))
    assert found.name == "image/jpeg"


@pytest.mark.parametrize(
    ("text", "chosen"),
    [("*/*", "image/jpeg"), ("image/*", "image/jpeg"), ("image/png, */*;q=0.1", "image/png")],
)
def test_of_what_a_range_covers_the_first_offered_wins(text: str, chosen: str) -> None:
    assert choose_type(accepted(request(text)), ["image/jpeg", "image/png"]) == chosen


def test_what_is_not_offered_is_not_acceptable() -> None:
    with pytest.raises(NotAcceptable, match="image/png"):
        choose_type(accepted(request("text/html")), ["image/png"])


def test_only_so_many_media_ranges_are_read() -> None:
    many = ",".join(f"text/x{number}" for number in range(150))
    assert len(accepted(request(many))) == 100


@pytest.mark.parametrize("quality", ["nan", "inf", "-1", "1e9", "9" * 5000, "x", ".", ""])
def test_an_odd_quality_is_none(quality: str) -> None:
    (found,) = accepted(request(f"application/dicom; q={quality}"))
    assert found.quality == 1.0
