"""Files for what a server sends: where they go, and that only complete ones are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from dcmweb.buckets.addresses import is_bucket, parse_address
from dcmweb.counted import plural
from dcmweb.dicom.resources import Resource
from dcmweb.errors import IncompletePayload, LocalError, ProtocolError, Truncated
from dcmweb.folders import Folder, NewFile, WrittenFile
from dcmweb.http.media_types import OCTET_STREAM, MediaType
from dcmweb.http.multipart import Part
from dcmweb.http.part_stream import PIECE, Piece
from dcmweb.http.response import Response
from dcmweb.local.folder import LocalFolder
from dcmweb.local.layout import Layout
from dcmweb.local.partial_files import writing_into
from dcmweb.sources import Stamp
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.retrieve.options import RetrieveOptions
from dcmweb.transactions.retrieve.transfer_syntax import kind_of_frame, note_other_kind
from dcmweb.transfer.outcomes import IsDone, Outcome, Status

# The outcome of an item whose file is there already; None if it has to be retrieved again.
SkipPolicy = Callable[[str, Stamp], Status | None]

# How files end, for answers that do not say where they do.
_ENDINGS = {
    "image/png": b"IEND\xaeB`\x82",
    "image/jpeg": b"\xff\xd9",
    "image/gif": b";",
    "application/pdf": b"%%EOF",
}
_LONGEST_ENDING = 16  # with a line end behind it


@dataclass(frozen=True)
class Destination:
    """A folder, its layout, and which files in it need not be retrieved again."""

    folder: Folder
    layout: Layout = field(default_factory=Layout)
    skip_policy: SkipPolicy | None = None

    @classmethod
    def of(cls, folder: str, options: RetrieveOptions, is_done: IsDone | None) -> Destination:
        """Make the destination of a run; `is_done` says what an earlier run did."""

        def skip(item: str, found: Stamp) -> Status | None:
            if is_done is not None and is_done(item, *found):
                return Status.DONE_BEFORE
            return Status.EXISTS if options.skip_existing else None

        skips = options.skip_existing or is_done is not None
        return cls(folder_at(folder), options.parsed_layout, skip if skips else None)

    def there(self, item: str, resource: Resource, places: Iterable[str]) -> Outcome | None:
        """Return the outcome of an item that need not be retrieved; None if it must be."""
        for place in places if self.skip_policy else ():
            found = self.folder.stamp(place)
            if found and self.skip_policy and (status := self.skip_policy(item, found)):
                return outcome_of(status, item, resource, self.folder.whole(place), found)
        return None


def folder_at(path: str) -> Folder:
    """Return the folder of a path, or of an address of a bucket."""
    if not is_bucket(path):
        return LocalFolder(path)
    from dcmweb.buckets.folder import BucketFolder

    return BucketFolder(parse_address(path))


class Saver:
    """Writes answers to partial files, which get their final names once they are complete.

    An empty answer is an error, unless it `may_be_empty`. What comes as another media type than
    was `asked` for is kept, with a note. `has_frames`: bytes may be compressed frames.
    """

    def __init__(
        self,
        context: RunContext,
        destination: Destination,
        *,
        asked: MediaType | None = None,
        may_be_empty: bool = False,
        has_frames: bool = False,
    ) -> None:
        self._context = context
        self._engine = context.engine
        self._asked = asked
        self._has_frames = has_frames
        self._may_be_empty = may_be_empty
        self._folder = destination.folder

    @contextmanager
    def writing(self, pieces: Iterable[Piece]) -> Iterator[NewFile]:
        """Write pieces into a partial file; if that fails, they do not count as transferred."""
        with self._folder.new_file() as file:
            try:
                for piece in pieces:
                    self._engine.stop.check()
                    file.write(piece)
                    self._engine.meter.add(len(piece))
                yield file
            except BaseException:
                self._engine.meter.add(-file.size)
                raise

    def save_parts(
        self, parts: Iterator[Part], kind: MediaType | None, stem: str, item: str
    ) -> Iterator[Outcome]:
        """Write the parts of an answer; where there are several, they are frames.

        What a part says of its media type goes before `kind`.
        """
        number, part = 0, next(parts, None)
        while part:
            number += 1
            with self._whole(part) as file:
                following = next(parts, None)
                is_alone = number == 1 and not following
                name = stem if is_alone else frame_name(stem, number)
                yield self._keep(file, name, _kind_of(part, kind), item)
            part = following

    def save_part(self, part: Part, kind: MediaType | None, stem: str, item: str) -> Outcome:
        """Write one part of an answer."""
        with self._whole(part) as file:
            return self._keep(file, stem, _kind_of(part, kind), item)

    @contextmanager
    def _whole(self, part: Part) -> Iterator[NewFile]:
        with self.writing(part.body) as file:
            if part.declared_size is not None and file.size < part.declared_size:
                raise IncompletePayload(
                    f"{file.size:,} of {plural(part.declared_size, 'byte')} came"
                )
            yield file

    def save_content(self, content: bytes, kind: MediaType, stem: str, item: str) -> Outcome:
        """Write what is in memory."""
        with self.writing([content]) as file:
            return self._keep(file, stem, kind, item)

    def save_answer(self, response: Response, stem: str, item: str) -> Outcome:
        """Write the whole body of an answer."""
        self._folder.check_space(response.size or 0)
        kind = response.media_type
        with self.writing(iter(partial(response.read, PIECE), b"")) as file:
            if not response.has_end and not _is_ended(file, kind):
                raise Truncated("the answer broke off, or does not say where it ends")
            return self._keep(file, stem, kind, item)

    def _keep(self, file: NewFile, stem: str, kind: MediaType | None, item: str) -> Outcome:
        if not (file.size or self._may_be_empty):
            raise ProtocolError("the server sent nothing of it")
        kind = kind_of_frame(file, kind) if self._has_frames else kind or MediaType(OCTET_STREAM)
        note = note_other_kind(self._context, self._asked, kind)
        stamp = file.stamp
        place = moved(file, self._folder, stem + kind.extension)
        return outcome_of(Status.RETRIEVED, item, Resource(), place, stamp, note)


def moved(file: WrittenFile, folder: Folder, place: str) -> str:
    """Give a file its name. Raises LocalError, which names it, if something is in the way."""
    try:
        return file.move_to(place)
    except OSError:
        with writing_into(folder.whole(place)):
            raise


def frame_name(stem: str, number: int) -> str:
    """Name a frame of an instance, counted from 1."""
    return f"{stem}_frame_{number}"


def _kind_of(part: Part, kind: MediaType | None) -> MediaType | None:
    return part.media_type if part.media_type.name else kind


def _is_ended(file: NewFile, kind: MediaType) -> bool:
    ending = _ENDINGS.get(kind.name)
    with file.reader() as reader:
        reader.seek(max(0, file.size - _LONGEST_ENDING))
        return ending is not None and reader.read().rstrip(b"\r\n").endswith(ending)


def outcome_of(
    status: Status,
    item: str,
    resource: Resource,
    place: str,
    file: Stamp,
    reason: str = "",
) -> Outcome:
    """Make the outcome of an item that is in a file."""
    size, mtime_ns = file
    uids = (resource.study, resource.series, resource.instance)
    return Outcome(status, item or str(resource), size, reason, place, mtime_ns, *uids)


def blocked(item: str, resource: Resource, error: LocalError) -> Outcome:
    """Make the outcome of an item whose file cannot be written. Raises what ends the run."""
    if error.fatal:
        raise error
    return Outcome.of(resource, Status.FAILED, item)._replace(reason=error.message)
