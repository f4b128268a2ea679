"""Digest, netrc, and schemes of other packages: no body is ever sent empty after a challenge."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dcmweb import AuthError, Client, Credentials
from tests.conftest import DCMWEB, Dcmweb, make_series, tree, write_files
from tests.functional.archive import Archive
from tests.functional.digest import Digest
from tests.functional.origin import Answer, Handler, Request, serving
from tests.functional.test_auth import basic, sent_to

SECRET = "hunter2-S3CR3T"
ENVIRONMENT = {"DCMWEB_PASSWORD": SECRET}
DIGEST = ("--auth", "digest", "--user", "joe")


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
@pytest.mark.parametrize("uses", [1, 2, 1_000_000])
@pytest.mark.parametrize("workers", ["1", "8"])
def test_everything_works_with_a_digest(
    dcmweb: Dcmweb, tmp_path: Path, algorithm: str, uses: int, workers: str
) -> None:
    files = make_series(6, size=20_000)
    write_files(tmp_path / "in", files)
    archive = Archive()
    server = Digest(archive, "joe", SECRET, uses=uses, algorithm=algorithm)
    with serving(server) as origin:
        options = ("--retries", "0", "-j", workers, *DIGEST, origin.url)
        stored = dcmweb(*options, "store", "in", "--verify", env=ENVIRONMENT)
        assert stored.code == 0, stored.err
        assert sorted(archive.files.values()) == sorted(files)
        assert dcmweb(*options, "retrieve", "-o", "out", env=ENVIRONMENT).code == 0
        assert sorted(tree(tmp_path / "out").values()) == sorted(files)
        assert dcmweb(*options, "search", "PatientName=Te*^S*", env=ENVIRONMENT).out != "[]\n"
    assert not [r for r in origin.requests if r.method == "POST" and not r.body]
    if uses > 2:
        assert not [request for request in server.refused if request.method == "POST"]


def test_a_body_waits_for_the_challenge_also_where_searches_are_open(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    files = make_series(3, size=20_000)
    write_files(tmp_path / "in", files)
    archive = Archive()
    with serving(Digest(archive, "joe", SECRET, open_methods=("GET",))) as origin:
        assert dcmweb(*DIGEST, origin.url, "store", "in", env=ENVIRONMENT).code == 0
    assert sorted(archive.files.values()) == sorted(files)
    assert not [r for r in origin.requests if r.method == "POST" and not r.body]


def test_names_and_passwords_can_have_any_letters(dcmweb: Dcmweb) -> None:
    wire = "jörg".encode().decode("latin-1")
    with serving(Digest(lambda _: Answer(204), wire, "pässwörd")) as origin:
        given = ("--auth", "digest", "--user", "jörg")
        result = dcmweb(*given, origin.url, "search", env={"DCMWEB_PASSWORD": "pässwörd"})
    assert (result.code, result.err) == (0, "")


def test_a_wrong_password_is_told_once(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(3))
    with serving(Digest(Archive(), "joe", SECRET)) as origin:
        environment = {"DCMWEB_PASSWORD": "wrong-password"}
        for command in (["search"], ["store", "in"]):
            result = dcmweb("--debug", *DIGEST, origin.url, *command, env=environment)
            assert result.code == 4
            assert "the user name or the password is wrong" in result.err
            assert "wrong-password" not in result.err
    assert len(origin.requests) < 8


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ('Digest realm="x", nonce="n", qop="auth", algorithm=SHA-512-256-x', "a kind of digest"),
        ('Digest realm="x", nonce="n", qop="auth-int"', "a kind of digest"),
        ('Basic realm="x"', "the server asks for Basic, not for Digest"),
        ("Digest", "Error: "),
        ("Digest nonsense", "Error: "),
        ("", "give --user"),
    ],
)
def test_other_challenges_are_one_line(dcmweb: Dcmweb, field: str, words: str) -> None:
    headers = {"WWW-Authenticate": field} if field else {}
    with serving(lambda _: Answer(401, headers=headers)) as origin:
        result = dcmweb(*DIGEST, origin.url, "search", env=ENVIRONMENT)
    assert result.code == 4
    assert words in result.last
    assert len(result.err.splitlines()) == 1
    assert SECRET not in result.err


def test_a_digest_does_not_follow_a_redirect_to_another_server() -> None:
    challenge = {"WWW-Authenticate": 'Digest realm="evil", nonce="n", qop="auth"'}
    with serving(lambda _: Answer(401, headers=challenge)) as other:
        there = {"Location": f"http://127.0.0.1:{other.port}/there"}
        server = Digest(lambda _: Answer(302, headers=there), "joe", SECRET)
        with serving(server) as origin:
            given = Credentials(scheme="digest", user="joe", password=SECRET)
            with Client(origin.url, credentials=given) as client:
                for _ in range(3):
                    with pytest.raises(AuthError):
                        list(client.search())
    assert sent_to(other) == {None}
    assert not [field for field in sent_to(origin) if field and "evil" in field]


@pytest.mark.parametrize("scheme", ["basic", "digest"])
def test_a_user_is_needed(dcmweb: Dcmweb, scheme: str) -> None:
    result = dcmweb("--auth", scheme, "http://127.0.0.1:1/", "search", env=ENVIRONMENT)
    assert result.code == 2
    assert f"--auth {scheme} needs a user name" in result.err


# Passwords.


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (["--password-file", "pw"], {}, SECRET),
        (["--password-command", "cat pw"], {}, SECRET),
        ([], {"DCMWEB_PASSWORD_FILE": "pw"}, SECRET),
        ([], {"DCMWEB_PASSWORD_COMMAND": "cat pw"}, SECRET),
        (["--password-file", "/dev/stdin"], {}, "from stdin"),
        (["--password-file", "pw"], {"DCMWEB_PASSWORD": "other"}, SECRET),
        ([], {"DCMWEB_PASSWORD": ""}, ""),
    ],
)
@pytest.mark.parametrize("scheme", ["basic", "digest"])
def test_passwords_come_from_files_and_commands(
    dcmweb: Dcmweb,
    tmp_path: Path,
    arguments: list[str],
    environment: dict[str, str],
    expected: str,
    scheme: str,
) -> None:
    (tmp_path / "pw").write_text(f"{SECRET}\n")
    digest = Digest(lambda _: Answer(204), "joe", expected)
    right = basic("joe", expected)

    def handle(request: Request) -> Answer:
        if scheme == "digest":
            return digest(request)
        return Answer(204 if request.headers.get("authorization") == right else 401)

    given = ("--debug", "--auth", scheme, "--user", "joe", *arguments)
    with serving(handle) as origin:
        result = dcmweb(*given, origin.url, "search", env=environment, text="from stdin\n")
    assert result.code == 0, result.err
    assert SECRET not in result.err


@pytest.mark.parametrize("way", ["--password-file", "--password-command"])
def test_passwords_can_be_bytes_that_are_not_utf_8(
    dcmweb: Dcmweb, tmp_path: Path, way: str
) -> None:
    (tmp_path / "pw").write_bytes(b"p\xe4ss\n")
    value = "pw" if way == "--password-file" else "cat pw"
    with serving(lambda _: Answer(204)) as origin:
        assert dcmweb("--user", "joe", way, value, origin.url, "search").code == 0
        given = ("--auth", "digest", "--user", "joe", way, value)
        refused = dcmweb(*given, origin.url, "search")
    assert sent_to(origin) == {"Basic am9lOnDkc3M="}
    assert refused.code == 2
    assert "the password is not UTF-8 text" in refused.err


def test_a_password_is_asked_for_in_a_terminal(tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    with serving(Digest(lambda _: Answer(204), "joe", SECRET)) as origin:
        main, side = pty.openpty()
        command = [*DCMWEB, *DIGEST, origin.url, "search"]
        process = subprocess.Popen(
            command, stdin=side, stdout=subprocess.PIPE, stderr=side, cwd=tmp_path
        )
        os.close(side)
        shown = b""
        while b"Password of joe" not in shown:
            shown += os.read(main, 1024)
        os.write(main, f"{SECRET}\n".encode())
        out, _ = process.communicate(timeout=60)
        while True:
            try:
                piece = os.read(main, 1024)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        os.close(main)
    assert (process.returncode, out) == (0, b"[]\n")
    assert SECRET.encode() not in shown


# netrc.


def write_netrc(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("way", ["default", "NETRC"])
@pytest.mark.parametrize(
    "text",
    [
        f"machine 127.0.0.1 login joe password {SECRET}\n",
        f"machine other login x password y\nmachine 127.0.0.1\n login joe\n password {SECRET}\n",
        f"machine other login x password y\ndefault login joe password {SECRET}\n",
    ],
)
def test_a_netrc_is_read_when_it_is_asked_for(
    dcmweb: Dcmweb, tmp_path: Path, way: str, text: str
) -> None:
    write_netrc(tmp_path / ("home/.netrc" if way == "default" else "mine"), text)
    environment = {"NETRC": str(tmp_path / "mine")} if way == "NETRC" else {}
    with serving(lambda _: Answer(204)) as origin:
        given = ("--debug", "--auth", "netrc", origin.url, "search")
        result = dcmweb(*given, env=environment)
        assert dcmweb(origin.url, "search", env=environment).code == 0
    assert result.code == 0
    assert SECRET not in result.err
    assert [r.headers.get("authorization") for r in origin.requests] == [basic("joe", SECRET), None]


@pytest.mark.parametrize(
    ("text", "user", "words"),
    [
        (None, "", "cannot read"),
        ("machine other login x password y\n", "", "has no entry for 127.0.0.1"),
        (f"machine 127.0.0.1 {SECRET}\n", "", "is not understood"),
        ("machine 127.0.0.1 password x\n", "", "lacks a login"),
        ("machine 127.0.0.1 login joe password x\n", "ann", "is not of user ann"),
    ],
)
def test_a_netrc_that_does_not_help_is_one_line(
    dcmweb: Dcmweb, tmp_path: Path, text: str | None, user: str, words: str
) -> None:
    if text is not None:
        write_netrc(tmp_path / "home" / ".netrc", text)
    given = ["--user", user] if user else []
    with serving(lambda _: Answer(204)) as origin:
        result = dcmweb("--auth", "netrc", *given, origin.url, "search")
    assert result.code == 4
    assert words in result.last
    assert len(result.err.splitlines()) == 1
    assert SECRET not in result.err
    assert origin.requests == []


# Schemes of other packages.

PLUGINS = Path(__file__).parents[1] / "plugins"


def with_plugins(**more: str) -> dict[str, str]:
    return {"PYTHONPATH": str(PLUGINS), **more}


def negotiating(archive: Archive, tickets: list[str]) -> Handler:
    """A server that takes each ticket once, as those of Kerberos are."""

    def handle(request: Request) -> Answer:
        given = request.headers.get("authorization", "").removeprefix("Negotiate ")
        if not given.startswith("ticket-") or given in tickets:
            return Answer(401, b"who?", {"WWW-Authenticate": "Negotiate"})
        tickets.append(given)
        answer = archive(request)
        mutual = {"WWW-Authenticate": "Negotiate bXV0dWFs"}
        return Answer(answer.status, answer.body, {**answer.headers, **mutual})

    return handle


@pytest.mark.parametrize("workers", ["1", "4"])
def test_a_package_brings_a_scheme_that_answers_challenges(
    dcmweb: Dcmweb, tmp_path: Path, workers: str
) -> None:
    files = make_series(5, size=20_000)
    write_files(tmp_path / "in", files)
    archive = Archive()
    tickets: list[str] = []
    given = ("--retries", "0", "-j", workers, "--auth", "example-negotiate")
    with serving(negotiating(archive, tickets)) as origin:
        options = (*given, "--auth-option", "principal=joe@EXAMPLE", origin.url)
        stored = dcmweb(*options, "store", "in", env=with_plugins())
        assert stored.code == 0, stored.err
        assert dcmweb(*options, "retrieve", "-o", "out", env=with_plugins()).code == 0
    assert sorted(archive.files.values()) == sorted(tree(tmp_path / "out").values())
    assert sorted(archive.files.values()) == sorted(files)
    assert not [r for r in origin.requests if r.method == "POST" and not r.body]
    assert all("joe@EXAMPLE" in ticket for ticket in tickets)


def test_a_package_brings_an_authentication_of_its_own(dcmweb: Dcmweb) -> None:
    given = ("--debug", "--auth", "example-key", "--auth-option", "field=X-Key")
    environment = with_plugins(DCMWEB_TOKEN=SECRET)
    with serving(lambda _: Answer(204)) as origin:
        result = dcmweb(*given, origin.url, "search", env=environment)
    assert result.code == 0, result.err
    assert origin.requests[0].headers["x-key"] == SECRET
    assert SECRET not in result.err


@pytest.mark.parametrize(
    ("scheme", "code", "words"),
    [
        ("nosuch", 2, "there is no authentication 'nosuch'"),
        ("nosuch", 2, "dcmweb has auto, none, google, basic"),
        ("nosuch", 2, "installed packages have: example-"),
        ("example-missing", 2, "of the package dcmweb-example-auth, failed: ModuleNotFoundError"),
        ("example-wrong", 2, "of the package dcmweb-example-auth, made a str"),
        (
            "example-breaks",
            4,
            "dcmweb-example-auth, failed: RuntimeError: no ticket",
        ),
        ("example-key", 2, "there is no token"),
    ],
)
def test_what_is_wrong_with_a_scheme_is_one_line(
    dcmweb: Dcmweb, scheme: str, code: int, words: str
) -> None:
    with serving(lambda _: Answer(204)) as origin:
        given = ("--auth", scheme, "--auth-option", f"secret={SECRET}")
        result = dcmweb(*given, origin.url, "search", env=with_plugins())
    assert (result.code, result.out) == (code, "")
    assert words in result.err
    assert len(result.err.splitlines()) == 1
    assert SECRET not in result.err
    assert origin.requests == []


def test_packages_are_not_looked_for_without_need() -> None:
    code = (
        "import sys; from dcmweb import Client; Client('http://h').close(); "
        "print([n for n in sys.modules if n in ('botocore', 'dcmweb.http.auth.plugins')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
