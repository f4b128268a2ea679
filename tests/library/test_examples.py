"""The examples in docs/library.md run as they stand, but for the address of the server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import make_instance, make_series, write_files
from tests.functional.archive import Archive
from tests.functional.origin import serving

PAGE = Path(__file__).parent.parent.parent / "docs" / "library.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example(
    example: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_files(tmp_path / "images", make_series(4, "1.5", "1.5.1"))
    archive = Archive(*make_series(3), make_instance("1.9", "1.9.1", "1.9.1.1"))
    monkeypatch.chdir(tmp_path)
    if "pandas" in example:
        pytest.importorskip("pandas")
    other = Archive()
    with serving(archive) as origin, serving(other) as new:
        code = example.replace("http://localhost:8042/dicom-web", origin.url)
        code = code.replace("http://old:8042/dicom-web", origin.url)
        code = code.replace("http://new:8042/dicom-web", new.url)
        script = tmp_path / "example.py"
        script.write_text(code, encoding="utf-8")
        # In a module of its own, as processes that are started want it.
        exec(compile(code, str(script), "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    if "ProcessPoolExecutor" in example:
        assert printed == "4 None\n"
    if "pandas" in example:
        assert "secret-id-17" in printed
    if "client.copy" in example:
        assert other.files == {key: archive.files[key] for key in archive.matching("studies/1.2.3")}
    if "fetch_study" in example:
        assert len(list((tmp_path / "work").rglob("*.dcm"))) == 3


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 6
