"""`retrieve` into buckets, on servers that run here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Dcmweb, make_instance, make_series
from tests.functional.archive import Archive
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

INSTANCES = make_series(5)
TREE = {f"1.2.3/1.2.3.4/1.2.3.4.{n}.dcm": data for n, data in enumerate(INSTANCES, start=1)}


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with moto_server(tmp_path_factory.mktemp("moto") / "log") as url:
        yield url


@pytest.fixture
def s3(moto: str) -> Bucket:
    return s3_bucket(moto)


@pytest.fixture
def origin() -> Iterator[Origin]:
    with serving(Archive(*INSTANCES)) as server:
        yield server


def below(prefix: str) -> dict[str, bytes]:
    return {f"{prefix}/{path}": data for path, data in TREE.items()}


def check_retrieval(dcmweb: Dcmweb, origin: Origin, bucket: Bucket) -> None:
    """Retrieve, retrieve again with --skip-existing, and by attributes."""
    command = (origin.url, "retrieve", "studies/1.2.3", "-o", f"{bucket.address}/out/")
    result = dcmweb(*command, env=bucket.env)
    assert result.code == 0, result.err
    assert f"Saving files into {bucket.address}/out/" in result.err
    assert bucket.tree() == below("out")
    again = dcmweb(*command, "--skip-existing", env=bucket.env)
    assert "retrieved 0, already there 5, skipped 0, failed 0" in again.last
    bucket.request("DELETE", "out/1.2.3/1.2.3.4/1.2.3.4.2.dcm")
    third = dcmweb(*command, "--skip-existing", env=bucket.env)
    assert "retrieved 1, already there 4, skipped 0, failed 0" in third.last
    assert bucket.tree() == below("out")
    for _ in range(2):  # the second time, each is there already
        result = dcmweb(
            *(origin.url, "retrieve", "studies/1.2.3", "-o", f"{bucket.address}/by"),
            *("--layout", "{Modality}/{SeriesInstanceUID}"),
            env=bucket.env,
        )
        assert "retrieved 5, skipped 0, failed 0" in result.last
        keys = [key for key in bucket.names() if key.startswith("by/")]
        assert keys == [f"by/CT/1.2.3.4/1.2.3.4.{n}.dcm" for n in range(1, 6)]


def test_retrieval_into_s3(dcmweb: Dcmweb, origin: Origin, s3: Bucket) -> None:
    check_retrieval(dcmweb, origin, s3)


def test_retrieval_to_google(dcmweb: Dcmweb, origin: Origin, moto: str) -> None:
    with google_bucket(moto) as bucket:
        check_retrieval(dcmweb, origin, bucket)


@pytest.mark.live
@pytest.mark.slow
def test_retrieval_into_azure(dcmweb: Dcmweb, origin: Origin, tmp_path: Path) -> None:
    with azurite_server(tmp_path / "log") as url:
        check_retrieval(dcmweb, origin, azure_container(url))


def test_a_run_with_a_manifest_goes_on(
    dcmweb: Dcmweb, origin: Origin, s3: Bucket, tmp_path: Path
) -> None:
    command = (origin.url, "retrieve", "studies/1.2.3", "-o", s3.address, "--manifest", "m")
    assert dcmweb(*command, env=s3.env).code == 0
    lines = [json.loads(line) for line in (tmp_path / "m").read_text().splitlines()]
    assert lines[1]["place"] == f"{s3.address}/1.2.3/1.2.3.4/1.2.3.4.1.dcm"
    s3.request("DELETE", "1.2.3/1.2.3.4/1.2.3.4.2.dcm")
    s3.put("1.2.3/1.2.3.4/1.2.3.4.3.dcm", b"something else")
    again = dcmweb(*command, env=s3.env)
    assert "retrieved 2, done before 3, skipped 0, failed 0" in again.last
    assert s3.tree() == TREE


def test_instances_of_one_name_are_told_apart(dcmweb: Dcmweb, s3: Bucket) -> None:
    one = make_instance(instance="1.2.3.4.1")
    other = make_instance(series="1.2.3.5", instance="1.2.3.5.1")
    with serving(Archive(one, other)) as server:
        for _ in range(2):
            result = dcmweb(
                *(server.url, "retrieve", "studies/1.2.3", "-o", s3.address),
                *("--layout", "{Modality}"),
                env=s3.env,
            )
            assert result.code == 0
    assert sorted(s3.tree().values()) == sorted([one, other])
    s3.put("CT/1.2.3.4.1.dcm", b"not DICOM")
    with serving(Archive(one)) as server:
        args = ("retrieve", "studies/1.2.3", "-o", s3.address, "--layout", "{Modality}")
        assert dcmweb(server.url, *args, env=s3.env).code == 0
    assert s3.get("CT/1.2.3.4.1.dcm") == b"not DICOM", "it does not belong to us"
    assert len(s3.names()) == 3


@pytest.mark.parametrize("failing", ["partNumber=2", "partNumber=1", "uploadId"])
def test_a_large_file_is_there_whole_or_not_at_all(
    dcmweb: Dcmweb, s3: Bucket, failing: str
) -> None:
    large = make_instance(instance="1.2.3.4.1", size=20_000_000)
    small = make_instance(instance="1.2.3.4.2")

    def breaking(request: Request) -> Answer | None:
        is_part = request.method in ("PUT", "POST") and "partNumber" in request.query
        is_end = request.method == "POST" and request.query.startswith("uploadId")
        broken = is_end if failing == "uploadId" else is_part and failing in request.query
        return Answer(400, b"<Error><Code>Broken</Code></Error>") if broken else None

    with serving(Archive(large, small)) as server:
        with serving(forwarding(s3.url, breaking)) as proxy:
            env = {**s3.env, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}
            result = dcmweb(server.url, "retrieve", "studies/1.2.3", "-o", s3.address, env=env)
        assert result.code == 7
        assert "cannot write into" in result.err
        assert "1.2.3/1.2.3.4/1.2.3.4.1.dcm" not in s3.names()
        result = dcmweb(server.url, "retrieve", "studies/1.2.3", "-o", s3.address, env=s3.env)
        assert result.code == 0
    assert s3.get("1.2.3/1.2.3.4/1.2.3.4.1.dcm") == large


def test_what_is_cut_short_is_not_there(dcmweb: Dcmweb, s3: Bucket) -> None:
    archive = Archive(*INSTANCES)

    def cut(request: Request) -> Answer:
        answer = archive(request)
        is_stream = request.method == "GET" and b"DICM" in answer.body
        return Answer(200, answer.body, answer.headers, cut=700) if is_stream else answer

    with serving(cut) as server:
        result = dcmweb(
            *(server.url, "retrieve", "studies/1.2.3", "-o", s3.address, "--retries", "0"),
            env=s3.env,
        )
    assert result.code != 0
    assert s3.names() == []


def test_frames_and_archives_go_into_buckets(dcmweb: Dcmweb, origin: Origin, s3: Bucket) -> None:
    path = "studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.1/frames/1"
    assert dcmweb(origin.url, "retrieve", path, "-o", s3.address, env=s3.env).code == 0
    (key,) = s3.names()
    assert key.startswith("1.2.3/1.2.3.4/1.2.3.4.1")


def test_errors_of_buckets_end_the_run(dcmweb: Dcmweb, origin: Origin, s3: Bucket) -> None:
    command = (origin.url, "retrieve", "studies/1.2.3", "-o", "s3://no-such-bucket/x")
    result = dcmweb(*command, env=s3.env)
    assert result.code == 7
    assert "cannot write into s3://no-such-bucket/x/" in result.err
    assert "there is no such bucket" in result.err
    result = dcmweb(origin.url, "retrieve", "studies/1.2.3", "-o", "gs://", env=s3.env)
    assert result.code == 2


def test_many_workers_write(dcmweb: Dcmweb, s3: Bucket) -> None:
    files = [
        make_instance(series=f"1.2.3.{s}", instance=f"1.2.3.{s}.{n}")
        for s in range(4)
        for n in range(25)
    ]
    with serving(Archive(*files)) as server:
        command = ("-j", "4", server.url, "retrieve", "studies/1.2.3", "-o", s3.address)
        assert "retrieved 100, skipped 0, failed 0" in dcmweb(*command, env=s3.env).last
        assert sorted(s3.tree().values()) == sorted(files)
        again = dcmweb(*command, "--skip-existing", env=s3.env)
        assert "already there 100" in again.last
