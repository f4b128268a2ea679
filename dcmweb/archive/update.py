"""Changes of stored instances: the metadata of all instances of a resource at once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from werkzeug.exceptions import NotFound

from dcmweb.archive.json_patch import Operation, patched_file
from dcmweb.archive.storage.folder import Storage
from dcmweb.dicom.resources import Resource


def patch_instances(storage: Storage, resource: Resource, operations: Sequence[Operation]) -> int:
    """Apply a patch to all instances of a resource, or to none; returns their number.

    Raises NotFound if there are none, BadRequest if it cannot be applied to one of them.
    """
    with ExitStack() as files:
        received = []
        for entry in list(storage.index.entries(resource)):
            data = patched_file(storage.present_path(entry), operations)
            partial = storage.new_file()
            files.callback(partial.discard)
            partial.write(data)
            received.append(storage.look_at(partial))
        if not received:
            raise NotFound(f"there is no {resource}")
        storage.keep(received, replace=True)
        return len(received)
