"""Signatures for AWS HealthImaging: as botocore, curl and the manual of AWS have them."""

from __future__ import annotations

import datetime
import email.utils
import shutil
import subprocess
import time
from pathlib import Path

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

from tests.conftest import Dcmweb, make_series, write_files
from tests.functional import aws
from tests.functional.archive import Archive
from tests.functional.origin import Answer, Origin, Request, serving

PATHS = [
    ["search", "studies", "PatientName=Doe^Jane*", "limit=5"],
    ["search", "studies", "StudyDescription=50%, a+b c~d", "PatientName=Müller^Jörg\\Doe"],
    ["retrieve", "studies/1.2/series/3.4/instances/5.6/frames/1,5", "-o", "out"],
    ["retrieve", "studies/1.2/metadata"],
    ["delete", "studies/1.2"],
]


def sign_with_botocore(request: Request, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let botocore sign what came."""
    when = datetime.datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: when)
    names = [name for name in aws.signed_fields(request) if name != "x-amz-security-token"]
    url = f"http://127.0.0.1:{origin.port}{request.target}"
    fields = {name: request.headers[name] for name in names}
    again = botocore.awsrequest.AWSRequest(request.method, url, fields, request.body)
    token = request.headers.get("x-amz-security-token")
    given = botocore.credentials.Credentials(aws.KEY, aws.SECRET, token)
    botocore.auth.SigV4Auth(given, aws.SERVICE, aws.REGION).add_auth(again)
    return str(again.headers["Authorization"])


def sign_with_curl(request: Request, origin: Origin) -> str:
    """Let curl send the same to the same server, and return what it signed it with."""
    names = [name for name in aws.signed_fields(request) if name != "host"]
    fields = [["--header", f"{name}: {request.headers[name]}"] for name in names]
    before = len(origin.requests)
    subprocess.run(
        ["curl", "--silent", "--output", "/dev/null", "--request", request.method]
        + ["--aws-sigv4", f"aws:amz:{aws.REGION}:{aws.SERVICE}"]
        + ["--user", f"{aws.KEY}:{aws.SECRET}", *(word for field in fields for word in field)]
        + (["--data-binary", "@-"] if request.body else [])
        + [f"http://127.0.0.1:{origin.port}{request.target}"],
        input=request.body,
        check=True,
        timeout=30,
    )
    return origin.requests[before].headers["authorization"]


@pytest.mark.parametrize("token", ["", aws.TOKEN])
@pytest.mark.parametrize("arguments", PATHS)
def test_what_is_sent_is_signed_as_aws_and_botocore_have_it(
    dcmweb: Dcmweb, arguments: list[str], token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {**aws.ENVIRONMENT, "AWS_SESSION_TOKEN": token} if token else aws.ENVIRONMENT
    with serving(lambda _: Answer(204)) as origin:
        dcmweb("--auth", "aws", "--retries", "0", origin.url, *arguments, env=environment)
        assert origin.requests
        for request in origin.requests:
            sent = request.headers["authorization"]
            assert sent == aws.expected_authorization(request)
            assert sent == sign_with_botocore(request, origin, monkeypatch)
            assert "^" not in request.target
            assert request.headers.get("x-amz-security-token", "") == token


def test_a_body_is_hashed_beforehand_and_sent_whole(
    dcmweb: Dcmweb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "in", make_series(3, size=400_000))
    with serving(Archive()) as origin:
        result = dcmweb("--auth", "aws", origin.url, "store", "in", env=aws.ENVIRONMENT)
        posts = [request for request in origin.requests if request.method == "POST"]
        assert posts
        for request in posts:
            assert request.headers["authorization"] == aws.expected_authorization(request)
            assert request.headers["authorization"] == sign_with_botocore(
                request, origin, monkeypatch
            )
    assert result.code == 0
    assert "stored 3," in result.last


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("token", ["", aws.TOKEN])
def test_curl_signs_the_same_requests_alike(dcmweb: Dcmweb, tmp_path: Path, token: str) -> None:
    write_files(tmp_path / "in", make_series(1))
    environment = {**aws.ENVIRONMENT, "AWS_SESSION_TOKEN": token} if token else aws.ENVIRONMENT
    commands = [
        ["search", "studies", "PatientName=Doe^Jane*,50%", "limit=5"],  # curl 7 does not sort them
        ["delete", "studies/1.2"],
        ["store", "in"],
    ]
    with serving(lambda _: Answer(204)) as origin:
        for command in commands:
            dcmweb("--auth", "aws", "--retries", "0", origin.url, *command, env=environment)
        ours = list(origin.requests)
        assert {request.method for request in ours} == {"GET", "DELETE", "POST"}
        for request in ours:
            if request.query.count("&") < 2:
                assert request.headers["authorization"] == sign_with_curl(request, origin)


def test_a_redirect_within_the_server_is_signed_anew(dcmweb: Dcmweb) -> None:
    def handle(request: Request) -> Answer:
        if request.path == "/dicomweb/studies":
            return Answer(307, headers={"Location": "/moved/studies?x=%2A*^"})
        return Answer(204)

    with serving(handle) as origin:
        assert dcmweb("--auth", "aws", origin.url, "search", env=aws.ENVIRONMENT).code == 0
    assert [request.path for request in origin.requests] == ["/dicomweb/studies", "/moved/studies"]
    for request in origin.requests:
        assert request.headers["authorization"] == aws.expected_authorization(request)


def test_header_fields_of_aws_and_parameters_are_signed_too(dcmweb: Dcmweb) -> None:
    more = ("--header", "X-Amz-Meta-Site: Ost 7", "--query", "image set=a/b")
    with serving(lambda _: Answer(204)) as origin:
        assert dcmweb("--auth", "aws", *more, origin.url, "search", env=aws.ENVIRONMENT).code == 0
    [request] = origin.requests
    assert "image%20set=a%2Fb" in request.query
    assert "x-amz-meta-site" in aws.signed_fields(request)
    assert request.headers["authorization"] == aws.expected_authorization(request)


# Where credentials come from.


def write_profile(home: Path, secret: str = aws.SECRET) -> None:
    folder = home / ".aws"
    folder.mkdir(exist_ok=True)
    keys = f"aws_access_key_id={aws.KEY}\naws_secret_access_key={secret}\n"
    (folder / "credentials").write_text(f"[images]\n{keys}")
    (folder / "config").write_text(f"[profile images]\nregion={aws.REGION}\n")


def test_a_profile_has_keys_and_region(dcmweb: Dcmweb, tmp_path: Path) -> None:
    with serving(lambda _: Answer(204)) as origin:
        write_profile(tmp_path / "home")
        given = ("--auth", "aws", "--aws-profile", "images")
        assert dcmweb(*given, origin.url, "search").code == 0
        assert dcmweb(*given, "--aws-region", "us-west-2", origin.url, "search").code == 0
    first, second = origin.requests
    assert first.headers["authorization"] == aws.expected_authorization(first)
    expected = aws.expected_authorization(second, region="us-west-2")
    assert second.headers["authorization"] == expected


def test_credentials_that_somebody_renewed_meanwhile_are_used(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    write_profile(tmp_path / "home", "old")

    def handle(request: Request) -> Answer:
        if request.headers["authorization"] == aws.expected_authorization(request):
            return Answer(204)
        keys = (tmp_path / "home" / ".aws" / "credentials").read_text()
        new = f"aws_session_token={aws.TOKEN}\n"
        text = keys.replace("=old", f"={aws.SECRET}") + new
        (tmp_path / "home" / ".aws" / "credentials").write_text(text)
        return aws.refusal("ExpiredTokenException", "The security token has expired")

    with serving(handle) as origin:
        result = dcmweb("--auth", "aws", "--aws-profile", "images", origin.url, "search")
    assert (result.code, result.err) == (0, "")
    assert len(origin.requests) == 2


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "words"),
    [
        ([], {}, 4, "there are no AWS credentials"),
        (["--aws-profile", "nosuch"], aws.ENVIRONMENT, 2, "nosuch"),
        (
            [],
            {"AWS_ACCESS_KEY_ID": aws.KEY, "AWS_SECRET_ACCESS_KEY": aws.SECRET},
            2,
            "give --aws-region",
        ),
        ([], {**aws.ENVIRONMENT, "AWS_SECRET_ACCESS_KEY": ""}, 4, "no usable AWS credentials"),
    ],
)
def test_what_is_lacking_is_one_line_and_no_request(
    dcmweb: Dcmweb, arguments: list[str], environment: dict[str, str], code: int, words: str
) -> None:
    with serving(lambda _: Answer(204)) as origin:
        result = dcmweb("--auth", "aws", *arguments, origin.url, "search", env=environment)
    assert (result.code, result.out) == (code, "")
    assert len(result.err.splitlines()) == 1
    assert words in result.err
    assert aws.SECRET not in result.err
    assert origin.requests == []


def test_other_hosts_get_nothing_unasked(dcmweb: Dcmweb) -> None:
    with serving(lambda _: Answer(204)) as origin:
        assert dcmweb(origin.url, "search", env=aws.ENVIRONMENT).code == 0
    assert "authorization" not in origin.requests[0].headers


# What AWS refuses.


@pytest.mark.parametrize(
    ("name", "said", "skew", "words"),
    [
        ("InvalidSignatureException", "The request signature we calculated does", 0, "secret acc"),
        ("InvalidSignatureException", "Signature expired: 1 is now earlier than 2", 0, "the clock"),
        ("RequestTimeTooSkewed", "too large", 900, "15 minutes behind"),
        ("SignatureDoesNotMatch", "no", -900, "15 minutes ahead of"),
        ("SignatureDoesNotMatch", "no", -4 * 3600, "4 hours ahead of"),
        ("ExpiredTokenException", "The security token included is expired", 0, "aws sso login"),
        ("UnrecognizedClientException", "The security token is invalid", 0, "access key"),
        ("AccessDeniedException", "User is not authorized", 900, "may not do this"),
    ],
)
@pytest.mark.parametrize("command", ["search", "store"])
def test_a_refusal_says_why(
    dcmweb: Dcmweb, tmp_path: Path, *, name: str, said: str, skew: int, words: str, command: str
) -> None:
    write_files(tmp_path / "in", make_series(1))
    date = email.utils.formatdate(time.time() + skew, usegmt=True)
    arguments = ["search"] if command == "search" else ["store", "in"]
    with serving(lambda _: aws.refusal(name, said, Date=date)) as origin:
        result = dcmweb("--auth", "aws", origin.url, *arguments, env=aws.ENVIRONMENT)
    assert result.code in ((1, 4) if command == "store" else (4,))
    assert words in result.err
    assert ("minutes" in result.err or "hours" in result.err) is ("of" in words or "beh" in words)
    assert aws.SECRET not in result.err


def test_secrets_are_not_shown(dcmweb: Dcmweb) -> None:
    environment = {**aws.ENVIRONMENT, "AWS_SESSION_TOKEN": aws.TOKEN}

    def handle(request: Request) -> Answer:
        token = request.headers["x-amz-security-token"]
        words = f"bad token {token} of {aws.SECRET}"
        return Answer(400, words.encode(), {"Warning": f'299 - "{token}"', "X-Echo": token})

    with serving(handle) as origin:
        result = dcmweb("--debug", "--auth", "aws", origin.url, "search", env=environment)
    assert result.code == 5
    assert "bad token ..." in result.err
    assert aws.SECRET not in result.err
    assert aws.TOKEN not in result.err
