"""STOW-RS: store the body of a request as files (PS3.18 section 10.5)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO

from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.wrappers import Request

from dcmweb.archive.from_metadata import BulkFile, write_instance
from dcmweb.archive.storage.folder import Kept, Received, Storage
from dcmweb.dicom.json_model import DEEPEST, Dataset, bulk_references, is_deeper, parse_json, text
from dcmweb.dicom.native_xml import parse_native_xml
from dcmweb.dicom.part10 import Identity
from dcmweb.dicom.resources import Resource
from dcmweb.dicom.tags import (
    SERIES_INSTANCE_UID,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
)
from dcmweb.errors import BrokenDicom, NotDicom, ProtocolError
from dcmweb.http import media_types
from dcmweb.http.media_types import MULTIPART_RELATED, MediaType, parse
from dcmweb.http.multipart import Part, read_parts
from dcmweb.http.part_stream import PIECE, Piece
from dcmweb.local.partial_files import PartialFile

CANNOT_UNDERSTAND = 0xC000
OTHER_STUDY = 0xA901
DUPLICATE = 0x0111

_TOGETHER = 500  # instances that are stored in one transaction
_LONGEST_METADATA = 64 * 1024 * 1024
_MOST_VALUES = 5_000_000  # of the metadata of a request
_MOST_INSTANCES = 100_000  # of a request
_METADATA_TYPES = (media_types.DICOM_JSON, media_types.DICOM_XML, "application/json")


@dataclass(frozen=True)
class Result:
    """The result of one instance: kept, or failed with a reason code of the standard."""

    sop_class: str
    resource: Resource
    kept: Kept | None = None
    reason: int = 0
    detail: str = ""

    @property
    def is_stored(self) -> bool:
        """Whether the archive now holds exactly these bytes."""
        return self.kept in (Kept.NEW, Kept.SAME)


class _Stream:
    """The body of a request, read through cheroot."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes; raises ProtocolError where the chunks are malformed."""
        try:
            return self._stream.read(size)
        except ValueError as error:
            raise ProtocolError(f"the body is malformed: {error}") from None

    @property
    def is_cut(self) -> bool:
        """Whether a body of known length ended before it; cheroot counts what is to come."""
        return bool(getattr(self._stream, "remaining", 0))


@dataclass(frozen=True)
class StorePolicy:
    """What a store request may do."""

    replaces: bool = False  # whether instances with other bytes are replaced
    media_types: Sequence[str] = (media_types.DICOM, *_METADATA_TYPES)  # of its parts
    check_metadata: Callable[[Dataset], None] | None = None  # raises BadRequest


