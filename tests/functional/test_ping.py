"""What `ping` finds out about servers of all kinds, and about those that are none."""

from __future__ import annotations

import email.utils
import json
import socket
import ssl
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from dcmweb import AuthError, Client, Finding, Verdict
from tests.conftest import Dcmweb, Result, make_instance, make_series, write_files
from tests.functional.archive import Archive, json_answer
from tests.functional.origin import Answer, Handler, Request, serving


def lines(result: Result) -> dict[str, tuple[str, str]]:
    """Read what was printed: verdict and words, by name."""
    found = [line.split(maxsplit=1) for line in result.out.splitlines()]
    verdicts = sorted((verdict.value for verdict in Verdict), key=len, reverse=True)
    split = {}
    for name, rest in found:
        verdict = next(v for v in verdicts if rest.startswith(v))
        split[name] = (verdict, rest.removeprefix(verdict).strip())
    return split


def changed(handler: Handler, **fields: Any) -> Handler:
    return lambda request: replace(handler(request), **fields)


class TestServers:
    def test_an_archive_that_has_all(self, dcmweb: Dcmweb) -> None:
        with serving(Archive(*make_series(3))) as origin:
            result = dcmweb(origin.url, "ping")
            assert result.code == 0, result.err
            found = lines(result)
            assert found["connection"][1].startswith(f"127.0.0.1:{origin.port} in ")
            assert found["identity"] == ("ok", "nobody: no credentials are sent")
            assert found["service"][0] == "ok"
            assert found["search"] == ("ok", "studies, series, instances")
            assert found["metadata"] == ("ok", "JSON, XML")
            assert found["instances"][0] == "ok"
            assert "not ZIP (406)" in found["series"][1]
            assert found["rendered"] == ("ok", "JPEG, PNG")
            assert "iB/s" in found["stream"][1]
            assert found["store"] == ("not tried", "--write-test tries it")
            assert {r.method for r in origin.requests} == {"GET", "OPTIONS"}

    def test_one_without_instances(self, dcmweb: Dcmweb) -> None:
        with serving(Archive()) as origin:
            result = dcmweb(origin.url, "ping")
        assert result.code == 0
        assert lines(result)["metadata"] == (
            "not tried",
            "the server lists no instance to try it with",
        )

    def test_one_that_answers_204(self, dcmweb: Dcmweb) -> None:
        with serving(lambda _: Answer(204)) as origin:
            result = dcmweb(origin.url, "ping")
        assert (result.code, lines(result)["service"][0]) == (0, "ok")

    def test_one_that_offers_little(self, dcmweb: Dcmweb) -> None:
        archive = Archive(*make_series(1))

        def answer(request: Request) -> Answer:
            is_search = request.path.endswith(("/studies", "/series", "/instances"))
            if is_search and request.path != "/dicomweb/series":
                return archive(request)
            if "/rendered" in request.path:
                return json_answer({"message": "not for you"}, 403)
            return json_answer({"message": "no such thing"}, 501)

        with serving(answer) as origin:
            result = dcmweb(origin.url, "ping")
        found = lines(result)
        assert result.code == 0
        assert found["search"] == ("ok", "studies, instances, not series (501)")
        assert found["metadata"][0] == "no"
        assert "no such thing" in found["metadata"][1]
        assert found["rendered"] == ("warning", "these credentials may search, but not this (403)")
        assert found["stream"][0] == "not tried"

    def test_one_that_ignores_limit(self, dcmweb: Dcmweb) -> None:
        archive = Archive(make_instance("1.1"), make_instance("1.2"))

        def answer(request: Request) -> Answer:
            return archive(replace(request, target=request.target.replace("limit=1", "limit=9")))

        with serving(answer) as origin:
            found = lines(dcmweb(origin.url, "ping"))
        assert found["search"][0] == "warning"
        assert "ignores limit=" in found["search"][1]

    def test_one_that_says_what_it_takes(self, dcmweb: Dcmweb) -> None:
        archive = Archive()

        def answer(request: Request) -> Answer:
            if request.method == "OPTIONS" and request.path.endswith("/studies"):
                return Answer(204, headers={"Allow": "GET, post"})
            if request.method == "OPTIONS":
                kind = "application/vnd.sun.wadl+xml"
                return Answer(200, b"<application/>", {"Content-Type": kind})
            return archive(request)

        with serving(answer) as origin:
            found = lines(dcmweb(origin.url, "ping"))
        assert found["store"] == ("not tried", "the server says that it takes POST")
        assert found["capabilities"] == ("ok", "OPTIONS: application/vnd.sun.wadl+xml")

    def test_one_that_closes_idle_connections(self, dcmweb: Dcmweb) -> None:
        """What is lost with a kept connection is asked for again, and no fault of the server."""
        archive = Archive(*make_series(1))
        seen: list[int] = []

        def answer(request: Request) -> Answer:
            seen.append(request.connection)
            return archive(request) if seen.count(request.connection) == 1 else Answer(cut=-1)

        with serving(answer) as origin:
            result = dcmweb(origin.url, "ping")
        assert (result.code, lines(result)["rendered"]) == (0, ("ok", "JPEG, PNG"))

    def test_figures_as_json(self, dcmweb: Dcmweb) -> None:
        with serving(Archive(*make_series(1))) as origin:
            result = dcmweb(origin.url, "ping", "--json")
            printed = json.loads(result.out)
            assert printed["url"] == origin.url
        assert printed["exit_code"] == 0
        by_name = {one["name"]: one for one in printed["findings"]}
        assert by_name["metadata"]["seconds"].keys() == {"JSON", "XML"}
        assert by_name["series"]["refused"] == {"ZIP": 406}
        assert by_name["stream"]["bytes_per_second"] > 0


