"""The parsers of the client: of answers, of files, and of what users write."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import re
import socket
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydicom.data import get_testdata_file

from dcmweb import wildcards
from dcmweb.dicom import json_model, part10, resources
from dcmweb.dicom.images.codestreams import BadImage, find_codestream, read_jpeg, read_jpeg_2000
from dcmweb.dicom.images.content import read_media_file
from dcmweb.dicom.json_variants import as_datasets
from dcmweb.dicom.native_xml import parse_native_xml, write_native_xml
from dcmweb.errors import DcmwebError, UsageError
from dcmweb.http import content_coding, media_types
from dcmweb.http.framing import FramedResponse
from dcmweb.http.multipart import read_parts
from dcmweb.transactions.store import response_module
from dcmweb.transfer.manifest import Manifest
from dcmweb.user_text import decode_text
from tests.conftest import make_instance
from tests.fuzz.target import Target
from tests.hostile import INSTANCE, SERIES, deflated, nested

_ROWS = (
    b'[{"0020000D":{"vr":"UI","Value":["1.2"]},"00100010":{"vr":"PN","Value":[{"Alphabetic":"A^B"}]}},'
    b'{"00080018":{"vr":"UI"},"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.3"]},'
    b'"00081197":{"vr":"US","Value":[1e400,-0.1,272,true,null]}}]}}]'
)
_XML = (
    b"<NativeDicomModel><DicomAttribute tag='00081199' vr='SQ'><Item number='1'><DicomAttribute "
    b"tag='00081155' vr='UI'><Value number='1'>1.2</Value></DicomAttribute></Item></DicomAttribute>"
    b"<DicomAttribute tag='00100010' vr='PN'><PersonName number='1'><Alphabetic><FamilyName>A</FamilyName>"
    b"</Alphabetic></PersonName></DicomAttribute><DicomAttribute tag='00090010' vr='LO'>"
    b"<Value number='3'>X</Value></DicomAttribute></NativeDicomModel>"
)
_JSON_WORDS = [
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b'"',
    b'"Value":',
    b'"vr":"SQ"',
    b"NaN",
    b"1e999",
    b"\\ud800",
    b"null",
]


def _sample(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return Path(path).read_bytes()


# Answers


def _pieces(data: bytes, size: int) -> Callable[[int], bytes]:
    """Make a function that reads data, no more than `size` bytes at a time."""
    file = io.BytesIO(data)
    return lambda wanted: file.read(min(wanted, size))


def run_framing(data: bytes) -> None:
    """Read an answer from a socket that closes after it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5)
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        response = FramedResponse(ours, method="HEAD" if data[-1:] == b"H" else "GET")
        try:
            response.begin()
            size = response.length
            body = response.read()
            assert size is None or len(body) == size
        except http.client.HTTPException:
            pass
        finally:
            response.close()


def run_multipart(data: bytes) -> None:
    """Read a body in pieces of all sizes: it must come out the same."""
    boundary = "b" if data[:1] != b"\n" else ""
    results = [_parts(data, boundary, size) for size in (1 << 20, 1, 7)]
    assert results[0] == results[1] == results[2]


def _parts(data: bytes, boundary: str, size: int) -> object:
    found: list[tuple[object, bytes]] = []
    try:
        for part in read_parts(_pieces(data, size), boundary, is_whole=True):
            found.append((dict(part.headers), b"".join(part.body)))
            assert isinstance(part.media_type.name, str)
            assert part.declared_size is None or part.declared_size >= 0
    except DcmwebError as error:
        return found, type(error)
    return found, None


def run_media_types(data: bytes) -> None:
    """Read a media type, write it, and read that."""
    text = data.decode("latin-1")
    found = media_types.parse(text)
    again = media_types.parse(str(found))
    is_plain = re.fullmatch(r"[^;\x00-\x20]*", found.name)
    assert not is_plain or again == found or "\n" in str(found)
    with suppress(UsageError):
        media_types.parse_wanted(text)


def run_content_coding(data: bytes) -> None:
    """Decode a body, no more at a time than asked for."""
    coding, _, body = data.partition(b"\n")
    with suppress(DcmwebError):
        read = content_coding.decoded(_pieces(body, 100), coding.decode("latin-1"))
        for _ in range(100):
            piece = read(1000)
            assert len(piece) <= 1000
            if not piece:
                break


def run_store_answers(data: bytes) -> None:
    """Read the answer to a store request."""
    with suppress(DcmwebError):
        answer = response_module.parse(data)
        for one in answer.stored.values():
            assert isinstance(str(one.resource), str)
        answer.about(["1.2", "1.3"])


