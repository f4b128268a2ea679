"""`store --metadata` against a real Orthanc, which takes DICOM files only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.conftest import Dcmweb
from tests.functional.pictures import PDF, element, encoded, picture, write
from tests.live.orthanc import Orthanc

pytestmark = pytest.mark.live


def test_images_and_documents_arrive_as_files(
    dcmweb: Dcmweb, orthanc: Orthanc, tmp_path: Path
) -> None:
    images = {f"{n}__j2k": encoded(picture(n), "JPEG2000", no_jp2=True) for n in range(3)}
    metadata = {"0020000D": element("UI", "1.2.3"), "00280008": element("IS", 3)}
    write(tmp_path, frames__json=metadata, document__json={}, report__pdf=PDF, **images)
    several = dcmweb(orthanc.url, "store", "--metadata", "frames.json", "?.j2k", "--verify")
    document = dcmweb(orthanc.url, "store", "--metadata", "document.json", "report.pdf")
    assert (several.code, document.code, orthanc.count_instances()) == (0, 0, 2)
    assert "takes no metadata with bulk data" in document.err
    assert dcmweb(orthanc.url, "retrieve", "studies/1.2.3", "--output", "out").code == 0
    (path,) = (tmp_path / "out").rglob("*.dcm")
    expected = np.stack([np.asarray(picture(n)) for n in range(3)])
    assert np.array_equal(pydicom.dcmread(path).pixel_array, expected)
