"""How an extra is installed, in the environment that dcmweb runs in."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from contextlib import suppress
from importlib import metadata, util
from pathlib import Path
from typing import Any

# What has no packages for musl is left out of these, so that they install on Alpine.
_ON_MUSL = {"archive": "archive-light"}
_PIPX_FILE = "pipx_metadata.json"
_UV_FILE = "uv-receipt.toml"


def how_to_install(extra: str) -> str:
    """Return the command that adds an extra to this environment: that of pipx, uv or pip."""
    prefix = Path(sys.prefix)
    extra = _ON_MUSL.get(extra, extra) if _is_musl() else extra
    if (prefix / _PIPX_FILE).is_file():
        extras = _extras_in(r'"package_or_url": "[^"\[]*\[([^\]]*)\]', prefix / _PIPX_FILE)
        return _line("pipx", "install", "--force", _requirement({*extras, extra}))
    if (prefix / _UV_FILE).is_file():
        extras = _extras_in(r"extras = \[([^\]]*)\]", prefix / _UV_FILE)
        return _line("uv", "tool", "install", _requirement({*extras, extra}))
    is_editable = bool(_origin().get("dir_info", {}).get("editable"))
    return _line(*_installer(), *(["-e"] if is_editable else []), _requirement({extra}))


def _installer() -> list[str]:
    """Return what installs into the environment of this Python."""
    is_venv = sys.prefix != sys.base_prefix
    marker = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    if marker.exists() and not is_venv:  # as Debian's Python, into which pip must not install
        return ["pipx", "install"]
    if not util.find_spec("pip"):
        return ["uv", "pip", "install", "--python", sys.executable]
    pip = Path(sys.executable).with_name("pip.exe" if os.name == "nt" else "pip")
    return [str(pip), "install"] if is_venv and pip.exists() else _python_pip()


def _python_pip() -> list[str]:
    return [sys.executable or "python3", "-m", "pip", "install"]


def _requirement(extras: Iterable[str]) -> str:
    """Return what is to be installed, from where dcmweb was installed from."""
    names = f"[{','.join(sorted(extras))}]"
    origin = _origin()
    url = str(origin.get("url", ""))
    if url.startswith("file://"):
        from urllib.parse import urlsplit
        from urllib.request import url2pathname

        return f"{url2pathname(urlsplit(url).path)}{names}"
    if version_control := origin.get("vcs_info"):
        return f"dcmweb{names} @ {version_control['vcs']}+{url}@{version_control['commit_id']}"
    return f"dcmweb{names} @ {url}" if url else f"dcmweb{names}"


def _origin() -> dict[str, Any]:
    """Return where dcmweb was installed from (PEP 610); nothing if it is from an index."""
    with suppress(metadata.PackageNotFoundError, OSError, ValueError):
        read = json.loads(metadata.distribution("dcmweb").read_text("direct_url.json") or "{}")
        return read if isinstance(read, dict) else {}
    return {}


def _extras_in(pattern: str, path: Path) -> list[str]:
    """Return the extras that were asked for before, so that they stay."""
    with suppress(OSError, ValueError):
        if found := re.search(pattern, path.read_text(encoding="utf-8")):
            return re.findall(r"[\w.-]+", found[1])
    return []


def _is_musl() -> bool:
    return "musl" in str(sysconfig.get_config_var("HOST_GNU_TYPE") or "")


def _line(*words: str) -> str:
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)
