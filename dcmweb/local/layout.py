"""Paths of instances in a folder: by their UIDs, or by other attributes that a user chooses."""

from __future__ import annotations

import os
import string
import unicodedata
from collections.abc import Mapping

from dcmweb.dicom import json_model
from dcmweb.dicom.dictionary import attribute
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.person_names import groups_of
from dcmweb.dicom.resources import Resource
from dcmweb.dicom.tags import SERIES_INSTANCE_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID
from dcmweb.errors import UsageError
from dcmweb.local import windows
from dcmweb.local.partial_files import distinguishing_suffix, instance_path, uid_name

DEFAULT_TEMPLATE = "{StudyInstanceUID}/{SeriesInstanceUID}/{SOPInstanceUID}"
MISSING = "unknown"
LONGEST_NAME = 200  # bytes; file systems have 255, and something is yet to be added

_UID_TAGS: Mapping[str, str] = {
    STUDY_INSTANCE_UID: "study",
    SERIES_INSTANCE_UID: "series",
    SOP_INSTANCE_UID: "instance",
}
_SAFE_PUNCTUATION = "_.,^+=@() -"
_NON_JOINER, _JOINER = "\u200c", "\u200d"
_MARKS = ("Mn", "Mc")  # signs for vowels, accents: what they follow would be another word without
_VIRAMA = 9  # the combining class of the signs that join consonants
_WRITE_IT = "write it like {PatientID}/{StudyDate}/{SOPInstanceUID}"


class Layout:
    """A template of paths: attributes in braces, by keyword or tag, with text between them.

    If the last name has no SOP Instance UID, that becomes the name of the file, in a folder of
    the template. The value of an attribute can only be part of a name, never lead elsewhere.
    """

    def __init__(self, template: str = DEFAULT_TEMPLATE) -> None:
        """Read a template; raises UsageError for one that is malformed or leaves the folder."""
        if any("\ud800" <= char <= "\udfff" for char in template):
            raise UsageError("the layout is not UTF-8", _WRITE_IT)
        self._is_default = template == DEFAULT_TEMPLATE
        path = template.removesuffix(".dcm")
        if windows.IS_WINDOWS:
            path = path.replace("\\", "/")
        names = [part for part in path.split("/") if part != "."]
        if path.startswith("/") or not all(names) or ".." in names or "\0" in template:
            raise UsageError(f"layout {template!r} is not a path below a folder", _WRITE_IT)
        self._names = [_parse(name, template) for name in names]
        if not any(tag == SOP_INSTANCE_UID for _, tag in self._names[-1]):
            self._names.append([("", SOP_INSTANCE_UID)])
        used = {tag for name in self._names for _, tag in name if tag}
        self.tags = tuple(sorted(used - _UID_TAGS.keys()))
        self.tells_all_apart = used >= _UID_TAGS.keys()

    @property
    def is_default(self) -> bool:
        """Whether it is that of study, series and instance UIDs."""
        return self._is_default

    def place(self, instance: Resource, attributes: Dataset) -> str:
        """Return the relative path of an instance, without an extension.

        `attributes` hold what the template names beside UIDs, in the DICOM JSON model.
        """
        if self._is_default:
            return instance_path(instance)
        return os.path.join(*(self._name(name, instance, attributes) for name in self._names))

    @staticmethod
    def _name(parts: list[tuple[str, str]], instance: Resource, attributes: Dataset) -> str:
        name = "".join(text + _value(tag, instance, attributes) for text, tag in parts)
        if name.startswith("."):
            name = f"_{name[1:]}"
        if windows.is_device(name):
            name = f"_{name}{distinguishing_suffix(name)}"
        if len(name.encode()) > LONGEST_NAME:
            name = name.encode()[:LONGEST_NAME].decode(errors="ignore") + distinguishing_suffix(
                name
            )
        return name


def _parse(name: str, template: str) -> list[tuple[str, str]]:
    """Read one name of a template: texts, each with the tag that follows it, or ""."""
    try:
        fields = list(string.Formatter().parse(name))
    except ValueError as error:
        raise UsageError(f"layout {template!r} is malformed: {error}", _WRITE_IT) from None
    parts = []
    for text, field, spec, conversion in fields:
        if spec or conversion or field == "":
            raise UsageError(f"layout {template!r} is malformed", _WRITE_IT)
        parts.append((text, "" if field is None else attribute(field).tag))
    if windows.IS_WINDOWS:
        _check_for_windows(parts)
    return parts


def _check_for_windows(parts: list[tuple[str, str]]) -> None:
    """Raise UsageError for text between attributes that Windows does not allow in names."""
    for text, tag in parts:
        if forbidden := windows.forbidden_in(text):
            raise UsageError(f"Windows allows no {forbidden} in names, as layout {text!r} has")
        if not tag and windows.loses_its_end(text):
            raise UsageError(f"Windows drops the dot or space at the end of layout {text!r}")


def _value(tag: str, instance: Resource, attributes: Dataset) -> str:
    if not tag:
        return ""
    if tag in _UID_TAGS:
        return uid_name(getattr(instance, _UID_TAGS[tag]))
    texts = [_text(value) for value in json_model.values(attributes, tag)]
    return readable_name("+".join(filter(None, texts)) or MISSING)


def _text(value: object) -> str:
    if isinstance(value, dict):  # a person's name
        value = next(filter(None, groups_of(value).values()), "")
    return str(value).strip("\0 ") if isinstance(value, (str, int, float)) else ""


def readable_name(text: str) -> str:
    """Make a value into part of a name that people can read, in any script.

    A changed value gets a suffix made from the original, so that two values, perhaps two
    patients, never share a name. Unicode's equivalent spellings are one value, in the form NFC.
    """
    text = unicodedata.normalize("NFC", text)
    padded = f" {text} "
    name = "".join(
        char if _is_safe(padded[index], char, padded[index + 2]) else "_"
        for index, char in enumerate(text)
    ).strip(" .")
    return name if name == text else name + distinguishing_suffix(text)


def _is_safe(before: str, char: str, after: str) -> bool:
    """Return True if a character can stay in a name: in words, marks and joiners belong to it."""
    if char.isalnum() or char in _SAFE_PUNCTUATION:
        return True
    if unicodedata.category(char) in _MARKS:
        return _is_of_word(before) or before in (_NON_JOINER, _JOINER)
    # Invisible, so only where scripts need them (Unicode Standard Annex 31, section 2.3).
    if char == _NON_JOINER and not (before + after).isascii():
        return _is_of_word(before) and _is_of_word(after)
    return char == _JOINER and unicodedata.combining(before) == _VIRAMA


def _is_of_word(char: str) -> bool:
    return char.isalnum() or unicodedata.category(char) in _MARKS