class Store:
    """One store request; `study` is set where the request names one."""

    def __init__(
        self, storage: Storage, study: str = "", policy: StorePolicy | None = None
    ) -> None:
        self._storage = storage
        self._study = study
        self._policy = policy or StorePolicy()
        self._results: list[Result] = []
        self._waiting: list[Received] = []
        self._files = ExitStack()  # discards files without a final name

    def run(self, request: Request) -> list[Result]:
        """Store the instances of a request and return the result of each.

        Raises BadRequest for a body that breaks off or is malformed, UnsupportedMediaType.
        """
        content_type = parse(request.headers.get("Content-Type", ""))
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise UnsupportedMediaType("an encoded body cannot be stored")
        stream = _Stream(request.stream)
        with self._files:
            try:
                if content_type.name == media_types.DICOM:
                    self._take_file(_pieces(stream))
                elif content_type.name == MULTIPART_RELATED:
                    self._take_parts(stream, content_type)
                else:
                    raise UnsupportedMediaType(_wanted(content_type))
            except ProtocolError as error:
                raise BadRequest(error.message.replace("the answer", "the body")) from error
            if stream.is_cut:
                raise BadRequest("the body is shorter than its Content-Length")
            self._keep()
        if not self._results:
            raise BadRequest("the body holds no instance")
        return self._results

    def _take_parts(self, stream: _Stream, content_type: MediaType) -> None:
        inner = parse(content_type.parameters.get("type", media_types.DICOM)).name
        boundary = content_type.parameters.get("boundary", "")
        parts = _limited(read_parts(stream.read, boundary))
        if inner not in self._policy.media_types:
            raise UnsupportedMediaType(_wanted(content_type))
        if inner == media_types.DICOM:
            for part in parts:
                self._take_part(part)
        else:
            self._take_metadata(parts)

    def _take_part(self, part: Part) -> None:
        if part.media_type.name not in ("", media_types.DICOM, media_types.OCTET_STREAM):
            self._fail(
                CANNOT_UNDERSTAND, f"a part of type {part.media_type.name} is not a DICOM file"
            )
        else:
            self._take_file(part.body)

    def _take_file(self, pieces: Iterator[Piece]) -> None:
        partial = self._files.enter_context(self._new_file())
        for piece in pieces:
            partial.write(piece)
        self._look_at(partial)

    def _look_at(self, partial: PartialFile) -> None:
        try:
            received = self._storage.look_at(partial)
        except (NotDicom, BrokenDicom) as error:
            partial.discard()
            self._fail(CANNOT_UNDERSTAND, error.message)
            return
        identity = received.header.identity
        if self._study and identity.resource.study != self._study:
            partial.discard()
            detail = "its Study Instance UID is not that of the request"
            self._fail(OTHER_STUDY, detail, identity)
            return
        self._waiting.append(received)
        if len(self._waiting) >= _TOGETHER:
            self._keep()

    def _fail(self, reason: int, detail: str, identity: Identity | None = None) -> None:
        resource = identity.resource if identity else Resource()
        sop_class = identity.sop_class if identity else ""
        self._results.append(Result(sop_class, resource, None, reason, detail))

    def _keep(self) -> None:
        """Give the received files their final names."""
        results = self._storage.keep(self._waiting, replace=self._policy.replaces)
        for received, kept in zip(self._waiting, results, strict=True):
            identity = received.header.identity
            if kept is Kept.DIFFERENT:
                detail = "an instance with these UIDs and other content already exists"
                self._fail(DUPLICATE, detail, identity)
            else:
                self._results.append(Result(identity.sop_class, identity.resource, kept))
        self._waiting.clear()

    @contextmanager
    def _new_file(self) -> Iterator[PartialFile]:
        partial = self._storage.new_file()
        try:
            yield partial
        finally:
            partial.discard()

    def _take_metadata(self, parts: Iterator[Part]) -> None:
        """Make instances of metadata and the bulk data that follows (PS3.18 section 8.6)."""
        metadata: list[Dataset] = []
        bulk: dict[str, BulkFile] = {}
        left = _LONGEST_METADATA
        for part in parts:
            if part.media_type.name in _METADATA_TYPES and "content-location" not in part.headers:
                body = _read_metadata(part, left)
                left -= len(body)
                metadata += _parse_metadata(body, part.media_type)
                if len(metadata) > _MOST_INSTANCES:
                    raise _too_many()
            else:
                location, file = self._spool(part)
                bulk[location] = file
        used = [_bulk_of(dataset, bulk) for dataset in metadata]
        if unused := bulk.keys() - {name for names in used for name in names}:
            raise BadRequest(f"no BulkDataURI names the part {sorted(unused)[0]}")
        for dataset, its_bulk in zip(metadata, used, strict=True):
            self._compose(dataset, its_bulk)

    def _spool(self, part: Part) -> tuple[str, BulkFile]:
        location = part.headers.get("content-location", "")
        if not location:
            raise BadRequest(f"a part of type {part.media_type.name} has no Content-Location")
        partial = self._files.enter_context(self._new_file())
        for piece in part.body:
            partial.write(piece)
        partial.file.close()
        return location, BulkFile(partial.path, partial.size, part.media_type)

    def _compose(self, metadata: Dataset, bulk: dict[str, BulkFile]) -> None:
        partial = self._files.enter_context(self._new_file())
        try:
            if self._policy.check_metadata:
                self._policy.check_metadata(metadata)
            write_instance(metadata, bulk, partial.write)
        except BadRequest as error:
            partial.discard()
            uids = (
                text(metadata, tag)
                for tag in (STUDY_INSTANCE_UID, SERIES_INSTANCE_UID, SOP_INSTANCE_UID)
            )
            study, series, instance = uids
            identity = Identity(text(metadata, SOP_CLASS_UID), Resource(study, series, instance))
            self._fail(CANNOT_UNDERSTAND, error.description or "", identity)
            return
        self._look_at(partial)


def _wanted(content_type: MediaType) -> str:
    return (
        f"{content_type.name or 'a body without a type'} cannot be stored: send application/dicom, "
        'or multipart/related with type="application/dicom" or type="application/dicom+json"'
    )


def _pieces(stream: _Stream) -> Iterator[bytes]:
    while piece := stream.read(PIECE):
        yield piece


def _limited(parts: Iterator[Part]) -> Iterator[Part]:
    for number, part in enumerate(parts, start=1):
        if number > _MOST_INSTANCES:
            raise _too_many()
        yield part


def _too_many() -> RequestEntityTooLarge:
    return RequestEntityTooLarge(f"a request can have {_MOST_INSTANCES:,} instances at most")


def _read_metadata(part: Part, most: int) -> bytes:
    body = bytearray()
    for piece in part.body:
        body += piece
        if len(body) > most:
            raise RequestEntityTooLarge("the metadata is too long")
    return bytes(body)


def _parse_metadata(body: bytes, media_type: MediaType) -> list[Dataset]:
    if media_type.name == media_types.DICOM_XML:
        return [parse_native_xml(body)]
    datasets = parse_json(body, _MOST_VALUES)
    if is_deeper(datasets, DEEPEST):
        raise BadRequest("the metadata is nested too deep")
    try:
        json.dumps(datasets, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BadRequest("the metadata contains an unpaired surrogate") from None
    return datasets


def _bulk_of(dataset: Dataset, bulk: dict[str, BulkFile]) -> dict[str, BulkFile]:
    return {name: bulk[name] for name in _bulk_names(dataset) if name in bulk}


def _bulk_names(dataset: Dataset) -> Iterator[str]:
    names = (element["BulkDataURI"] for _, element in bulk_references(dataset))
    return (name for name in names if isinstance(name, str))
