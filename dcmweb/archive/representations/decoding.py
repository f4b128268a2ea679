"""Decoding of single frames with pydicom and its plugins, in this process."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, RLELossless

LARGEST_FRAME = 128 * 1024 * 1024  # bytes
_BRINGS_DECODERS = "the extra archive brings one, and archive-light does not"
Array = npt.NDArray[Any]


def check_size(options: Mapping[str, Any]) -> None:
    """Raise ValueError for a frame that would take too much memory."""
    bits = options["rows"] * options["columns"] * options["samples_per_pixel"]
    if bits * options["bits_allocated"] > 8 * LARGEST_FRAME:
        raise ValueError(f"a frame has more than {LARGEST_FRAME:,} bytes")


def decode(source: bytes, syntax: str, options: Mapping[str, Any]) -> tuple[Array, str]:
    """Decode one frame, and return its array and its Photometric Interpretation.

    Decoders raise errors of any kind on malformed data. How large a frame may be, see `check_size`.
    """
    # Of its decoders of RLE, only pydicom's own cannot crash.
    plugin = "pydicom" if syntax == RLELossless else ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decoder = get_decoder(UID(syntax))
        if not decoder.is_available:
            raise ValueError(f"no decoder of {UID(syntax).name} is installed: {_BRINGS_DECODERS}")
        array, facts = decoder.as_array(source, index=0, decoding_plugin=plugin, **options)
    return array, str(facts["photometric_interpretation"])
