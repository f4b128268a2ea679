"""What programs pass to calls by mistake: it is an error of the call, and never means more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from dcmweb import Client, Outcome, Settings, Status, UsageError, Work, perform
from dcmweb.dicom.resources import Resource
from tests.conftest import make_series, write_files
from tests.functional.archive import Archive
from tests.functional.origin import Origin, serving


@pytest.fixture
def origin() -> Iterator[Origin]:
    with serving(Archive(*make_series(3))) as server:
        yield server


@pytest.fixture
def client(origin: Origin) -> Iterator[Client]:
    with Client(origin.url, retries=0) as made:
        yield made


CALLS: dict[str, Callable[[Client, Any], object]] = {
    "store": lambda client, given: client.store(given),
    "listed": lambda client, given: client.store((), listed=given),
    "retrieve": lambda client, given: client.retrieve(given),
    "output": lambda client, given: client.retrieve("studies/1", given),
    "metadata": lambda client, given: client.metadata(given),
    "delete": lambda client, given: client.delete(given),
    "wait": lambda client, given: client.wait(given),
    "manifest": lambda client, given: client.store("x", manifest=given),
    "path": lambda client, given: client.search(given),
    "parameters": lambda client, given: client.search("studies", given),
    "fields": lambda client, given: client.search("studies", fields=given),
    "limit": lambda client, given: client.search("studies", limit=given),
}


@pytest.mark.parametrize("given", [5, object(), [5], [None]])
@pytest.mark.parametrize("call", sorted(set(CALLS) - {"limit", "listed"}))
def test_what_is_of_another_type(call: str, given: object, client: Client) -> None:
    with pytest.raises(UsageError, match=r"type|pair"):
        CALLS[call](client, given)


@pytest.mark.parametrize("call", ["store", "retrieve", "metadata", "wait"])
@pytest.mark.parametrize("given", [Resource("1.2", "3.4"), Outcome(Status.STORED, "a")])
def test_the_parts_of_a_value_are_not_paths(call: str, given: object, client: Client) -> None:
    with pytest.raises(UsageError, match="type"):
        CALLS[call](client, given)


@pytest.mark.parametrize("call", sorted(set(CALLS) - {"limit", "retrieve"}))
def test_none_is_not_a_value(call: str, client: Client) -> None:
    with pytest.raises(UsageError):
        CALLS[call](client, None)


@pytest.mark.parametrize("given", ["5", 0, -1, 1.5, True, []])
def test_limit(given: object, client: Client) -> None:
    with pytest.raises(UsageError, match="limit"):
        CALLS["limit"](client, given)


@pytest.mark.parametrize("call", ["retrieve", "metadata", "delete", "wait"])
@pytest.mark.parametrize("given", [[], (), set(), {}])
def test_no_path_at_all_is_not_everything(
    call: str, given: Iterable[str], client: Client, origin: Origin
) -> None:
    """A program whose list came out empty must not get the whole store."""
    with pytest.raises(UsageError, match="no "):
        CALLS[call](client, given)
    assert origin.requests == []


def test_work_without_items_is_not_everything(origin: Origin, tmp_path: Path) -> None:
    work = Work(
        settings=Settings(base_url=origin.url), command="retrieve", items=(), output=str(tmp_path)
    )
    done = perform(work)
    assert isinstance(done.error, UsageError)
    assert (done.outcomes, origin.requests) == ((), [])


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_path_of_an_iterator_is_not_everything(
    empty: str, client: Client, origin: Origin, tmp_path: Path
) -> None:
    """As `path_of` returns for a row that has no UIDs."""
    run = client.retrieve(iter([empty]), tmp_path).wait()
    assert (run.counts, run.failures[0].reason) == ({Status.FAILED: 1}, "a path is empty")
    rows = client.metadata(iter([empty]), on_error="outcome")
    assert (list(rows), [one.reason for one in rows.failures]) == ([], ["a path is empty"])
    assert origin.requests == []


@pytest.mark.parametrize("given", [5, None, b"studies/1", Path("studies/1")])
def test_a_path_of_an_iterator_that_is_of_another_type(
    given: Any, client: Client, tmp_path: Path
) -> None:
    for run in (client.retrieve(iter([given]), tmp_path), client.metadata(iter([given]))):
        with pytest.raises(UsageError, match="type"):
            list(run)
    with pytest.raises(UsageError, match="type"):
        client.wait(iter([given])).wait()


def test_the_whole_store_is_meant_when_no_path_is_named(client: Client, tmp_path: Path) -> None:
    assert client.retrieve(output=tmp_path / "a").wait().check().items == 3
    assert client.retrieve(None, tmp_path / "b").wait().check().items == 3


@pytest.mark.parametrize("value", [None, b"x", True, ["a", None], object(), [], ()])
def test_a_search_value_that_would_find_something_else(value: Any, client: Client) -> None:
    with pytest.raises(UsageError, match="PatientID"):
        client.search("studies", {"PatientID": value})


def test_search_values_that_are_not_text(client: Client, origin: Origin) -> None:
    parameters: dict[str, Any] = {"StudyDate": date(2024, 1, 2), "PatientID": 5, "StudyID": {"7"}}
    list(client.search("studies", parameters, fields="PatientName"))
    list(client.search("studies", {"StudyDate": date(2024, 1, 2)}, check=False))
    first, second = (request.query for request in origin.requests)
    assert all(part in first for part in ("=20240102", "=5", "=7", "includefield=00100010"))
    assert "=20240102" in second


def test_one_listed_path_alone_is_a_path(client: Client, tmp_path: Path) -> None:
    (path,) = write_files(tmp_path, make_series(1))
    for listed in (str(path), path, [str(path).encode()]):
        assert client.store((), listed=listed).wait().check().items == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["user", "password", "token", "token_file", "ca_bundle"])
@pytest.mark.parametrize("value", [None, 5, ["SECRET"]])
def test_settings_of_another_type(name: str, value: object) -> None:
    with pytest.raises(UsageError, match="type") as caught:
        Client("http://localhost/x", **{name: value})  # type: ignore[arg-type]
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("value", [None, 5, b"http://localhost/x", Path("x")])
def test_a_base_url_of_another_type(value: Any) -> None:
    with pytest.raises(UsageError, match="type"):
        Client(value)


@pytest.mark.parametrize("value", [True, "3", None, 0, 10**400 * -1, float("nan")])
def test_a_time_that_is_not_a_number_of_seconds(value: Any) -> None:
    with pytest.raises(UsageError, match="idle_timeout"):
        Client("http://localhost/x", idle_timeout=value)


@pytest.mark.parametrize("metadata", [{"00100010": {1}}, [object()], b"{}"])
def test_metadata_that_is_not_json(metadata: Any, client: Client) -> None:
    with pytest.raises(UsageError, match="JSON"):
        client.store_metadata(metadata)


@pytest.mark.parametrize(
    "options",
    [{"quality": "5"}, {"quality": 1.5}, {"viewport": (3, 4)}, {"media_type": 5}, {"window": 5}],
)
def test_options_of_another_type(options: dict[str, Any], client: Client) -> None:
    with pytest.raises(UsageError, match="type"):
        client.retrieve("studies/1", **options)
