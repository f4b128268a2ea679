"""The texts of the project are in plain English: phrases that are not, and what to say instead.

Each text is searched with its lines joined, so that a phrase is also found where a line ends.
Comments, docstrings and messages all count. `codespell` checks the spelling.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXTS = sorted([*(ROOT / "dcmweb").rglob("*.py"), *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.*")])
GUIDE = ROOT / "CONTRIBUTING.md"  # its examples of style have both sides

# Pattern: what to say instead. Spaces stand for any white space, comment signs included.
SAY_INSTEAD = {
    r"\btell whether\b": "Return True if",
    r"\btells? of\b": "print, log or report",
    r"\bwhat (?:has )?bec[ao]me of\b": "the outcome of",
    r"\b(?:as )?do(?:es)? good\b": "say how it is chosen, or what it is for",
    r"(?<!there\s)\b(?:is|are|was|were) no (?!longer\b|more\b|less\b|fewer\b)\w+": "is not a",
    r"(?<!there\s)\bis (?-i:none)\b(?! of the)": "is not one",
    r"\bfar(?:e|es|ed) (?:better|well|worse)\b": "succeed or fail",
    r"\bso many (?:bytes|at a time|of)\b": "the given number of",
    r"\bpass(?:ed|es)? over\b": "skip",
    r"\bha[sd] had enough\b": "closed the stream",
    r"\bwhat goes wrong with\b": "failures of",
    r"\bmeets? \w+ with words\b": "report",
    r"\btake nothing for\b": "reject",
    r"\bto wake who\b": "name who is woken",
    r"\bto be turned down\b": "to be refused",
    r"\b(?:be|is|are|was|were) turned down\b": "refused",
    r"\bof the like\b": "and similar",
    r"\bfrom of old\b": "the old",
}
_SPACE = r"(?:\s+#?\s*)"
_PATTERNS = {
    re.compile(p.replace(" ", _SPACE), re.IGNORECASE): instead for p, instead in SAY_INSTEAD.items()
}


def findings(text: str) -> Iterator[tuple[int, str, str]]:
    """Find phrases to be replaced: number of the line, phrase, and what to say instead."""
    for pattern, instead in _PATTERNS.items():
        for match in pattern.finditer(text):
            yield text.count("\n", 0, match.start()) + 1, " ".join(match[0].split()), instead


def test_texts_are_in_plain_english() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {phrase!r}: {instead}"
        for path in TEXTS
        if path != GUIDE
        for line, phrase, instead in sorted(findings(path.read_text(encoding="utf-8")))
    ]
    assert not found, "\n".join(["", *found])


@pytest.mark.parametrize(
    ("text", "line", "phrase"),
    [
        ('"""Tell whether it is so."""', 1, "Tell whether"),
        ("# one\n# what\n# became of it", 2, "what # became of"),
        ("a file that\nis no data set", 2, "is no data"),
        ("with as many requests at a time as do good.", 1, "as do good"),
        ("is no valid UID", 1, "is no valid"),
    ],
)
def test_phrases_are_found_at_their_lines(text: str, line: int, phrase: str) -> None:
    assert (line, phrase) in [(found, words) for found, words, _ in findings(text)]


@pytest.mark.parametrize(
    "text",
    [
        "It is not a valid UID.",
        "Return True if it is.",
        "There is no file.",
        "It is no longer there.",
        "if value is None:",
    ],
)
def test_plain_text_is_left_alone(text: str) -> None:
    assert not list(findings(text))