class TestWhatIsWrong:
    def test_nobody_is_there(self, dcmweb: Dcmweb) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        result = dcmweb(f"http://127.0.0.1:{port}/x", "ping")
        assert (result.code, lines(result)["service"][0]) == (6, "failed")
        assert lines(result)["identity"] == ("not tried", "nobody: no credentials are sent")
        assert "check BASE_URL" in result.err

    def test_nobody_is_there_as_json(self, dcmweb: Dcmweb) -> None:
        result = dcmweb("http://127.0.0.1:1/x", "ping", "--json")
        printed = json.loads(result.out)
        assert (result.code, printed["exit_code"]) == (6, 6)
        assert "Connection refused" in printed["error"]

    @pytest.mark.parametrize("path", ["", "/dicomweb/studies", "/dicom", "/dicomweb/nonsense"])
    def test_base_url_is_one_level_off(self, dcmweb: Dcmweb, path: str) -> None:
        with serving(Archive(*make_series(1))) as origin:
            root = origin.url.removesuffix("/dicomweb")
            result = dcmweb(f"{root}{path}", "ping")
            assert result.code == 3, result.out
            assert f"the DICOMweb service is at {origin.url}: give that as BASE_URL" in result.err

    def test_a_login_page(self, dcmweb: Dcmweb) -> None:
        page = Answer(200, b"<!DOCTYPE html><title>Sign in</title>", {"Content-Type": "text/html"})
        with serving(lambda _: page) as origin:
            result = dcmweb(origin.url, "ping")
        assert (result.code, lines(result)["service"][0]) == (8, "failed")
        assert "does it want a login? Then give --user" in result.err

    def test_a_redirect_to_what_is_not_there(self, dcmweb: Dcmweb) -> None:
        away = Answer(302, headers={"Location": "http://127.0.0.1:9/?next=x"})
        with serving(lambda _: away) as origin:
            result = dcmweb(origin.url, "ping")
        assert result.code == 5
        assert "to http://127.0.0.1:9/; if that is the server you mean" in result.err

    @pytest.mark.parametrize(
        "body", [b'{"Name": "Orthanc"}', b"[1, 2]", b'[{"ID": "x"}]', b"nonsense"]
    )
    def test_json_of_something_else(self, dcmweb: Dcmweb, body: bytes) -> None:
        other = Answer(200, body, {"Content-Type": "application/json"})
        with serving(lambda _: other) as origin:
            result = dcmweb(origin.url, "ping")
        assert (result.code, lines(result)["service"][0]) == (8, "failed")
        assert "which is not DICOMweb" in result.err

    def test_credentials_are_missing_wrong_or_have_no_rights(self, dcmweb: Dcmweb) -> None:
        archive = Archive()

        def answer(request: Request) -> Answer:
            sent = request.headers.get("authorization", "")
            if not sent or "d3Jvbmc" in sent:  # "wrong"
                return Answer(401, headers={"WWW-Authenticate": "Basic realm=x"})
            return Answer(403) if "bm9uZTp4" in sent else archive(request)  # "none"

        with serving(answer) as origin:
            missing = dcmweb(origin.url, "ping")
            wrong = dcmweb(origin.url, "ping", "--user", "wrong:x")
            no_rights = dcmweb(origin.url, "ping", "--user", "none:x")
            good = dcmweb(origin.url, "ping", "--user", "good:x")
        assert [missing.code, wrong.code, no_rights.code, good.code] == [4, 4, 4, 0]
        assert lines(missing)["identity"] == (
            "failed",
            "nobody: no credentials are sent: the server wants some",
        )
        assert lines(wrong)["identity"] == ("failed", "user wrong: refused")
        assert lines(no_rights)["identity"] == ("failed", "user none: may not search")
        assert lines(good)["identity"] == ("ok", "user good")
        assert len({missing.err[24:], wrong.err[24:], no_rights.err[24:]}) == 3

    @pytest.mark.parametrize(
        ("given", "who"),
        [
            (["--header", "X-Key: S3CR3T"], "whom X-Key names"),
            (["--header", "X-Key: S3CR3T", "--query", "k=S3CR3T"], "whom X-Key and k name"),
            (["--user", "joe:S3CR3T", "--query", "k=S3CR3T"], "user joe, with k"),
        ],
    )
    def test_as_whom_header_fields_and_parameters_are_sent(
        self, dcmweb: Dcmweb, given: list[str], who: str
    ) -> None:
        with serving(Archive()) as origin:
            result = dcmweb(*given, origin.url, "ping")
        assert lines(result)["identity"] == ("ok", who)
        assert "S3CR3T" not in result.out + result.err

    def test_credentials_that_nobody_has_looked_at(self, dcmweb: Dcmweb) -> None:
        found = lines(dcmweb("http://127.0.0.1:9/", "ping", "--user", "good:x", "--retries", "0"))
        assert found["identity"] == ("not tried", "user good")
        with serving(lambda _: Answer(404)) as origin:
            found = lines(dcmweb(origin.url, "ping", "--user", "good:x"))
        assert found["identity"] == ("not tried", "user good")

    def test_the_connection_is_not_that_to_a_token_server(self, dcmweb: Dcmweb) -> None:
        given = ["--client-id", "me", "--retries", "0", "--token-url"]
        environment = {"DCMWEB_CLIENT_SECRET": "S3CR3T"}
        with serving(lambda _: Answer(400, b'{"error": "invalid_client"}')) as tokens:
            url = f"http://127.0.0.1:{tokens.port}/token"
            result = dcmweb(*given, url, "http://127.0.0.1:9/", "ping", env=environment)
        assert result.code == 4
        assert "connection" not in lines(result)
        assert lines(result)["identity"] == ("failed", "OAuth2 client me")

    @pytest.mark.parametrize("here", ["studies", "studies/1.2", "series", "instances/1.2"])
    def test_the_address_of_a_resource_as_base_url(self, dcmweb: Dcmweb, here: str) -> None:
        """Orthanc 1.10 answers 400 to a search below one."""
        archive = Archive()

        def answer(request: Request) -> Answer:
            is_right = request.path == "/dicomweb/studies"
            return archive(request) if is_right else Answer(400, b"cannot generate this")

        with serving(answer) as origin:
            result = dcmweb(f"{origin.url}/{here}", "ping")
            assert f"is at {origin.url}: give that as BASE_URL" in result.err

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_a_redirect_to_where_the_service_is(self, dcmweb: Dcmweb, status: int) -> None:
        with serving(Archive()) as other:

            def answer(request: Request) -> Answer:
                to = f"http://localhost:{other.port}{request.target}"
                return Answer(status, headers={"Location": to})

            with serving(answer) as origin:
                result = dcmweb(origin.url, "ping", "--user", "good:x")
            asked = [request.headers for request in other.requests]
        assert result.code == 5
        root = f"http://localhost:{other.port}/dicomweb"
        assert f"the DICOMweb service is at {root}: give that as BASE_URL" in result.err
        assert lines(result)["identity"] == ("not tried", "user good")
        assert asked
        assert not [headers for headers in asked if "authorization" in headers]

    def test_a_redirect_to_a_login(self, dcmweb: Dcmweb) -> None:
        page = Answer(200, b"<!doctype html><title>Log in</title>", {"Content-Type": "text/html"})

        def answer(request: Request) -> Answer:
            to = "/login?return=studies"
            return page if request.path == "/login" else Answer(302, headers={"Location": to})

        with serving(answer) as origin:
            result = dcmweb(origin.url, "ping")
            login = f"http://127.0.0.1:{origin.port}/login"
        assert result.code == 8
        assert f"leads to {login}, which answers with a web page" in result.err
        assert "does it want a login? Then give --user" in result.err
        assert "BASE_URL" not in result.err

    def test_a_redirect_to_nowhere(self, dcmweb: Dcmweb) -> None:
        with serving(lambda _: Answer(302, headers={"Location": "/x"})) as origin:
            result = dcmweb(origin.url, "ping")
        assert result.code == 5
        assert "answered 302" in result.err

    @pytest.mark.parametrize(
        "page",
        [
            "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head>",
            "<html><title>400 Bad Request</title><p>Reason: You're speaking plain HTTP to an "
            "SSL-enabled server port.<br />",
            "Client sent an HTTP request to an HTTPS server.",
            "Bad Request\nThis combination of host and port requires TLS.",
        ],
        ids=["nginx", "Apache", "Go", "Tomcat"],
    )
    @pytest.mark.parametrize("command", [["ping"], ["search"], ["store", "in"]])
    def test_http_in_place_of_https(
        self, dcmweb: Dcmweb, tmp_path: Path, page: str, command: list[str]
    ) -> None:
        write_files(tmp_path / "in", make_series(2))
        with serving(lambda _: Answer(400, page.encode())) as origin:
            result = dcmweb(origin.url, *command)
            assert len(origin.requests) == 1
        assert result.code == 6
        assert f"127.0.0.1:{origin.port} wants https; write https:// in BASE_URL" in result.err

    def test_a_port_of_tls_that_answers_nothing(self, dcmweb: Dcmweb) -> None:
        with serving(lambda _: Answer(cut=-1)) as origin:
            result = dcmweb(origin.url, "ping", "--retries", "0")
        assert result.code == 6
        assert "does BASE_URL begin with https://?" in result.err

    @pytest.mark.parametrize(
        ("seconds", "words"),
        [(-7200, "2 h behind this one: signatures"), (100, "s ahead of this one"), (0, "agrees")],
    )
    def test_the_clock_of_the_server(self, dcmweb: Dcmweb, seconds: int, words: str) -> None:
        archive = Archive()

        def answer(request: Request) -> Answer:
            date = email.utils.formatdate(time.time() + seconds, usegmt=True)
            given = archive(request)
            return replace(given, headers={**given.headers, "Date": date})

        with serving(answer) as origin:
            found = lines(dcmweb(origin.url, "ping"))
        assert words in found["clock"][1]
        assert found["clock"][0] == ("warning" if seconds else "ok")

    def test_a_date_that_is_none(self, dcmweb: Dcmweb) -> None:
        with serving(
            changed(Archive(), headers={"Date": "yesterday"}, status=204, body=b"")
        ) as origin:
            result = dcmweb(origin.url, "ping")
        assert result.code == 0
        assert "clock" not in lines(result)

    def test_what_a_server_says_cannot_write_to_the_terminal(self, dcmweb: Dcmweb) -> None:
        with serving(
            changed(Archive(), headers={"Server": "\x1b[31mred"}, status=204, body=b"")
        ) as o:
            result = dcmweb(o.url, "ping")
        assert "\x1b" not in result.out


