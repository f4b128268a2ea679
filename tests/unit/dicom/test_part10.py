"""Looking into DICOM files: which instance one is, and whether its end is missing."""

from __future__ import annotations

import errno
import io
import os
import random
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    MediaStorageDirectoryStorage,
    SecondaryCaptureImageStorage,
)

from dcmweb.dicom import part10
from dcmweb.dicom.byte_ranges import fingerprint
from dcmweb.dicom.part10 import Identity, find_damage, find_missing_end, identify, identify_file
from dcmweb.dicom.resources import Resource
from dcmweb.errors import BrokenDicom, LocalError, MissingUid, NotDicom
from tests.conftest import make_instance

STUDY, SERIES, INSTANCE = "1.2.3", "1.2.3.4", "1.2.3.4.5"
RESOURCE = Resource(STUDY, SERIES, INSTANCE)
SHIPPED = Path(pydicom.__file__).parent / "data"  # what comes with pydicom; nothing is fetched


@dataclass(frozen=True)
class Made:
    """A file put together from its preamble and meta information, and its encoded elements."""

    meta: bytes
    elements: tuple[bytes, ...]
    syntax: str

    @property
    def data(self) -> bytes:
        body = b"".join(self.elements)
        if self.syntax == DeflatedExplicitVRLittleEndian:
            deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
            body = deflate.compress(body) + deflate.flush()
        return self.meta + body

    def starts(self) -> Iterator[tuple[int, bytes]]:
        """Yield where each element begins, and the element."""
        place = len(self.meta)
        for element in self.elements:
            yield place, element
            place += len(element)


def meta(syntax: str = ExplicitVRLittleEndian, sop_class: str = "", instance: str = "") -> bytes:
    information = FileMetaDataset()
    information.MediaStorageSOPClassUID = UID(sop_class or SecondaryCaptureImageStorage)
    information.MediaStorageSOPInstanceUID = UID(instance or INSTANCE)
    information.TransferSyntaxUID = UID(syntax)
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, information)
    return bytes(128) + b"DICM" + buffer.getvalue()


def encode(dataset: Dataset, syntax: str) -> tuple[bytes, ...]:
    """Encode each element by itself."""
    encoded = []
    for element in dataset:
        buffer = DicomBytesIO()
        buffer.is_little_endian = syntax != ExplicitVRBigEndian
        buffer.is_implicit_VR = syntax == ImplicitVRLittleEndian
        single = Dataset()
        single.add(element)
        write_dataset(buffer, single)
        encoded.append(buffer.getvalue())
    return tuple(encoded)


def item(**values: object) -> Dataset:
    dataset = Dataset()
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def nested(undefined: bool) -> Dataset:
    """An item with UIDs that are not those of the instance, and an item in it."""
    inner = item(SOPInstanceUID="9.9.1", StudyInstanceUID="9.9.2", SeriesInstanceUID="9.9.3")
    outer = item(SOPClassUID="9.9.4", SOPInstanceUID="9.9.5", ReferencedSeriesSequence=[inner])
    for dataset in (inner, outer):
        dataset.is_undefined_length_sequence_item = undefined
    outer["ReferencedSeriesSequence"].is_undefined_length = undefined
    return outer


def instance(undefined: bool = False) -> Dataset:
    dataset = item(
        LanguageCodeSequence=[nested(undefined), nested(undefined)],
        SOPClassUID=SecondaryCaptureImageStorage,
        SOPInstanceUID=INSTANCE,
        ReferencedStudySequence=[nested(undefined)],
        PatientName="Doe^Jane",
        StudyInstanceUID=STUDY,
        SeriesInstanceUID=SERIES,
        RequestAttributesSequence=[Dataset()],
        Rows=2,
        PixelData=bytes(range(40)),
    )
    dataset["PixelData"].VR = "OW"
    for name in ("LanguageCodeSequence", "ReferencedStudySequence"):
        dataset[name].is_undefined_length = undefined
    return dataset


def made(syntax: str, dataset: Dataset | None = None) -> Made:
    return Made(meta(syntax), encode(dataset or instance(), syntax), syntax)


def encapsulated() -> Made:
    dataset = instance()
    dataset.PixelData = encapsulate([b"\xff\xd8" + bytes(20) + b"\xff\xd9", bytes(10)])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return made(JPEGBaseline8Bit, dataset)


