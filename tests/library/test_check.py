"""`Client.check`: outcomes as values, the other side in all its shapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dcmweb import (
    Client,
    Credentials,
    ItemsFailed,
    NothingMatched,
    Outcome,
    Settings,
    Status,
    UsageError,
)
from dcmweb.http.auth import choose
from dcmweb.http.auth.choice import resolve
from dcmweb.library.other_side import settings_of_other_server
from dcmweb.settings import AuthScheme
from dcmweb.transfer.meter import Phase
from tests.conftest import make_series, write_files
from tests.functional.archive import Archive
from tests.functional.origin import Answer, Request, serving

SERIES = [make_series(n, f"1.{n}", f"1.{n}.1") for n in (1, 2, 3)]


def test_outcomes_are_values(tmp_path: Path) -> None:
    paths = write_files(tmp_path, [*SERIES[0], *SERIES[1]])
    with serving(Archive(*SERIES[1], *SERIES[2])) as origin, Client(origin.url) as client:
        run = client.check(tmp_path, thorough=True)
        found = list(run)
        each = list(client.check([str(path) for path in paths], each=True, one_way=True))
        with pytest.raises(ItemsFailed, match="4 of 6 items are not equal"):
            run.summary.check()
    assert found == [
        Outcome(
            Status.MISSING, "studies/1.1", study="1.1", instances=1,
            reason="the server does not list it",
        ),
        Outcome(Status.EQUAL, "studies/1.2", study="1.2", instances=2),
        Outcome(
            Status.EXTRA, "studies/1.3", study="1.3", instances=3,
            reason="it is not among the files",
        ),
    ]  # fmt: skip
    assert run.summary.purpose is Status.EQUAL
    assert run.summary.counts == {Status.MISSING: 1, Status.EQUAL: 2, Status.EXTRA: 3}
    assert [(one.status, one.place) for one in each] == [
        (Status.MISSING, str(paths[0])),
        (Status.EQUAL, str(paths[1])),
        (Status.EQUAL, str(paths[2])),
    ]


def test_the_other_side_may_be_a_url_or_settings() -> None:
    archive = Archive(*SERIES[0])
    with serving(archive) as one, serving(archive) as two, Client(one.url) as client:
        assert client.check(two.url).wait().check().items == 1
        client.check(Settings(base_url=two.url), contents=True).wait().check()
        client.check(two.url, ["studies/1.1"]).wait().check()
        own = Settings(base_url=two.url, credentials=Credentials(user="me", password="x"))
        client.check(own).wait().check()
        assert "authorization" in two.requests[-1].headers


def test_wrong_arguments_are_errors_of_the_call(tmp_path: Path) -> None:
    calls: list[Callable[[Client], object]] = [
        lambda client: client.check([]),
        lambda client: client.check(""),
        lambda client: client.check(client.base_url),
        lambda client: client.check(client.settings),
        lambda client: client.check(tmp_path, []),
        lambda client: client.check(tmp_path, "studies/1/series/2"),
        lambda client: client.check([client.base_url, "x"]),
        lambda client: client.check("http://"),
        lambda client: client.check(7),  # type: ignore[arg-type]
    ]
    with Client("http://127.0.0.1:1/x") as client:
        for call in calls:
            with pytest.raises(UsageError):
                call(client)


def test_nothing_to_compare_with_is_raised(tmp_path: Path) -> None:
    with serving(Archive()) as origin, Client(origin.url) as client:
        with pytest.raises(NothingMatched):
            client.check(tmp_path).wait()
        with pytest.raises(NothingMatched):
            client.check(str(tmp_path / "none")).wait()


def test_a_loop_can_be_broken_off(tmp_path: Path) -> None:
    write_files(tmp_path, [file for one in SERIES for file in one])
    with serving(Archive()) as origin, Client(origin.url) as client:
        run = client.check(tmp_path)
        first = next(run)
        run.close()
        assert first.status is Status.MISSING
        assert run.summary.end == "stopped early"
        assert client.check(tmp_path).wait().failed == 6


def test_how_far_it_has_come_is_known_before_there_are_outcomes(tmp_path: Path) -> None:
    write_files(tmp_path, SERIES[0])
    phases: list[Phase | None] = []
    archive = Archive(*SERIES[0])

    def note(request: Request) -> Answer:
        phases.append(run.progress.phase)
        return archive(request)

    with serving(note) as origin, Client(origin.url) as client:
        run = client.check(tmp_path, thorough=True)
        run.wait()
    count = len(SERIES[0])
    assert run.progress.expected == count
    assert phases[0] == Phase("listing studies", "study")
    assert phases[-1] is None
    assert run.progress.later == ""


@pytest.mark.parametrize(
    ("url", "scheme", "user"),
    [
        ("http://other/x", AuthScheme.NONE, ""),
        ("http://you:p%40ss@other/x/", AuthScheme.BASIC, "you"),
        ("https://healthcare.googleapis.com/v1/x", AuthScheme.GOOGLE, ""),
    ],
)
def test_another_server_does_not_get_the_credentials_of_the_first(
    url: str, scheme: AuthScheme, user: str
) -> None:
    first = Settings(
        base_url="http://one/x",
        credentials=Credentials(token="secret"),
        retries=1,
        insecure=True,
        qido_root="http://one/qido",
    )
    other = settings_of_other_server(first, url)
    assert (resolve(other), other.credentials.user) == (scheme, user)
    assert other.credentials.token == ""
    assert (other.retries, other.insecure, other.qido_root) == (1, True, "")


PROFILES = """
[plain]
url = "http://plain/x"
retries = 2

[lacking]
url = "http://lacking/x"
user = "me"

[oauth2]
url = "http://oauth2/x"
token-url = "https://issuer/token"
client-id = "me"
client-secret = "of its own"

[token]
url = "http://token/x"
token = "of its own"
"""


def test_another_server_may_be_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.toml").write_text(PROFILES)
    monkeypatch.setenv("DCMWEB_CONFIG", str(tmp_path / "config.toml"))
    for name in ("PASSWORD", "TOKEN"):
        monkeypatch.setenv(f"DCMWEB_{name}", "of the first")
    first = Settings(base_url="http://one/x", workers=3)
    plain = settings_of_other_server(first, "@plain")
    assert (plain.base_url, plain.retries, plain.workers) == ("http://plain/x", 2, 3)
    assert resolve(plain) is AuthScheme.NONE
    token = settings_of_other_server(first, "@token")
    assert (resolve(token), token.credentials.token) == (AuthScheme.BEARER, "of its own")
    oauth2 = settings_of_other_server(first, "@oauth2")
    assert resolve(oauth2) is AuthScheme.OAUTH2
    lacking = settings_of_other_server(first, "@lacking")
    with pytest.raises(UsageError, match="set DCMWEB_TO_PASSWORD"):
        choose(lacking)
    monkeypatch.setenv("DCMWEB_TO_PASSWORD", "of its own")
    assert choose(lacking).identity == "user me"
    with pytest.raises(UsageError, match="there is no profile other"):
        settings_of_other_server(first, "@other")
