"""Paths of DICOMweb resources (PS3.18 section 10.1.1 and table 10.6.1-2)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from urllib.parse import quote, unquote

from dcmweb.errors import UsageError
from dcmweb.values import quickly_made

MOST_FRAMES = 100_000  # in one range: a guard against a slip of the finger
LONGEST_UID = 128  # twice what PS3.5 allows: real data has longer ones than it should

_PLAIN_UIDS = re.compile(r"[0-9][0-9.]{0,63}/[0-9][0-9.]{0,63}/[0-9][0-9.]{0,63}")
_SHAPE = "studies[/UID[/series/UID[/instances/UID[/frames/N,N]]]]"
_TARGET_SHAPE = f"{_SHAPE}, and /metadata, /rendered, /thumbnail or /bulkdata after it"
_SEARCH_SHAPE = (
    "studies, series, instances, studies/UID/series, studies/UID/instances "
    "or studies/UID/series/UID/instances"
)


class Level(str, Enum):
    """The levels of the information model, named as in resource paths."""

    STORE = "store"
    STUDIES = "studies"
    SERIES = "series"
    INSTANCES = "instances"
    FRAMES = "frames"


_LEVELS = (Level.STUDIES, Level.SERIES, Level.INSTANCES, Level.FRAMES)


class Representation(str, Enum):
    """The representation of a resource: the last segment of its path (PS3.18 section 10.4.1)."""

    STORED = "stored"  # has no segment of its own
    METADATA = "metadata"
    RENDERED = "rendered"
    THUMBNAIL = "thumbnail"
    BULKDATA = "bulkdata"


# How servers begin the path of bulk data, below that of its instance.
_BULKDATA_SEGMENTS = (Representation.BULKDATA.value, "bulk", "pixeldata")


@quickly_made
@dataclass(frozen=True)
class Resource:
    """A study, series, instance or list of frames; with nothing set, the whole store."""

    study: str = ""
    series: str = ""
    instance: str = ""
    frames: tuple[int, ...] = ()

    @property
    def level(self) -> Level:
        """The level of the information model this resource is on."""
        if self.frames:
            return Level.FRAMES
        if self.instance:
            return Level.INSTANCES
        if self.series:
            return Level.SERIES
        return Level.STUDIES if self.study else Level.STORE

    def holds(self, other: Resource) -> bool:
        """Whether another resource is this one, or below it."""
        return all(
            own in ("", its)
            for own, its in (
                (self.study, other.study),
                (self.series, other.series),
                (self.instance, other.instance),
            )
        )

    @property
    def above(self) -> list[Resource]:
        """The study and the series that this one is in."""
        return [
            one for one in (Resource(self.study), Resource(self.study, self.series)) if one != self
        ]

    def with_frames(self, *frames: int) -> Resource:
        """Name frames of this instance, counted from 1."""
        return replace(self, frames=frames)

    @property
    def without_frames(self) -> Resource:
        """The instance whose frames these are."""
        return replace(self, frames=())

    def __str__(self) -> str:
        """Write the path relative to the base URL, every UID percent-encoded."""
        is_one = self.study and self.series and self.instance and not self.frames
        if is_one and _is_plain(self.study + self.series + self.instance):  # as nearly all are
            return f"studies/{self.study}/series/{self.series}/instances/{self.instance}"
        parts: list[str] = []
        for level, uid in (
            (Level.STUDIES, self.study),
            (Level.SERIES, self.series),
            (Level.INSTANCES, self.instance),
        ):
            if uid:
                parts += [
                    level.value,
                    uid if _is_plain(uid) else quote(uid, safe="", errors="surrogatepass"),
                ]
        if self.frames:
            parts += [Level.FRAMES.value, ",".join(map(str, self.frames))]
        return "/".join(parts)


def _is_plain(uid: str) -> bool:
    """Return True if a UID needs no percent-encoding, as is usual."""
    return uid.isascii() and uid.replace(".", "").isdigit()


@dataclass(frozen=True)
class Target:
    """A resource in one representation.

    Of bulk data, `address` is what a BulkDataURI says: a path below the base URL, or a URL; without
    one, all bulk data of the resource is meant.
    """

    resource: Resource = Resource()
    representation: Representation = Representation.STORED
    address: str = ""

    def __str__(self) -> str:
        """Write the path relative to the base URL, or the URL."""
        if self.address or self.representation is Representation.STORED:
            return self.address or str(self.resource)
        return f"{self.resource}/{self.representation.value}"


def is_usable_uid(uid: object) -> bool:
    """Return True if a UID that came from elsewhere can be part of a path.

    Servers and files hold UIDs that PS3.5 forbids (letters, 65 characters). Only those that a
    URL cannot carry are refused.
    """
    return (
        isinstance(uid, str)
        and 0 < len(uid) <= LONGEST_UID
        and uid.isprintable()
        and uid.strip(".") != ""
    )


def are_plain_uids(study: str, series: str, instance: str) -> bool:
    """Return True if three UIDs are of digits and dots, as nearly all are, and so are usable."""
    return _PLAIN_UIDS.fullmatch(f"{study}/{series}/{instance}") is not None


def parse_resource(text: str) -> Resource:
    """Read `studies/UID[/series/UID[/instances/UID[/frames/LIST]]]`; nothing is the whole store.

    Raises UsageError naming what is wrong with it.
    """
    resource, rest = _parse(text, _SHAPE)
    if rest:
        raise _not_understood(rest[0], text, _SHAPE)
    return resource


def parse_named_target(text: str, *roots: str) -> Target:
    """Read a path as `parse_target` does, but do not take an empty one for the whole store."""
    if not text.strip():
        raise UsageError(
            "a path is empty", "name a study, or leave the path out for the whole store"
        )
    return parse_target(text, *roots)


def parse_target(text: str, *roots: str) -> Target:
    """Read a path as `parse_resource` does, and the representation after it; or a URL.

    A URL below a root of the service is the path it ends with; another one is bulk data that lies
    elsewhere.
    Raises UsageError naming what is wrong with it.
    """
    text = text.strip()
    _check_encoding(text)
    if "://" in text:
        root = next((root for root in roots if text.startswith(f"{root}/")), "")
        if not root:
            return Target(representation=Representation.BULKDATA, address=_checked_url(text))
        text = text.removeprefix(f"{root}/")
    path = text.partition("?")[0]
    resource, rest = _parse(path, _TARGET_SHAPE)
    representation = Representation.STORED
    if rest and resource.study:
        if rest[0] in _BULKDATA_SEGMENTS and not resource.frames:
            is_whole = rest == [Representation.BULKDATA.value] and path == text
            return Target(resource, Representation.BULKDATA, "" if is_whole else text.strip("/"))
        if rest in (
            [Representation.METADATA.value],
            [Representation.RENDERED.value],
            [Representation.THUMBNAIL.value],
        ):
            representation, rest = Representation(rest[0]), []
        if representation is Representation.METADATA and resource.frames:
            hint = "ask for the instance's"
            raise UsageError(f"frames have no metadata of their own: {text!r}", hint)
    if rest or path != text:
        raise _not_understood((rest or text.split("?")[1:])[0], text, _TARGET_SHAPE)
    return Target(resource, representation)


def _checked_url(text: str) -> str:
    if not text.startswith(("http://", "https://")) or not text.isprintable() or " " in text:
        raise UsageError(
            f"{text!r} is not a valid URL of bulk data", "it begins with http:// or https://"
        )
    return text


def _parse(text: str, shape: str) -> tuple[Resource, list[str]]:
    """Read the levels a path names, each with its UID; return what stands after them as well."""
    parts = _split(text)
    values: list[str] = []
    while parts and len(values) < len(_LEVELS) and parts[0] == _LEVELS[len(values)].value:
        values.append(_value_after(parts, text, shape))
        parts = parts[2:]
    if parts and not values:
        if bare := _of_bare_uids(parts):
            raise UsageError(f"{text!r} does not say what it is the UID of", f"write {bare}")
        raise _not_understood(parts[0], text, shape)
    frames = _parse_frames(values.pop(), text) if len(values) == len(_LEVELS) else ()
    study, series, instance = [*values, "", "", ""][:3]
    return Resource(study, series, instance, frames), parts


def _of_bare_uids(parts: list[str]) -> str:
    """Write the path that was probably meant by UIDs alone, "" if these are not UIDs."""
    uids = parts[: len(_LEVELS) - 1]
    if not all(_is_plain(uid) and "." in uid.strip(".") for uid in uids):
        return ""
    study, series, instance = [*uids, "", ""][:3]
    return "/".join([str(Resource(study, series, instance)), *parts[len(uids) :]])


def _not_understood(part: str, text: str, shape: str) -> UsageError:
    return UsageError(f"{part!r} in path {text!r} is not understood", f"write it as {shape}")


def outermost(resources: Iterable[Resource]) -> list[Resource]:
    """Return the resources that are not below another one of them, each once."""
    named = dict.fromkeys(resources)
    return [one for one in named if not any(above in named for above in one.above)]


def parse_search(text: str) -> tuple[Resource, Level]:
    """Read a search path: the resource to search in, and the level of what is searched for.

    Raises UsageError naming what is wrong with it.
    """
    parts = _split(text) or [Level.STUDIES.value]
    *parent, wanted = parts
    if wanted not in (Level.STUDIES.value, Level.SERIES.value, Level.INSTANCES.value):
        if len(parts) < len(_LEVELS) - 1 and (bare := _of_bare_uids(parts)):
            below = _LEVELS[len(parts)].value
            raise UsageError(f"{text!r} is not a valid search path", f"write {bare}/{below}")
        raise UsageError(f"{_shown(text)} is not a valid search path", f"search {_SEARCH_SHAPE}")
    resource = parse_resource("/".join(parent))
    level = Level(wanted)
    allowed = {
        Level.STORE: (Level.STUDIES, Level.SERIES, Level.INSTANCES),
        Level.STUDIES: (Level.SERIES, Level.INSTANCES),
        Level.SERIES: (Level.INSTANCES,),
    }
    if level not in allowed.get(resource.level, ()):
        raise UsageError(f"{_shown(text)} is not a valid search path", f"search {_SEARCH_SHAPE}")
    return resource, level


def _check_encoding(text: str) -> None:
    """Raise UsageError for a path that no URL can carry."""
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise UsageError(f"path {text!r} is not UTF-8", "UIDs are digits and dots")


def _shown(text: str) -> str:
    """Quote a search path, unless it looks like a value to search for: a name, a number."""
    return repr(text) if re.fullmatch("[a-z]+(/.*)?", text.strip("/ ")) else "the first argument"


def _split(text: str) -> list[str]:
    _check_encoding(text)
    stripped = text.strip().strip("/")
    return stripped.split("/") if stripped else []


def _value_after(parts: list[str], text: str, shape: str) -> str:
    """Decode what follows the name of a level: once, so that paths are read as they are printed."""
    value = unquote(parts[1], errors="surrogateescape") if len(parts) > 1 else ""
    if not value:
        raise UsageError(f"path {text!r} lacks a UID after {parts[0]!r}", f"write it as {shape}")
    if parts[0] != Level.FRAMES.value and not is_usable_uid(value):
        raise UsageError(f"{value!r} in path {text!r} is not a valid UID", f"write it as {shape}")
    return value


def _parse_frames(text: str, path: str) -> tuple[int, ...]:
    """Read a frame list such as `1,5-7` (PS3.18 section 10.1.1.4 has the commas)."""
    frames: list[int] = []
    for item in text.split(","):
        match = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", item)
        low = int(match[1]) if match else 0
        high = int(match[2] or match[1]) if match else 0
        if not 0 < low <= high < low + MOST_FRAMES:
            raise UsageError(
                f"{item!r} in path {path!r} is not a valid frame number", "count from 1: 1,5-7"
            )
        frames += range(low, high + 1)
    return tuple(dict.fromkeys(frames))
