"""Frames: as they are stored (PS3.18 section 10.4.1.1.6) and rendered (section 10.4.1.1.3)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

from dcmweb.counted import plural
from dcmweb.dicom import json_model
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.resources import MOST_FRAMES, Resource
from dcmweb.dicom.tags import NUMBER_OF_FRAMES, ROWS, SOP_CLASS_UID
from dcmweb.errors import LocalError, NothingMatched, ProtocolError, Refused
from dcmweb.http.media_types import (
    EXTENSIONS,
    OCTET_STREAM,
    OTHER_EXTENSION,
    MediaType,
)
from dcmweb.http.multipart import Part
from dcmweb.http.response import Response
from dcmweb.transactions.accept import ask, forms_of_frames, forms_of_renditions, wrong_kind
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.jobs import Job, one_of_many
from dcmweb.transactions.retrieve.frame_attempts import FrameAttempts, is_never, is_refusal
from dcmweb.transactions.retrieve.instance_jobs import instances_below
from dcmweb.transactions.retrieve.metadata import describe, described
from dcmweb.transactions.retrieve.output import Destination, Saver, blocked, frame_name
from dcmweb.transactions.retrieve.rendered import is_picture
from dcmweb.transactions.retrieve.rendering_parameters import RenderingParameters
from dcmweb.transfer.outcomes import Outcome, Status

# SOP Classes without a Number of Frames (PS3.3 table A.1-1): CR, CT, MR and PET images.
_SINGLE_FRAME = frozenset(f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("1", "2", "4", "128"))

_Fetch = Callable[[Resource, str, FrameAttempts], Iterator[Outcome]]


class _FetchOne(Protocol):
    def __call__(self, frame: Resource, stem: str, *, tries_all: bool) -> Outcome: ...


# Of frames in one request: servers have limits for the length of a URL.
MOST_TOGETHER = 100
RENDERED_TOGETHER = 10  # in one job, a request for each
_EXTENSIONS = sorted({*EXTENSIONS.values(), OTHER_EXTENSION})


class FrameRetriever:
    """Retrieves frames, a file for each, with its number in the instance."""

    def __init__(
        self,
        context: RunContext,
        destination: Destination,
        wanted: MediaType | None,
        rendering: RenderingParameters,
    ) -> None:
        self._context = context
        self._engine = context.engine
        self._destination = destination
        self._saver = Saver(context, destination, asked=wanted, has_frames=True)
        self._wanted = wanted
        self._query = rendering.query

    def jobs(self, resource: Resource, *, is_rendered: bool) -> Iterator[Job]:
        """Make jobs for the frames named, or for all of each instance at and below a resource.

        Frames come as they are stored unless they are rendered, or asked for in a media type that
        servers render. Where there are workers to share them, many frames make several jobs.
        """
        is_rendered = is_rendered or is_picture(self._wanted)
        fetch = self._rendered if is_rendered else self._stored
        share = MOST_FRAMES
        if self._engine.workers > 1:
            share = RENDERED_TOGETHER if is_rendered else MOST_TOGETHER
        if resource.frames:
            attempts = FrameAttempts(is_all=len(resource.frames) <= share)
            for some in _shares(resource, share):
                yield partial(self._frames, some, {}, fetch, attempts)
            return
        fields = (SOP_CLASS_UID, NUMBER_OF_FRAMES, ROWS, *self._destination.layout.tags)
        for found in instances_below(self._context, resource, *fields):
            if isinstance(found, Outcome):
                yield partial(iter, [found])
                continue
            instance, row = found
            if resource.instance and self._engine.workers > 1:
                row = describe(self._context, instance)
            for item, job in self._jobs_of_one(instance, row, fetch, share):
                one = partial(one_of_many, self._engine, str(item), job)
                yield job if resource.instance else one

    def _jobs_of_one(
        self, instance: Resource, row: Dataset, fetch: _Fetch, share: int
    ) -> Iterator[tuple[Resource, Job]]:
        """Make the jobs for an instance: one, or more if it is known to have many frames."""
        count = json_model.number(row, NUMBER_OF_FRAMES) or 1
        if self._tells_enough(row) and share < count <= MOST_FRAMES:
            attempts = FrameAttempts(is_all=False)
            for some in _shares(instance.with_frames(*range(1, count + 1)), share):
                yield some, partial(self._frames, some, row, fetch, attempts)
        else:
            yield instance, partial(self._all_frames, instance, row, fetch)

    def _frames(
        self, resource: Resource, row: Dataset, fetch: _Fetch, attempts: FrameAttempts
    ) -> Iterator[Outcome]:
        layout = self._destination.layout
        row = described(self._context, resource, layout.tags, row)
        stem = layout.own_place(resource.without_frames, row)
        yield from self._missing(resource, stem, fetch, attempts)

    def _tells_enough(self, row: Dataset) -> bool:
        """Whether a row tells how many frames there are, and where they go."""
        is_single = json_model.text(row, SOP_CLASS_UID) in _SINGLE_FRAME
        tells_frames = json_model.number(row, ROWS) is not None and (
            NUMBER_OF_FRAMES in row or is_single
        )
        return tells_frames and all(tag in row for tag in self._destination.layout.tags)

    def _all_frames(self, resource: Resource, row: Dataset, fetch: _Fetch) -> Iterator[Outcome]:
        """Retrieve all frames of an instance; one that is not an image is skipped."""
        if not self._tells_enough(row):
            row = describe(self._context, resource)
        if json_model.number(row, ROWS) is None:
            yield Outcome(Status.SKIPPED, str(resource), reason="it is not an image")
            return
        count = json_model.number(row, NUMBER_OF_FRAMES) or 1
        if count > MOST_FRAMES:
            raise ProtocolError(f"the server says that it has {plural(count, 'frame')}")
        frames = resource.with_frames(*range(1, count + 1))
        stem = self._destination.layout.own_place(resource, row)
        yield from self._missing(frames, stem, fetch, FrameAttempts())

    def _missing(
        self, resource: Resource, stem: str, fetch: _Fetch, attempts: FrameAttempts
    ) -> Iterator[Outcome]:
        """Retrieve the frames that are not there already, some at a time."""
        missing = []
        for number in resource.frames:
            if there := self._there(resource.with_frames(number), frame_name(stem, number)):
                yield there
            else:
                missing.append(number)
        for some in _shares(resource.with_frames(*missing), MOST_TOGETHER) if missing else ():
            yield from fetch(some, stem, attempts)
        yield from attempts.held()

    def _there(self, frame: Resource, stem: str) -> Outcome | None:
        wanted = self._wanted
        kinds = [wanted.extension] if wanted and is_picture(wanted) else _EXTENSIONS
        places = [stem + extension for extension in kinds]
        return self._destination.there(str(frame), Resource(), places)

    def _rendered(
        self, resource: Resource, stem: str, attempts: FrameAttempts
    ) -> Iterator[Outcome]:
        yield from self._one_by_one(resource, stem, self._rendered_frame, attempts)

    def _stored(self, resource: Resource, stem: str, attempts: FrameAttempts) -> Iterator[Outcome]:
        """Retrieve frames in one answer; one by one if that does not hold exactly these."""
        together: list[Outcome] = []
        if len(resource.frames) > 1 and not attempts.are_hopeless:
            try:
                together = self._engine.attempt(
                    partial(self._stored_together, resource, stem),
                    fail_fast=is_refusal,
                    not_counted=is_refusal,
                )
            except (Refused, NothingMatched, ProtocolError) as error:
                if self._engine.gives_up(error):
                    raise
        if together:
            yield from attempts.note_success()
            yield from together
        else:
            yield from self._one_by_one(resource, stem, self._stored_frame, attempts)

    def _one_by_one(
        self, resource: Resource, stem: str, fetch: _FetchOne, attempts: FrameAttempts
    ) -> Iterator[Outcome]:
        for number in resource.frames:
            frame = resource.with_frames(number)
            is_quick = attempts.are_hopeless
            try:
                outcome = self._engine.attempt(
                    partial(fetch, frame, stem, tries_all=not is_quick),
                    fail_fast=is_refusal if is_quick else is_never,
                    not_counted=is_refusal,
                )
            except (Refused, NothingMatched, ProtocolError, LocalError) as error:
                if self._engine.gives_up(error):
                    raise
                yield from attempts.note_failure(frame, error)
            else:
                yield from attempts.note_success()
                yield outcome

    def _rendered_frame(self, frame: Resource, stem: str, *, tries_all: bool) -> Outcome:
        with ask(
            self._context,
            f"{frame}/rendered{self._query}",
            forms_of_renditions(self._wanted),
            unsuitable=_is_no_picture,
            tries_all=tries_all,
        ) as response:
            return self._save_frame(response, frame, stem)

    def _stored_frame(self, frame: Resource, stem: str, *, tries_all: bool) -> Outcome:
        with self._answer(frame, tries_all=tries_all) as response:
            return self._save_frame(response, frame, stem)

    def _stored_together(self, resource: Resource, stem: str) -> list[Outcome]:
        with self._answer(resource) as response:
            is_multipart = response.media_type.is_multipart
            return self._save_parts(response, resource, stem) if is_multipart else []

    def _save_frame(self, response: Response, frame: Resource, stem: str) -> Outcome:
        """Write an answer of one frame."""
        if not response.media_type.is_multipart:
            name = frame_name(stem, frame.frames[0])
            return self._saver.save_answer(response, name, str(frame))
        if outcomes := self._save_parts(response, frame, stem):
            return outcomes[0]
        raise ProtocolError("the server sent other frames beside this one")

    def _save_parts(self, response: Response, resource: Resource, stem: str) -> list[Outcome]:
        """Write the parts of an answer, one for each frame in the order asked for.

        If there are more or fewer, none is kept, since it is unknown which frames they are.
        """
        parts = response.parts()
        outcomes: list[Outcome] = []
        is_exact = False
        try:
            for number, part in zip(resource.frames, parts, strict=False):
                outcomes.append(self._save_part(part, resource, number, stem))
            is_exact = len(outcomes) == len(resource.frames) and not next(parts, None)
        finally:
            for outcome in outcomes if not is_exact else ():
                if outcome.place:
                    os.unlink(outcome.place)
        if is_exact:
            response.finish()
        return outcomes if is_exact else []

    def _save_part(self, part: Part, resource: Resource, number: int, stem: str) -> Outcome:
        item = str(resource.with_frames(number))
        if _NOT_PIXELS.match(kind := part.media_type.name):
            raise ProtocolError(f"a part of the answer is not a frame ({kind})")
        try:
            return self._saver.save_part(part, self._wanted, frame_name(stem, number), item)
        except LocalError as error:
            if len(resource.frames) == 1:
                raise
            return blocked(item, Resource(), error)

    def _answer(self, resource: Resource, *, tries_all: bool = True) -> Response:
        """Ask for frames as they are stored."""
        return ask(
            self._context,
            str(resource),
            forms_of_frames(self._wanted),
            unsuitable=_is_no_frame,
            tries_all=tries_all,
        )


_NOT_PIXELS = re.compile(r"text/|multipart/|application/(dicom|json|xml)")


def _is_no_frame(response: Response) -> ProtocolError | None:
    kind = response.media_type
    is_frame = kind.name == OCTET_STREAM or kind.name.startswith(("image/", "video/"))
    return None if kind.is_multipart or is_frame else wrong_kind(response, "frames")


def _is_no_picture(response: Response) -> ProtocolError | None:
    kind = response.media_type
    is_picture = kind.is_multipart or kind.name.startswith(("image/", "video/"))
    return None if is_picture else wrong_kind(response, "a rendered frame")


def _shares(resource: Resource, size: int) -> Iterator[Resource]:
    """Split frames into groups of at most `size`."""
    for start in range(0, len(resource.frames), size):
        yield resource.with_frames(*resource.frames[start : start + size])
