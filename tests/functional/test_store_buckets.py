"""`store` of objects in buckets, from servers that run here."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dcmweb.extras import how_to_install
from tests.conftest import Dcmweb, make_instance, make_series
from tests.functional.archive import Archive, sent_parts
from tests.functional.buckets import (
    Bucket,
    azure_container,
    azurite_server,
    forwarding,
    google_bucket,
    moto_server,
    s3_bucket,
)
from tests.functional.origin import Answer, Origin, Request, serving
from tests.functional.storing import posts, taking
from tests.unit.local.packing import make_tar, make_zip

FILES = {f"ct/{n}.dcm": data for n, data in enumerate(make_series(5), start=1)}


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with moto_server(tmp_path_factory.mktemp("moto") / "log") as url:
        yield url


@pytest.fixture
def s3(moto: str) -> Bucket:
    return s3_bucket(moto)


@pytest.fixture
def origin() -> Iterator[Origin]:
    with serving(Archive()) as server:
        yield server


def sent(origin: Origin) -> list[bytes]:
    return sorted(part for request in posts(origin) for part in sent_parts(request))


def check_masks(dcmweb: Dcmweb, origin: Origin, bucket: Bucket) -> None:
    """Store by masks, prefixes and names."""
    bucket.put_all(
        {**FILES, "ct/deep/6.dcm": b"junk", "中 ü%.dcm": make_instance(instance="9"), "ctx": b"no"}
    )
    for mask, count in {
        "ct/**.dcm": 5,
        "ct/*.dcm": 5,
        "ct": 5,
        "ct/": 5,
        "ct/3.dcm": 1,
        "*": 1,
        "**/[12].dcm": 2,
        "": 6,
    }.items():
        result = dcmweb(origin.url, "store", f"{bucket.address}/{mask}", env=bucket.env)
        taken = re.findall(r"(?:stored|already there) ([0-9]+)", result.last)
        assert sum(map(int, taken)) == count, mask
        assert result.code == 0
    assert f"{bucket.address}/ct/1.dcm uploaded as" in result.err
    assert f"{bucket.address}/中 ü%.dcm uploaded as" in result.err
    assert f"{bucket.address}/ctx skipped: not a DICOM file" in result.err
    assert set(sent(origin)) >= set(FILES.values())
    result = dcmweb(origin.url, "store", f"{bucket.address}/nothing", env=bucket.env)
    assert result.code == 3
    assert f"No files found matching {bucket.address}/nothing" in result.err


def test_masks_prefixes_and_names_in_s3(dcmweb: Dcmweb, origin: Origin, s3: Bucket) -> None:
    check_masks(dcmweb, origin, s3)


def test_masks_prefixes_and_names_at_google(dcmweb: Dcmweb, origin: Origin, moto: str) -> None:
    with google_bucket(moto) as bucket:
        check_masks(dcmweb, origin, bucket)


@pytest.mark.live
@pytest.mark.slow
def test_masks_prefixes_and_names_in_azure(dcmweb: Dcmweb, origin: Origin, tmp_path: Path) -> None:
    with azurite_server(tmp_path / "log") as url:
        check_masks(dcmweb, origin, azure_container(url))


def test_a_run_with_a_manifest_goes_on(dcmweb: Dcmweb, origin: Origin, s3: Bucket) -> None:
    s3.put_all(FILES)
    options = ("store", f"{s3.address}/ct", "--manifest", "m", "--verify")
    assert "stored 5, skipped 0" in dcmweb(origin.url, *options, env=s3.env).last
    s3.put("ct/6.dcm", make_instance(instance="1.2.3.4.6"))
    again = dcmweb(origin.url, *options, env=s3.env)
    assert "stored 1, done before 5, skipped 0, failed 0" in again.last
    assert "the server lists 6 of 6 instances" in again.err


def test_what_failed_can_be_stored_from_a_list(
    dcmweb: Dcmweb, origin: Origin, s3: Bucket, tmp_path: Path
) -> None:
    s3.put_all(FILES)
    (tmp_path / "list").write_text(f"{s3.address}/ct/2.dcm\n{s3.address}/[no].dcm\n")
    result = dcmweb(
        *(origin.url, "store", "--files-from", "list", "--failed-to", "bad", "--manifest", "m"),
        env=s3.env,
    )
    assert result.code == 1
    assert "stored 1, skipped 0, failed 1" in result.last
    assert (tmp_path / "bad").read_text() == f"{s3.address}/[no].dcm\n"
    s3.put("[no].dcm", make_instance())
    again = dcmweb(origin.url, "store", "--files-from", "list", "--manifest", "m", env=s3.env)
    assert "stored 1, done before 1, skipped 0, failed 0" in again.last


def test_archives_in_buckets_are_opened_by_name(
    dcmweb: Dcmweb, origin: Origin, s3: Bucket, tmp_path: Path
) -> None:
    s3.put("a.zip", make_zip(tmp_path / "a.zip", FILES).read_bytes())
    s3.put("b.tar", make_tar(tmp_path / "b.tar", FILES).read_bytes())
    s3.put("c.tgz", make_tar(tmp_path / "c.tgz", FILES).read_bytes())
    for mask in ("a.zip", "*.tar", "**.tgz"):
        result = dcmweb(origin.url, "store", f"{s3.address}/{mask}", env=s3.env)
        assert "stored 5, skipped 0, failed 0" in result.last, result.err
    assert sent(origin) == sorted([*FILES.values()] * 3)
    result = dcmweb(origin.url, "store", f"{s3.address}/a.zip!/ct/1.dcm", env=s3.env)
    assert "stored 1, skipped 0, failed 0" in result.last


def test_the_first_file_is_sent_before_the_listing_ends(dcmweb: Dcmweb, s3: Bucket) -> None:
    s3.put_all(FILES)
    any_sent = threading.Event()
    names, empty = sorted(FILES), [f"ct/z{n}.dcm" for n in range(997)]
    page = "<ListBucketResult><IsTruncated>{more}</IsTruncated>{token}{contents}</ListBucketResult>"
    item = (
        "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        '<ETag>"x"</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>'
    )

    def listing(request: Request) -> Answer | None:
        if "list-type=2" not in request.query:
            return None
        is_last = "continuation-token" in request.query
        if is_last:
            assert any_sent.wait(30), "nothing was sent before the next page was asked for"
        body = page.format(
            more=str(not is_last).lower(),
            token="" if is_last else "<NextContinuationToken>t</NextContinuationToken>",
            contents="".join(
                item.format(key=key, size=0 if "z" in key else 8_000_000)
                for key in (names[3:] if is_last else names[:3] + empty)
            ),
        )
        return Answer(200, body.encode(), {"Content-Type": "application/xml"})

    archive = Archive()

    def store(request: Request) -> Answer:
        any_sent.set()
        return archive(request)

    with serving(forwarding(s3.url, listing)) as proxy, serving(taking(archive, store)) as server:
        env = {**s3.env, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}
        result = dcmweb(server.url, "store", f"{s3.address}/ct", env=env)
    assert "stored 5, skipped 997, failed 0" in result.last, result.err


def changing(s3: Bucket, key: str, new: bytes, at: int) -> Callable[[Request], Answer | None]:
    """Put another object in the place of one before its n-th part is read."""
    reads = 0

    def before(request: Request) -> Answer | None:
        nonlocal reads
        if request.method == "GET" and request.path.endswith(f"/{key}"):
            reads += 1
            if reads == at:
                s3.put(key, new)
        return None

    return before


@pytest.mark.parametrize("size", [3_000_000, 18_000_000])
@pytest.mark.parametrize("at", [2, 4])
def test_an_object_that_changes_is_never_sent_mixed(
    dcmweb: Dcmweb, origin: Origin, s3: Bucket, size: int, at: int
) -> None:
    old, new = make_instance(size=size), make_instance(size=size)
    other = make_instance(instance="1.2.3.4.6")
    s3.put_all({"a.dcm": old, "b.dcm": other})
    with serving(forwarding(s3.url, changing(s3, "a.dcm", new, at))) as proxy:
        env = {**s3.env, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}
        result = dcmweb(origin.url, "store", s3.address, "--retries", "0", env=env)
    if size == 3_000_000 and at == 4:  # it was read before
        assert result.code == 0
        assert sent(origin) == sorted([old, other])
    else:
        assert result.code == 1
        changed = f"{s3.address}/a.dcm failed: the object changed while it was being read"
        assert changed in result.err
        assert sent(origin) == [other]


def test_every_attempt_sends_all(dcmweb: Dcmweb, s3: Bucket) -> None:
    files = {"a.dcm": make_instance(size=17_000_000), "b.dcm": make_instance(instance="1.2.3.4.6")}
    s3.put_all(files)
    answers = iter([Answer(503, headers={"Retry-After": "0"})] * 2)
    archive = Archive()

    def store(request: Request) -> Answer:
        return next(answers, None) or archive(request)

    with serving(taking(archive, store)) as server:
        assert dcmweb(server.url, "store", s3.address, env=s3.env).code == 0
        found = sorted(len(part) for request in posts(server) for part in sent_parts(request))
        assert set(found) == {len(data) for data in files.values()}
        assert len(found) == 4


def test_errors_of_buckets_are_said_in_a_line(dcmweb: Dcmweb, origin: Origin, s3: Bucket) -> None:
    result = dcmweb(origin.url, "store", "s3://no-such-bucket/a/*", env=s3.env)
    assert result.code == 1
    assert "s3://no-such-bucket/a/* failed: there is no such bucket" in result.err
    refused = Answer(403, b"<Error><Code>AccessDenied</Code><Message>No way</Message></Error>")
    with serving(lambda _: refused) as proxy:
        env = {**s3.env, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}
        result = dcmweb(origin.url, "store", f"{s3.address}/x*", env=env)
    assert "failed: the credentials do not permit it (AccessDenied: No way)" in result.err
    result = dcmweb(origin.url, "store", "s3:///x", env=s3.env)
    assert result.code == 2
    assert "s3:///x names no bucket; write it like s3://bucket/folder" in result.err


def test_without_the_extra_it_is_named(
    dcmweb: Dcmweb, origin: Origin, s3: Bucket, tmp_path: Path
) -> None:
    (tmp_path / "without" / "obstore").mkdir(parents=True)
    (tmp_path / "without" / "obstore" / "__init__.py").write_text("raise ImportError('none')")
    env = {**s3.env, "PYTHONPATH": str(tmp_path / "without")}
    result = dcmweb(origin.url, "store", s3.address, env=env)
    assert result.code == 2
    assert "s3:// needs an extra that is not installed" in result.err
    assert f"run: {how_to_install('buckets')}" in result.err


def test_credentials_of_a_profile(
    dcmweb: Dcmweb, origin: Origin, s3: Bucket, tmp_path: Path
) -> None:
    s3.put_all(FILES)
    (tmp_path / "credentials").write_text(
        "[other]\naws_access_key_id = from-profile\naws_secret_access_key = secret\n"
    )
    (tmp_path / "config").write_text("[profile other]\nregion = eu-central-1\n")
    env = {
        "AWS_ENDPOINT_URL": s3.url,
        "AWS_PROFILE": "other",
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
    }
    seen: list[str] = []

    def note(request: Request) -> None:
        seen.append(request.headers.get("authorization", ""))

    with serving(forwarding(s3.url, note)) as proxy:
        env["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{proxy.port}"
        result = dcmweb(origin.url, "store", s3.address, env=env)
    assert "stored 5, skipped 0, failed 0" in result.last
    assert all("Credential=from-profile/" in one and "/eu-central-1/s3/" in one for one in seen)
