"""DICOM files that come with pydicom, for the demonstration."""

from __future__ import annotations

from pydicom.data import get_testdata_file

# CT, MR, ultrasound in colour, palette colour and 30 compressed frames, an ECG, a report.
_NAMES = (
    "CT_small.dcm",
    "MR_small.dcm",
    "examples_rgb_color.dcm",
    "examples_palette.dcm",
    "examples_ybr_color.dcm",
    "waveform_ecg.dcm",
    "test-SR.dcm",
)


def sample_files() -> list[str]:
    """Return the paths of the files, which are part of pydicom and not downloaded."""
    found = (get_testdata_file(name, download=False) for name in _NAMES)
    return [str(path) for path in found if path]
