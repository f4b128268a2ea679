"""Rendered instances and thumbnails (PS3.18 sections 8.3.5 and 10.4.1.1.3 to 10.4.1.1.5)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.resources import Representation, Resource, Target
from dcmweb.errors import NothingMatched, ProtocolError, Refused
from dcmweb.http.media_types import EXTENSIONS, MediaType
from dcmweb.http.response import Response
from dcmweb.local.safe_names import folder_path
from dcmweb.transactions.accept import ask, forms_of_renditions, wrong_kind
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.jobs import Job
from dcmweb.transactions.retrieve.instance_jobs import each_instance
from dcmweb.transactions.retrieve.metadata import described
from dcmweb.transactions.retrieve.output import Destination, Saver, frame_name
from dcmweb.transactions.retrieve.rendering_parameters import RenderingParameters
from dcmweb.transfer.outcomes import Outcome

# Rendered media types (PS3.18 table 8.7.4-1): those of one frame, and those of a whole instance.
PICTURES = ("image/jpeg", "image/png", "image/gif")
WHOLE = (
    "video/mpeg",
    "video/mp4",
    "video/h265",
    "application/pdf",
    "text/html",
    "text/plain",
    "text/xml",
    "text/rtf",
)


def is_rendered(wanted: MediaType | None) -> bool:
    """Return True if a media type is rendered by servers, not one of stored data."""
    return is_picture(wanted) or is_whole_rendition(wanted)


def is_picture(wanted: MediaType | None) -> bool:
    """Return True if a media type is that of one rendered frame."""
    return wanted is not None and wanted.name in PICTURES and not _is_stored(wanted)


def is_whole_rendition(wanted: MediaType | None) -> bool:
    """Return True if a media type is that of a whole instance: a video, a report."""
    return wanted is not None and wanted.name in WHOLE and not _is_stored(wanted)


def _is_stored(wanted: MediaType) -> bool:
    return "transfer-syntax" in wanted.parameters


class RenditionRetriever:
    """Retrieves what servers render of a whole resource, a file for each."""

    def __init__(
        self,
        context: RunContext,
        destination: Destination,
        wanted: MediaType | None,
        rendering: RenderingParameters,
    ) -> None:
        self._context = context
        self._destination = destination
        self._saver = Saver(context, destination, asked=wanted)
        self._wanted = wanted
        self._forms = forms_of_renditions(wanted)
        self._query = rendering.query
        # Unless asked for, what is there as XML is rather the metadata.
        kinds = [wanted.name] if wanted else {*PICTURES, *WHOLE} - {"text/xml"}
        self._extensions = [EXTENSIONS[kind] for kind in kinds if kind in EXTENSIONS]

    def jobs(self, target: Target) -> Iterator[Job]:
        """Make the job for one rendition; of several frames, for each."""
        for number in target.resource.frames or [0]:
            resource = target.resource.with_frames(*([number] if number else []))
            yield partial(self._one, Target(resource, target.representation), {})

    def jobs_below(self, resource: Resource) -> Iterator[Job]:
        """Make a job for each instance at and below a resource."""

        def render(instance: Resource, row: Dataset) -> Iterator[Outcome]:
            return self._one(Target(instance, Representation.RENDERED), row)

        tags = self._destination.layout.tags
        return each_instance(self._context, resource, render, *tags)

    def _one(self, target: Target, row: Dataset) -> Iterator[Outcome]:
        stem = self._stem(target, row)
        places = [stem + extension for extension in self._extensions]
        if there := self._destination.there(str(target), target.resource, places):
            yield there
        else:
            yield from self._context.engine.attempt(lambda: self._fetch(target, stem))

    def _stem(self, target: Target, row: Dataset) -> str:
        """Name the file, relative to the folder, without its extension."""
        resource, layout = target.resource, self._destination.layout
        end = "thumbnail" if target.representation is Representation.THUMBNAIL else ""
        if not resource.instance:
            return folder_path(resource) + end
        stem = layout.own_place(resource, described(self._context, resource, layout.tags, row))
        stem = frame_name(stem, resource.frames[0]) if resource.frames else stem
        return "_".join(filter(None, [stem, end]))

    def _fetch(self, target: Target, stem: str) -> list[Outcome]:
        path = f"{target}{self._query}"
        try:
            response = ask(self._context, path, self._forms, unsuitable=self._something_else)
        except (NothingMatched, Refused) as error:
            if target.representation is Representation.THUMBNAIL:
                error.hint = "servers without thumbnails may have /rendered --viewport 200,200"
            raise
        with response:
            if not response.media_type.is_multipart:
                return [self._saver.save_answer(response, stem, str(target))]
            outcomes = list(
                self._saver.save_parts(response.parts(), self._wanted, stem, str(target))
            )
            response.finish()
            return outcomes

    def _something_else(self, response: Response) -> ProtocolError | None:
        """Make the error of an answer that is not a rendition, such as a web page."""
        name = response.media_type.name
        asked = self._wanted.name if self._wanted else ""
        is_page = name == "text/html" and asked != name
        is_rendition = name in WHOLE or name.startswith(("image/", "video/", "multipart/"))
        if is_page or not is_rendition:
            return wrong_kind(response, "what was to be rendered")
        return None
