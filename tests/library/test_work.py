"""Units of work in other processes, and what can be handed to them."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from dcmweb import Credentials, NothingMatched, Outcome, Settings, Status, UsageError, Work, perform
from dcmweb.dicom.resources import Resource, Target
from dcmweb.settings import AuthScheme
from dcmweb.transactions.delete.run import DeleteOptions
from dcmweb.transactions.on_error import OnError
from dcmweb.transactions.retrieve.options import RetrieveOptions
from dcmweb.transactions.store.options import StoreOptions
from dcmweb.transfer.summary import Progress, Summary
from tests.conftest import make_series, tree, write_files
from tests.functional.archive import Archive
from tests.functional.origin import Answer, serving

SUMMARY = Summary(
    purpose=Status.STORED, counts={Status.STORED: 1}, bytes=1, seconds=1, workers=1, retries=0
)
SECRETS = Credentials(user="me", password="hunter2")


@pytest.mark.parametrize(
    "value",
    [
        Settings(base_url="http://h/x", workers=3, adapts=True),
        Resource("1.2", "3.4", "5.6", (1, 2)),
        Target(Resource("1.2")),
        StoreOptions(verify=True, storage_class="NEARLINE"),
        RetrieveOptions(media_type="image/png", layout="{PatientID}", viewport="8,8"),
        DeleteOptions(waits=False, on_error=OnError.RAISE),
        Outcome(Status.FAILED, "a\udcff", 3, "why", study="1"),
        Progress(counts={Status.STORED: 1}),
        SUMMARY,
        Work(settings=Settings(base_url="http://h"), command="store", items=("a",)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_can_be_pickled(value: object) -> None:
    again = pickle.loads(pickle.dumps(value))
    assert again == value
    assert repr(again) == repr(value)  # all of it, types included


@pytest.mark.parametrize(
    ("given", "scheme"),
    [
        (SECRETS, AuthScheme.AUTO),
        (Credentials(token="hunter2"), AuthScheme.BEARER),
        (Credentials(token="hunter2", scheme=AuthScheme.BEARER), AuthScheme.BEARER),
    ],
)
def test_secrets_are_not_in_pickles(
    given: Credentials, scheme: AuthScheme, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever unpickles them takes the secret from its own environment, or is told so."""
    work = Work(
        settings=Settings(base_url="http://127.0.0.1:1", credentials=given, retries=0),
        command="delete",
        items=("studies/1",),
    )
    data = pickle.dumps(work)
    assert b"hunter2" not in data
    again: Work = pickle.loads(data)
    assert again.settings.credentials.scheme is scheme
    monkeypatch.delenv("DCMWEB_PASSWORD", raising=False)
    monkeypatch.delenv("DCMWEB_TOKEN", raising=False)
    assert isinstance(perform(again).error, UsageError)


def test_secrets_of_a_url_are_not_in_pickles_either() -> None:
    settings = Settings(base_url="http://me:hunter2@h/x")
    assert b"hunter2" not in pickle.dumps(settings)
    assert "hunter2" not in repr(settings)


def test_work_is_done_in_other_processes(tmp_path: Path) -> None:
    paths = [str(path) for path in write_files(tmp_path / "in", make_series(6))]
    archive = Archive()
    with serving(archive) as origin:
        settings = Settings(base_url=origin.url)
        works = [
            Work(settings=settings, command="store", items=(*paths[:3],)),
            Work(settings=settings, command="store", items=(*paths[3:], str(tmp_path / "none"))),
        ]
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            done = list(pool.map(perform, works))
            assert [one.work for one in done] == works
            outcomes = [outcome for one in done for outcome in one.outcomes]
            assert sorted(o.item for o in outcomes if o.status is Status.STORED) == paths
            assert [o.item for o in outcomes if o.status is Status.FAILED] == [
                str(tmp_path / "none")
            ]
            out = str(tmp_path / "out")
            retrieve = Work(
                settings=settings, command="retrieve", items=("studies/1.2.3",), output=out
            )
            assert len(pool.submit(perform, retrieve).result().outcomes) == 6
            raising = DeleteOptions(on_error=OnError.RAISE)
            delete = Work(
                settings=settings, command="delete", items=("studies/8.8",), options=raising
            )
            assert isinstance(pool.submit(perform, delete).result().error, NothingMatched)
    assert sorted(tree(tmp_path / "out").values()) == sorted(archive.files.values())


def test_an_error_that_ends_work_comes_with_what_was_done(tmp_path: Path) -> None:
    (path,) = write_files(tmp_path, make_series(1))
    with serving(lambda _: Answer(401)) as origin:
        work = Work(settings=Settings(base_url=origin.url), command="store", items=(str(path),))
        done = perform(work)
    assert [outcome.status for outcome in done.outcomes] == [Status.FAILED]
    assert done.error is not None
    again = pickle.loads(pickle.dumps(done))
    assert (str(again.error), again.outcomes) == (str(done.error), done.outcomes)


def test_work_of_another_kind_is_refused() -> None:
    work = Work(settings=Settings(base_url="http://h"), command="search", items=())  # type: ignore[arg-type]
    assert isinstance(perform(work).error, UsageError)
