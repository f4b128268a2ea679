"""The metadata of an instance as the rows of a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from dcmweb.archive.representations.metadata import file_metadata
from dcmweb.archive.routes import STANDARD_PATH
from dcmweb.archive.storage.folder import Storage
from dcmweb.archive.storage.index import Entry
from dcmweb.dicom.dictionary import attribute_of
from dcmweb.dicom.json_model import Dataset, items
from dcmweb.dicom.readable import displayable, readable

MOST_ROWS = 3000
_LONGEST = 20_000  # characters of a value that are shown
_DEEPEST = 20  # levels of items within items that are shown


@dataclass(frozen=True)
class Row:
    """An element, or the head of an item of a sequence."""

    depth: int
    tag: str
    name: str
    vr: str
    text: str
    url: str = ""  # of bulk data

    @property
    def is_item(self) -> bool:
        """Whether this is the head of an item."""
        return not self.tag


def metadata_rows(storage: Storage, entry: Entry) -> tuple[list[Row], bool]:
    """Read the rows of an instance, and whether there are more. Raises BrokenDicom, OSError."""
    url = f"{STANDARD_PATH}/{entry.resource}"
    found = _rows(file_metadata(storage.present_path(entry), url, with_meta=True), 0)
    rows = list(islice(found, MOST_ROWS))
    return rows, next(found, None) is not None


def _rows(dataset: Dataset, depth: int) -> Iterator[Row]:
    for tag, element in sorted(dataset.items()):
        vr = str(element.get("vr", ""))
        name = attribute_of(tag).keyword or ("private" if int(tag[:4], 16) % 2 else "")
        written = f"({tag[:4]},{tag[4:]})"
        url = str(element.get("BulkDataURI", ""))
        if vr != "SQ":
            text = "" if url else displayable(readable([element], names_uids=True))
            if len(text) > _LONGEST:
                text = f"{text[:_LONGEST]} ... ({len(text):,} characters)"
            yield Row(depth, written, name, vr, text, url)
            continue
        inside = list(items(dataset, tag))
        count = "1 item" if len(inside) == 1 else f"{len(inside):,} items"
        yield Row(depth, written, name, vr, count)
        if depth < _DEEPEST:
            for number, item in enumerate(inside, 1):
                yield Row(depth + 1, "", f"Item {number}", "", "")
                yield from _rows(item, depth + 1)
