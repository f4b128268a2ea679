"""Every module loads where the modules and functions of POSIX are absent, as on Windows."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dcmweb

pytestmark = pytest.mark.skipif(os.name == "nt", reason="this is Windows, and all of it is absent")

PACKAGE = Path(dcmweb.__file__).parent
MODULES = sorted(
    ".".join(("dcmweb", *path.relative_to(PACKAGE).with_suffix("").parts))
    for path in PACKAGE.rglob("*.py")
    if path.stem not in ("__init__", "__main__")
)
MODULES_OF_POSIX = ("fcntl", "select", "pwd", "grp", "termios", "resource", "tty", "syslog")
FUNCTIONS_OF_POSIX = (
    "fchmod", "chown", "fork", "getegid", "geteuid", "getgid", "getuid", "getpgid", "killpg",
    "mkfifo", "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "pread", "setsid",
    "register_at_fork", "statvfs", "sync", "uname",
)  # fmt: skip
SIGNALS_OF_POSIX = ("SIGHUP", "SIGKILL", "SIGPIPE", "SIGUSR1", "SIGALRM", "SIGWINCH")

# Other libraries are loaded first: they know what to do on Windows, but this is not Windows.
WITHOUT_POSIX = """
import importlib, os, signal, sys
modules, functions, signals, libraries = (part.split(",") for part in sys.argv[1].split(";"))
for name in libraries:
    importlib.import_module(name)
for name in modules:
    sys.modules[name] = None
for name in functions:
    if hasattr(os, name):
        delattr(os, name)
for name in signals:
    if hasattr(signal, name):
        delattr(signal, name)
for name in sys.argv[2:]:
    importlib.import_module(name)
"""
LIBRARIES = (
    "click", "concurrent.futures", "cheroot.wsgi", "distributed",
    "google.auth.transport.requests", "numpy",
    "PIL.Image", "portalocker", "pydicom", "requests", "shutil", "socket",
    "sqlite3", "subprocess", "tempfile", "tqdm", "urllib3", "uuid", "wcwidth", "werkzeug.routing",
    "werkzeug.wrappers", "logging.handlers", "pydicom.pixels",
)  # fmt: skip


def is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def load_without_posix(*modules: str) -> subprocess.CompletedProcess[str]:
    libraries = [name for name in LIBRARIES if is_installed(name)]
    absent = ";".join(
        map(",".join, (MODULES_OF_POSIX, FUNCTIONS_OF_POSIX, SIGNALS_OF_POSIX, libraries))
    )
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_POSIX, absent, *modules],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_all_modules_load_without_what_is_of_posix_alone() -> None:
    has_archive = is_installed("cheroot") and is_installed("numpy")
    modules = [name for name in MODULES if has_archive or not name.startswith("dcmweb.archive")]
    if not is_installed("distributed"):
        modules.remove("dcmweb.executors.dask")
    done = load_without_posix(*modules)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["fcntl", "resource"])
def test_what_is_of_posix_alone_is_really_absent(module: str) -> None:
    assert f"No module named '{module}'" in load_without_posix(module).stderr.replace(
        f"import of {module} halted; None in sys.modules", f"No module named '{module}'"
    )