class TestCertificates:
    @pytest.fixture
    def authority(self) -> trustme.CA:
        return trustme.CA()

    def tls(self, authority: trustme.CA, **how: Any) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", **how).configure_cert(context)
        return context

    def test_one_that_is_trusted(
        self, dcmweb: Dcmweb, tmp_path: Path, authority: trustme.CA
    ) -> None:
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        with serving(Archive(), self.tls(authority)) as origin:
            result = dcmweb(origin.url, "ping", "--ca-bundle", "ca.pem")
            insecure = dcmweb(origin.url, "ping", "--insecure")
            untrusted = dcmweb(origin.url, "ping")
        assert "TLSv1.3" in lines(result)["connection"][1]
        assert lines(result)["certificate"][0] == "ok"
        assert "issued by trustme" in lines(result)["certificate"][1]
        assert lines(insecure)["certificate"] == ("warning", "it is not checked (--insecure)")
        assert untrusted.code == 6
        assert "--ca-bundle" in untrusted.err


class TestWriteTest:
    def test_it_stores_looks_retrieves_and_deletes(self, dcmweb: Dcmweb) -> None:
        archive = Archive(*make_series(1))
        with serving(archive) as origin:
            result = dcmweb(origin.url, "ping", "--write-test")
            methods = [r.method for r in origin.requests]
            left = dcmweb(origin.url, "search", "studies", "--count").out
        assert result.code == 0, result.err
        printed = result.out.splitlines()
        assert sum(line.startswith("store ") for line in printed) == 1
        assert printed[-4:] == [
            "store         ok         an instance made for this",
            "listing       ok         it is found",
            "retrieval     ok         it comes back with the same bytes",
            "delete        ok         it is deleted again",
        ]
        assert (methods.count("POST"), methods.count("DELETE"), left.strip()) == (1, 2, "1")

    @pytest.mark.parametrize("status", [405, 501, 403])
    def test_nothing_is_stored_where_nothing_can_be_deleted(
        self, dcmweb: Dcmweb, status: int
    ) -> None:
        archive = Archive()

        def answer(request: Request) -> Answer:
            return Answer(status) if request.method == "DELETE" else archive(request)

        with serving(answer) as origin:
            result = dcmweb(origin.url, "ping", "--write-test")
            assert "POST" not in [r.method for r in origin.requests]
        assert "nothing was stored: the server would not delete it" in result.out

    def test_nothing_is_stored_where_a_rejection_comes_first(self, dcmweb: Dcmweb) -> None:
        """dcm4chee answers 404 to a deletion of what is not there, and 403 to one of what is."""
        archive = Archive()

        def answer(request: Request) -> Answer:
            target = request.target.replace("/dcm4chee-arc/aets/A/rs/", "/dicomweb/")
            return archive(replace(request, target=target))

        with serving(answer) as origin:
            root = origin.url.replace("/dicomweb", "/dcm4chee-arc/aets/A/rs")
            result = dcmweb(root, "ping", "--write-test")
            assert "POST" not in [r.method for r in origin.requests]
        assert "give --reject-as CODE" in result.out

    def test_it_says_where_each_step_fails(self, dcmweb: Dcmweb) -> None:
        archive = Archive()
        deletes = 0

        def answer(request: Request) -> Answer:
            nonlocal deletes
            deletes += request.method == "DELETE"
            if request.method == "DELETE" and deletes > 1:
                return Answer(409, b"it is locked", {"Content-Type": "text/plain"})
            if request.method == "GET" and request.path.endswith("/instances"):
                return json_answer([])
            return archive(request)

        with serving(answer) as origin:
            result = dcmweb(origin.url, "ping", "--write-test")
        found = lines(result)
        assert result.code == 1
        assert found["listing"][0] == "failed"
        assert found["delete"][0] == "failed"
        assert "it is locked" in found["delete"][1]
        assert "what was stored is still there: studies/2.25." in found["delete"][1]

    def test_what_was_refused_is_deleted_all_the_same(self, dcmweb: Dcmweb) -> None:
        archive = Archive()

        def answer(request: Request) -> Answer:
            given = archive(request)
            return Answer(400, b"no") if request.method == "POST" else given

        with serving(answer) as origin:
            result = dcmweb(origin.url, "ping", "--write-test")
            left = dcmweb(origin.url, "search", "studies", "--count").out
        assert result.code in (0, 1)
        assert left.strip() == "0"


class TestLibrary:
    def test_findings_are_values(self) -> None:
        with serving(Archive()) as origin, Client(origin.url) as client:
            found = list(client.ping())
        assert all(isinstance(one, Finding) for one in found)
        assert found[0].verdict is Verdict.OK

    def test_the_error_comes_after_the_findings(self) -> None:
        found: list[Finding] = []
        with serving(lambda _: Answer(401)) as origin, Client(origin.url) as client:
            run = client.ping()
            with pytest.raises(AuthError):
                found.extend(iter(lambda: next(run), None))
        assert [one.name for one in found if one.verdict is Verdict.FAILED] == [
            "identity",
            "service",
        ]
