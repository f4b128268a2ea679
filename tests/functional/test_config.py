"""Profiles: servers by name, and which value counts where several are given."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dcmweb import Client, UsageError
from tests.conftest import Dcmweb, Result, make_series, write_files
from tests.functional.archive import Archive
from tests.functional.origin import Answer, Request, serving

URL = "http://127.0.0.1:1/dicom-web"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config" / "config.toml"


def run(dcmweb: Dcmweb, file: Path, *args: str, text: str = "", **env: str) -> Result:
    return dcmweb(*args, env={"DCMWEB_CONFIG": str(file), **env}, text=text)


def write(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)


class TestUse:
    def test_a_profile_takes_the_place_of_base_url(
        self, dcmweb: Dcmweb, file: Path, tmp_path: Path
    ) -> None:
        write_files(tmp_path / "in", make_series(2))
        archive = Archive()
        with serving(archive) as origin:
            write(
                file, f'[mine]\nurl = "{origin.url}"\nworkers = 2\nuser = "me"\npassword = "x:y"\n'
            )
            result = run(dcmweb, file, "@mine", "store", "in")
            assert result.code == 0, result.err
            assert "2 workers" in result.last
            assert {r.headers["authorization"] for r in origin.requests} == {"Basic bWU6eDp5"}
            again = run(dcmweb, file, "search", "studies", DCMWEB_URL="@mine")
            assert (again.code, len(json.loads(again.out))) == (0, 1)
            other = run(dcmweb, file, origin.url, "search", "studies", DCMWEB_URL="@none")
            assert other.code == 0
            assert "authorization" not in origin.requests[-1].headers

    @pytest.mark.parametrize(
        ("args", "variable", "workers"),
        [([], "", 3), ([], "4", 4), (["-j", "5"], "4", 5), (["-j", "5"], "", 5)],
    )
    def test_options_count_before_variables_and_these_before_the_profile(
        self,
        dcmweb: Dcmweb,
        file: Path,
        tmp_path: Path,
        args: list[str],
        variable: str,
        workers: int,
    ) -> None:
        write_files(tmp_path / "in", make_series(1))
        with serving(Archive()) as origin:
            write(file, f'[mine]\nurl = "{origin.url}"\nworkers = 3\n')
            result = run(dcmweb, file, "@mine", "store", "in", *args, DCMWEB_WORKERS=variable)
        assert f"{workers} workers" in result.last

    def test_flags_can_be_switched_off(self, dcmweb: Dcmweb, file: Path, tmp_path: Path) -> None:
        write(file, '[mine]\nurl = "https://h"\ninsecure = true\nparallel = true\n')
        off = ("--no-insecure", "-j", "1")
        for env in ({}, {"DCMWEB_INSECURE": "true"}):
            shown = run(dcmweb, file, "config", "show", "mine", *off, "--json", **env)
            values = {name: one["value"] for name, one in json.loads(shown.out).items()}
            assert (values["insecure"], values["workers"]) == ("false", "1")
        write(file, '[mine]\nurl = "http://127.0.0.1:1"\ninsecure = true\n')
        run(dcmweb, file, "@mine", "search", "--no-insecure", "--retries", "0", "--log-file", "log")
        assert " --no-insecure " in (tmp_path / "log").read_text()

    @pytest.mark.parametrize(
        ("args", "env", "token"),
        [
            ([], {}, "of-profile"),
            ([], {"DCMWEB_TOKEN": "of-variable"}, "of-variable"),
            ([], {"DCMWEB_TOKEN_FILE": "file"}, "of-file"),
            ([], {"DCMWEB_TOKEN_COMMAND": "echo of-command"}, "of-command"),
            (["--token-file", "file"], {"DCMWEB_TOKEN": "of-variable"}, "of-file"),
            (["--token-command", "echo of-command"], {"DCMWEB_TOKEN": "x"}, "of-command"),
            (["--token-command", "echo of-command"], {"DCMWEB_TOKEN_FILE": "file"}, "of-command"),
        ],
    )
    def test_a_secret_comes_from_the_first_layer_that_has_it(
        self,
        dcmweb: Dcmweb,
        file: Path,
        tmp_path: Path,
        args: list[str],
        env: dict[str, str],
        token: str,
    ) -> None:
        (tmp_path / "file").write_text("of-file")
        with serving(Archive()) as origin:
            write(file, f'[mine]\nurl = "{origin.url}"\ntoken = "of-profile"\n')
            result = run(dcmweb, file, "@mine", "search", *args, **env)
            assert result.code == 0, result.err
            assert origin.requests[0].headers["authorization"] == f"Bearer {token}"

    def test_a_secret_given_twice_in_one_layer_is_an_error(
        self, dcmweb: Dcmweb, file: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("of-file")
        both = dcmweb(URL, "search", "--token-file", "file", "--token-command", "echo x")
        assert (both.code, both.out) == (2, "")
        assert "the token is given in two ways" in both.err
        variables = run(dcmweb, file, URL, "search", DCMWEB_TOKEN="x", DCMWEB_TOKEN_FILE="file")
        assert variables.code == 2
        assert "variables give the token in two ways" in variables.err

    def test_services_can_have_roots_of_their_own(
        self, dcmweb: Dcmweb, file: Path, tmp_path: Path
    ) -> None:
        write_files(tmp_path / "in", make_series(2))
        archive = Archive()

        def answer(request: Request) -> Answer:
            part = request.path.split("/")[1]
            assert part in ("query", "get", "put"), request.path
            kinds = {"query": "GET", "get": "GET", "put": "POST"}
            assert request.method == kinds[part]
            path = request.target.replace(f"/{part}/", "/dicomweb/", 1)
            return archive(replace(request, target=path))

        with serving(answer) as origin:
            root = origin.url.rpartition("/")[0]
            write(
                file,
                f'[mine]\nurl = "{root}/none"\nqido-root = "{root}/query/"\n'
                f'wado-root = "{root}/get"\nstow-root = "{root}/put"\n',
            )
            stored = run(dcmweb, file, "@mine", "store", "in", "--verify")
            assert stored.code == 0, stored.err
            place = f"{root}/get/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.1"
            assert run(dcmweb, file, "@mine", "retrieve", place).code == 0
            assert (tmp_path / "1.2.3/1.2.3.4/1.2.3.4.1.dcm").exists()


@pytest.mark.parametrize(
    ("variable", "value"),
    [("WORKERS", "many"), ("RETRIES", "-1"), ("TIMEOUT", "x"), ("INSECURE", "perhaps")],
)
def test_a_variable_with_a_mistake_is_named(dcmweb: Dcmweb, variable: str, value: str) -> None:
    result = dcmweb(URL, "search", env={f"DCMWEB_{variable}": value})
    assert (result.code, result.out) == (2, "")
    assert f"Invalid value for DCMWEB_{variable}: " in result.err
    option = dcmweb(URL, "search", "--retries", "x", env={"DCMWEB_RETRIES": "3"})
    assert "Invalid value for '--retries': " in option.err


class TestMistakes:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (
                '[mine]\nurl = "http://h"\n\nwrkers = 3\n',
                "there is no option wrkers; did you",
            ),
            ('[mine]\nurl = "http://h"\nworkers = "3"\n', "line 3: workers is '3'; give a whole"),
            ('[mine]\nurl = "http://h"\nworkers = true\n', "line 3: workers is True; give"),
            ('[mine]\nurl = "http://h"\ntimeout = 0\n', "line 3: timeout is 0; give a number"),
            (
                '[mine]\nurl = "http://h"\ninsecure = "yes"\n',
                "line 3: insecure is not true",
            ),
            ('[mine]\nurl = "http://h"\nuser = 3\n', "line 3: user is not text"),
            ('[mine]\nurl = "http://h"\nuser = ""\n', "line 3: user is not text"),
            ('[mine]\nurl = "http://h"\nheader = ["X"]\n', "--header lacks a name or a value"),
            ('[mine]\nuser = "me"\n', "has no url"),
            ('[mine]\nurl = ""\n', "line 2: url is not text"),
            ('[mine]\nurl = "ftp://h"\n', "does not begin with http"),
            ('url = "http://h"\n', "line 1: url is not in a profile"),
            ("[mine\n", "is not TOML"),
            ('[mine]\nurl = "a"\nurl = "b"\n', "is not TOML"),
            ('["a b"]\nurl = "http://h"\n', "line 1: 'a b' cannot be the name"),
            ('[other]\nurl = "http://h"\n', "there is no profile mine in"),
            ('[mine]\nurl = "http://h"\nca-bundle = "none.pem"\n', "there is no file"),
            (
                '[mine]\nurl = "http://h"\npassword-command = "x"\npassword = "y"\n',
                "line 4: password-command and password both give the password; keep one",
            ),
        ],
    )
    def test_are_usage_errors_in_one_line(
        self, dcmweb: Dcmweb, file: Path, text: str, words: str
    ) -> None:
        write(file, text)
        result = run(dcmweb, file, "@mine", "search")
        assert (result.code, result.out) == (2, "")
        assert words in result.err
        assert len(result.err.splitlines()) == 1

    def test_without_a_file(self, dcmweb: Dcmweb, file: Path) -> None:
        result = run(dcmweb, file, "@mine", "search")
        assert result.code == 2
        assert "dcmweb config add mine URL" in result.err

    def test_of_another_profile_do_not_matter(self, dcmweb: Dcmweb, file: Path) -> None:
        with serving(Archive()) as origin:
            write(file, f'[other]\nnonsense = 1\n[mine]\nurl = "{origin.url}"\n')
            assert run(dcmweb, file, "@mine", "search").code == 0
        assert run(dcmweb, file, "config", "list").code == 2

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
    def test_a_secret_that_others_can_read_is_pointed_out(self, dcmweb: Dcmweb, file: Path) -> None:
        with serving(Archive()) as origin:
            for line, is_secret in [
                ('password = "hunter2"', True),
                ('header = ["X-Api-Key: hunter2"]', True),
                ('header = {X-Api-Key = "hunter2"}', True),
                ('password-command = "echo hunter2"', False),
                ('header = ["X-Api-Key: $HOME"]', False),
            ]:
                write(file, f'[mine]\nurl = "{origin.url}"\nuser = "me"\n{line}\n')
                assert "others can read" not in run(dcmweb, file, "@mine", "search").err
                file.chmod(0o644)
                result = run(dcmweb, file, "@mine", "search")
                assert ("others can read" in result.err) is is_secret
                assert "hunter2" not in result.err


class TestConfig:
    def test_a_profile_from_the_first_line_to_the_last(
        self, dcmweb: Dcmweb, file: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "token").write_text("abc")
        added = run(dcmweb, file, "config", "add", "mine", URL, "-j", "4", "--token-file", "token")
        assert added.code == 0, added.err
        if os.name != "nt":
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert f'token-file = "{tmp_path / "token"}"' in file.read_text().replace("\\\\", "\\")
        assert run(dcmweb, file, "config", "add", "mine", URL).code == 2
        assert run(dcmweb, file, "config", "list").out == f"mine  {URL}\n"
        assert run(dcmweb, file, "config").out == f"mine  {URL}\n"
        assert run(dcmweb, file, "config", "set", "mine", "workers", "8").code == 0
        assert run(dcmweb, file, "config", "set", "@mine", "scope", "a", "b").code == 0
        shown = json.loads(run(dcmweb, file, "config", "show", "mine", "--json").out)
        assert shown["workers"] == {"value": "8", "from": "profile mine, line 5"}
        assert shown["scope"]["value"] == "a, b"
        assert run(dcmweb, file, "config", "unset", "mine", "workers").code == 0
        assert run(dcmweb, file, "config", "unset", "mine", "workers").code == 2
        assert run(dcmweb, file, "config", "check").code == 0
        assert run(dcmweb, file, "config", "remove", "mine").code == 0
        assert run(dcmweb, file, "config", "remove", "mine").code == 2
        assert run(dcmweb, file, "config", "list").out == ""

    def test_changes_leave_all_else_as_it_is(self, dcmweb: Dcmweb, file: Path) -> None:
        text = (
            f'# my servers\n[mine] # the first\nurl = "{URL}"   # here\n\n[other]\nurl = "{URL}"\n'
        )
        write(file, text)
        run(dcmweb, file, "config", "set", "mine", "retries", "0")
        assert file.read_text() == text.replace("# here\n", "# here\nretries = 0\n")

    def test_a_secret_is_read_from_stdin_and_never_shown(self, dcmweb: Dcmweb, file: Path) -> None:
        run(dcmweb, file, "config", "add", "mine", "http://me:hunter2@127.0.0.1:1/x")
        refused = run(dcmweb, file, "config", "set", "mine", "password", "hunter2")
        assert refused.code == 2
        assert "hunter2" not in refused.err
        assert run(dcmweb, file, "config", "set", "mine", "token", text="hunter2\n").code == 0
        assert run(dcmweb, file, "config", "set", "mine", "header", "X-Key: hunter2").code == 0
        for args in (["list"], ["show", "mine"], ["show", "mine", "--json"], ["check"]):
            result = run(dcmweb, file, "config", *args)
            assert result.code == 0
            assert "hunter2" not in result.out + result.err
        assert "token" in run(dcmweb, file, "config", "show", "mine").out

    @pytest.mark.parametrize(
        ("args", "words"),
        [
            (["set", "mine", "wrkers", "3"], "did you mean workers?"),
            (["set", "mine", "workers", "x"], "give a whole number"),
            (["set", "mine", "workers", "0"], "workers is 0"),
            (["set", "mine", "workers", "1", "2"], "takes one value"),
            (["set", "mine", "insecure", "perhaps"], "give true or false"),
            (["set", "mine", "url", "nonsense"], "does not begin with http"),
            (["set", "other", "workers", "3"], "there is no profile other"),
            (["add", "x", "nonsense"], "does not begin with http"),
            (["set", "mine", "token-file", "x"], "line 4: token-command and token-file both"),
            (
                ["add", "x", URL, "--key-password-file", "x", "--key-password-command", "y"],
                "key-password-file and key-password-command both give the key password",
            ),
            (["add", "a b", URL], "cannot be the name"),
            (["show"], "no profile to show"),
            (["show", "other"], "there is no profile other"),
        ],
    )
    def test_mistakes_change_nothing(
        self, dcmweb: Dcmweb, file: Path, args: list[str], words: str
    ) -> None:
        write(file, f'[mine]\nurl = "{URL}"\ntoken-command = "x"\n')
        before = file.read_text()
        result = run(dcmweb, file, "config", *args)
        assert result.code == 2, result.err
        assert words in result.err
        assert file.read_text() == before
        assert os.listdir(file.parent) == ["config.toml"]

    def test_what_is_in_force_and_where_it_comes_from(self, dcmweb: Dcmweb, file: Path) -> None:
        write(file, f'[mine]\nurl = "{URL}"\nworkers = 3\nuser = "me"\n')
        env = {"DCMWEB_USER": "you", "DCMWEB_PASSWORD": "hunter2"}
        result = run(dcmweb, file, "config", "show", "mine", "--retries", "1", "--json", **env)
        shown = json.loads(result.out)
        assert shown["workers"]["from"] == "profile mine, line 3"
        assert shown["user"] == {"value": "you", "from": "variable DCMWEB_USER"}
        assert shown["retries"] == {"value": "1", "from": "option"}
        assert shown["timeout"] == {"value": "120", "from": "default"}
        assert shown["password"] == {"value": "***", "from": "variable DCMWEB_PASSWORD"}
        assert "hunter2" not in result.out

    def test_check_names_what_is_missing(self, dcmweb: Dcmweb, file: Path) -> None:
        write(file, f'[mine]\nurl = "{URL}"\ncert = "none.pem"\nheader = ["X: @none"]\n')
        result = run(dcmweb, file, "config", "check", "mine")
        assert result.code == 1
        assert f"line 3: there is no file {file.parent / 'none.pem'}" in result.err
        assert f"line 4: there is no file {file.parent / 'none'}" in result.err

    def test_edit_checks_what_was_written(self, dcmweb: Dcmweb, file: Path, tmp_path: Path) -> None:
        editor = tmp_path / "editor.py"
        editor.write_text(
            f"import sys\nopen(sys.argv[1], 'w').write('[mine]\\nurl = \"{URL}\"\\n')"
        )
        env = {"VISUAL": "", "EDITOR": f'"{sys.executable}" "{editor}"'}
        result = run(dcmweb, file, "config", "edit", **env)
        assert (result.code, "is in order: mine" in result.err) == (0, True), result.err
        editor.write_text("import sys\nopen(sys.argv[1], 'w').write('nonsense')")
        assert run(dcmweb, file, "config", "edit", **env).code == 2

    @pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
    def test_a_file_behind_a_link_stays_there(
        self, dcmweb: Dcmweb, file: Path, tmp_path: Path
    ) -> None:
        kept = tmp_path / "dotfiles.toml"
        kept.write_text("")
        file.parent.mkdir()
        file.symlink_to(kept)
        assert run(dcmweb, file, "config", "add", "mine", URL).code == 0
        assert file.is_symlink()
        assert "[mine]" in kept.read_text()


def test_the_library_takes_profiles_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, f'[mine]\nurl = "{URL}"\nworkers = 7\nuser = "me"\npassword = "x"\n')
    monkeypatch.setenv("DCMWEB_CONFIG", str(file))
    with Client.from_profile("mine") as client:
        assert client.base_url == URL
        assert client.settings.workers == 7
        assert client.settings.credentials.user == "me"
    with pytest.raises(UsageError, match="no profile other"):
        Client.from_profile("other")


def test_reading_profiles_is_not_paid_for_by_those_who_have_none() -> None:
    code = (
        "import sys, dcmweb.cli.app\n"
        "print([m for m in ('tomlkit', 'platformdirs') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
