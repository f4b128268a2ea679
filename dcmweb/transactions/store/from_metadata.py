"""Instances made of metadata in DICOM JSON, and of images or documents (PS3.18 section 10.5.1).

All of them are made, and checked, before the first is sent.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from dcmweb.counted import plural
from dcmweb.dicom.byte_ranges import FileRange
from dcmweb.dicom.images.attributes import (
    filled,
    is_compressed,
    is_of_many_frames,
    target_of,
)
from dcmweb.dicom.images.content import MediaFile, content_digest, read_media_file
from dcmweb.dicom.json_checks import bulk_data_uris, completed, read_metadata
from dcmweb.dicom.json_model import Dataset, text
from dcmweb.dicom.json_to_part10 import (
    Unwritable,
    check_uids,
)
from dcmweb.dicom.part10 import Identity
from dcmweb.dicom.resources import Resource
from dcmweb.dicom.tags import (
    MODALITY,
    PIXEL_DATA,
    SERIES_INSTANCE_UID,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    TRANSFER_SYNTAX_UID,
)
from dcmweb.errors import LocalError, UsageError
from dcmweb.http.media_types import OCTET_STREAM, MediaType, frame_media_type
from dcmweb.sources import Found
from dcmweb.transactions.store.metadata_instance import Metadata, MetadataInstance

# The name space of UIDs that are made here: of the same input, always the same.
_NAMESPACE = uuid.UUID("6f1cbb4c-9c0f-4d0b-8a53-1f0a3c1d9d52")


@dataclass(frozen=True)
class InputProblem:
    """Something that is wrong with the input: the file it is about, and what."""

    item: str
    words: str


@dataclass(frozen=True)
class _Plan:
    """An instance that is to be made: what it is called, and what of; `place` counts from 1."""

    item: str
    dataset: Dataset
    contents: tuple[MediaFile, ...] = ()
    place: int = 1


def compose(
    metadata: Metadata, files: Iterable[Found]
) -> tuple[list[MetadataInstance], list[InputProblem]]:
    """Make instances of metadata and files; where something is wrong, only say what.

    Raises UsageError if the metadata is not valid, or does not match the files in number.
    """
    datasets, problems = _checked(metadata)
    contents: list[MediaFile] = []
    for found in files:
        content = _look(found, metadata)
        if isinstance(content, MediaFile):
            contents.append(content)
        elif content is not None:
            problems.append(content)
    if problems:
        return [], problems
    composed = []
    plans = _told_apart(_paired(metadata.name, datasets, contents))
    for plan in _with_uids(plans):
        instance = _composed(plan, metadata, problems)
        composed += [instance] if instance else []
    problems += _doubles(composed)
    return ([], problems) if problems else (_with_locations(composed), [])


def _checked(metadata: Metadata) -> tuple[list[Dataset], list[InputProblem]]:
    datasets, problems = [], []
    read = read_metadata(metadata.body, metadata.name)
    for number, one in enumerate(read, start=1):
        dataset, wrong = completed(one)
        item = _name(metadata.name, number, len(read))
        if len(bulk_data_uris(dataset)) > 1:
            wrong.append("more than one element refers to bulk data: there can be one")
        problems += [InputProblem(item, words) for words in wrong]
        datasets.append(dataset)
    return datasets, problems


def _name(metadata: str, number: int, count: int) -> str:
    """Name a data set: by its file, and its place in there if there are others."""
    return f"{metadata}[{number}]" if count > 1 else metadata


def _look(found: Found, metadata: Metadata) -> MediaFile | InputProblem | None:
    """Look at a file; None for the metadata itself, met in a folder."""
    if found.missing:
        return InputProblem(found.path, "no such file, or nothing matches")
    if found.error is not None:
        return InputProblem(found.path, found.error.strerror or str(found.error))
    if not found.named and os.path.realpath(found.path) == os.path.realpath(metadata.name):
        return None
    try:
        return read_media_file(found.path)
    except LocalError as error:
        return InputProblem(found.path, error.message)


def _paired(name: str, datasets: Sequence[Dataset], contents: Sequence[MediaFile]) -> list[_Plan]:
    """Put data sets and files together: by the names in BulkDataURIs, or by order."""
    by_name = _by_name(name, datasets, contents)
    if by_name:
        return by_name
    items = [_name(name, number, len(datasets)) for number in range(1, len(datasets) + 1)]
    if not contents:
        for item, dataset in zip(items, datasets, strict=True):
            if references := bulk_data_uris(dataset):
                uri = next(iter(references.values()))
                raise UsageError(f"{item} refers to {uri!r}, but no file is given", "name it")
        return [_Plan(item, one) for item, one in zip(items, datasets, strict=True)]
    if len(datasets) == 1 and len(contents) > 1:
        return _of_one(items[0], datasets[0], contents)
    if len(datasets) != len(contents):
        raise UsageError(
            f"{name} holds {plural(len(datasets), 'data set')}, "
            f"but there are {plural(len(contents), 'file')}",
            "give one data set, or one for each file",
        )
    pairs = enumerate(zip(datasets, contents, strict=True), start=1)
    return [_Plan(one.path, dataset, (one,), number) for number, (dataset, one) in pairs]


def _by_name(name: str, datasets: Sequence[Dataset], contents: Sequence[MediaFile]) -> list[_Plan]:
    """Find the files that BulkDataURIs name; nothing if that does not find each of them."""
    short = Counter(os.path.basename(one.path) for one in contents)
    files = {one.path: one for one in contents}
    files |= {n: one for one in contents if short[n := os.path.basename(one.path)] == 1}
    plans = []
    for number, dataset in enumerate(datasets, start=1):
        uri = next(iter(bulk_data_uris(dataset).values()), "")
        found = files.get(uri)
        if uri and not found:
            return []
        item = found.path if found else _name(name, number, len(datasets))
        plans.append(_Plan(item, dataset, (found,) if found else (), number))
    used = {one.path for plan in plans for one in plan.contents}
    return plans if contents and used == {one.path for one in contents} else []


def _of_one(item: str, dataset: Dataset, contents: Sequence[MediaFile]) -> list[_Plan]:
    """Make several files of one data set to frames of one instance, or to a series."""
    if is_of_many_frames(dataset):
        return [_Plan(item, dataset, tuple(contents))]
    if uid := text(dataset, SOP_INSTANCE_UID):
        raise UsageError(
            f"{item} has one SOPInstanceUID, {uid}, "
            f"but {plural(len(contents), 'file')} make a series",
            "leave it out; or let NumberOfFrames (0028,0008) be their number, for one instance",
        )
    return [_Plan(one.path, dataset, (one,), number) for number, one in enumerate(contents, 1)]


def _told_apart(plans: list[_Plan]) -> list[_Plan]:
    """Add numbers to what instances are called by, where that is the same file."""
    count = Counter(plan.item for plan in plans)
    return [
        replace(plan, item=f"{plan.item}[{plan.place}]") if count[plan.item] > 1 else plan
        for plan in plans
    ]


def _with_uids(plans: list[_Plan]) -> list[_Plan]:
    """Give instances the UIDs they lack, and one study and series to those that have none.

    They are made of all that makes up the instances, so that the same input has the same UIDs.
    """
    if all(
        text(plan.dataset, tag)
        for plan in plans
        for tag in (STUDY_INSTANCE_UID, SERIES_INSTANCE_UID, SOP_INSTANCE_UID)
    ):
        return plans
    whole = hashlib.sha256()
    for plan in plans:
        whole.update(json.dumps(plan.dataset, sort_keys=True).encode())
        for content in plan.contents:
            whole.update(content_digest(content))
    found = []
    for number, plan in enumerate(plans, start=1):
        study = text(plan.dataset, STUDY_INSTANCE_UID) or _uid(whole.hexdigest())
        kind = "" if not plan.contents else plan.contents[0].kind.value
        modality = text(plan.dataset, MODALITY) or kind
        series = text(plan.dataset, SERIES_INSTANCE_UID) or _uid(whole.hexdigest(), study, modality)
        instance = text(plan.dataset, SOP_INSTANCE_UID) or _uid(
            whole.hexdigest(), series, str(number)
        )
        uids = {STUDY_INSTANCE_UID: study, SERIES_INSTANCE_UID: series, SOP_INSTANCE_UID: instance}
        added = {tag: {"vr": "UI", "Value": [uid]} for tag, uid in uids.items()}
        found.append(replace(plan, dataset={**plan.dataset, **added}))
    return found


def _uid(*names: str) -> str:
    """Make a UID of names (PS3.5 section B.2)."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(names)).int}"


