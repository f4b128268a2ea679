"""Lookup tables of grayscale images: modality and VOI LUT (PS3.3 sections C.11.1 and C.11.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom

_Values = npt.NDArray[Any]


@dataclass(frozen=True)
class LookupTable:
    """The outputs of a table, the first of them for the input value `first`."""

    first: int
    outputs: npt.NDArray[np.int64]
    bits: int

    @property
    def maximum(self) -> int:
        """The largest output that its number of bits allows."""
        return int(2**self.bits - 1)

    def apply(self, values: _Values) -> npt.NDArray[np.int64]:
        """Map values; those before and after the table get its first and last output."""
        indices = np.nan_to_num(values).astype(np.int64) - self.first
        return np.asarray(self.outputs[np.clip(indices, 0, len(self.outputs) - 1)])


def read_lut(item: pydicom.Dataset, *, is_big_endian: bool) -> LookupTable:
    """Read an item of a LUT sequence; raises ValueError if it has no data.

    Some files declare fewer bits than their outputs have: the outputs are right.
    """
    entries, first, bits = (int(value) for value in item.LUTDescriptor)
    data = item.LUTData
    if not data:
        raise ValueError("a lookup table has no data")
    if isinstance(data, bytes):
        is_packed = len(data) == entries
        kind = np.dtype(np.uint8 if is_packed else f"{'>' if is_big_endian else '<'}u2")
        outputs = np.frombuffer(data[: len(data) - len(data) % kind.itemsize], kind)
    else:
        outputs = np.atleast_1d(np.asarray(data))
    outputs = outputs.astype(np.int64)[: entries % 65536 or 65536]
    return LookupTable(first, outputs, max(bits, int(outputs.max()).bit_length(), 1))
