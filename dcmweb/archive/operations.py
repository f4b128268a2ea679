"""Long-running operations, as Google's Cloud Healthcare API reports them."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

_SHOWN_AS_PENDING = 0.3  # seconds, so that clients that poll have something to wait for
_REMEMBERED = 1000
_METADATA = "type.googleapis.com/google.cloud.healthcare.v1.OperationMetadata"
_METHODS = {
    "DeleteStudy": "google.cloud.healthcare.v1.dicomweb.DicomWebService.DeleteStudy",
    "DeleteSeries": "google.cloud.healthcare.v1.dicomweb.DicomWebService.DeleteSeries",
    "UpdateStudyMetadata": (
        "google.cloud.healthcare.v1beta1.dicomweb.DicomWebService.UpdateStudyMetadata"
    ),
    "UpdateSeriesMetadata": (
        "google.cloud.healthcare.v1beta1.dicomweb.DicomWebService.UpdateSeriesMetadata"
    ),
    "CreateDataset": "google.cloud.healthcare.v1.dataset.DatasetService.CreateDataset",
}
_EMPTY = {"@type": "type.googleapis.com/google.protobuf.Empty"}


@dataclass(frozen=True)
class _Operation:
    method: str
    count: int
    began: float
    response: Mapping[str, Any]


class Operations:
    """The operations of this run. They are complete at once, but report so a moment later."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Operation] = OrderedDict()
        self._lock = threading.Lock()

    def add(
        self, dataset: str, method: str, count: int, response: Mapping[str, Any] = _EMPTY
    ) -> str:
        """Note an operation on a number of instances; returns its name."""
        name = f"{dataset}/operations/{secrets.randbits(63)}"
        with self._lock:
            self._known[name] = _Operation(_METHODS[method], count, time.time(), response)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return name

    def report(self, name: str) -> dict[str, Any] | None:
        """Return the state of an operation, or None if it is unknown."""
        with self._lock:
            known = self._known.get(name)
        if known is None:
            return None
        count, began = known.count, known.began
        metadata: dict[str, Any] = {
            "@type": _METADATA,
            "apiMethodName": known.method,
            "createTime": _timestamp(began),
        }
        if time.time() < began + _SHOWN_AS_PENDING:
            return {"name": name, "metadata": {**metadata, "counter": {"pending": str(count)}}}
        metadata["endTime"] = _timestamp(began + _SHOWN_AS_PENDING)
        metadata["counter"] = {"success": str(count)}
        return {"name": name, "metadata": metadata, "done": True, "response": dict(known.response)}


def _timestamp(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
