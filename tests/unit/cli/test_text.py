"""Text for people."""

from __future__ import annotations

import unicodedata

import pytest

from dcmweb.cli.text import visible
from dcmweb.counted import plural, size


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain text, with ~ and \\", "plain text, with ~ and \\"),
        ("Müller 山田 ½ 🙂", "Müller 山田 ½ 🙂"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("a\nb\r\tc\0", "a\\x0ab\\x0d\\x09c\\x00"),
        ("\x7f\x85\x9b", "\\x7f\\x85\\x9b"),
        ("\u202egpj.exe\u2066", "\\u202egpj.exe\\u2066"),
        ("a\u200bb\ufeff\u2028\u2029", "a\\u200bb\\ufeff\\u2028\\u2029"),
        ("\udcff\udc80.dcm", "\\xff\\x80.dcm"),
        ("\ud800", "\\ud800"),
        ("\U000e0041\U0010ffff", "\\U000e0041\\U0010ffff"),
    ],
)
def test_what_changes_how_text_looks_is_made_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_no_character_reaches_the_terminal_that_could_do_harm() -> None:
    codes = [*range(0x10000), *range(0xE0000, 0xE0200), 0xF0000, 0x10FFFF]
    shown = "".join(visible(chr(code)) for code in codes)
    shown.encode()
    assert not {unicodedata.category(character) for character in set(shown)} & {
        "Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"), (1, "1 B"), (512, "512 B"), (1023, "1023 B"), (1024, "1.0 KiB"),
        (1536, "1.5 KiB"), (5 * 1024**2, "5.0 MiB"), (1024**2 - 1, "1.0 MiB"),
        (2 * 1024**3, "2.0 GiB"), (1024**4, "1.0 TiB"), (1024**5, "1024.0 TiB"),
    ],
)  # fmt: skip
def test_sizes(count: int, words: str) -> None:
    assert size(count) == words


@pytest.mark.parametrize(
    ("count", "noun", "words"),
    [
        (1, "file", "1 file"), (0, "file", "0 files"), (2, "file", "2 files"),
        (1, "retry", "1 retry"), (2, "retry", "2 retries"), (12345, "file", "12,345 files"),
    ],
)  # fmt: skip
def test_counts(count: int, noun: str, words: str) -> None:
    assert plural(count, noun) == words
