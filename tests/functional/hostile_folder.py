"""A folder whose values are attacks on a page, and whose pictures and documents are broken."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG4HP41,
    EncapsulatedPDFStorage,
    JPEG2000Lossless,
    VideoPhotographicImageStorage,
)

from tests.conftest import make_instance
from tests.functional.archives import changed, read, sample

SCRIPT = "<script>window.harmed=1</script>"
PICTURE = '"><img src=x onerror="window.harmed=1">'
ATTACKS = {
    "script": SCRIPT,
    "picture": PICTURE,
    "address": "javascript:window.harmed=1",
    "quotes": "' \" ` onfocus=window.harmed=1 autofocus x='",
    "template": "{{ 7*7 }}${7*7}{% raw %}</title></style>",
    "line ends": "first\r\n\r\n<b>second\x1b[31m",
    "right to left": "abc\u202egpj.exe\u200f\u05d0\u05d1",
    "long": "0123456789" * 1000,
    "entities": "&lt;b&gt; &amp; &#0;",
    "zero": "\ufffd\x7f\x85",
}


def hostile_files() -> dict[str, bytes]:
    """Make a study for each attack, and others for what is broken, by names of files."""
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        return _attacks() | _broken()


def _attacks() -> dict[str, bytes]:
    files = {
        f"{number} {name}.dcm": _attacked(f"1.2.6.{number}", attack)
        for number, (name, attack) in enumerate(ATTACKS.items(), 1)
    }
    for number, uid in enumerate(
        (SCRIPT[:60], PICTURE[:60], "a'b\"c d&e?f#g%2F", "../../etc/x"), 1
    ):
        named = changed(
            make_instance(), StudyInstanceUID=uid, SeriesInstanceUID=uid, SOPInstanceUID=uid
        )
        files[f"uid{number}.dcm"] = named
    return files


def write_hostile_folder(folder: Path) -> None:
    """Write the files; a name of a file is an attack as well."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in hostile_files().items():
        (folder / name).write_bytes(data)
    (folder / "<img src=x onerror=alert(1)>.dcm").write_bytes(make_instance("1.2.7", "1.2.7.1"))


def _attacked(study: str, attack: str) -> bytes:
    dataset = read(make_instance(study, f"{study}.1", f"{study}.1.1"))
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword in (
        "PatientName",
        "PatientID",
        "StudyDescription",
        "SeriesDescription",
        "Modality",
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ReferringPhysicianName",
        "PatientBirthDate",
        "PatientSex",
        "ImageComments",
        "InstitutionAddress",
    ):
        is_text = dictionary_VR(keyword) in ("PN", "LO", "SH", "LT", "ST")
        plain = attack.encode("ascii", "ignore").decode()
        setattr(dataset, keyword, attack if is_text else plain)
    item = Dataset()
    item.CodeValue = item.CodeMeaning = item.CodingSchemeDesignator = attack
    dataset.ProcedureCodeSequence = [item]
    dataset.add_new(0x00091001, "UN", attack.encode("utf-8", "replace"))
    dataset.add_new(0x00091002, "UR", attack.encode("ascii", "ignore").decode())
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def _broken() -> dict[str, bytes]:
    """Make instances without pictures, or with ones that cannot be shown."""
    return {
        "undecodable.dcm": _compressed("1.2.8.1", JPEG2000Lossless, b"\xff\x4f\xff\x51 broken"),
        "video.dcm": changed(
            _compressed("1.2.8.2", MPEG4HP41, b"\0\0\0\x18ftypmp42 no video"),
            SOPClassUID=VideoPhotographicImageStorage,
            NumberOfFrames=300,
        ),
        "short.dcm": changed(make_instance("1.2.8.3", "1.2.8.3.1", "1.2.8.3.1.1"), Rows=4000),
        "frames.dcm": changed(
            make_instance("1.2.8.4", "1.2.8.4.1", "1.2.8.4.1.1"), NumberOfFrames=2147483647
        ),
        "no pixels.dcm": changed(
            make_instance("1.2.8.5", "1.2.8.5.1", "1.2.8.5.1.1"), PixelData=None
        ),
        "no rows.dcm": changed(make_instance("1.2.8.6", "1.2.8.6.1", "1.2.8.6.1.1"), Rows=None),
        "pdf.dcm": _document("1.2.8.7"),
        "report.dcm": sample("test-SR.dcm"),
        "odd numbers.dcm": changed(
            make_instance("1.2.8.8", "1.2.8.8.1", "1.2.8.8.1.1"),
            RescaleSlope="0",
            WindowCenter="1",
            WindowWidth="0",
        ),
    }


def _compressed(study: str, syntax: pydicom.uid.UID, stream: bytes) -> bytes:
    dataset = read(make_instance(study, f"{study}.1", f"{study}.1.1"))
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].is_undefined_length = True
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def _document(study: str) -> bytes:
    dataset = read(make_instance(study, f"{study}.1", f"{study}.1.1"))
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated"):
        delattr(dataset, keyword)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EncapsulatedPDFStorage
    dataset.Modality = "DOC"
    dataset.MIMETypeOfEncapsulatedDocument = "text/html"
    dataset.EncapsulatedDocument = (SCRIPT * 100).encode() + b"\0" * (len(SCRIPT) % 2)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()
