"""Names of files and folders that any system allows, and that lead nowhere else."""

from __future__ import annotations

import hashlib
import os
import re
from functools import lru_cache

from dcmweb.dicom.resources import Resource
from dcmweb.local import windows

LONGEST_NAME = 100

_DIGEST = re.compile(r"-[0-9a-f]{12}$")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_PLAIN_UID = re.compile(rf"[0-9](?:[0-9.]{{0,{LONGEST_NAME - 2}}}[0-9])?")


def safe_name(text: str) -> str:
    """Make a text into the name of a file or folder, on any system.

    What has to be changed gets a digest of the original, so that two never share a name.
    """
    name = _UNSAFE.sub("_", text)[:LONGEST_NAME] or "_"
    if name.startswith("."):
        name = "_" + name[1:]
    if windows.is_device(name):
        name = "_" + name
    if name != text or name.endswith(".") or _DIGEST.search(name):
        name += distinguishing_suffix(text)
    return name


def uid_name(uid: str) -> str:
    """Make a UID into the name of a file or folder; UIDs as they should be stay as they are.

    Those with capital letters are changed: some file systems take them for small ones.
    """
    if _PLAIN_UID.fullmatch(uid):
        return uid
    name = safe_name(uid)
    is_ambiguous = name == uid and uid != uid.lower()
    return name + distinguishing_suffix(uid) if is_ambiguous else name


def distinguishing_suffix(text: str) -> str:
    """Make what tells a changed name from others."""
    return "-" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def instance_path(instance: Resource, extension: str = "") -> str:
    """Place an instance in the tree of study, series and instance, relative."""
    return _series_path(instance.study, instance.series) + uid_name(instance.instance) + extension


@lru_cache(maxsize=64)  # many instances are of the same series
def _series_path(study: str, series: str) -> str:
    return os.path.join(uid_name(study), uid_name(series), "")


def folder_path(resource: Resource) -> str:
    """Tell the folder of a study or series in that tree, relative; "" for the whole."""
    return os.path.join(*(uid_name(uid) for uid in (resource.study, resource.series) if uid), "")
