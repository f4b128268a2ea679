"""Reasons of failures and warnings, in words."""

from __future__ import annotations

import pytest

from dcmweb.transactions.store.failure_reasons import (
    FAILURES,
    WARNINGS,
    Reason,
    Verdict,
    failure,
    warning,
)


@pytest.mark.parametrize("reason", FAILURES, ids=lambda reason: f"{reason.first:04X}")
def test_every_failure_is_told_in_words(reason: Reason) -> None:
    for code in {reason.first, reason.last}:
        verdict, words = failure(code)
        narrower = [r for r in FAILURES if r.first == r.last == code]
        expected = narrower[0] if narrower else reason
        assert (verdict, words) == (expected.verdict, f"{expected.words} ({code:04X}H)")


@pytest.mark.parametrize("reason", WARNINGS, ids=lambda reason: f"{reason.first:04X}")
def test_every_warning_is_told_in_words(reason: Reason) -> None:
    assert warning(reason.first) == f"{reason.words} ({reason.first:04X}H)"


def test_ranges_are_not_empty_and_never_the_same() -> None:
    for table in (FAILURES, WARNINGS):
        assert all(0 < reason.first <= reason.last <= 0xFFFF for reason in table)
        assert len({(reason.first, reason.last) for reason in table}) == len(table)
        assert all(reason.words for reason in table)


@pytest.mark.parametrize(
    ("code", "verdict", "words"),
    [
        (0x0110, Verdict.REFUSED, "processing failure"),
        (0x0111, Verdict.EXISTS, "duplicate SOP Instance"),
        (0x0122, Verdict.REFUSED, "SOP Class not supported"),
        (0xA700, Verdict.BUSY, "out of resources"),
        (0xA7A7, Verdict.BUSY, "out of resources"),
        (0xA900, Verdict.REFUSED, "does not match its SOP Class"),
        (0xA901, Verdict.REFUSED, "Study Instance UID"),
        (0xA9FF, Verdict.REFUSED, "does not match its SOP Class"),
        (0xC000, Verdict.REFUSED, "cannot understand"),
        (0xC122, Verdict.REFUSED, "transfer syntax not supported"),
        (0xC123, Verdict.REFUSED, "cannot understand"),
        (45070, Verdict.EXISTS, "already stored"),
        (45071, Verdict.BUSY, "under way"),
        (0x0001, Verdict.REFUSED, "unlisted reason (0001H)"),
        (0x10000, Verdict.REFUSED, "unlisted reason (10000H)"),
        (-1, Verdict.REFUSED, "unlisted reason"),
    ],
)
def test_what_follows_from_a_failure(code: int, verdict: Verdict, words: str) -> None:
    found, said = failure(code)
    assert found is verdict
    assert words in said


@pytest.mark.parametrize(
    ("code", "detail", "verdict"),
    [
        (272, "instance already exists", Verdict.EXISTS),
        (272, "Instance ALREADY EXISTS with other bytes", Verdict.EXISTS),
        (None, "it already exists", Verdict.EXISTS),
        (272, "the study does not exist", Verdict.REFUSED),
        (272, "", Verdict.REFUSED),
        (0xA700, "already exists", Verdict.BUSY),
    ],
)
def test_google_tells_a_duplicate_by_its_detail(
    code: int | None, detail: str, verdict: Verdict
) -> None:
    assert failure(code, detail)[0] is verdict


@pytest.mark.parametrize(
    ("code", "detail", "said"),
    [
        (0x0110, "", "processing failure (0110H)"),
        (0x0110, "bad tag", "processing failure (0110H): bad tag"),
        (0xFFFF, "odd", "unlisted reason (FFFFH): odd"),
        (None, "in words only", "in words only"),
        (None, "", "no reason given"),
    ],
)
def test_the_detail_of_the_server_is_told_as_well(code: int | None, detail: str, said: str) -> None:
    assert failure(code, detail)[1] == said


def test_unlisted_warnings_are_told_by_number() -> None:
    assert warning(0xB0FF, "x") == "unlisted reason (B0FFH): x"
    assert warning(None) == "no reason given"
