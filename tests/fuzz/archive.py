"""The archive: requests to its application, bytes on its sockets, and files that it holds."""

from __future__ import annotations

import atexit
import functools
import io
import re
import shutil
import socket
import sys
import tempfile
import threading
import urllib.parse
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydicom.data import get_testdata_file
from werkzeug.exceptions import BadRequest, HTTPException

from dcmweb.archive.access import Access
from dcmweb.archive.app import Archive
from dcmweb.archive.connections import ArchiveServer
from dcmweb.archive.negotiation import _split
from dcmweb.archive.storage.folder import Storage
from dcmweb.archive.storage.matching import How, matcher
from dcmweb.dicom.resources import Resource
from tests.conftest import make_instance
from tests.fuzz.target import Target
from tests.hostile import nested

_PATH = "studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.1"
_ROOTS = ("/dicomweb", "/v1beta1/projects/p/locations/l/datasets/d/dicomStores/s/dicomWeb")
_EVERYTHING = Resource()


@functools.cache
def archive() -> Archive:
    """Make an archive with a few instances, that lives as long as this process."""
    warnings.simplefilter("ignore")
    folder = tempfile.mkdtemp(prefix="dcmweb-fuzz-")
    (Path(folder) / "1.dcm").write_bytes(make_instance("1.2.3", "1.2.3.4", "1.2.3.4.1"))
    storage = Storage(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(storage.close)
    return Archive(storage, Access(is_local=True))


def ask(
    method: str, target: str, body: bytes = b"", headers: Mapping[str, str] = MappingProxyType({})
) -> tuple[int, bytes]:
    """Ask the application, and return status and body; whatever a defect raises comes through."""
    status, _, content = ask_with_fields(method, target, body, headers)
    return status, content


def ask_with_fields(
    method: str, target: str, body: bytes = b"", headers: Mapping[str, str] = MappingProxyType({})
) -> tuple[int, dict[str, str], bytes]:
    """Ask the application, and return status, header fields and body."""
    path, _, query = target.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "REQUEST_URI": target,
        "PATH_INFO": urllib.parse.unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1:8080",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        **{
            name if name == "CONTENT_TYPE" else f"HTTP_{name}": value
            for name, value in headers.items()
        },
    }
    statuses: list[str] = []
    said: dict[str, str] = {}

    def start(status: str, fields: list[tuple[str, str]], _error: Any = None) -> None:
        statuses.append(status)
        said.update(fields)
        for name, value in fields:
            assert not re.search(r"[\r\n\0]", name + value)
            (name + value).encode("latin-1")

    complaint = io.StringIO()
    with redirect_stderr(complaint):
        pieces = archive()(environ, start)
        try:
            content = b"".join(pieces)
        except HTTPException:  # that an answer breaks off is said to the client by that
            content = b""
        finally:
            getattr(pieces, "close", lambda: None)()
    status = int(statuses[0].split()[0])
    assert status != 500, complaint.getvalue()
    assert "Traceback" not in complaint.getvalue(), complaint.getvalue()
    return status, said, content


def _latin(data: bytes) -> str:
    return re.sub(r"[\r\n\0]", "", data.decode("latin-1"))


def run_requests(data: bytes) -> None:
    """Ask with such a path, query and header fields."""
    lines = [*data.split(b"\n"), b"", b"", b"", b"", b""]
    target = "/" + re.sub(r"[\x00-\x20#]", "", lines[1].decode("latin-1")).lstrip("/")
    methods = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "X")
    method = methods[lines[0][0] % len(methods)] if lines[0] else "GET"
    names = ("ACCEPT", "HOST", "ORIGIN", "AUTHORIZATION")
    headers = {n: _latin(v) for n, v in zip(names, lines[2:], strict=False) if v}
    ask(method, target, headers=headers)
    ask("GET", f"{_ROOTS[0]}/{_PATH}/{target.lstrip('/')}", headers=headers)


