"""What happens when the package is imported: nothing that anybody else could notice."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import clean_environment

# Events of the interpreter with which a connection or a look at a name begins. To bind is not one:
# urllib3 2.7 binds to loopback to find out whether there is IPv6.
_WATCHED = """
import importlib, pkgutil, sys

def watch(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo",
                 "socket.gethostbyname", "subprocess.Popen", "os.system"):
        raise SystemExit(f"{event} {args}")

sys.addaudithook(watch)
import dcmweb
for module in pkgutil.walk_packages(dcmweb.__path__, "dcmweb."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print("quiet")
"""


def test_imports_reach_nobody() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "quiet", done.stderr
