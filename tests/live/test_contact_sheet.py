"""A contact sheet of what Orthanc renders."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Dcmweb, write_files
from tests.functional.archives import make_image, sample
from tests.functional.test_contact_sheet import series
from tests.live.orthanc import Orthanc

pytestmark = pytest.mark.live


@pytest.mark.parametrize("parallel", [[], ["-m"]])
def test_orthanc_renders_a_sheet(
    dcmweb: Dcmweb, orthanc: Orthanc, tmp_path: Path, parallel: list[str]
) -> None:
    files = [*series(5), *series(3, "1.2.4"), sample("test-SR.dcm")]
    files.append(make_image(4).replace(b"1.2.3.4.5", b"1.2.5.4.5").replace(b"1.2.3", b"1.2.5"))
    write_files(tmp_path / "in", files)
    assert dcmweb(orthanc.url, "store", "in").code == 0
    for name in ("sheet.html", "sheet.png"):
        result = dcmweb(*parallel, orthanc.url, "retrieve", "--contact-sheet", name)
        assert result.code == 0, result.err
        assert "retrieved 3, skipped 1, failed 0" in result.last
    text = (tmp_path / "sheet.html").read_text()
    pictures = [base64.b64decode(found) for found in re.findall('base64,([^"]+)"', text)]
    assert len(pictures) == 3
    for picture in pictures:
        assert max(Image.open(io.BytesIO(picture)).size) <= 256
    assert "5 instances" in text
    assert "1 instance, 4 frames" in text