def private_unknown() -> Made:
    """Put a private sequence of VR UN and undefined length before the study's UID.

    Its items are in Implicit VR Little Endian (PS3.5 section 6.2.2).
    """
    begin, end = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0\0\0\0\0"
    unlimited, close = b"\xff" * 4, b"\xfe\xff\xdd\xe0\0\0\0\0"
    inside = b"".join(encode(nested(undefined=True), ImplicitVRLittleEndian))
    private = (
        b"\x09\x00\x10\x00LO\x06\x00MAKER ",
        b"\x09\x00\x01\x10UN\0\0" + unlimited + begin + unlimited + inside + end + close,
    )
    before = item(SOPClassUID=SecondaryCaptureImageStorage, SOPInstanceUID=INSTANCE)
    after = item(StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES, Rows=1)
    syntax = ExplicitVRLittleEndian
    return Made(meta(syntax), (*encode(before, syntax), *private, *encode(after, syntax)), syntax)


PLAIN = {
    "explicit": made(ExplicitVRLittleEndian),
    "implicit": made(ImplicitVRLittleEndian),
    "big endian": made(ExplicitVRBigEndian),
    "undefined lengths": made(ExplicitVRLittleEndian, instance(undefined=True)),
    "implicit, undefined lengths": made(ImplicitVRLittleEndian, instance(undefined=True)),
    "encapsulated": encapsulated(),
    "private": private_unknown(),
}
DEFLATED = made(DeflatedExplicitVRLittleEndian)
ALL = {**PLAIN, "deflated": DEFLATED}


