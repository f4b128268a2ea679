"""Searching: parameters as people write them, and how many rows are asked for."""

from __future__ import annotations

import pytest

from dcmweb.errors import UsageError
from dcmweb.transactions.search.parameters import parse_parameters
from dcmweb.transactions.search.run import DEFAULT_LIMIT, Search
from tests.unit.conftest import Answer, Archive, Serve, studies


@pytest.mark.parametrize(
    ("texts", "pairs"),
    [
        ([], []),
        ([""], []),
        (["?"], []),
        (["StudyDate=19941013"], [("StudyDate", "19941013")]),
        (["limit=1&offset=2"], [("limit", "1"), ("offset", "2")]),
        (["?limit=1"], [("limit", "1")]),
        (["a=1", "b=2", "a=3"], [("a", "1"), ("b", "2"), ("a", "3")]),
        (["&a=1&&b=2&"], [("a", "1"), ("b", "2")]),
        (["PatientName="], [("PatientName", "")]),
        (["StudyDescription=a=b"], [("StudyDescription", "a=b")]),
        (["InstitutionName=Smith & Sons"], [("InstitutionName", "Smith & Sons")]),
        (["InstitutionName=Smith&Sons"], [("InstitutionName", "Smith&Sons")]),
        (["n=A&B&limit=1"], [("n", "A&B"), ("limit", "1")]),
        (["a=1&00100010=x&0010002B.x=y"], [("a", "1"), ("00100010", "x"), ("0010002B.x", "y")]),
        (["PatientName=Doe%5EJane%20M"], [("PatientName", "Doe^Jane M")]),
        (["n=Smith%26Sons&limit=1"], [("n", "Smith&Sons"), ("limit", "1")]),
        (["n=a+b"], [("n", "a+b")]),
        (["n=100%"], [("n", "100%")]),
        (["n=%E9"], [("n", "%E9")]),
        (["n=%C3%A9"], [("n", "é")]),
        ([" n = x "], [("n", " x")]),
    ],
)  # fmt: skip
def test_parameters_are_read_as_they_are_written(
    texts: list[str], pairs: list[tuple[str, str]]
) -> None:
    assert parse_parameters(texts) == pairs


@pytest.mark.parametrize("text", ["limit", "=1", "?=1", " =x", "a&b=1", "studies"])
def test_what_has_no_key_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="search parameter 1 is not valid"):
        parse_parameters([text])


@pytest.mark.parametrize(
    ("parameters", "rows", "more", "targets"),
    [
        (["limit=2"], 2, False, ["studies?limit=2"]),
        (["LIMIT=2"], 2, False, ["studies?limit=2"]),
        (["a=1&limit=2&offset=3"], 2, False, ["studies?a=1&limit=2&offset=3"]),
        (["limit=9"], 7, False, ["studies?limit=9", "studies?limit=2&offset=7"]),
        ([], 7, False, ["studies?limit=5000", "studies?limit=4993&offset=7"]),
        (["offset=6"], 1, False, ["studies?limit=5000&offset=6", "studies?limit=4999&offset=7"]),
        (["limit=0"], 0, False, ["studies?limit=0"]),
    ],
)
def test_as_many_rows_are_asked_for_as_are_wanted(
    parameters: list[str], rows: int, more: bool, targets: list[str], serve: Serve
) -> None:
    context, server = serve(Archive(studies(7)))
    result = Search(context, "", parse_parameters(parameters))
    assert (len(list(result)), result.more) == (rows, more)
    assert server.targets == targets


@pytest.mark.parametrize(("count", "more"), [(DEFAULT_LIMIT, False), (DEFAULT_LIMIT + 1, True)])
def test_rows_beyond_the_default_limit_are_told_of(count: int, more: bool, serve: Serve) -> None:
    context, _ = serve(Archive(studies(count)))
    result = Search(context, "studies", [])
    assert (len(list(result)), result.more) == (DEFAULT_LIMIT, more)


def test_the_path_says_where_to_search(serve: Serve) -> None:
    context, server = serve(lambda *_: Answer(204, b""))
    assert not list(Search(context, "/studies/1.2/series", [("limit", "1")]))
    assert server.targets == ["studies/1.2/series?limit=1"]


@pytest.mark.parametrize(
    "parameters", [["limit=x"], ["limit=-1"], ["limit="], ["offset=1.5"], ["limit=1", "limit=2"]]
)
def test_limits_that_are_no_number_are_a_usage_error(parameters: list[str], serve: Serve) -> None:
    context, server = serve(lambda *_: Answer(204, b""))
    with pytest.raises(UsageError, match="whole number"):
        Search(context, "studies", parse_parameters(parameters))
    assert server.targets == []