def run_json(data: bytes) -> None:
    """Read DICOM JSON at once, and as a stream: both have to agree."""
    whole = _datasets(lambda: json_model.parse_json(data))
    streamed = _datasets(lambda: list(json_model.read_json(io.BytesIO(data))))
    if whole is not None and streamed is not None:
        assert json.dumps(whole) == json.dumps(streamed)
    with suppress(DcmwebError):
        for dataset in as_datasets(whole):
            list(json_model.bulk_references(dataset))
            for tag in dataset:
                json_model.number(dataset, tag)
                json_model.text(dataset, tag)


def _datasets(read: Callable[[], list[Any]]) -> list[Any] | None:
    try:
        return read()
    except DcmwebError:
        return None


def run_xml(data: bytes) -> None:
    """Read the native model, write it, and read that: nothing gets lost."""
    try:
        dataset = parse_native_xml(data)
    except DcmwebError:
        return
    with suppress(DcmwebError):
        parse_native_xml(write_native_xml(dataset))


# Files


def run_element_walk(data: bytes) -> None:
    """Identify an instance, and look for damage."""
    file = io.BytesIO(data)
    with suppress(DcmwebError):
        identity = part10.identify(file)
        assert identity.resource.instance
    part10.find_damage(file)
    part10.find_missing_end(file, doubted=True)
    part10.attributes(file, ["00100010", "00080060"])
    with suppress(DcmwebError):
        part10.read_values(file, [0x00100010])


def run_codestreams(data: bytes) -> None:
    """Read the headers of an image."""
    file = io.BytesIO(data)
    with suppress(BadImage):
        read_jpeg(file, len(data))
    with suppress(BadImage):
        read_jpeg_2000(file, *find_codestream(file, len(data)))
    with suppress(BadImage):
        read_jpeg_2000(file, 0, len(data))
    with tempfile.NamedTemporaryFile() as named, suppress(DcmwebError):
        named.write(data)
        named.flush()
        read_media_file(named.name)


def run_manifests(data: bytes) -> None:
    """Open a manifest with such a line, or such a file; what is refused stays as it is."""
    header = {"type": "manifest", "version": 1, "base_url": "u", "command": "store"}
    start = json.dumps(header).encode() + b"\n" if data[:1] != b"\0" else b""
    with tempfile.NamedTemporaryFile() as named:
        named.write(start + data)
        named.flush()
        try:
            manifest = Manifest(named.name, "u", "store")
        except DcmwebError:
            assert Path(named.name).read_bytes() == start + data
            return
        manifest.is_done("x", 1, 1)
        manifest.close()


# What users write


def run_paths(data: bytes) -> None:
    """Read a path, write it, and read that: it must be the same."""
    text = data.decode(errors="surrogateescape")
    for parse in (resources.parse_target, resources.parse_resource):
        try:
            found: Any = parse(text)
        except UsageError:
            continue
        assert parse(str(found)) == found
    with suppress(UsageError):
        resources.parse_search(text)
    with suppress(UsageError):
        resources.parse_named_target(text, "http://server.example/dicomweb")


def run_masks(data: bytes) -> None:
    """Match with a mask in both ways: they have to agree."""
    mask, _, path = data.decode("latin-1").partition("\n")
    if mask.count("*") < 6:
        pieces = list(wildcards._pieces(mask))
        pattern = re.compile("".join(wildcards._regex(*one) for one in pieces), re.DOTALL)
        expected = pattern.fullmatch(path[:50]) is not None
        assert wildcards._linear(pieces, re.DOTALL)(path[:50]) == expected
    wildcards.matcher(mask, re.DOTALL)(path)


def run_user_text(data: bytes) -> None:
    """Decode a text in whatever encoding it is."""
    with suppress(DcmwebError):
        decode_text(data, "text", errors="surrogateescape")


def _files() -> Sequence[bytes]:
    samples = ("rtplan.dcm", "image_dfl.dcm", "ExplVR_BigEnd.dcm", "no_meta.dcm", "test-SR.dcm")
    whole = [make_instance(), nested(3), deflated(INSTANCE, 100, SERIES)]
    return [*whole, *(_sample(name)[:2500] for name in samples)]


def _codestreams() -> Iterator[bytes]:
    import pydicom
    from pydicom.encaps import generate_frames

    for name in ("SC_rgb_small_odd_jpeg.dcm", "JPEGLSNearLossless_08.dcm", "JPEG2000.dcm"):
        dataset = pydicom.dcmread(io.BytesIO(_sample(name)))
        frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
        yield frame[:1500] + b"\xff\xd9"
    boxes = struct.pack(">L4s", 12, b"jP  ") + b"\r\n\x87\n" + struct.pack(">L4s", 22, b"jp2h")
    yield (
        boxes
        + struct.pack(">L4sBBBL", 15, b"colr", 1, 0, 0, 16)[:14]
        + struct.pack(">L4s", 0, b"jp2c")
        + frame[:900]
    )


