"""Frames: as they are stored (PS3.18 section 10.4.1.1.6) and rendered (section 10.4.1.1.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from dcmweb.dicom import model
from dcmweb.dicom.files import instance_path, partial_file
from dcmweb.dicom.model import Dataset
from dcmweb.dicom.paths import MOST_FRAMES, Resource
from dcmweb.errors import (
    Damaged,
    DcmwebError,
    Interrupted,
    NothingMatched,
    ProtocolError,
    Refused,
    Truncated,
)
from dcmweb.http.media_types import DICOM_JSON, OCTET_STREAM, MediaType, multipart
from dcmweb.http.multipart import PIECE, Piece, read_parts
from dcmweb.http.session import Response, not_dicomweb
from dcmweb.transactions.client import Client
from dcmweb.transactions.listing import Lister
from dcmweb.transfer.outcomes import Outcome, Status

SOP_CLASS, NUMBER_OF_FRAMES, ROWS = "00080016", "00280008", "00280010"
# SOP Classes without a Number of Frames (PS3.3 table A.1-1): CR, CT, MR and PET images.
_SINGLE_FRAME = frozenset(f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("1", "2", "4", "128"))
RENDERED = frozenset(["image/jpeg", "image/png", "image/gif"])

# How images end, for answers that do not say where they do.
_ENDINGS = {"image/png": b"IEND\xaeB`\x82", "image/jpeg": b"\xff\xd9", "image/gif": b";"}

_Job = Callable[[], Iterable[Outcome]]


def jobs(
    client: Client, resource: Resource, output: str, wanted: MediaType | None
) -> Iterator[_Job]:
    """Make a job for each instance at and below a resource, or for the frames named.

    Frames come as they are stored unless `wanted` says otherwise; PNG, JPEG and GIF without a
    transfer syntax are rendered by the server.
    """
    retriever = _FrameRetriever(client, output, wanted)
    if resource.frames:
        yield partial(retriever.frames, resource)
        return
    if resource.instance:
        yield partial(retriever.instance, resource, {})
        return
    lister = Lister(client)
    parents = [(resource, lister.count(resource))] if resource.study else lister.studies()
    for parent, expected in parents:
        rows = (
            iter([(None, {})])
            if parent is None
            else lister.instances(parent, SOP_CLASS, NUMBER_OF_FRAMES, ROWS)
        )
        found = 0
        for instance, row in rows:
            found += 1
            yield partial(retriever.one_of_many, instance, row)
        if resource.study and not found:
            raise NothingMatched(f"the server lists no instances in {resource}", "check the path")
        if parent is not None and found < (expected or 1):
            yield partial(_fewer, parent, expected or 1, found)


def _fewer(parent: Resource, expected: int, found: int) -> Iterator[Outcome]:
    reason = f"the server counts {expected} instances, but lists {found}"
    yield Outcome(Status.FAILED, str(parent), reason=reason)


@dataclass(frozen=True)
class _FrameRetriever:
    client: Client
    output: str
    wanted: MediaType | None

    @property
    def _is_rendered(self) -> bool:
        return (
            self.wanted is not None
            and self.wanted.name in RENDERED
            and "transfer-syntax" not in self.wanted.parameters
        )

    def one_of_many(self, resource: Resource | None, row: Dataset) -> Iterator[Outcome]:
        """Retrieve the frames of one instance of many: a failure does not end the run."""
        if resource is None:
            reason = "listed by the server without a usable UID"
            yield Outcome(Status.FAILED, "?", reason=reason)
            return
        try:
            yield from self.instance(resource, row)
        except Interrupted:
            raise
        except DcmwebError as error:
            yield Outcome(Status.FAILED, str(resource), reason=error.message)
            if self.client.engine.gives_up(error):
                raise

    def instance(self, resource: Resource, row: Dataset) -> Iterator[Outcome]:
        """Retrieve all frames of an instance; one that is no image is skipped."""
        is_single = model.text(row, SOP_CLASS) in _SINGLE_FRAME
        if model.number(row, ROWS) is None or not (NUMBER_OF_FRAMES in row or is_single):
            row = self.client.engine.attempt(lambda: self._metadata(resource))
        if model.number(row, ROWS) is None:
            yield Outcome(Status.SKIPPED, str(resource), reason="it is not an image")
            return
        count = model.number(row, NUMBER_OF_FRAMES) or 1
        if count > MOST_FRAMES:
            raise ProtocolError(f"the server says that it has {count} frames")
        yield from self.frames(resource.with_frames(*range(1, count + 1)))

    def frames(self, resource: Resource) -> Iterator[Outcome]:
        """Retrieve the frames of an instance that a resource names."""
        if not self._is_rendered:
            yield from self._stored_frames(resource)
            return
        any_came = False
        for number in resource.frames:
            frame = resource.with_frames(number)
            try:
                yield self.client.engine.attempt(partial(self._rendered_frame, frame))
                any_came = True
            except (Refused, NothingMatched, ProtocolError) as error:
                if not any_came:
                    raise  # it is not about this frame
                yield Outcome(Status.FAILED, str(frame), reason=error.message)

    def _metadata(self, resource: Resource) -> Dataset:
        path = f"{resource}/metadata"
        with self.client.session.get(path, accept=DICOM_JSON) as response:
            response.check(200)
            body = response.content()
            try:
                datasets = model.parse_json(body)
            except ProtocolError:
                raise not_dicomweb(response, body) from None
        if not datasets:
            raise ProtocolError(f"{response.url} answers without metadata")
        return datasets[0]

    def _rendered_frame(self, frame: Resource) -> Outcome:
        assert self.wanted is not None  # noqa: S101 - for the type checker: see _is_rendered
        with self._get(f"{frame}/rendered", str(self.wanted)) as response:
            if response.media_type.is_multipart:
                return next(self._save_parts(response, frame))
            name = response.media_type.name
            if not name.startswith(("image/", "video/")):
                raise not_dicomweb(response, response.read(1024))
            pieces = iter(partial(response.read, PIECE), b"")
            return self._save(pieces, frame, response.media_type, response.tells_its_end)

    def _stored_frames(self, resource: Resource) -> Iterator[Outcome]:
        """Retrieve frames in one answer, a part for each, in the order asked for."""
        wanted = self.wanted or MediaType(OCTET_STREAM, {"transfer-syntax": "*"})
        got: list[Outcome] = []

        def fetch() -> None:
            got.clear()
            with self._get(str(resource), multipart(wanted)) as response:
                got.extend(self._save_parts(response, resource))
                response.finish()

        self.client.engine.attempt(fetch)
        yield from got
        for number in resource.frames[len(got) :]:
            item = str(resource.with_frames(number))
            yield Outcome(Status.FAILED, item, reason="the server did not send this frame")

    def _get(self, path: str, accept: str) -> Response:
        response = self.client.session.get(path, accept=accept, bulk=True)
        try:
            response.check(200)
        except DcmwebError:
            response.close()
            raise
        return response

    def _save_parts(self, response: Response, resource: Resource) -> Iterator[Outcome]:
        media_type = response.media_type
        if not media_type.is_multipart:
            if len(resource.frames) > 1 or media_type.name in ("", "text/html"):
                raise not_dicomweb(response, response.read(1024))
            pieces = iter(partial(response.read, PIECE), b"")
            yield self._save(pieces, resource, media_type, response.tells_its_end)
            return
        parts = read_parts(response.read, media_type.parameters.get("boundary", ""))
        for index, part in enumerate(parts):
            if index >= len(resource.frames):
                raise ProtocolError("the server sent more frames than it was asked for")
            frame = resource.with_frames(resource.frames[index])
            kind = part.media_type if part.media_type.name else self.wanted
            yield self._save(part.body, frame, kind, True, part.declared_size)

    def _save(
        self,
        pieces: Iterator[Piece],
        frame: Resource,
        kind: MediaType | None,
        ends: bool,
        declared: int | None = None,
    ) -> Outcome:
        """Write a frame beside its place, check that it is whole, and give it its name."""
        kind = kind or MediaType(OCTET_STREAM)
        with partial_file(self.output) as file:
            last = b""
            for piece in pieces:
                self.client.engine.stop.check()
                file.write(piece)
                last = (last + bytes(piece[-16:]))[-16:]
            if declared is not None and file.size < declared:
                raise Damaged(f"{file.size} of {declared} bytes came")
            ending = _ENDINGS.get(kind.name)
            if not ends and (ending is None or not last.endswith(ending)):
                raise Truncated("the answer broke off, or does not say where it ends")
            place = file.move_to(instance_path(frame, kind.extension))
        self.client.engine.meter.add(file.size)
        return Outcome(Status.RETRIEVED, str(frame), file.size, place=place)
