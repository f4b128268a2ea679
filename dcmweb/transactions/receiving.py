"""What comes of a retrieval: the parts of an answer, and whether each is what was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from dcmweb.dicom import part10
from dcmweb.dicom.files import PartialFile
from dcmweb.dicom.part10 import Identity
from dcmweb.dicom.paths import Resource
from dcmweb.errors import Damaged, LocalError, Nameless, ProtocolError
from dcmweb.http.media_types import DICOM
from dcmweb.http.multipart import PIECE, Part, read_parts
from dcmweb.http.session import Response, not_dicomweb


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
