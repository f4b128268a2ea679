"""The instances of a study or series as one ZIP file, which is made while it is sent."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import closing

from werkzeug.wrappers import Response

from dcmweb.archive.pages.html import safe
from dcmweb.archive.responses import file_pieces
from dcmweb.archive.storage.folder import Storage
from dcmweb.archive.storage.index import Entry
from dcmweb.dicom.resources import Resource
from dcmweb.local.safe_names import instance_path, safe_name


class _Sink(io.RawIOBase):
    """Takes what is written, until it is taken away."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        """Return True: this can be written, and not be moved in."""
        return True

    def write(self, data: object) -> int:
        """Keep bytes."""
        self._pieces.append(bytes(data))  # type: ignore[call-overload]
        return len(self._pieces[-1])

    def taken(self) -> bytes:
        """Give up what was written since the last time."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def zip_file(storage: Storage, resource: Resource, entries: Iterable[Entry]) -> Response:
    """Answer with the files of instances as they are, named as `retrieve` names them."""
    response = Response(_pieces(storage, entries), content_type="application/zip")
    name = safe_name(resource.series or resource.study)
    response.headers.set("Content-Disposition", "attachment", filename=f"{name}.zip")
    response.headers["Cache-Control"] = "no-store"
    return safe(response)


def _pieces(storage: Storage, entries: Iterable[Entry]) -> Iterator[bytes]:
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:
        for entry in entries:
            try:
                pieces = file_pieces(storage.path(entry))
            except FileNotFoundError:
                continue  # it was deleted meanwhile
            info = zipfile.ZipInfo(instance_path(entry.resource, ".dcm"))
            info.file_size = entry.size  # whether it needs the fields of large files
            with closing(pieces), archive.open(info, "w") as member:
                for piece in pieces:
                    member.write(piece)
                    yield sink.taken()
    yield sink.taken()
