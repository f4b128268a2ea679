"""Media types, as servers and people write them."""

from __future__ import annotations

import pytest

from dcmweb.errors import UsageError
from dcmweb.http.media_types import EXTENSIONS, MediaType, multipart, parse, parse_wanted


@pytest.mark.parametrize(
    ("text", "name", "parameters"),
    [
        ("", "", {}),
        ("application/dicom", "application/dicom", {}),
        (" Application/DICOM+json ; Charset=UTF-8", "application/dicom+json", {"charset": "UTF-8"}),
        ("a/b;x=1;y=2", "a/b", {"x": "1", "y": "2"}),
        ("a/b; X=1; x=2", "a/b", {"x": "1"}),
        ('a/b; x="p;q=r"; y=2', "a/b", {"x": "p;q=r", "y": "2"}),
        (r'a/b; x="say \"hi\" \\o/"', "a/b", {"x": r'say "hi" \o/'}),
        ("a/b; type=application/dicom; y=1", "a/b", {"type": "application/dicom", "y": "1"}),
        ("a/b;; ; x=1;", "a/b", {"x": "1"}),
        ("a/b; x = 1 ; y\t=\t2", "a/b", {"x": "1", "y": "2"}),
        ('a/b; x=""', "a/b", {"x": ""}),
        ('a/b; y=1; x="never closed', "a/b", {"y": "1", "x": ""}),
        ("a/b; x=1 nonsense; y=2", "a/b", {"x": "1"}),
        ("image/jpg", "image/jpeg", {}),
        ("image/x-dicom-rle; a=1", "image/dicom-rle", {"a": "1"}),
    ],
)
def test_content_types_are_read_forgivingly(
    text: str, name: str, parameters: dict[str, str]
) -> None:
    media_type = parse(text)
    assert (media_type.name, media_type.parameters) == (name, parameters)


@pytest.mark.parametrize(
    "media_type",
    [
        MediaType("a/b"),
        MediaType("a/b", {"x": "1.2.3", "star": "*"}),
        MediaType("a/b", {"x": 'a "quoted" \\ one; y=2', "type": "c/d", "empty": ""}),
    ],
)
def test_what_is_written_can_be_read_again(media_type: MediaType) -> None:
    assert parse(str(media_type)) == media_type


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("application/dicom", "application/dicom"),
        ("IMAGE/JPEG", "image/jpeg"),
        ("application/dicom; transfer-syntax=*", "application/dicom; transfer-syntax=*"),
        ("multipart/related; type=image/png", "image/png"),
        (
            'multipart/related; boundary=x; type="image/jpeg; transfer-syntax=1.2"',
            "image/jpeg; transfer-syntax=1.2",
        ),
        (
            'multipart/related; type="application/dicom"; transfer-syntax=1.2.3; boundary=x',
            "application/dicom; transfer-syntax=1.2.3",
        ),
        ("image/*", "image/*"),
    ],
)
def test_the_type_a_user_wants_is_that_of_the_parts(text: str, written: str) -> None:
    assert str(parse_wanted(text)) == written


@pytest.mark.parametrize("text", ["", "png", "image/", "/png", "a/b/c", "image /png", "a b/c", ";"])
def test_what_is_no_media_type_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="not a media type"):
        parse_wanted(text)


@pytest.mark.parametrize(
    ("inner", "boundary", "written"),
    [
        ("application/dicom", "", 'multipart/related; type="application/dicom"'),
        (
            "application/dicom; transfer-syntax=*",
            "",
            'multipart/related; type="application/dicom"; transfer-syntax=*',
        ),
        ("a/b", "x'y", 'multipart/related; type="a/b"; boundary=x\'y'),
        (MediaType("a/b", {"c": "d e"}), "x", 'multipart/related; type="a/b"; c="d e"; boundary=x'),
    ],
)
def test_multipart_names_the_type_of_its_parts(
    inner: MediaType | str, boundary: str, written: str
) -> None:
    assert multipart(inner, boundary=boundary) == written


@pytest.mark.parametrize(
    ("text", "extension"),
    [
        ("application/dicom; transfer-syntax=*", ".dcm"),
        ("application/octet-stream", ".raw"),
        ("image/jpg", ".jpg"),
        ("application/x-unheard-of", ".bin"),
        ("", ".bin"),
    ],
)
def test_files_are_named_after_their_type(text: str, extension: str) -> None:
    assert parse(text).extension == extension


def test_extensions_are_plain() -> None:
    assert all(extension[1:].isalnum() for extension in EXTENSIONS.values())
    assert all(name == name.lower() for name in EXTENSIONS)


def test_multipart_is_told_from_others() -> None:
    assert parse("Multipart/Related; boundary=x").is_multipart
    assert parse("multipart/mixed").is_multipart
    assert not parse("application/dicom").is_multipart
