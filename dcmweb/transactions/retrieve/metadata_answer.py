"""An answer with metadata: requested, kept in a file, and read as data sets."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

from dcmweb.dicom import json_model
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.json_variants import as_dataset
from dcmweb.dicom.resources import Resource
from dcmweb.errors import NothingMatched, ProtocolError, Truncated
from dcmweb.http.media_types import MediaType
from dcmweb.http.multipart import read_parts
from dcmweb.http.part_stream import PIECE
from dcmweb.http.response import Response
from dcmweb.http.server_words import server_words
from dcmweb.temporary import using_temporary_files
from dcmweb.transactions.accept import (
    REFUSALS,
    XML_FORMS,
    XML_TYPES,
    ask_for_json,
    check_accepted,
    said,
    wrong_kind,
)
from dcmweb.transactions.context import RunContext

HELD = 8 * 1024 * 1024  # bytes of an answer; what is more goes to a temporary file
LARGEST = 4 * 1024**3  # bytes of an answer
_HEAD = 16 * 1024
_ENOUGH = 64  # bytes that show what it is
_OTHER_ENCODING = re.compile(rb"^(?:\xff\xfe|\xfe\xff|.?\0)|^<\?xml[^>]*encoding=.(?!utf-8)", re.I)
_UNREADABLE = "the answer broke off, or does not say where it ends"


@dataclass(frozen=True)
class Described:
    """The metadata of one instance, and the document of the server if it came as XML."""

    dataset: Dataset
    document: bytes = b""

    @property
    def xml(self) -> bytes:
        """A Native DICOM Model document, in UTF-8."""
        from dcmweb.dicom.native_xml import write_native_xml

        return self.document or write_native_xml(self.dataset)


@dataclass
class MetadataAnswer:
    """An answer with metadata of one or many instances, in a file."""

    resource: Resource
    file: IO[bytes]
    kind: MediaType = field(default_factory=lambda: MediaType(""))
    head: bytes = b""
    missing: str = ""  # what the server says of something missing

    def items(self) -> Iterator[Described]:
        """Yield what it holds. Raises ProtocolError for what is not metadata."""
        self.file.seek(0)
        if self.kind.is_multipart:
            boundary = self.kind.parameters.get("boundary", "")
            for part in read_parts(self.file.read, boundary, is_whole=True):
                yield _read_document(part.content())
        elif json_model.first_character(self.head) == "<":
            yield _read_document(self.file.read())
        else:
            yield from self._of_json()

    def _of_json(self) -> Iterator[Described]:
        is_array = json_model.first_character(self.head) == "["
        for number, parsed in enumerate(json_model.read_json(self.file), start=1):
            try:
                dataset = as_dataset(parsed, number if is_array else 0)
            except ProtocolError as error:
                raise ProtocolError(f"{error.message}{said(self.head)}") from None
            yield Described(dataset)

    def check_end(self) -> None:
        """Raise Truncated unless its own structure shows that it is whole."""
        self.file.seek(0)
        is_json = json_model.first_character(self.head) in ("[", "{") and not self.kind.is_multipart
        try:
            for _ in json_model.read_json(self.file) if is_json else self.items():
                pass
        except (ProtocolError, NothingMatched) as error:
            raise Truncated(f"{_UNREADABLE}: {error.message}") from None


@contextmanager
def metadata_answer(
    context: RunContext, resource: Resource, *, wants_xml: bool = False
) -> Iterator[MetadataAnswer]:
    """Get an answer into a temporary file, so that it can be requested again if it breaks off."""
    with tempfile.SpooledTemporaryFile(HELD) as file:
        answer = MetadataAnswer(resource, file)
        context.engine.attempt(lambda: _fetch(context, answer, wants_xml=wants_xml))
        yield answer


def _fetch(context: RunContext, answer: MetadataAnswer, *, wants_xml: bool) -> None:
    file = answer.file
    file.seek(0)
    file.truncate()
    with _open(context, f"{answer.resource}/metadata", wants_xml=wants_xml) as response:
        response.check_content(may_be_partial=True)
        answer.missing = _missing_in(response)
        kind = answer.kind = response.media_type
        head, size = b"", 0
        while piece := response.read(PIECE):
            head += piece[: _HEAD - len(head)]
            size += len(piece)
            if len(head) >= _ENOUGH and not _may_be_metadata(kind, head):
                raise wrong_kind(response, "metadata", head)
            if size > LARGEST:
                raise ProtocolError("the metadata is too large", "ask for that of each series")
            with using_temporary_files():
                file.write(piece)
        check_accepted(response, is_empty=not head)
        answer.head = head
        if not _may_be_metadata(kind, head):
            raise wrong_kind(response, "metadata", head)
        if not response.has_end:
            answer.check_end()


def _may_be_metadata(kind: MediaType, head: bytes) -> bool:
    """Return True if an answer is of metadata, as far as its beginning shows."""
    if kind.is_multipart:
        return kind.parameters.get("type", XML_TYPES[0]) in XML_TYPES
    start = json_model.first_character(head)
    return start in ("[", "{") or not head.strip() or (start == "<" and kind.name in XML_TYPES)


def _open(context: RunContext, path: str, *, wants_xml: bool) -> Response:
    """Ask for metadata: for JSON as well, if the server has no XML."""
    if not wants_xml:
        return ask_for_json(context, path)
    known = context.accepted.get(XML_FORMS)
    for accept in [known] if known else XML_FORMS:
        response = context.session.get(path, accept=accept)
        if response.status not in REFUSALS:
            context.accepted[XML_FORMS] = accept
            return response
        response.close()
    context.notify_once("the server has no metadata as XML, so it is made from JSON")
    return ask_for_json(context, path)


def _missing_in(response: Response) -> str:
    if not response.is_partial:
        return ""
    words = server_words(response.headers, b"", response.hide)
    missing = "the server says that it sent only a part of it (206)"
    return f"{missing}: {words}" if words else missing


def _read_document(document: bytes) -> Described:
    from dcmweb.dicom.native_xml import parse_native_xml

    dataset = parse_native_xml(document)
    return Described(dataset, b"" if _OTHER_ENCODING.match(document) else document)
