"""Receive instances: the parts of an answer, each checked against what was requested."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import BinaryIO

from dcmweb.dicom import json_model, part10
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.part10 import Identity
from dcmweb.dicom.resources import Level, Resource
from dcmweb.errors import (
    IncompletePayload,
    LocalError,
    MissingUid,
    ProtocolError,
    Refused,
    Truncated,
)
from dcmweb.folders import WrittenFile
from dcmweb.http.media_types import DICOM, EXTENSIONS, OCTET_STREAM, MediaType
from dcmweb.http.multipart import Part
from dcmweb.http.part_stream import PIECE, Piece
from dcmweb.http.response import Response
from dcmweb.http.server_words import looks_like_html
from dcmweb.local.partial_files import writing_into
from dcmweb.local.safe_names import distinguishing_suffix, folder_path, instance_path
from dcmweb.transactions.accept import (
    REFUSALS,
    ask,
    forms_of_instances,
    forms_of_streams,
    said,
    wrong_kind,
)
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.retrieve.output import Destination, Saver, blocked, moved, outcome_of
from dcmweb.transactions.retrieve.receiving import Intake, Received
from dcmweb.transactions.retrieve.transfer_syntax import note_other_syntax
from dcmweb.transfer.outcomes import Outcome, Status

_EXTENSION = EXTENSIONS[DICOM]
_START = 16 * 1024
_SIGNATURES = (
    (b"PK\3\4", "a ZIP archive"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG", "a PNG image"),
    (b"%PDF-", "a PDF document"),
)


class Requests:
    """Asks for instances: studies and series as streams, instances as a whole."""

    def __init__(
        self, context: RunContext, wanted: MediaType, check_space: Callable[[int], None]
    ) -> None:
        self._context = context
        self._wanted = wanted
        self._check_space = check_space
        self._has_streams = True  # until it refuses them in all forms

    def open(self, resource: Resource) -> Response:
        """Ask for a resource; where the server has no multipart, for an instance as a whole."""
        is_one = resource.level is Level.INSTANCES
        forms = (
            forms_of_instances(self._wanted, self._context.server)
            if is_one
            else forms_of_streams(self._wanted)
        )
        try:
            response = ask(
                self._context,
                str(resource),
                forms,
                unsuitable=_something_else,
                may_be_partial=not is_one,
                tries_all=is_one or self._has_streams,
            )
        except Refused as error:
            if not is_one and error.status in REFUSALS:
                self._has_streams = False
            raise
        try:
            self._check_space(response.size or 0)
        except LocalError:
            response.close()
            raise
        return response


class Beginning:
    """Passes on the pieces of an instance, and keeps the first bytes, which identify it."""

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self._pieces = pieces
        self.head = b""

    def __iter__(self) -> Iterator[Piece]:
        for piece in self._pieces:
            if (missing := part10.HEAD - len(self.head)) > 0:
                self.head += piece[:missing]
            yield piece


class FolderReceiver:
    """Receives instances into a folder."""

    def __init__(self, context: RunContext, destination: Destination, wanted: MediaType) -> None:
        self._context = context
        self._engine = context.engine
        self._destination = destination
        self._folder = destination.folder
        self._layout = destination.layout
        self._saver = Saver(context, destination)
        self._wanted_syntax = wanted.parameters.get("transfer-syntax", "")
        self.requests = Requests(context, wanted, self._folder.check_space)

    @property
    def tags(self) -> tuple[str, ...]:
        """The attributes that decide where an instance goes."""
        return self._layout.tags

    @property
    def skips(self) -> bool:
        """Whether some instances may be there already."""
        return self._destination.skip_policy is not None

    def may_have(self, resource: Resource) -> bool:
        """Return True if some of a study or series may have been retrieved before."""
        if not self.skips or not self._layout.is_default:
            return self.skips
        return self._folder.may_have(folder_path(resource))

    def there(self, instance: Resource, row: Dataset) -> Outcome | None:
        """Return the outcome of an instance that need not be retrieved; None if it must be."""
        if not self.skips:
            return None
        stem = self._layout.place(instance, row)
        if self._layout.tells_all_apart:
            return self._destination.there(str(instance), instance, [stem + _EXTENSION])
        places = [_other_place(instance, stem)]
        if self._is_at(stem + _EXTENSION, instance):
            places.insert(0, stem + _EXTENSION)
        return self._destination.there(str(instance), instance, places)

    def _is_at(self, place: str, instance: Resource) -> bool:
        """Return True if this instance is there, and not another one that would go there too."""
        if self._folder.stamp(place) is None:
            return False
        try:
            return part10.identify_file(self._folder.file(place)).identity.resource == instance
        except LocalError:
            return False

    def intake(self) -> FolderReceiver:
        """Return what takes the instances of one job."""
        return self

    def receive(self, part: Part, asked: Resource, *, ends: bool = True) -> Received:
        """Write an instance; as `save`."""
        outcome, found = self.save(part, asked, ends=ends)
        return Received(found, outcome)

    def keep(self, received: Received) -> Iterator[Outcome]:
        """Yield the outcome of an instance, which has its place already."""
        if received.outcome is not None:
            yield received.outcome

    def all_of(self, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
        """Return the outcomes of a job as they are."""
        return outcomes

    def one(self, resource: Resource) -> Outcome:
        """Retrieve one instance. Raises its error."""
        received = receive_one(self.requests, self, resource)
        assert received.outcome is not None  # noqa: S101 - see `receive`
        return received.outcome

    def save(self, part: Part, asked: Resource, *, ends: bool = True) -> tuple[Outcome, Resource]:
        """Write an instance beside its place, check it, and give it its name.

        `ends` tells whether the end of the part is known for sure. If something is in the way of
        the file, that is the outcome of an instance of many.
        """
        if part.whole is not None:  # as the most of many small ones
            content = bytes(part.whole)
            self._engine.stop.check()
            with self._folder.whole_file(content) as whole:
                saved = self._named(whole, part, asked, ends, content[: part10.HEAD])
            self._engine.meter.add(len(content))
            return saved
        pieces = Beginning(part.body)
        with self._saver.writing(pieces) as file:
            return self._named(file, part, asked, ends, pieces.head)

    def _named(
        self, file: WrittenFile, part: Part, asked: Resource, ends: bool, head: bytes
    ) -> tuple[Outcome, Resource]:
        """Check an instance, and give its file its name."""
        with file.reader() as reader:
            found, identity = check(reader, file.size, part, asked, ends, head)
        note = note_other_syntax(self._context, self._wanted_syntax, identity.transfer_syntax)
        stamp = file.stamp
        try:
            if self._layout.tells_all_apart:
                place = moved(file, self._folder, self._stem(file, found) + _EXTENSION)
            else:
                place = self._move_to_a_free_place(file, found)
        except LocalError as error:
            if asked.instance:
                raise
            return blocked(str(found), found, error), found
        return outcome_of(Status.RETRIEVED, "", found, place, stamp, note), found

    def _stem(self, file: WrittenFile, found: Resource) -> str:
        if self._layout.is_default:
            return instance_path(found)
        with file.reader() as reader:
            return self._layout.place(found, part10.attributes(reader, self._layout.tags))

    def _move_to_a_free_place(self, file: WrittenFile, found: Resource) -> str:
        """Put an instance where no other one is, not even one that another run puts there now."""
        stem = self._stem(file, found)
        place = stem + _EXTENSION
        with writing_into(self._folder.whole(place)):
            try:
                return file.move_to(place, replaces=False)
            except FileExistsError:
                if not self._is_taken(place, file, found):
                    return file.move_to(place)
        return moved(file, self._folder, _other_place(found, stem))

    def _is_taken(self, place: str, file: WrittenFile, found: Resource) -> bool:
        """Return True if something other than this instance is there."""
        try:
            return part10.identify_file(self._folder.file(place)).identity.resource != found
        except LocalError:
            return not file.is_same_as(place)


def _other_place(instance: Resource, stem: str) -> str:
    """Return where an instance goes if another one is in its place."""
    return stem + distinguishing_suffix(str(instance)) + _EXTENSION


def receive_one(requests: Requests, intake: Intake, resource: Resource) -> Received:
    """Ask for one instance, and receive it. Raises its error."""
    with requests.open(resource) as response:
        received = [
            intake.receive(part, resource, ends=ends) for part, ends in parts_and_ends(response)
        ]
        response.finish()
    return received[0]


def parts(response: Response) -> Iterator[Part]:
    """Yield the instances in an answer."""
    return (part for part, _ in parts_and_ends(response))


def parts_and_ends(response: Response) -> Iterator[tuple[Part, bool]]:
    """Yield the instances in an answer, and whether the end of each is known for sure."""
    media_type = response.media_type
    if media_type.is_multipart:
        for part in response.parts():
            yield part, True
        return
    headers = {name.lower(): value for name, value in response.headers.items()}
    if response.size is None:
        headers.pop("content-length", None)  # that of the compressed body
    yield Part(headers, iter(partial(response.read, PIECE), b"")), response.has_end


def _something_else(response: Response) -> ProtocolError | None:
    kind = response.media_type
    if kind.is_multipart or kind.name in (DICOM, OCTET_STREAM, ""):
        return None
    return wrong_kind(response, "DICOM instances")


def check(
    reader: BinaryIO, size: int, part: Part, asked: Resource, ends: bool, head: bytes = b""
) -> tuple[Resource, Identity]:
    """Check that a file is the instance that was asked for, and whole.

    `head` is what it begins with, if that is still in memory.
    Returns what it was asked for as, and what it says that it is.

    The delimiter decides where a part ends. Where another length was declared, or nothing tells
    the end, the structure of the file must show that it is whole.
    """
    identity = _identify(reader, asked, ends, head)
    found = identity.resource
    if part.declared_size not in (None, size) or not ends:
        missing = part10.find_missing_end(reader, doubted=not ends)
        if missing:
            raise IncompletePayload(f"what the server sent is cut short: {missing}")
    if asked.instance and found.instance != asked.instance:
        raise ProtocolError(f"the server sent instance {found.instance} instead")
    if found.study and found.study != asked.study:
        raise ProtocolError(f"the server sent an instance of study {found.study}")
    if asked.series and found.series and found.series != asked.series:
        raise ProtocolError(f"the server sent an instance of series {found.series}")
    if found.study == asked.study and asked.series in ("", found.series):
        return found, identity
    return Resource(asked.study, asked.series or found.series, found.instance), identity


def _identify(reader: BinaryIO, asked: Resource, ends: bool, head: bytes) -> Identity:
    try:
        return part10.identify(reader, head=head)
    except MissingUid:
        if not ends:
            raise Truncated("what the server sent is cut short") from None
        if not asked.instance:
            raise ProtocolError("what the server sent has no SOP Instance UID") from None
        return Identity("", asked)  # cannot be read here, but the path names it
    except LocalError as error:
        kind = _recognised(reader)
        what = f"what the server sent is {kind}, not an instance" if kind else ""
        broken = ProtocolError if ends or kind else Truncated
        raise broken(what or f"what the server sent cannot be used: {error.message}") from None


def _recognised(file: BinaryIO) -> str:
    """Name what a file is rather than DICOM, "" if that is not known."""
    file.seek(0)
    start = file.read(_START)
    text = json_model.first_character(start)
    if looks_like_html(start):
        return "a web page"
    if text in ("{", "["):
        return f"JSON{said(start)}"
    if text == "<":
        return "XML"
    return next((name for magic, name in _SIGNATURES if start.startswith(magic)), "")