def each(files: dict[str, Made]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("file", files.values(), ids=files.keys())


def said_of(data: bytes) -> str:
    return find_missing_end(io.BytesIO(data))


@each(ALL)
def test_the_uids_are_those_of_the_instance_and_found_without_pydicom(
    file: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> dict[int, str]:
        raise AssertionError("pydicom was asked")

    monkeypatch.setattr(part10, "_ask_pydicom", never)
    identity = identify(io.BytesIO(file.data))
    expected = Identity(SecondaryCaptureImageStorage, RESOURCE, INSTANCE, file.syntax)
    assert identity == expected
    assert identity.names == (INSTANCE,)


@each(ALL)
def test_pydicom_can_read_what_is_made_here(file: Made) -> None:
    dataset = pydicom.dcmread(io.BytesIO(file.data))
    assert (dataset.StudyInstanceUID, dataset.SOPInstanceUID) == (STUDY, INSTANCE)


@each(ALL)
def test_whole_files_are_whole(file: Made) -> None:
    assert said_of(file.data) == ""
    assert find_damage(io.BytesIO(file.data)) == ""


@each(ALL)
@pytest.mark.parametrize("padding", [1, 2, 7, 8, 100])
def test_zeros_behind_a_file_are_no_missing_end(file: Made, padding: int) -> None:
    assert said_of(file.data + bytes(padding)) == ""


def header_size(element: bytes, file: Made) -> int:
    long = (b"OB", b"OW", b"SQ", b"UN")
    return 12 if file.syntax != ImplicitVRLittleEndian and element[4:6] in long else 8


@each(PLAIN)
def test_a_file_that_ends_inside_a_value_is_cut_short(file: Made) -> None:
    data = file.data
    for start, element in file.starts():
        for cut in range(start + header_size(element, file), start + len(element)):
            assert said_of(data[:cut]), f"cut at {cut - start} of {element!r}"
            assert find_damage(io.BytesIO(data[:cut]))


@each(PLAIN)
def test_a_file_that_ends_inside_the_header_of_an_element_is_cut_short(file: Made) -> None:
    data = file.data
    for start, element in file.starts():
        for length in range(1, header_size(element, file)):
            if any(element[:length]):  # zeros could be padding
                assert said_of(data[: start + length]), f"cut at {length} of {element!r}"


@each(ALL)
def test_a_file_that_ends_inside_its_meta_information_is_cut_short(file: Made) -> None:
    for cut in range(132 + 12, len(file.meta)):  # from where its length is known
        assert said_of(file.data[:cut]), f"cut at {cut} of {len(file.meta)}"


def test_a_deflated_file_that_ends_anywhere_is_cut_short() -> None:
    data = DEFLATED.data
    for cut in range(len(DEFLATED.meta), len(data)):
        assert said_of(data[:cut]), cut


def test_deflated_files_of_any_size_are_whole() -> None:
    """Zeros in a block of their own deflate to next to nothing: one byte is much of the output."""
    head = b"".join(DEFLATED.elements[:-1])
    for size in range(256 * 1024 - 10, 256 * 1024 + 300):
        zeros = bytes(size - len(head) - 12)
        pixels = b"\xe0\x7f\x10\x00OW\0\0" + len(zeros).to_bytes(4, "little") + zeros
        deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        data = deflate.compress(head) + deflate.flush(zlib.Z_FULL_FLUSH)
        data += deflate.compress(pixels) + deflate.flush()
        assert said_of(DEFLATED.meta + data) == "", size


@each({name: file for name, file in ALL.items() if name != "private"})
def test_where_the_end_is_doubted_only_pixel_data_shows_that_a_file_is_whole(file: Made) -> None:
    data = file.data
    assert find_missing_end(io.BytesIO(data), doubted=True) == ""
    for cut in range(len(data)):
        assert find_missing_end(io.BytesIO(data[:cut]), doubted=True), cut


def test_where_the_end_is_doubted_a_file_without_pixel_data_is_not_taken_for_whole() -> None:
    file = io.BytesIO(PLAIN["private"].data)
    assert find_missing_end(file) == ""
    assert "nothing shows" in find_missing_end(file, doubted=True)
    assert "nothing shows" in find_missing_end(io.BytesIO(b""), doubted=True)


def test_the_place_where_a_file_ends_is_named() -> None:
    assert said_of(PLAIN["explicit"].data[:-1]) == "it ends inside element (7FE0,0010)"
    assert said_of(PLAIN["encapsulated"].data[:-1]) == "it ends inside element (7FE0,0010)"
    assert "breaks off" in said_of(DEFLATED.data[:-4])


@pytest.mark.parametrize("name", ["explicit", "implicit", "big endian"])
def test_a_data_set_without_meta_information_can_be_cut_short_too(name: str) -> None:
    bare = b"".join(PLAIN[name].elements)
    assert said_of(bare) == ""
    assert said_of(bare[:-1]) == "it ends inside element (7FE0,0010)"


def test_what_cannot_be_told_is_not_said_to_be_missing() -> None:
    assert said_of(b"") == ""
    assert said_of(bytes(1000)) == ""
    assert said_of(PLAIN["explicit"].meta + b"\x08\x00\x05\x00??junk") == ""


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no preamble"),
        (b"".join(PLAIN["explicit"].elements), "no preamble"),
        (bytes(128) + b"DICM", "no Transfer Syntax UID"),
        (PLAIN["explicit"].meta + b"\x08\x00\x05\x00??junk", "malformed"),
        (PLAIN["explicit"].data + b"\x01\x02\x03", "ends inside the header"),
        (DEFLATED.meta + b"\xff" * 20, "malformed"),
        (PLAIN["explicit"].data[:-1], "ends inside element"),
        (
            PLAIN["implicit"].meta + b"\x08\x00\x06\x00\xff\xff\xff\xff\x08\x00\x05\x00",
            "ends inside element",
        ),
        (
            PLAIN["implicit"].meta + b"\x08\x00\x06\x00\xff\xff\xff\xff\x08\x00\x05\x00\0\0\0\0",
            "no item where one should be",
        ),
    ],
)
def test_damage_is_told_in_words(data: bytes, words: str) -> None:
    assert words in find_damage(io.BytesIO(data))


def test_sequences_nested_without_end_are_given_up() -> None:
    level = b"\x08\x00\x06\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    data = meta(ImplicitVRLittleEndian) + level * 100_000
    assert "nested too deep" in find_damage(io.BytesIO(data))
    with pytest.raises(BrokenDicom):
        identify(io.BytesIO(data))


def shipped() -> list[Path]:
    folders = ("test_files", "charset_files", "palettes")
    return sorted(
        path for name in folders for path in (SHIPPED / name).rglob("*") if path.is_file()
    )


