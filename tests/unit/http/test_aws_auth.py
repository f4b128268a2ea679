"""AWS signatures: for whom, with which credentials, and one refresh for all threads."""

from __future__ import annotations

import datetime
import sys
import threading

import botocore.credentials
import botocore.session
import pytest
import requests

from dcmweb.errors import AuthError, UsageError
from dcmweb.http import auth
from dcmweb.http.auth.aws import AwsAuth, exact_url
from dcmweb.http.auth.hosts import aws_region, is_aws
from dcmweb.http.multipart import Body
from dcmweb.settings import Credentials, Settings
from dcmweb.transfer.meter import Meter

URL = "https://dicom-medical-imaging.us-east-1.amazonaws.com/datastore/abc"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROFILE", "SESSION_TOKEN", "REGION", "DEFAULT_REGION"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("DCMWEB_TOKEN", raising=False)


@pytest.mark.parametrize(
    ("url", "region"),
    [
        (URL, "us-east-1"),
        ("https://DICOM-medical-imaging.EU-west-1.amazonaws.com:443/", "eu-west-1"),
        ("https://medical-imaging.us-east-1.amazonaws.com", "us-east-1"),
        ("https://medical-imaging-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("https://vpce-1.medical-imaging.us-east-1.vpce.amazonaws.com", "us-east-1"),
        ("https://s3.us-east-1.amazonaws.com", ""),
        ("https://medical-imaging.us-east-1.amazonaws.com.evil.example", ""),
        ("https://medical-imaging.us-east-1.evilamazonaws.com", ""),
        ("https://evilmedical-imaging.us-east-1.amazonaws.com", ""),
        ("https://medical-imaging.us-east-1.amazonaws.com@evil.example", ""),
        ("https://evil.example/medical-imaging.us-east-1.amazonaws.com", ""),
        ("", ""),
    ],
)
def test_the_region_is_in_the_host_name(url: str, region: str) -> None:
    assert aws_region(url) == region
    assert is_aws(url) is bool(region)
    assert not is_aws(url.replace("https:", "http:"))


@pytest.mark.parametrize(
    ("url", "given", "is_signed"),
    [
        (URL, Credentials(), True),
        (URL, Credentials(token="t"), False),
        (URL, Credentials(scheme="none"), False),
        (URL.replace("https", "http"), Credentials(), False),
        ("https://pacs.example/dicomweb", Credentials(), False),
        ("https://pacs.example/dicomweb", Credentials(scheme="aws", aws_region="x-1"), True),
    ],
)
def test_aws_credentials_go_to_aws_or_where_they_are_asked_for(
    url: str, given: Credentials, is_signed: bool
) -> None:
    chosen = auth.choose(Settings(base_url=url, credentials=given))
    assert isinstance(chosen, AwsAuth) is is_signed


def test_botocore_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    monkeypatch.setitem(sys.modules, "botocore", None)
    with pytest.raises(UsageError, match=r"needs the Python package botocore.*\[aws\]"):
        AwsAuth(URL)


@pytest.mark.parametrize(
    ("url", "exact"),
    [
        ("https://h", "https://h/"),
        ("https://h/a/frames/1,2?x=^*,%25&y", "https://h/a/frames/1%2C2?x=%5E%2A%2C%25&y="),
        ("https://h:8/%7Ea%2fb/?q=a+b%20c&&r=%e4", "https://h:8/~a%2Fb/?q=a%2Bb%20c&r=%E4"),
    ],
)
def test_urls_are_written_in_one_way(url: str, exact: str) -> None:
    assert exact_url(url) == exact
    assert exact_url(exact) == exact


def test_a_pass_for_the_hash_is_not_progress() -> None:
    class Three:
        size = 3

        def pieces(self) -> list[bytes]:
            return [b"abc"]

    meter = Meter()
    body = Body.related([Three()], "application/dicom", meter.add)  # type: ignore[list-item]
    request = requests.Request("POST", URL, data=body, auth=AwsAuth(URL)).prepare()
    assert len(request.headers["X-Amz-Content-SHA256"]) == 64
    assert meter.bytes == 0
    assert b"".join(body) == b"".join(body.pieces_uncounted())
    assert meter.bytes == 3


def test_credentials_are_refreshed_ahead_of_expiry_and_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refreshes = []

    def metadata(minutes: int) -> dict[str, str]:
        when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
        refreshes.append(minutes)
        keys = {"access_key": f"AKID{len(refreshes)}", "secret_key": "s", "token": "t"}
        return {**keys, "expiry_time": when.isoformat()}

    made = botocore.credentials.RefreshableCredentials.create_from_metadata(
        metadata(1), lambda: metadata(60), "test"
    )
    monkeypatch.setattr(botocore.session.Session, "get_credentials", lambda _: made)
    signer, sent = AwsAuth(URL), []
    ready = threading.Barrier(32)

    def send() -> None:
        ready.wait()
        sent.append(requests.Request("GET", URL, auth=signer).prepare().headers["Authorization"])

    threads = [threading.Thread(target=send) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refreshes == [1, 60]
    assert len(sent) == 32
    assert all("Credential=AKID2/" in one for one in sent)


def test_many_refusals_do_not_read_the_credentials_as_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads = []

    def read(_: object) -> botocore.credentials.Credentials:
        reads.append(1)
        return botocore.credentials.Credentials("AKID", "secret")

    monkeypatch.setattr(botocore.session.Session, "get_credentials", read)
    signer = AwsAuth(URL)
    request = requests.Request("GET", URL, auth=signer).prepare()
    assert [signer.renew(request, 403) for _ in range(10)] == [False] * 10
    assert len(reads) == 2


def test_a_refresh_that_fails_is_an_error_of_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise botocore.exceptions.UnauthorizedSSOTokenError

    monkeypatch.setattr(botocore.session.Session, "get_credentials", fail)
    with pytest.raises(AuthError, match=r"no usable AWS credentials: .*SSO"):
        requests.Request("GET", URL, auth=AwsAuth(URL)).prepare()
