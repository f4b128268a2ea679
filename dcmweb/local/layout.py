"""Paths of instances in a folder: by their UIDs, or by other attributes that a user chooses."""

from __future__ import annotations

import os
import re
import string
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from dcmweb.dicom import json_model
from dcmweb.dicom.dictionary import attribute
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.person_names import groups_of
from dcmweb.dicom.resources import Resource
from dcmweb.dicom.tags import (
    INSTANCE_NUMBER,
    SERIES_INSTANCE_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
)
from dcmweb.errors import UsageError
from dcmweb.local import windows
from dcmweb.local.safe_names import distinguishing_suffix, instance_path, uid_name

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
_OF_FILES = (SOP_INSTANCE_UID, INSTANCE_NUMBER)
_PADDED = re.compile("0[1-9][0-9]?")
_INTEGER = re.compile("[+-]?[0-9]{1,18}", re.ASCII)
_WRITE_IT = "write it like {PatientID}/{StudyDate}/{SOPInstanceUID}"


@dataclass(frozen=True)
class _Part:
    """A part of a name: a text, and the tag of the attribute that follows it, or "".

    A whole number is written with so many digits at least.
    """

    text: str
    tag: str
    digits: int = 0


class Layout:
    """A template of paths: attributes in braces, by keyword or tag, with text between them.

    If the last name has neither the SOP Instance UID nor the Instance Number, the UID becomes the
    name of the file, in a folder of the template. A whole number can be padded with zeros, so that
    names sort as numbers do: {InstanceNumber:04}. The value of an attribute can only be part of a
    name, never lead elsewhere.
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
        if not all(names) or ".." in names or "\0" in template:
            raise UsageError(f"layout {template!r} is not a path below a folder", _WRITE_IT)
        self._names = [_parse(name, template) for name in names]
        if not any(part.tag in _OF_FILES for part in self._names[-1]):
            self._names.append([_Part("", SOP_INSTANCE_UID)])
        used = {part.tag for name in self._names for part in name if part.tag}
        self.tags = tuple(sorted(used - _UID_TAGS.keys()))
        # Two UIDs in one name may join to the same text as two others: 1.2 and 3.4, 1.23 and .4.
        alone = [[part.tag for part in name if part.tag] for name in self._names]
        self.tells_all_apart = {tags[0] for tags in alone if len(tags) == 1} >= _UID_TAGS.keys()

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

    def own_place(self, instance: Resource, attributes: Dataset) -> str:
        """Return a path that no other instance has; a digest is added where there might be one.

        It is for what is not an instance itself, and so does not say which one it is of. A SOP
        Instance UID alone does not tell either: copies of an instance in two studies may share it.
        """
        place = self.place(instance, attributes)
        if self.tells_all_apart:
            return place
        return place + distinguishing_suffix(str(instance))

    @staticmethod
    def _name(parts: list[_Part], instance: Resource, attributes: Dataset) -> str:
        name = "".join(part.text + _value(part, instance, attributes) for part in parts)
        if name.startswith("."):
            name = f"_{name[1:]}"
        if windows.is_device(name):
            name = f"_{name}{distinguishing_suffix(name)}"
        if len(name.encode()) > LONGEST_NAME:
            name = name.encode()[:LONGEST_NAME].decode(errors="ignore") + distinguishing_suffix(
                name
            )
        return name


def _parse(name: str, template: str) -> list[_Part]:
    """Read one name of a template."""
    try:
        fields = list(string.Formatter().parse(name))
    except ValueError as error:
        raise UsageError(f"layout {template!r} is malformed: {error}", _WRITE_IT) from None
    parts = []
    for text, field, spec, conversion in fields:
        if conversion or field == "":
            raise UsageError(f"layout {template!r} is malformed", _WRITE_IT)
        if spec and not _PADDED.fullmatch(spec):
            raise UsageError(
                f"layout {template!r} has {spec!r} behind a colon",
                "give a number of digits that begins with 0, as in {InstanceNumber:04}",
            )
        tag = "" if field is None else attribute(field).tag
        parts.append(_Part(text, tag, int(spec or 0)))
    if windows.IS_WINDOWS:
        _check_for_windows(parts)
    return parts


def _check_for_windows(parts: list[_Part]) -> None:
    """Raise UsageError for text between attributes that Windows does not allow in names."""
    for part in parts:
        text = part.text
        if forbidden := windows.forbidden_in(text):
            raise UsageError(f"Windows allows no {forbidden} in names, as layout {text!r} has")
        if not part.tag and windows.loses_its_end(text):
            raise UsageError(f"Windows drops the dot or space at the end of layout {text!r}")


def _value(part: _Part, instance: Resource, attributes: Dataset) -> str:
    tag = part.tag
    if not tag:
        return ""
    if tag in _UID_TAGS:
        return uid_name(getattr(instance, _UID_TAGS[tag]))
    texts = [_text(value) for value in json_model.values(attributes, tag)]
    text = "+".join(filter(None, texts)) or MISSING
    if part.digits and _INTEGER.fullmatch(text):
        text = f"{int(text):0{part.digits}d}"
    return readable_name(text)


def _text(value: object) -> str:
    if isinstance(value, dict):  # a person's name
        value = next(filter(None, groups_of(value).values()), "")
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # as files have it
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