def uids_for_pydicom(path: Path) -> Sequence[str]:
    names = ("SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=True, specific_tags=list(names))
        return tuple(str(dataset.get(name) or "") for name in names)


def test_real_files_have_the_uids_that_pydicom_finds() -> None:
    compared = 0
    for path in shipped():
        try:
            expected = uids_for_pydicom(path)
        except Exception:  # not all of them are DICOM
            continue
        if not expected[0] or not expected[-1]:
            continue
        identity = identify_file(str(path)).identity
        uids = identity.resource
        assert (identity.sop_class, uids.study, uids.series, uids.instance) == expected, path
        compared += 1
    assert compared > 50


def test_real_files_are_whole_unless_they_are_called_truncated() -> None:
    for path in shipped():
        with path.open("rb") as file:
            if file.read(132)[128:] == b"DICM":
                assert bool(find_missing_end(file)) == ("truncated" in path.name), path


def write(folder: Path, data: bytes) -> str:
    path = folder / "file.dcm"
    path.write_bytes(data)
    return str(path)


def test_a_look_tells_size_and_time(tmp_path: Path) -> None:
    path = write(tmp_path, PLAIN["explicit"].data)
    os.utime(path, ns=(1, 1_234_567_890_123_456_700))
    found = identify_file(path)
    assert (found.path, found.size) == (path, len(PLAIN["explicit"].data))
    assert found.mtime_ns == 1_234_567_890_123_456_700
    with open(path, "rb") as file:
        assert fingerprint(file.fileno()) == (found.size, found.mtime_ns)


def test_meta_information_may_name_another_instance() -> None:
    data = meta(instance="9.8.7") + b"".join(PLAIN["explicit"].elements)
    identity = identify(io.BytesIO(data))
    assert identity.resource == RESOURCE
    assert identity.names == (INSTANCE, "9.8.7")


@pytest.mark.parametrize("name", ["explicit", "implicit", "big endian"])
def test_a_data_set_without_meta_information_is_identified(name: str) -> None:
    dataset = instance()
    del dataset.LanguageCodeSequence
    elements = encode(dataset, PLAIN[name].syntax)
    identity = identify(io.BytesIO(b"".join(elements)))
    assert identity.bare
    assert identity.resource == RESOURCE
    assert (identity.meta_sop_instance, identity.transfer_syntax) == ("", "")


def test_meta_information_without_a_transfer_syntax_is_no_obstacle() -> None:
    head = bytes(128) + b"DICM"
    for name in ("explicit", "implicit"):
        identity = identify(io.BytesIO(head + b"".join(PLAIN[name].elements)))
        assert identity.resource == RESOURCE


@each(ALL)
@pytest.mark.parametrize("length", [0, 10, 170, 240, 1_000_000])
def test_meta_information_of_another_length_than_it_says_is_no_obstacle(
    file: Made, length: int
) -> None:
    """The length is often wrong; what follows it tells where the data set begins."""
    data = file.data[:140] + length.to_bytes(4, "little") + file.data[144:]
    assert pydicom.dcmread(io.BytesIO(data)).SOPInstanceUID == INSTANCE
    assert identify(io.BytesIO(data)) == identify(io.BytesIO(file.data))
    assert said_of(data) == ""


def test_a_wrong_transfer_syntax_is_no_obstacle() -> None:
    data = meta(ExplicitVRLittleEndian) + b"".join(PLAIN["implicit"].elements)
    assert identify(io.BytesIO(data)).resource == RESOURCE


def test_uids_are_read_without_their_padding() -> None:
    for padding in (b"\0", b" ", b"\0\0", b" \0"):
        uid = INSTANCE.encode() + padding
        uid += b"\0" * (len(uid) % 2)
        elements = list(PLAIN["explicit"].elements)
        elements[2] = b"\x08\x00\x18\x00UI" + len(uid).to_bytes(2, "little") + uid
        assert identify(io.BytesIO(meta() + b"".join(elements))).resource == RESOURCE


@pytest.mark.parametrize("name", ["explicit", "implicit"])
@pytest.mark.parametrize(
    ("missing", "found"),
    [
        ("StudyInstanceUID", Resource("", SERIES, INSTANCE)),
        ("SeriesInstanceUID", Resource(STUDY, "", INSTANCE)),
    ],
)
def test_missing_uids_above_the_instance_stay_empty(
    name: str, missing: str, found: Resource
) -> None:
    dataset = instance()
    delattr(dataset, missing)
    assert identify(io.BytesIO(made(PLAIN[name].syntax, dataset).data)).resource == found


@pytest.mark.parametrize("name", ["explicit", "implicit", "big endian"])
def test_an_instance_without_a_uid_is_nameless(name: str) -> None:
    dataset = instance()
    del dataset.SOPInstanceUID
    with pytest.raises(MissingUid):
        identify(io.BytesIO(made(PLAIN[name].syntax, dataset).data))


@pytest.mark.parametrize("level", [b"\x0d", b"\x0e"])
def test_an_instance_in_a_study_or_series_without_a_usable_uid_is_broken(
    level: bytes, tmp_path: Path
) -> None:
    header = b"\x20\x00" + level + b"\x00UI"
    elements = [
        header + b"\x02\x00.." if element.startswith(header) else element
        for element in PLAIN["explicit"].elements
    ]
    with pytest.raises(BrokenDicom, match="malformed"):
        identify_file(write(tmp_path, meta() + b"".join(elements)))


@pytest.mark.parametrize(
    ("uid", "kind"),
    [("", MissingUid), ("..", BrokenDicom), ("1.2\x1b.3", BrokenDicom), ("1" * 129, BrokenDicom)],
)
def test_an_instance_without_a_usable_uid_is_broken(
    uid: str, kind: type[LocalError], tmp_path: Path
) -> None:
    elements = list(PLAIN["explicit"].elements)
    value = uid.encode() + b"\0" * (len(uid) % 2)
    elements[2] = b"\x08\x00\x18\x00UI" + len(value).to_bytes(2, "little") + value
    with pytest.raises(BrokenDicom) as caught:
        identify_file(write(tmp_path, meta() + b"".join(elements)))
    assert type(caught.value) is kind
    assert caught.value.path == str(tmp_path / "file.dcm")


def test_a_file_that_ends_before_its_uids_is_broken() -> None:
    for cut in range(132, len(PLAIN["explicit"].meta) + 1):
        with pytest.raises(BrokenDicom):
            identify(io.BytesIO(PLAIN["explicit"].data[:cut]), "path")


@pytest.mark.parametrize(
    "start",
    [
        b"", b"\x02\x00", b"\x02\x00\x10\x00UI", b"\x08\x00", b"\x08\x00\x18\x00UI", b"\x00\x08",
        bytes(128) + b"DICM", bytes(128) + b"DICM\x02\x00", *(file.meta for file in ALL.values()),
    ],
)  # fmt: skip
def test_junk_is_turned_away_whatever_it_begins_with(start: bytes) -> None:
    chance = random.Random(17)
    for size in [0, 1, 2, 4, 6, 8, 12, *[100] * 100]:
        data = start + chance.randbytes(size)
        with pytest.raises((NotDicom, BrokenDicom)):
            identify(io.BytesIO(data))
        find_missing_end(io.BytesIO(data))
        find_damage(io.BytesIO(data))


@each(ALL)
def test_a_damaged_file_is_identified_or_turned_away(file: Made) -> None:
    chance = random.Random(17)
    for _ in range(200):
        data = bytearray(file.data)
        for place in chance.sample(range(128, len(data)), 3):
            data[place] = chance.randrange(256)
        with suppress(NotDicom, BrokenDicom):
            identify(io.BytesIO(data))
        find_missing_end(io.BytesIO(data))
        find_damage(io.BytesIO(data))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"DICM", "not a DICOM file"),
        (b"some text, long enough for a preamble\n" * 20, "not a DICOM file"),
        (b"\x1f\x8b\x08\0" + bytes(range(256)) * 4, "not a DICOM file"),
        (bytes(1000), "not a DICOM file"),
        (b"\xff" * 1000, "not a DICOM file"),
        (PLAIN["explicit"].data[:100], "not a DICOM file"),
        (meta(sop_class=MediaStorageDirectoryStorage), "DICOMDIR"),
    ],
)
def test_what_is_no_instance(data: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(NotDicom, match=words) as caught:
        identify_file(write(tmp_path, data))
    assert caught.value.path == str(tmp_path / "file.dcm")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes in folders here")
def test_a_named_pipe_is_no_instance_and_is_not_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    errors: list[LocalError] = []

    def attempt() -> None:
        try:
            identify_file(path)
        except LocalError as error:
            errors.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(10)
    assert [str(error) for error in errors] == ["not a regular file"]


def test_what_cannot_be_read_is_a_local_error(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="No such file") as caught:
        identify_file(str(tmp_path / "none"))
    assert caught.value.path == str(tmp_path / "none")
    assert not isinstance(caught.value, NotDicom)


def test_a_folder_is_no_instance_and_no_descriptor_is_lost(tmp_path: Path) -> None:
    def lowest_free() -> int:
        descriptor = os.open(os.devnull, os.O_RDONLY)
        os.close(descriptor)
        return descriptor

    before = lowest_free()
    with pytest.raises(LocalError):
        identify_file(str(tmp_path))
    assert lowest_free() == before


@pytest.mark.parametrize("count", [1, 8, 512, 1_000_000])
def test_zeros_behind_a_data_set_are_padding(count: int) -> None:
    file = io.BytesIO(make_instance() + bytes(count))
    assert find_damage(file) == ""
    assert find_missing_end(file) == ""


def test_zeros_and_then_something_else_are_damage() -> None:
    assert find_damage(io.BytesIO(make_instance() + bytes(512) + b"x" * 8))


@pytest.mark.parametrize("preamble", [b"", b"\0" * 128 + b"DICM"], ids=["bare", "preamble"])
@pytest.mark.parametrize("name", ["explicit", "implicit"])
@pytest.mark.parametrize("first", [0x0000, 0x0001, 0x0002])
def test_meta_information_in_implicit_vr_is_read(
    preamble: bytes, name: str, first: int, tmp_path: Path
) -> None:
    """As old exports have it; pydicom reads it with force, and gdcm does."""
    syntax = ExplicitVRLittleEndian if name == "explicit" else ImplicitVRLittleEndian
    values = [
        (0x0002, SecondaryCaptureImageStorage.encode()),
        (0x0003, b"1.2.3.4"),
        (0x0010, syntax.encode()),
    ]
    values = [*([(first, b"\x01\0\0\0")] if first < 2 else []), *values]
    head = b"".join(
        struct.pack("<HHL", 2, tag, len(value) + len(value) % 2) + value + b"\0" * (len(value) % 2)
        for tag, value in values
    )
    data = preamble + head + b"".join(PLAIN[name].elements)
    found = identify_file(write(tmp_path, data)).identity
    assert found.resource == identify_file(write(tmp_path, PLAIN[name].data)).identity.resource
    assert (found.transfer_syntax, found.meta_sop_instance) == (syntax, "1.2.3.4")
    assert found.bare is not bool(preamble)


@pytest.mark.parametrize(
    ("number", "error"), [(errno.EIO, LocalError), (errno.EINVAL, MissingUid), (None, MissingUid)]
)
def test_a_disk_that_fails_does_not_pass_for_a_malformed_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int | None, error: type[Exception]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, "it failed") if number else OSError("it failed")

    path = tmp_path / "odd.dcm"
    path.write_bytes(bytes(128) + b"DICM" + b"\x08\x00\x16\x00??" + bytes(20))
    monkeypatch.setattr(part10, "read_with_pydicom", fail)
    with pytest.raises(LocalError) as caught:
        identify_file(str(path))
    assert type(caught.value) is error


def test_nothing_is_said_of_what_is_wrong_with_a_file_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    path = tmp_path / "1.dcm"
    path.write_bytes(make_instance())
    instance = part10.identify_file(str(path))
    assert instance.what_is_wrong() == ""
    with monkeypatch.context() as patched:
        patched.setattr(part10, "find_damage", broken)
        assert instance.what_is_wrong() == ""
    path.unlink()
    assert instance.what_is_wrong() == ""


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\x00 begins like a data set, and is a text",
        b"\x08\x00\x18\x00UI\x06\x001.2.3\0",
        b"\x08\x00\x16\x00UI\x06\x001.2.3\0",
    ],
    ids=["text", "an instance without a class", "a class without an instance"],
)
def test_what_begins_without_a_preamble_is_dicom_only_with_its_uids(data: bytes) -> None:
    with pytest.raises(NotDicom, match="not a DICOM file"):
        identify(io.BytesIO(data))


def test_values_of_a_file_that_is_cut_before_them_are_not_read() -> None:
    with pytest.raises(BrokenDicom, match="it ends inside element"):
        part10.read_values(io.BytesIO(b"\x08\x00\x18\x00UI\x06\x001.2"), [0x00080018])
