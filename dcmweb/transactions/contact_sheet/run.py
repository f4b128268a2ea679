"""Makes a contact sheet: one picture of each series, rendered by the server."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial

from dcmweb.dicom.dictionary import uid_name
from dcmweb.dicom.resources import Representation, Resource, Target, parse_named_target
from dcmweb.dicom.tags import MODALITY, PATIENT_ID, PATIENT_NAME
from dcmweb.errors import (
    DcmwebError,
    Interrupted,
    NothingMatched,
    ProtocolError,
    Refused,
    UsageError,
)
from dcmweb.http.response import Response
from dcmweb.transactions.accept import ask, forms_of_renditions
from dcmweb.transactions.contact_sheet.options import SheetOptions
from dcmweb.transactions.contact_sheet.series import (
    SERIES_DESCRIPTION,
    SERIES_NUMBER,
    STUDY_DATE,
    STUDY_DESCRIPTION,
    ListedSeries,
    Middle,
    SeriesFinder,
)
from dcmweb.transactions.contact_sheet.tiles import Tile, Tiles, picture_type, value_of
from dcmweb.transactions.contact_sheet.writing import MOST_IN_PICTURE, shrunk, write_sheet
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.jobs import Job
from dcmweb.transactions.retrieve.target_jobs import TargetJobs
from dcmweb.transfer.outcomes import Outcome, Outcomes, Status

_LARGEST = 16 * 1024 * 1024  # bytes of a picture


def contact_sheet(
    context: RunContext, targets: Iterable[Target | str], options: SheetOptions
) -> Outcomes:
    """Make the sheet of what is at and below targets; yield the outcome of each series.

    The sheet is written when all series have their outcome. A series without pictures is skipped,
    and one whose picture does not come has failed; both have a tile that says so. Raises what
    stopped the run; then there is no sheet.
    """
    with closing(Tiles()) as tiles:
        maker = _Maker(context, tiles, options)
        jobs = TargetJobs(context, maker.jobs, options.on_error)
        count = 0
        for outcome in context.engine.run(jobs.of(targets)):
            count += 1
            if outcome.item not in tiles:
                tiles.add(Tile(maker.next(), outcome.item, problem=outcome.reason, is_failure=True))
            if options.is_picture and len(tiles) > MOST_IN_PICTURE:
                raise UsageError(
                    f"a contact sheet as PNG has room for {MOST_IN_PICTURE} series",
                    "name a file that ends in .html, or fewer studies",
                )
            yield outcome
        if not count:
            raise NothingMatched("the server lists no series")
        write_sheet(tiles, options, context.settings.base_url)


class _Maker:
    """Makes the jobs, each of which makes a tile."""

    def __init__(self, context: RunContext, tiles: Tiles, options: SheetOptions) -> None:
        self._context = context
        self._roots = context.settings.roots
        self._finder = SeriesFinder(context)
        self._tiles = tiles
        self._options = options
        self._forms = forms_of_renditions(None)
        self._numbers = itertools.count()

    def next(self) -> int:
        """Return the place of the next tile on the sheet."""
        return next(self._numbers)

    def jobs(self, given: Target | str, *, spread: bool) -> Iterator[Job]:
        """Make a job for each series of a target."""
        del spread  # jobs are small anyway
        target = parse_named_target(given, *self._roots) if isinstance(given, str) else given
        if target.representation is not Representation.STORED:
            raise UsageError(
                f"{target} is not a study, series or instance",
                "a contact sheet shows these: leave out what comes after the UID",
            )
        for series in self._finder.below(target.resource.without_frames):
            if series is None:
                reason = "listed by the server without a usable UID"
                yield partial(iter, [Outcome(Status.FAILED, f"{target}/?", reason=reason)])
            else:
                yield partial(self._tile, series, self.next())

    def _tile(self, series: ListedSeries, order: int) -> Iterator[Outcome]:
        """Make the tile of a series, and yield its outcome; an error is one as well."""
        tile = _described(series, order)
        engine = self._context.engine
        try:
            middle = engine.attempt(lambda: self._finder.middle(series))
            tile = replace(tile, counts=_counts(series, middle))
            outcome = self._pictured(tile, series, middle)
        except Interrupted:
            raise
        except DcmwebError as error:
            self._tiles.add(replace(tile, problem=error.message, is_failure=True))
            yield Outcome(Status.FAILED, series.item, reason=error.message)
            if engine.gives_up(error):
                raise
        else:
            yield outcome

    def _pictured(self, tile: Tile, series: ListedSeries, middle: Middle) -> Outcome:
        """Add the tile with its picture; raises what the server says instead."""
        if not middle.instances:
            raise NothingMatched(f"the server lists no instances in {series.item}")
        if middle.resource is None:
            kinds = ", ".join(sorted(map(uid_name, middle.kinds)))
            reason = f"no picture: {kinds}"
            self._tiles.add(replace(tile, problem=reason))
            return Outcome(Status.SKIPPED, series.item, reason=reason)
        content = self._rendered(middle.resource)
        media_type = picture_type(content)
        size = len(content)
        if self._options.is_picture:
            content = shrunk(content)
        kept = self._tiles.keep(content)
        self._tiles.add(replace(tile, picture=kept, media_type=media_type))
        resource = series.resource
        return Outcome.of(resource, Status.RETRIEVED, series.item, size=size)

    def _rendered(self, resource: Resource) -> bytes:
        """Have an instance or frame rendered, in the first way that the server does not refuse.

        Raises the error of the first way: it is the one that a user can ask about.
        """
        rendered = str(Target(resource, Representation.RENDERED))
        ways = [f"{rendered}{self._options.rendering.query}"]
        if not self._options.viewport:  # servers may refuse parameters that they do not have
            ways.append(rendered)
        if not (self._options.window or self._options.quality):
            thumbnail = Target(resource.without_frames, Representation.THUMBNAIL)
            ways.append(str(thumbnail))
        refusal: DcmwebError | None = None
        for way in ways:
            try:
                return self._context.engine.attempt(partial(self._fetch, way))
            except (Refused, NothingMatched, ProtocolError) as error:
                refusal = refusal or error
                if isinstance(error, Refused) and error.status >= 500 and error.status != 501:
                    break
        raise refusal or ProtocolError("the server renders nothing")

    def _fetch(self, path: str) -> bytes:
        with ask(self._context, path, self._forms) as response:
            content = _content(response)
            response.finish()
        if not picture_type(content):
            raise ProtocolError(f"what came is not a picture, but {response.media_type.name}")
        return content


def _content(response: Response) -> bytes:
    """Read the picture of an answer; of several, the first."""
    if not response.media_type.is_multipart:
        return response.content(_LARGEST)
    return next(response.parts()).content(_LARGEST)


def _described(series: ListedSeries, order: int) -> Tile:
    """Make a tile without its picture."""
    study, row = series.study_row, series.row
    patient = [value_of(study, PATIENT_NAME) or value_of(row, PATIENT_NAME)]
    patient.append(value_of(study, PATIENT_ID) or value_of(row, PATIENT_ID))
    about = [value_of(study, STUDY_DATE), value_of(study, STUDY_DESCRIPTION)]
    return Tile(
        order,
        series.item,
        study=str(Resource(series.resource.study)),
        patient=" · ".join(filter(None, patient)),
        about_study=" · ".join(filter(None, about)),
        modality=value_of(row, MODALITY),
        description=value_of(row, SERIES_DESCRIPTION),
        number=value_of(row, SERIES_NUMBER),
    )


def _counts(series: ListedSeries, middle: Middle) -> str:
    """Write how much is in a series, and whether the server counts otherwise."""
    counts = f"{middle.instances:,} instance{'' if middle.instances == 1 else 's'}"
    if middle.frames > middle.instances:
        counts += f", {middle.frames:,} frames"
    if not series.only and series.counted not in (None, middle.instances):
        counts += f" (the server counts {series.counted:,})"
    return counts