def run_queries(data: bytes) -> None:
    """Search with such a query, in both dialects."""
    query = re.sub(r"[\x00-\x20#]", "", data.decode("latin-1"))
    for root in _ROOTS:
        for level in ("studies", "instances"):
            ask("GET", f"{root}/{level}?{query}")


def run_wildcards(data: bytes) -> None:
    """Match a value with a key, as a slow but simple reference does."""
    wanted, _, value = data[:60].decode("latin-1").partition("\n")
    for vr in ("LO", "PN", "DA", "TM", "DT", "IS", "UI", "CS"):
        for how in (How.PLAIN, How.FUZZY, How.MULTIPLE_VALUES | How.EMPTY_VALUES, How.LITERAL):
            with suppress(BadRequest):
                fits = matcher(vr, wanted, how)
                assert fits(None) in (True, False)
                found = fits(value)
                is_plain = vr == "LO" and how is How.PLAIN and wanted not in ("", "*")
                if is_plain and "\\" not in value:
                    assert found == _matches(wanted, value), (wanted, value)


def _matches(wanted: str, value: str) -> bool:
    """Match `*` and `?` by dynamic programming."""
    places = {0}
    for char in wanted:
        if char == "*":
            places = set(range(min(places), len(value) + 1)) if places else set()
        else:
            places = {p + 1 for p in places if p < len(value) and char in ("?", value[p])}
    return len(value) in places


def run_accept(data: bytes) -> None:
    """Split Accept at its commas, and ask with it."""
    text = _latin(data)
    assert not any(part.startswith(",") for part in _split(text))
    for path in (_PATH, f"{_PATH}/metadata", f"{_PATH}/frames/1", "studies", f"{_PATH}/rendered"):
        ask("GET", f"{_ROOTS[0]}/{path}", headers={"ACCEPT": text})


_TYPES = (
    "application/dicom",
    'multipart/related; type="application/dicom"; boundary=b',
    'multipart/related; type="application/dicom+json"; boundary=b',
    'multipart/related; type="application/dicom+xml"; boundary=b',
    "multipart/related",
    "text/plain",
)


def run_bodies(data: bytes) -> None:
    """Store such a body as each type there is."""
    for root in _ROOTS:
        for kind in _TYPES:
            ask("POST", f"{root}/studies", data, headers={"CONTENT_TYPE": kind})
    _delete_others()


def _delete_others() -> None:
    """Delete what was stored, so that the archive stays small."""
    storage = archive()._storage
    for entry in list(storage.index.entries(_EVERYTHING)):
        if entry.own:
            storage.delete(entry.resource)


def run_patches(data: bytes) -> None:
    """Patch metadata, and manage the resources of Google's API, with such a body."""
    ask("POST", f"{_ROOTS[1]}/studies", _other(), headers={"CONTENT_TYPE": "application/dicom"})
    ask("PATCH", f"{_ROOTS[1]}/studies/1.2.9/metadata", data)
    root = _ROOTS[1].partition("/datasets")[0]
    ask("POST", f"{root}/datasets?datasetId=x", data)
    ask("PATCH", f"{root}/datasets/x?updateMask=a", data)
    ask("DELETE", f"{root}/datasets/x")
    _delete_others()


@functools.cache
def _other() -> bytes:
    return make_instance("1.2.9", "1.2.9.1", "1.2.9.1.1")


def run_files(data: bytes) -> None:
    """Store a file, and ask for everything that can be made of it."""
    status, _ = ask(
        "POST", f"{_ROOTS[0]}/studies", data, headers={"CONTENT_TYPE": "application/dicom"}
    )
    if status == 200:
        for entry in list(archive()._storage.index.entries(_EVERYTHING)):
            if entry.own:
                _ask_for_all(f"{_ROOTS[0]}/{entry.resource}", data)
    _delete_others()


