"""Pictures and documents as users have them, and metadata for them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom.uid import JPEGBaseline8Bit

ROWS, COLUMNS = 48, 64
PDF = b"%PDF-1.4\nnothing much\n%%EOF\n"


def picture(number: int = 0, *, coloured: bool = False) -> Image.Image:
    """A picture that compression hardly changes, another one for each number."""
    across, down = np.meshgrid(np.arange(COLUMNS), np.arange(ROWS))
    grey = (across + down + 10 * number) % 200
    planes = [grey, 200 - grey, grey // 2] if coloured else [grey]
    return Image.fromarray(np.stack(planes, -1).squeeze().astype(np.uint8))


def encoded(image: Image.Image, form: str = "JPEG", **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **({"quality": 95} if form == "JPEG" else {}), **how)
    return buffer.getvalue()


def jpeg(number: int = 0, *, coloured: bool = False) -> bytes:
    return encoded(picture(number, coloured=coloured))


def element(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


def uids(study: str = "1.2.3", series: str = "1.2.3.4", instance: str = "1.2.3.4.5") -> Any:
    return {
        "0020000D": element("UI", study),
        "0020000E": element("UI", series),
        "00080018": element("UI", instance),
    }


def whole(uri: str = "jpeg-image", **identifiers: str) -> dict[str, Any]:
    """Metadata of a JPEG in which everything is told, as in a guide for curl."""
    return {
        "00020010": element("UI", JPEGBaseline8Bit),
        "00080005": element("CS", "ISO_IR 192"),
        "00080016": element("UI", "1.2.840.10008.5.1.4.1.1.7"),
        **uids(**identifiers),
        "00280002": element("US", 3),
        "00280004": element("CS", "YBR_FULL_422"),
        "00280006": element("US", 0),
        "00280010": element("US", ROWS),
        "00280011": element("US", COLUMNS),
        "00280100": element("US", 8),
        "00280101": element("US", 8),
        "00280102": element("US", 7),
        "00280103": element("US", 0),
        "7FE00010": {"vr": "OB", "BulkDataURI": uri},
    }


def write(folder: Path, **files: Any) -> None:
    """Write files, `__` in names standing for a dot; what is no bytes as JSON."""
    for name, content in files.items():
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / name.replace("__", ".")).write_bytes(data)
