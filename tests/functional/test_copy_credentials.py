"""The credentials of `copy`: each server has its own, and never those of the other."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Dcmweb, make_series
from tests.functional.archive import Archive
from tests.functional.origin import Answer, Origin, Request, serving

FILES = make_series(3)
SOURCE, DESTINATION = "s0urce-secret", "dest-secret"


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def seen(origin: Origin) -> str:
    """All that a server was told, credentials in the clear as well."""
    text = json.dumps([[r.target, r.headers] for r in origin.requests])
    for request in origin.requests:
        kind, _, rest = request.headers.get("authorization", "").partition(" ")
        if kind == "Basic":
            text += base64.b64decode(rest).decode()
    return text


def wanting(archive: Archive, field: str) -> Any:
    def handle(request: Request) -> Answer:
        if request.headers.get("authorization", "") != field:
            return Answer(
                401, headers={"WWW-Authenticate": field.split(maxsplit=1)[0] if field else "Basic"}
            )
        return archive(request)

    return handle


# Ways to give credentials: options and variables, and the header field that comes of them.
OF_SOURCE = [
    (["--user", f"a:{SOURCE}"], {}, basic("a", SOURCE)),
    (["--user", "a"], {"DCMWEB_PASSWORD": SOURCE}, basic("a", SOURCE)),
    (["--password-file", "source.txt"], {"DCMWEB_USER": "a"}, basic("a", SOURCE)),
    ([], {"DCMWEB_TOKEN": SOURCE}, f"Bearer {SOURCE}"),
    (["--token-file", "source.txt"], {}, f"Bearer {SOURCE}"),
    (["--token-command", "cat source.txt"], {}, f"Bearer {SOURCE}"),
    (["--header", f"Authorization: Bearer {SOURCE}"], {}, f"Bearer {SOURCE}"),
    ([], {}, ""),
]
OF_DESTINATION = [
    (["--to-user", f"b:{DESTINATION}"], {}, basic("b", DESTINATION)),
    (["--to-user", "b"], {"DCMWEB_TO_PASSWORD": DESTINATION}, basic("b", DESTINATION)),
    ([], {"DCMWEB_TO_USER": "b", "DCMWEB_TO_PASSWORD": DESTINATION}, basic("b", DESTINATION)),
    (["--to-password-file", "dest.txt", "--to-user", "b"], {}, basic("b", DESTINATION)),
    ([], {"DCMWEB_TO_TOKEN": DESTINATION}, f"Bearer {DESTINATION}"),
    (["--to-token-file", "dest.txt"], {}, f"Bearer {DESTINATION}"),
    (["--to-auth", "bearer"], {"DCMWEB_TO_TOKEN_COMMAND": "cat dest.txt"}, f"Bearer {DESTINATION}"),
    (["--to-header", f"Authorization: Bearer {DESTINATION}"], {}, f"Bearer {DESTINATION}"),
    ([], {}, ""),
]


@pytest.mark.parametrize("of_source", OF_SOURCE, ids=range(len(OF_SOURCE)))
@pytest.mark.parametrize("of_destination", OF_DESTINATION, ids=range(len(OF_DESTINATION)))
def test_each_server_gets_its_own_and_nothing_of_the_other(
    dcmweb: Dcmweb,
    tmp_path: Path,
    of_source: tuple[list[str], dict[str, str], str],
    of_destination: tuple[list[str], dict[str, str], str],
) -> None:
    (tmp_path / "source.txt").write_text(SOURCE)
    (tmp_path / "dest.txt").write_text(DESTINATION)
    source, there = Archive(*FILES), Archive()
    options = [*of_source[0], *of_destination[0]]
    env = {**of_source[1], **of_destination[1]}
    with (
        serving(wanting(source, of_source[2])) as old,
        serving(wanting(there, of_destination[2])) as new,
    ):
        result = dcmweb(old.url, "copy", new.url, *options, "--verify", env=env)
    assert (result.code, there.files == source.files) == (0, True)
    assert DESTINATION not in seen(old)
    assert SOURCE not in seen(new)
    assert SOURCE not in result.err
    assert DESTINATION not in result.err


def test_a_user_of_the_destination_does_not_get_the_password_of_the_source(
    dcmweb: Dcmweb,
) -> None:
    env = {"DCMWEB_PASSWORD": SOURCE, "DCMWEB_USER": "a"}
    with serving(Archive(*FILES)) as old, serving(Archive()) as new:
        result = dcmweb(old.url, "copy", new.url, "--to-user", "b", env=env)
    assert result.code == 2
    assert "DCMWEB_TO_PASSWORD" in result.err
    assert SOURCE not in seen(new)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to-header", "bad"], "--to-header lacks a name or a value"),
        (["--to-query", "bad"], "--to-query lacks a name or a value"),
        (["--to-key", "key"], "--to-key needs --to-cert"),
        (["--to-auth", "bearer"], "--to-auth bearer needs a token; give --to-token-file"),
        (["--to-token-file", "nothing"], "--to-token-file: there is no file nothing"),
    ],
)
def test_errors_name_the_options_of_the_destination(
    dcmweb: Dcmweb, tmp_path: Path, options: list[str], words: str
) -> None:
    (tmp_path / "key").write_text("x")
    with serving(Archive(*FILES)) as old, serving(Archive()) as new:
        result = dcmweb(old.url, "copy", new.url, *options)
    assert (result.code, new.requests) == (2, [])
    assert words in result.err


def test_a_password_in_the_url_is_for_that_server(dcmweb: Dcmweb) -> None:
    source, there = Archive(*FILES), Archive()
    with (
        serving(wanting(source, basic("a", SOURCE))) as old,
        serving(wanting(there, basic("b", DESTINATION))) as new,
    ):
        first = old.url.replace("//", f"//a:{SOURCE}@")
        second = new.url.replace("//", f"//b:{DESTINATION}@")
        result = dcmweb(first, "copy", second)
    assert (result.code, there.files == source.files) == (0, True)
    assert SOURCE not in seen(new)
    assert DESTINATION not in seen(old)
    assert DESTINATION not in result.err + result.out


def test_profiles_name_both_servers(dcmweb: Dcmweb, tmp_path: Path) -> None:
    source, there = Archive(*FILES), Archive()
    with (
        serving(wanting(source, basic("a", SOURCE))) as old,
        serving(wanting(there, basic("b", DESTINATION))) as new,
    ):
        (tmp_path / "c.toml").write_text(
            f'[old]\nurl = "{old.url}"\nuser = "a"\npassword = "{SOURCE}"\nif-exists = "fail"\n'
            f'[new]\nurl = "{new.url}"\nuser = "b"\npassword = "{DESTINATION}"\n'
        )
        env = {"DCMWEB_CONFIG": str(tmp_path / "c.toml")}
        result = dcmweb("@old", "copy", "@new", env=env)
        again = dcmweb("@old", "copy", "@new", env=env)  # what the source's says is not for it
        other = {**env, "DCMWEB_TO_PASSWORD": "wrong"}
        variable = dcmweb("@old", "copy", "@new", env=other)
        option = dcmweb("@old", "copy", "@new", "--to-user", f"b:{DESTINATION}", env=other)
        same = dcmweb("@old", "copy", "@old", env=env)
        nobody = dcmweb("@old", "copy", "@nobody", env=env)
    assert (result.code, again.code, option.code) == (0, 0, 0)
    assert (variable.code, same.code, nobody.code) == (4, 2, 2)
    assert there.files == source.files
    assert SOURCE not in seen(new)
    assert DESTINATION not in seen(old)


def test_the_roots_of_each_server_are_its_own(dcmweb: Dcmweb) -> None:
    source, there = Archive(*FILES), Archive()
    with serving(source) as old, serving(there) as new, serving(there) as root:
        given = dcmweb(old.url, "copy", new.url, "--to-stow-root", root.url, "--wado-root", old.url)
    assert given.code == 0
    assert [r.method for r in root.requests if r.method == "POST"]
    assert not [r for r in new.requests if r.method == "POST"]


def test_a_variable_of_the_rest_api_of_the_source_is_not_for_the_destination(
    dcmweb: Dcmweb,
) -> None:
    """What is replaced would be deleted there."""
    source, there = Archive(*FILES), Archive(*make_series(3))
    with serving(source) as old, serving(there) as new:
        env = {"DCMWEB_ORTHANC_API": old.url.removesuffix("/dicomweb")}
        result = dcmweb(old.url, "copy", new.url, "--if-exists", "replace", env=env)
    assert result.code == 0
    assert there.files == source.files
    assert not [r for r in old.requests if r.method != "GET"]