def _composed(
    plan: _Plan, metadata: Metadata, problems: list[InputProblem]
) -> MetadataInstance | None:
    """Make an instance, or add what is wrong with it."""
    dataset, wrong = filled(plan.dataset, plan.contents, plan.place)
    problems += [InputProblem(plan.item, words) for words in wrong]
    if wrong:
        return None
    target = target_of(dataset, plan.contents[0]) if plan.contents else ""
    is_encapsulated = target == PIXEL_DATA and is_compressed(dataset)
    syntax = text(dataset, TRANSFER_SYNTAX_UID)
    media_type = MediaType(frame_media_type(syntax), {"transfer-syntax": syntax})
    if target:
        dataset[target] = {"BulkDataURI": "", **dataset[target]}
    frames = tuple(FileRange(c.path, c.start, c.size, c.fingerprint) for c in plan.contents)
    study, series, instance = (
        text(dataset, tag) for tag in (STUDY_INSTANCE_UID, SERIES_INSTANCE_UID, SOP_INSTANCE_UID)
    )
    composed = MetadataInstance(
        plan.item,
        sum(one.size for one in frames) + len(json.dumps(dataset)),
        max([metadata.mtime_ns, *(one.fingerprint[1] for one in frames)]),
        Identity(
            text(dataset, SOP_CLASS_UID), Resource(study, series, instance), transfer_syntax=syntax
        ),
        dataset=dict(sorted(dataset.items())),
        frames=frames,
        media_type=str(media_type) if is_encapsulated else OCTET_STREAM,
        target=target,
        is_encapsulated=is_encapsulated,
        note=_note(plan.contents),
    )
    try:
        check_uids(dataset)
        composed.as_source()
    except Unwritable as error:
        problems.append(InputProblem(plan.item, str(error)))
        return None
    return composed


def _note(contents: Iterable[MediaFile]) -> str:
    for content in contents:
        orientation = content.pixels.orientation if content.pixels else 1
        if orientation != 1:
            return (
                f"{content.path} is to be shown turned or mirrored (Exif orientation {orientation})"
                ", of which DICOM knows nothing: turn the image itself to have it upright"
            )
    return ""


def _doubles(composed: Iterable[MetadataInstance]) -> Iterator[InputProblem]:
    """Find instances that have the UID of another."""
    seen: dict[str, str] = {}
    for one in composed:
        uid = one.identity.resource.instance
        if uid in seen:
            yield InputProblem(one.path, f"it has the SOPInstanceUID of {seen[uid]}: {uid}")
        seen.setdefault(uid, one.path)


def _with_locations(composed: list[MetadataInstance]) -> list[MetadataInstance]:
    """Name bulk data as the metadata does, or by its instance where that name cannot be used."""
    used = Counter(one.location for one in composed)
    return [
        one if used[one.location] == 1 and _is_plain(one.location) else one.relocated()
        for one in composed
    ]


def _is_plain(location: str) -> bool:
    """Return True if a text can stand in a header field."""
    return location.isascii() and location.isprintable() and location.strip() == location != ""
