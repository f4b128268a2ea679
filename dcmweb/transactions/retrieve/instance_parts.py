"""Receive instances: the parts of an answer, each checked against what was requested."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from dcmweb.dicom import part10
from dcmweb.dicom.part10 import Identity
from dcmweb.dicom.resources import Level, Resource
from dcmweb.errors import IncompletePayload, LocalError, MissingUid, ProtocolError, Truncated
from dcmweb.http.media_types import DICOM, EXTENSIONS, MediaType, multipart
from dcmweb.http.multipart import PIECE, Part
from dcmweb.http.response import Response, not_dicomweb
from dcmweb.local.partial_files import PartialFile, check_space, distinguishing_suffix
from dcmweb.local.windows import long_path
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.retrieve.accept import ask
from dcmweb.transactions.retrieve.output import Destination, Saver, outcome_of
from dcmweb.transfer.outcomes import Outcome, Status

_EXTENSION = EXTENSIONS[DICOM]


class Receiver:
    """Requests instances and writes them into a folder."""

    def __init__(self, context: RunContext, destination: Destination, wanted: MediaType) -> None:
        self._context = context
        self._folder = destination.folder
        self._layout = destination.layout
        self._saver = Saver(context, destination)
        self._wanted = wanted
        self._single_part = False  # the server has instances in single parts only

    def one(self, resource: Resource) -> Outcome:
        """Retrieve one instance. Raises its error."""
        with self.open(resource) as response:
            outcomes = [
                self.save(part, resource, ends=ends) for part, ends in parts_and_ends(response)
            ]
            response.finish()
        return outcomes[0][0]

    def open(self, resource: Resource) -> Response:
        """Ask for a resource; where the server has no multipart, in a single part."""
        forms = [multipart(self._wanted), str(self._wanted)]
        if resource.level is not Level.INSTANCES:
            forms = forms[:1]
        elif self._single_part:
            forms.reverse()
        is_one = resource.level is Level.INSTANCES
        response = ask(self._context, str(resource), forms, may_be_partial=not is_one)
        accepted = response.request.headers.get("Accept")
        self._single_part = self._single_part or accepted == str(self._wanted)
        try:
            check_space(self._folder, response.size or 0)
        except LocalError:
            response.close()
            raise
        return response

    def save(self, part: Part, asked: Resource, *, ends: bool = True) -> tuple[Outcome, Resource]:
        """Write an instance beside its place, check it, and give it its name.

        `ends` tells whether the end of the part is known for sure.
        """
        with self._saver.writing(part.body) as file:
            found = check(file, part, asked, ends)
            status = file.status
            if self._layout.tells_all_apart:
                place = file.move_to(self._stem(file, found) + _EXTENSION)
            else:
                place = self._move_to_a_free_place(file, found)
        return outcome_of(Status.RETRIEVED, str(found), found, place, status), found

    def _stem(self, file: PartialFile, found: Resource) -> str:
        with file.reader() as reader:
            return self._layout.place(found, part10.attributes(reader, self._layout.tags))

    def _move_to_a_free_place(self, file: PartialFile, found: Resource) -> str:
        """Put an instance where no other one is, not even one that another run puts there now."""
        stem = self._stem(file, found)
        place = stem + _EXTENSION
        try:
            return file.move_to(place, replaces=False)
        except FileExistsError:
            if not self._is_taken(place, file, found):
                return file.move_to(place)
        return file.move_to(stem + distinguishing_suffix(str(found)) + _EXTENSION)

    def _is_taken(self, place: str, file: PartialFile, found: Resource) -> bool:
        """Return True if something other than this instance is there."""
        try:
            path = long_path(os.path.join(self._folder, place))
            return part10.identify_file(path).identity.resource != found
        except LocalError:
            return not file.is_same_as(place)


def parts(response: Response) -> Iterator[Part]:
    """Yield the instances in an answer. Raises ProtocolError if it cannot hold instances."""
    return (part for part, _ in parts_and_ends(response))


def parts_and_ends(response: Response) -> Iterator[tuple[Part, bool]]:
    """Yield the instances in an answer, and whether the end of each is known for sure.

    Raises ProtocolError if it cannot hold instances.
    """
    media_type = response.media_type
    if media_type.is_multipart:
        for part in response.parts():
            yield part, True
        return
    if media_type.name not in (DICOM, "application/octet-stream", ""):
        raise not_dicomweb(response, response.read(1024))
    headers = {name.lower(): value for name, value in response.headers.items()}
    if response.size is None:
        headers.pop("content-length", None)  # that of the compressed body
    yield Part(headers, iter(partial(response.read, PIECE), b"")), response.has_end


def check(file: PartialFile, part: Part, asked: Resource, ends: bool) -> Resource:
    """Check that a file is the instance that was asked for, and whole; return what it is.

    The delimiter decides where a part ends. Where another length was declared, or nothing tells
    the end, the structure of the file must show that it is whole.
    """
    with file.reader() as reader:
        identity = _identify(reader, asked, ends)
        found = identity.resource
        if part.declared_size not in (None, file.size) or not ends:
            missing = part10.find_missing_end(reader, doubted=not ends)
            if missing:
                raise IncompletePayload(f"what the server sent is cut short: {missing}")
        if asked.instance and found.instance != asked.instance:
            raise ProtocolError(f"the server sent instance {found.instance} instead")
        if found.study and found.study != asked.study:
            raise ProtocolError(f"the server sent an instance of study {found.study}")
        if asked.series and found.series and found.series != asked.series:
            raise ProtocolError(f"the server sent an instance of series {found.series}")
    return Resource(asked.study, asked.series or found.series, found.instance)


def _identify(reader: BinaryIO, asked: Resource, ends: bool) -> Identity:
    try:
        return part10.identify(reader)
    except MissingUid:
        if not ends:
            raise Truncated("what the server sent is cut short") from None
        if not asked.instance:
            raise ProtocolError("what the server sent has no SOP Instance UID") from None
        return Identity("", asked)  # cannot be read here, but the path names it
    except LocalError as error:
        broken = ProtocolError if ends else Truncated
        raise broken(f"what the server sent cannot be used: {error.message}") from None
