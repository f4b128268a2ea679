"""Paths of DICOMweb resources (PS3.18 section 10.1.1 and table 10.6.1-2)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from urllib.parse import quote

from dcmweb.errors import UsageError

MOST_FRAMES = 100_000  # in one range: a guard against a slip of the finger
LONGEST_UID = 128  # twice what PS3.5 allows: real data has longer ones than it should

_SHAPE = "studies[/UID[/series/UID[/instances/UID[/frames/N,N]]]], or with /metadata at its end"
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


_LEVEL_NAMES = frozenset(level.value for level in Level)


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

    def with_frames(self, *frames: int) -> Resource:
        """Name frames of this instance, counted from 1."""
        return replace(self, frames=frames)

    @property
    def without_frames(self) -> Resource:
        """The instance whose frames these are."""
        return replace(self, frames=())

    def __str__(self) -> str:
        """Write the path relative to the base URL, every UID percent-encoded."""
        parts: list[str] = []
        for level, uid in (
            (Level.STUDIES, self.study),
            (Level.SERIES, self.series),
            (Level.INSTANCES, self.instance),
        ):
            if uid:
                parts += [level.value, uid if _is_plain(uid) else quote(uid, safe="")]
        if self.frames:
            parts += [Level.FRAMES.value, ",".join(map(str, self.frames))]
        return "/".join(parts)


def _is_plain(uid: str) -> bool:
    """Tell whether a UID has nothing to be encoded: as good as every one is so."""
    return uid.isascii() and uid.replace(".", "").isdigit()


def is_usable_uid(uid: object) -> bool:
    """Tell whether a UID that came from elsewhere can be part of a path.

    Servers and files hold UIDs that PS3.5 forbids (letters, 65 characters); only what a URL
    cannot carry is turned away.
    """
    return (
        isinstance(uid, str)
        and 0 < len(uid) <= LONGEST_UID
        and uid.isprintable()
        and uid.strip(".") != ""
    )


def parse_resource(text: str) -> Resource:
    """Read `studies/UID[/series/UID[/instances/UID[/frames/LIST]]]`; nothing is the whole store.

    Raises UsageError naming what is wrong with it.
    """
    parts = _split(text)
    levels = [Level.STUDIES, Level.SERIES, Level.INSTANCES, Level.FRAMES]
    uids: list[str] = []
    frames: tuple[int, ...] = ()
    for index in range(0, len(parts), 2):
        if index // 2 >= len(levels) or parts[index] != levels[index // 2].value:
            raise UsageError(f"{parts[index]!r} in path {text!r} is not understood", _write_it())
        uids.append(_uid_after(parts, index, text))
    if len(uids) == len(levels):
        frames = _parse_frames(uids.pop(), text)
    study, series, instance = [*uids, "", "", ""][:3]
    return Resource(study, series, instance, frames)


def parse_metadata(text: str) -> Resource | None:
    """Read `PATH/metadata` of a study, series or instance; None for a path of another kind."""
    path, slash, last = text.strip().strip("/").rpartition("/")
    if not slash or last != "metadata" or path.rpartition("/")[2] in _LEVEL_NAMES:
        return None
    resource = parse_resource(path)
    if resource.frames:
        raise UsageError(
            f"frames have no metadata of their own: {text!r}", "ask for the instance's"
        )
    return resource


def parse_search(text: str) -> tuple[Resource, Level]:
    """Read a search path: the resource to search in, and the level of what is searched for.

    Raises UsageError naming what is wrong with it.
    """
    parts = _split(text) or [Level.STUDIES.value]
    *parent, wanted = parts
    if wanted not in (Level.STUDIES.value, Level.SERIES.value, Level.INSTANCES.value):
        raise UsageError(f"{text!r} is no search path", f"search {_SEARCH_SHAPE}")
    resource = parse_resource("/".join(parent))
    level = Level(wanted)
    allowed = {
        Level.STORE: (Level.STUDIES, Level.SERIES, Level.INSTANCES),
        Level.STUDIES: (Level.SERIES, Level.INSTANCES),
        Level.SERIES: (Level.INSTANCES,),
    }
    if level not in allowed.get(resource.level, ()):
        raise UsageError(f"{text!r} is no search path", f"search {_SEARCH_SHAPE}")
    return resource, level


def _split(text: str) -> list[str]:
    stripped = text.strip().strip("/")
    return stripped.split("/") if stripped else []


def _uid_after(parts: list[str], index: int, text: str) -> str:
    uid = parts[index + 1] if index + 1 < len(parts) else ""
    if not uid:
        raise UsageError(f"path {text!r} lacks a UID after {parts[index]!r}", _write_it())
    if not is_usable_uid(uid):
        raise UsageError(f"{uid!r} in path {text!r} is no UID", _write_it())
    return uid


def _parse_frames(text: str, path: str) -> tuple[int, ...]:
    """Read a frame list such as `1,5-7` (PS3.18 section 10.1.1.4 has the commas)."""
    frames: list[int] = []
    for item in text.split(","):
        match = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", item)
        low = int(match[1]) if match else 0
        high = int(match[2] or match[1]) if match else 0
        if not 0 < low <= high < low + MOST_FRAMES:
            raise UsageError(f"{item!r} in path {path!r} is no frame number", "count from 1: 1,5-7")
        frames += range(low, high + 1)
    return tuple(dict.fromkeys(frames))


def _write_it() -> str:
    return f"write it as {_SHAPE}"
