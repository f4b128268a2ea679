"""What comes of a retrieval: the parts of an answer, and whether each is what was asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO

from dcmweb.dicom import part10
from dcmweb.dicom.files import PartialFile, instance_path, partial_file
from dcmweb.dicom.part10 import Identity
from dcmweb.dicom.paths import Level, Resource
from dcmweb.errors import Damaged, DcmwebError, LocalError, Nameless, ProtocolError
from dcmweb.http.media_types import DICOM, MediaType, multipart
from dcmweb.http.multipart import PIECE, Part, read_parts
from dcmweb.http.session import Response, not_dicomweb
from dcmweb.transactions.client import Client
from dcmweb.transfer.outcomes import Outcome, Status


class Receiver:
    """Asks for instances, and writes those that come into a folder."""

    def __init__(self, client: Client, output: str, wanted: MediaType) -> None:
        self._client = client
        self._output = output
        self._wanted = wanted
        self._single_part = False  # the server has instances in single parts only

    def one(self, resource: Resource) -> Outcome:
        """Retrieve one instance. Raises what went wrong."""
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
        for last, accept in enumerate(forms, start=1 - len(forms)):
            response = self._client.session.get(str(resource), accept=accept, bulk=True)
            if response.status in (400, 406) and last:
                response.close()
                continue
            try:
                response.check(200, 206)
            except DcmwebError:
                response.close()
                raise
            self._single_part = self._single_part or accept == str(self._wanted)
            break
        return response

    def save(self, part: Part, asked: Resource, *, ends: bool = True) -> tuple[Outcome, Resource]:
        """Write an instance beside its place, check it, and give it its name.

        `ends` tells whether the end of the part is known for sure.
        """
        with partial_file(self._output) as file, self._metered(file):
            for piece in part.body:
                self._client.engine.stop.check()
                file.write(piece)
                self._client.engine.meter.add(len(piece))
            found = check(file, part, asked, ends)
            status = file.status
            place = file.move_to(instance_path(found, ".dcm"))
        return outcome_of(Status.RETRIEVED, found, place, status), found

    @contextmanager
    def _metered(self, file: PartialFile) -> Iterator[None]:
        """Count what was written as not moved, if it comes to nothing."""
        try:
            yield
        except BaseException:
            self._client.engine.meter.add(-file.size)
            raise


def outcome_of(status: Status, found: Resource, place: str, file: os.stat_result) -> Outcome:
    """Make the outcome of an instance that has a file."""
    return Outcome(
        status,
        str(found),
        file.st_size,
        place=place,
        mtime_ns=file.st_mtime_ns,
        study=found.study,
        series=found.series,
        instance=found.instance,
    )


def parts(response: Response) -> Iterator[Part]:
    """Yield the instances in an answer. Raises ProtocolError if it is no answer with instances."""
    return (part for part, _ in parts_and_ends(response))


def parts_and_ends(response: Response) -> Iterator[tuple[Part, bool]]:
    """Yield the instances in an answer, and whether the end of each is known for sure.

    Raises ProtocolError if it is no answer with instances.
    """
    media_type = response.media_type
    if media_type.is_multipart:
        for part in read_parts(response.read, media_type.parameters.get("boundary", "")):
            yield part, True
        return
    if media_type.name not in (DICOM, "application/octet-stream", ""):
        raise not_dicomweb(response, response.read(1024))
    headers = {name.lower(): value for name, value in response.headers.items()}
    if response.headers.get("Content-Encoding"):
        headers.pop("content-length", None)  # that of the compressed body
    yield Part(headers, iter(partial(response.read, PIECE), b"")), response.tells_its_end


def check(file: PartialFile, part: Part, asked: Resource, ends: bool) -> Resource:
    """Check that a file is the instance that was asked for, and whole; return what it is.

    The delimiter decides where a part ends. Where another length was declared, or nothing tells
    the end, the structure of the file must show that it is whole.
    """
    with file.reader() as reader:
        identity = _identify(reader, asked)
        found = identity.resource
        if asked.instance and found.instance != asked.instance:
            raise ProtocolError(f"the server sent instance {found.instance} instead")
        if found.study and found.study != asked.study:
            raise ProtocolError(f"the server sent an instance of study {found.study}")
        if asked.series and found.series and found.series != asked.series:
            raise ProtocolError(f"the server sent an instance of series {found.series}")
        if part.declared_size not in (None, file.size) or not ends:
            missing = part10.find_missing_end(reader, doubted=not ends)
            if missing:
                raise Damaged(f"what the server sent is cut short: {missing}")
    return Resource(asked.study, asked.series or found.series, found.instance)


def _identify(reader: BinaryIO, asked: Resource) -> Identity:
    try:
        return part10.identify(reader)
    except Nameless:
        if not asked.instance:
            raise ProtocolError("what the server sent has no SOP Instance UID") from None
        return Identity("", asked)  # DICOM that cannot be read here, but known by its path
    except LocalError as error:
        raise ProtocolError(f"what the server sent cannot be used: {error.message}") from None