def _ask_for_all(path: str, data: bytes) -> None:
    status, content = ask("GET", path, headers={"ACCEPT": "application/dicom; transfer-syntax=*"})
    assert (status, content) == (200, data)
    study = path.partition("/series")[0]
    for one in (path, study):
        for below in ("", "/metadata", "/rendered", "/thumbnail"):
            status, _ = ask("GET", one + below)
            assert one is path or below in ("/rendered", "/thumbnail") or status == 200
    for below in ("/frames/1", "/frames/1/rendered", "/bulkdata/7FE00010"):
        ask("GET", path + below)
    ask("GET", f"{path}/rendered?window=40,400,linear&viewport=64,64")
    status, _ = ask("GET", f"{_ROOTS[0]}/instances?includefield=all&Manufacturer=*")
    assert status == 200


@functools.cache
def _port() -> int:
    server = ArchiveServer(("127.0.0.1", 0), "fuzz")
    server.wsgi_app = archive()
    server.prepare()
    threading.Thread(target=server.serve, daemon=True).start()
    return int(server.bind_addr[1])


def run_sockets(data: bytes) -> None:
    """Send such bytes to the server; all that comes back are answers, none of them a defect."""
    address = ("127.0.0.1", _port())
    with suppress(ConnectionError), socket.create_connection(address, 10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert not answer or answer.startswith(b"HTTP/1.1 "), answer[:100]
        assert b"HTTP/1.1 500" not in answer, answer


def _samples() -> Sequence[bytes]:
    names = (
        "SC_rgb_small_odd_jpeg.dcm",
        "SC_rgb_rle_2frame.dcm",
        "JPEG2000.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "JPEGLSNearLossless_08.dcm",
        "SC_rgb_jpeg_lossy_gdcm.dcm",
        "image_dfl.dcm",
        "test-SR.dcm",
        "rtplan.dcm",
    )
    found = [get_testdata_file(name, download=False) for name in names]
    return [make_instance(), nested(4), *(Path(str(path)).read_bytes() for path in found if path)]


def _parts(kind: bytes, content: bytes) -> bytes:
    return b"--b\r\nContent-Type: " + kind + b"\r\n\r\n" + content + b"\r\n--b--\r\n"


_INSTANCE_JSON = (
    b'[{"00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.7"]},"00080018":{"vr":"UI","Value":["8.1.1.1"]},'
    b'"0020000D":{"vr":"UI","Value":["8.1"]},"0020000E":{"vr":"UI","Value":["8.1.1"]},'
    b'"00081140":{"vr":"SQ","Value":[{"00080100":{"vr":"SH","Value":["a"]}}]},'
    b'"00280010":{"vr":"US","Value":[1]},"7FE00010":{"vr":"OW","InlineBinary":"AAA="}}]'
)
_INSTANCE_XML = (
    b"<NativeDicomModel>"
    b"<DicomAttribute tag='00080016' vr='UI'><Value number='1'>1.2.840.10008.5.1.4.1.1.7</Value></DicomAttribute>"
    b"<DicomAttribute tag='00080018' vr='UI'><Value number='1'>8.1.1.2</Value></DicomAttribute>"
    b"<DicomAttribute tag='0020000D' vr='UI'><Value number='1'>8.1</Value></DicomAttribute>"
    b"<DicomAttribute tag='0020000E' vr='UI'><Value number='1'>8.1.1</Value></DicomAttribute></NativeDicomModel>"
)

TARGETS = {
    "archive-requests": Target(
        run_requests,
        lambda: [
            f"{n}\n{root}/{path}\n*/*\n127.0.0.1\nhttp://localhost\nBasic YTpi".encode()
            for n, root in zip("01234567", _ROOTS * 4, strict=True)
            for path in (_PATH, "studies", f"{_PATH}/frames/1,2", f"{_PATH}/bulkdata/7FE00010", "")
        ],
        [
            b"/studies",
            b"%2F",
            b"..",
            b"%00",
            b"/frames/",
            b"9" * 5000,
            b"[",
            b"localhost:99999",
            b"\xff",
            b"Bearer ",
            b"Digest a=b",
            b"//",
            b"/rendered?viewport=1,1",
            b"/operations/1",
            b"?",
            b"&",
        ],
    ),
    "archive-queries": Target(
        run_queries,
        lambda: [
            b"PatientName=Doe*&StudyDate=20200101-&limit=1&offset=0&includefield=all",
            b"00080060=CT,MR&fuzzymatching=true&PatientName=do^j&00081140.00081155=1.2",
            b"StudyInstanceUID=1.2.3&InstanceNumber=1&BitsAllocated=16&StudyTime=10-12",
        ],
        [
            b"*",
            b"?",
            b"&",
            b"=",
            b"\\",
            b"%5C",
            b"includefield=",
            b"emptyvaluematching=true",
            b'""',
            b"[",
            b"limit=",
            b"%FF",
            b"%00",
            b"nan",
            b"1e400",
            b"multiplevaluematching=true",
            b"99991231-",
            b".",
        ],
    ),
    "archive-wildcards": Target(
        run_wildcards,
        lambda: [
            b"a*b?c\naxxbyc",
            b"20200101-20210101\n20200601",
            b"D*^J\nDoe^Jane",
            b"1,2\n1",
            b"[a]*\n[a]b",
        ],
        [b"*", b"?", b"-", b"^", b"=", b"\\", b"\n", b"[", b"]", b","],
    ),
    "archive-accept": Target(
        run_accept,
        lambda: [
            b'multipart/related; type="application/dicom"; transfer-syntax=*, application/json;q=0.5',
            b"image/jpeg;q=0.1,image/png, */*;q=nan",
        ],
        [
            b",",
            b";",
            b'"',
            b"\\",
            b"q=",
            b"transfer-syntax=",
            b"1.2.840.10008.1.2",
            b"multipart/related",
            b"*/*",
        ],
    ),
    "archive-bodies": Target(
        run_bodies,
        lambda: [
            make_instance("8.2", "8.2.1", "8.2.1.1"),
            _parts(b"application/dicom", make_instance("8.3", "8.3.1", "8.3.1.1")),
            _parts(b"application/dicom+json", _INSTANCE_JSON),
            _parts(b"application/dicom+xml", _INSTANCE_XML),
        ],
        [
            b"--b\r\n",
            b"\r\n--b--",
            b"\r\n\r\n",
            b"BulkDataURI",
            b"Content-Location: a",
            b'"Value":',
            b"[",
            b"{",
            b'"vr":"SQ"',
            b"1e400",
            b"\\ud800",
            b"NaN",
            b"\xfe\xff\x00\xe0",
        ],
    ),
    "archive-patches": Target(
        run_patches,
        lambda: [
            b'[{"op":"add","path":"/00100020","value":{"vr":"LO","Value":["x"]}}]',
            b'[{"op":"test","path":"/00080060/Value/0","value":"CT"},{"op":"remove","path":"/00080060"}]',
            b'[{"op":"replace","path":"/00081140","value":{"vr":"SQ","Value":[{"00080100":{"vr":"SH"}}]}}]',
            b'{"labels":{"a":"b"}}',
        ],
        [
            b'"op"',
            b'"replace"',
            b"/-",
            b"/0",
            b"~1",
            b"[",
            b"{",
            b"9" * 5000,
            b"NaN",
            b"1e400",
            b'"vr":"US"',
            b"\\ud800",
        ],
    ),
    "archive-files": Target(
        run_files, _samples, [b"\xfe\xff\x00\xe0", b"\xff\xd8", b"UN", b"SQ", b"OB", b"\xff\x4f"]
    ),
    "archive-sockets": Target(
        run_sockets,
        lambda: [
            b"GET /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2,
            b"POST /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/dicom\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"POST /dicomweb/studies HTTP/1.1\r\nHost: [::1]:1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
        ],
        [
            b"\r\n",
            b"Content-Length: ",
            b"Transfer-Encoding: ",
            b"chunked",
            b"HTTP/1.0",
            b"Connection: keep-alive",
            b"\xff",
            b"GET http://[/ HTTP/1.1",
            b"*",
            b"%",
            b" ",
            b"\t",
            b"Content-Length: 9",
            b"gzip, chunked",
        ],
    ),
}
