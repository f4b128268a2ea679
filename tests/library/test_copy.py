"""`Client.copy`: outcomes as values, the destination in all its shapes."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcmweb import Client, Credentials, NothingMatched, Settings, Status, UsageError
from dcmweb.library.destination import read_destination
from tests.conftest import make_series
from tests.functional.archive import Archive
from tests.functional.origin import serving

FILES = make_series(3)
STUDY = "studies/1.2.3"


def test_outcomes_are_what_the_destination_says(tmp_path: Path) -> None:
    source, there = Archive(*FILES), Archive()
    with serving(source) as old, serving(there) as new, Client(old.url) as client:
        run = client.copy(STUDY, new.url, manifest=tmp_path / "m")
        found = {one.item: one for one in run}
        again = client.copy(None, Settings(base_url=new.url), manifest=tmp_path / "m").wait()
        planned = client.copy([STUDY], new.url, dry_run=True).wait()
    assert len(found) == 3
    for key, data in there.files.items():
        item = f"studies/{key[0]}/series/{key[1]}/instances/{key[2]}"
        one = found[item]
        assert (one.status, one.size, one.place) == (
            Status.STORED, len(data), f"{new.url}/{item}",
        )  # fmt: skip
        assert (one.study, one.series, one.instance) == key
    assert there.files == source.files
    assert again.counts == {Status.DONE_BEFORE: 3}
    assert planned.counts == {Status.EXISTS: 3}


def test_errors_of_a_target_are_raised_if_that_is_wanted() -> None:
    with serving(Archive(*FILES)) as old, serving(Archive()) as new, Client(old.url) as client:
        with pytest.raises(NothingMatched, match="the source: "):
            client.copy("studies/1.9", new.url, on_error="raise").wait()
        summary = client.copy(["studies/1.9", STUDY], new.url).wait()
    assert summary.counts == {Status.FAILED: 1, Status.STORED: 3}


@pytest.mark.parametrize(
    ("paths", "destination", "how"),
    [
        (STUDY, "http://x/dicomweb/", {}),
        (STUDY, "images", {}),
        (STUDY, 5, {}),
        ([], "http://y", {}),
        (f"{STUDY}/metadata", "http://y", {}),
        (STUDY, "http://y", {"media_type": "image/png"}),
        (STUDY, "http://y", {"shard": "3"}),
        (STUDY, "http://y", {"if_exists": "ask"}),
    ],
)
def test_what_cannot_be_is_an_error_of_the_call(paths: str, destination: str, how: dict) -> None:  # type: ignore[type-arg]
    with Client("http://x/dicomweb") as client, pytest.raises(UsageError):
        client.copy(paths, destination, **how)


def test_settings_of_the_source_that_are_its_own_are_not_for_the_destination() -> None:
    first = Settings(
        base_url="http://x",
        credentials=Credentials(user="a", password="p", headers=(("X-Key", "k"),)),
        server="orthanc",
        wado_root="http://x/wado",
        workers=7,
        idle_timeout=5.0,
        proxy="http://proxy:3128",
    )
    found = read_destination("http://y", first)
    assert found.credentials == Credentials(variables="DCMWEB_TO_")
    assert (found.server, found.wado_root) == ("", "")
    assert (found.workers, found.idle_timeout, found.proxy) == (7, 5.0, first.proxy)
    given = Settings(base_url="http://y", credentials=Credentials(user="b"))
    assert read_destination(given, first).credentials.secret("password").variable == (
        "DCMWEB_TO_PASSWORD"
    )
