"""Options that have no effect beside others, or without them, are refused and not ignored."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Dcmweb, make_series, write_files
from tests.functional.archive import Archive, json_answer
from tests.functional.origin import serving

GOOGLE = "https://healthcare.googleapis.com/v1"

CREDENTIALS = {
    "--password-file secret": "give --user as well",
    "--password-command 'cat secret'": "give --user as well",
    "--client-id me": "give --token-url as well",
    "--client-secret-file secret": "give --token-url as well",
    "--client-secret-command 'cat secret'": "give --token-url as well",
    "--scope all": "it is for OAuth2 (give --token-url as well), Google and Azure",
    "--auth-option audience=x": "it is for OAuth2 (give --token-url as well)",
    "--aws-profile me": "give --auth aws as well",
    "--aws-region eu": "give --auth aws as well",
    "--quota-project mine": "give --auth google as well",
    "--key-password-file secret": "without --cert; give --cert as well",
    "--key-password-command 'cat secret'": "without --cert; give --cert as well",
    "--user me:pw --token-file secret": "--token-file is of no use beside a user",
    "--user me:pw --token-command 'cat secret'": "--token-command is of no use beside a user",
    "--user me:pw --token-url http://h/token": "--token-url is of no use beside a user",
    "--user me:pw --password-file secret": "the password is given in two ways",
    "--user me:pw --password-command 'cat secret'": "the password is given in two ways",
    "--token-file secret --token-url http://h/token": "--token-url is of no use beside a token",
    "--token-file secret --password-file secret": "--password-file is of no use beside a token",
    "--auth none --user me": "--user is of no use with --auth none; leave out one of them",
    "--auth none --token-file secret": "--token-file is of no use with --auth none",
    "--auth bearer --user me --token-file secret": "--user is of no use with --auth bearer",
    "--auth netrc --password-file secret": "--password-file is of no use with --auth netrc",
    "--header 'Authorization: x' --token-url http://h/t": "--token-url is of no use",
    "--insecure --ca-bundle secret": "--ca-bundle is of no use; choose one",
}


def words(line: str) -> list[str]:
    import shlex

    return shlex.split(line)


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")
    (tmp_path / "list").write_text("studies/1.2\n")
    (tmp_path / "m.ndjson").write_text("")
    write_files(tmp_path / "in", make_series(1))


@pytest.mark.parametrize(("options", "said"), CREDENTIALS.items(), ids=CREDENTIALS)
def test_credentials_that_are_of_no_use_are_refused(
    dcmweb: Dcmweb, options: str, said: str
) -> None:
    with serving(lambda _: json_answer([])) as origin:
        result = dcmweb(origin.url, "search", *words(options))
    assert (result.code, result.out, origin.requests) == (2, "", [])
    assert said in result.err
    assert "secret" not in result.err.replace("client-secret", "")


@pytest.mark.parametrize("options", ["--password-file secret", "--user me:pw --token-file secret"])
def test_so_are_those_of_the_server_that_is_copied_to(dcmweb: Dcmweb, options: str) -> None:
    with serving(lambda _: json_answer([])) as origin, serving(Archive()) as other:
        given = [one.replace("--", "--to-") for one in words(options)]
        result = dcmweb(origin.url, "copy", other.url, *given)
    assert (result.code, other.requests) == (2, [])
    assert "is of no use" in result.err


@pytest.mark.parametrize(
    ("options", "authorization"),
    [
        ("--auth none", None),
        ("--auth bearer --token-file secret", "Bearer secret"),
        ("--auth basic --user me:pw", "Basic bWU6cHc="),
    ],
)
def test_the_command_line_replaces_what_a_profile_says(
    dcmweb: Dcmweb, tmp_path: Path, options: str, authorization: str | None
) -> None:
    """What is of no use beside it is that of the profile, which is for other commands as well."""
    (tmp_path / "other").write_text("other\n")
    with serving(lambda _: json_answer([])) as origin:
        profiles = tmp_path / "profiles.toml"
        profiles.write_text(
            f'[a]\nurl = "{origin.url}"\nuser = "them"\npassword-file = "{tmp_path}/other"\n'
            f'[b]\nurl = "{origin.url}"\ntoken-file = "{tmp_path}/other"\n'
        )
        for name in ("a", "b"):
            env = {"DCMWEB_CONFIG": str(profiles)}
            result = dcmweb(f"@{name}", "search", *words(options), env=env)
            assert result.code == 0
            assert origin.requests[-1].headers.get("authorization") == authorization


OTHERS = {
    "store in -0": "-0 is for lists of paths",
    "store in --orthanc-api auto": "--orthanc-api is of no use here: it is for --if-exists replace",
    "retrieve studies/1.2 -o out -0": "-0 is for lists of paths",
    "retrieve studies/1.2 --contact-sheet s.html --on local": "--on is not for --contact-sheet",
    "retrieve studies/1.2/metadata --shard 1/2": "--shard is of no use",
    "retrieve studies/1.2/metadata --report r.html": "--report is of no use",
    "delete studies/1.2 -0": "-0 is for lists of paths",
    "check in -0": "-0 is for lists of paths",
    "check in --one-way --show extra": "--one-way ignores what is extra",
    "search --count --keywords": "--count prints a number alone",
    "wait - --files-from list": "operations come from stdin and from a file",
    "wait projects/p/operations/1 -0": "-0 is for lists of paths",
    "ping --orthanc-api auto": "--orthanc-api is of no use here: it is for --write-test",
    "ping --reject-as 113001^DCM": "--reject-as is of no use here: it is for --write-test",
}
LOCAL = {
    "manifest m.ndjson --failed --json": "choose one",
    "manifest m.ndjson -0": "-0 is for --failed",
    "serve in --port 0 --user :secret -- true": "--user lacks a name",
}


@pytest.mark.parametrize(("line", "said"), OTHERS.items(), ids=OTHERS)
def test_other_options_that_are_of_no_use_are_refused(dcmweb: Dcmweb, line: str, said: str) -> None:
    with serving(lambda _: json_answer([])) as origin:
        result = dcmweb(origin.url, *words(line))
    assert (result.code, result.out, origin.requests) == (2, "", [])
    assert said in result.err


@pytest.mark.parametrize(("line", "said"), LOCAL.items(), ids=LOCAL)
def test_so_are_those_of_commands_without_a_server(dcmweb: Dcmweb, line: str, said: str) -> None:
    result = dcmweb(*words(line))
    assert (result.code, result.out) == (2, "")
    assert said in result.err


def test_variables_that_are_for_other_commands_are_not_refused(dcmweb: Dcmweb) -> None:
    with serving(Archive()) as origin:
        env = {"DCMWEB_ORTHANC_API": "auto", "DCMWEB_BATCH_COUNT": "3"}
        assert dcmweb(origin.url, "store", "in", env=env).code == 0