TARGETS = {
    "framing": Target(
        run_framing,
        lambda: [
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 206 Partial\r\nA: b\r\n c\r\n\r\nrest",
            b"HTTP/1.0 204 No Content\r\nConnection: keep-alive\r\n\r\n",
        ],
        [
            b"\xb2",
            b"0x3",
            b"Transfer-Encoding: ",
            b"identity",
            b"Content-Length: ",
            b"+1",
            b"\r",
            b"HTTP/1.1 ",
        ],
    ),
    "multipart": Target(
        run_multipart,
        lambda: [
            b"--b\r\nContent-Type: application/dicom\r\nContent-Length: 3\r\n\r\nabc\r\n--b\r\n\r\n\r\n--b--\r\n",
            b"preamble\r\n--b \t\r\nA: b\r\n c: d\r\n\r\n--b\r\n--b-\r\n--b--epilogue",
            b"\n--x\r\nA:b\r\n\r\n--x--",
        ],
        [b"--b", b"\r\n--b", b"--b--", b"\r\n\r\n", b"Content-Length: 9", b"--"],
    ),
    "media-types": Target(
        run_media_types,
        lambda: [
            b'multipart/related; type="application/dicom"; transfer-syntax=*; boundary=b',
            b'image/JPG;a="\\"x;y" ; b=/c ; Q = 0.5 ;;',
            b'multipart/related; type="application/octet-stream; transfer-syntax=1.2"',
        ],
        [b";", b'"', b"\\", b"=", b"/", b'"\\"'],
    ),
    "content-coding": Target(
        run_content_coding,
        lambda: [
            b"gzip\n" + gzip.compress(b"hello" * 100),
            b"deflate\n" + zlib.compress(b"hello" * 100),
            b"gzip, x-gzip\n" + gzip.compress(gzip.compress(b"a")) * 2,
        ],
        [b"gzip,", b"identity", b"\x1f\x8b\x08"],
    ),
    "store-answers": Target(
        run_store_answers,
        lambda: [_ROWS, _XML, b'{"00081190":{"vr":"UR","Value":["http://x/studies/1/series/2"]}}'],
        [*_JSON_WORDS, b"<", b"</Value>", b"00081198", b"00081190", b"\xef\xbb\xbf"],
    ),
    "json": Target(
        run_json,
        lambda: [
            _ROWS,
            _ROWS.decode().encode("utf-16"),
            b'[{"(0020,000d)":{"vr":"UI","value":"1"}}]',
        ],
        _JSON_WORDS,
    ),
    "xml": Target(
        run_xml,
        lambda: [_XML, _XML.decode().encode("utf-16"), b'<?xml version="1.0"?><!DOCTYPE a>' + _XML],
        [
            b"<Value number='999999999'/>",
            b"<!ENTITY",
            b"&a;",
            b"<![CDATA[",
            b"]]>",
            b"vr='SQ'",
            b"<Item>",
        ],
    ),
    "element-walk": Target(
        run_element_walk,
        _files,
        [
            b"\xfe\xff\x00\xe0",
            b"\xfe\xff\xdd\xe0",
            b"SQ\0\0\xff\xff\xff\xff",
            b"DICM",
            b"UN",
            b"1.2.840.10008.1.2.1.99",
            INSTANCE,
        ],
    ),
    "codestreams": Target(
        run_codestreams,
        lambda: list(_codestreams()),
        [
            b"\xff\xd8",
            b"\xff\xc0",
            b"\xff\x4f\xff\x51",
            b"\xff\xda",
            b"jp2c",
            b"\xff\xd9",
            b"Exif\0\0II*\0",
        ],
    ),
    "manifests": Target(
        run_manifests,
        lambda: [
            b'{"type":"stored","item":"x","size":1,"mtime_ns":1}\n{"type":"failed","item":"y"}\n',
            b'\0{"type":"manifest","version":1,"base_url":"u","command":"store"}\n',
        ],
        [*_JSON_WORDS, b"\n", b'"size":', b"[" * 2000],
    ),
    "paths": Target(
        run_paths,
        lambda: [
            b"studies/1.2/series/3/instances/4/frames/1,5-7/rendered",
            b"studies/1%2F2/metadata",
            b"http://server.example/dicomweb/studies/1/bulkdata/7FE00010?a=b",
        ],
        [
            b"studies",
            b"/",
            b"%",
            b"%2F",
            b"..",
            b"://",
            b"\xf0\x9f\xa6\xb4",
            b"frames/1-999999999",
            b"[",
            b"?",
        ],
    ),
    "masks": Target(
        run_masks,
        lambda: [b"*a*b\naab", b"**/*.dcm\nx/.y/z.dcm", b"./**.dcm\n./a/b.dcm", b"[!a-c]?[]]\nxy]"],
        [b"**/", b"**", b"*", b"[", b"]", b"/", b".", b"?", b"\n"],
    ),
    "user-text": Target(
        run_user_text, lambda: [b"a\nb", "é".encode("utf-16")], [b"\xff\xfe", b"\xfe\xff"]
    ),
}
