"""Files as they are sent: read anew for each attempt, and looked into when they are refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dcmweb.dicom import part10
from dcmweb.dicom.part10 import LocalInstance
from dcmweb.errors import LocalError
from dcmweb.http.multipart import PIECE
from dcmweb.transfer.engine import Meter


@dataclass
class FileSource:
    """A file as the source of a part: read anew each time, and unchanged since it was looked at."""

    instance: LocalInstance
    meter: Meter
    _counted: int = 0

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self.instance.size

    def pieces(self) -> Iterator[bytes]:
        """Yield the file. Raises LocalError if it cannot be read, or changed since."""
        path = self.instance.path
        try:
            if self.instance.content is not None:
                if self._has_changed(path):
                    raise self._changed()
                self._count(self.size)
                yield self.instance.content
                return
            with part10.open_file(path, buffering=0) as file:
                left = self.size
                while left:
                    piece = file.read(min(left, PIECE))
                    left -= len(piece)
                    if not piece or (not left and self._has_changed(file.fileno())):
                        raise self._changed()
                    self._count(len(piece))
                    yield piece
        except OSError as error:
            raise LocalError(error.strerror or str(error), path=path) from error

    def _count(self, size: int) -> None:
        self._counted += size
        self.meter.add(size)

    def take_back(self) -> None:
        """Count what was sent as not sent."""
        self.meter.add(-self._counted)
        self._counted = 0

    def _has_changed(self, file: str | int) -> bool:
        return part10.fingerprint(file) != (self.instance.size, self.instance.mtime_ns)

    def _changed(self) -> LocalError:
        return LocalError("the file changed while it was being sent", path=self.instance.path)


def what_is_wrong(instance: LocalInstance) -> str:
    """Look for what may be wrong with a file that was refused without a reason."""
    try:
        with part10.open_file(instance.path) as file:
            damage = part10.find_damage(file)
    except OSError:
        damage = ""
    lacking = [
        name
        for name, uid in (
            ("SOP Class UID", instance.identity.sop_class),
            ("Study Instance UID", instance.identity.resource.study),
            ("Series Instance UID", instance.identity.resource.series),
        )
        if not uid
    ]
    return "; ".join(
        filter(None, [damage, f"it has no {' and no '.join(lacking)}" if lacking else ""])
    )
