"""Look into a wheel and a source distribution: `python tests/check_packages.py FOLDER`."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
# What is not Python and belongs into the wheel is found here, so that nobody has to list it.
_NOT_PACKED = ("__pycache__",)


def problems(wheel: list[str], sdist: list[str], files: list[str]) -> list[str]:
    """Say what is missing in either, and what is too much; `files` are those of the package."""
    found = [f"the wheel lacks {name}" for name in files if name not in wheel]
    found += [f"the source distribution lacks {name}" for name in files if name not in sdist]
    for name in wheel:
        is_info = ".dist-info/" in name or ".data/" in name
        if not name.startswith("dcmweb/") and not is_info:
            found.append(f"the wheel has {name}")
    if "dcmweb/py.typed" not in wheel:
        found.append("the wheel lacks dcmweb/py.typed")
    ends = (".dist-info/licenses/LICENSE", ".data/data/share/man/man1/dcmweb.1")
    found += [f"the wheel lacks *{end}" for end in ends if not any(n.endswith(end) for n in wheel)]
    more = ("LICENSE", "README.md", "CHANGELOG.md", "docs/reference.md", "docs/man/dcmweb.1")
    found += [f"the source distribution lacks {name}" for name in more if name not in sdist]
    return found


def main() -> int:
    """Return 0 if all is as it should be."""
    folder = Path(sys.argv[1])
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as packed:
        in_wheel = [name for name in packed.namelist() if not name.endswith("/")]
    with tarfile.open(sdist) as tar:
        in_sdist = [member.name.partition("/")[2] for member in tar if member.isfile()]
    files = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "dcmweb").rglob("*")
        if path.is_file() and not set(path.parts) & set(_NOT_PACKED)
    ]
    found = problems(in_wheel, in_sdist, files)
    for problem in found:
        sys.stderr.write(f"{problem}\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
