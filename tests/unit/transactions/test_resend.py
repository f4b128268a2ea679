"""What is sent again: the table, and what is remembered until there is an outcome."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dcmweb.dicom.part10 import Identity, LocalInstance
from dcmweb.dicom.resources import Resource
from dcmweb.errors import (
    AuthError,
    DcmwebError,
    Interrupted,
    NetworkError,
    NothingMatched,
    ProtocolError,
    Refused,
    Stalled,
    Truncated,
    Unreachable,
)
from dcmweb.http.session import Session
from dcmweb.http.transport import Transport
from dcmweb.settings import Settings
from dcmweb.transactions.store.dialect import Dialect
from dcmweb.transactions.store.ledger import Ledger
from dcmweb.transactions.store.matching import match
from dcmweb.transactions.store.request_body import BodyFormat
from dcmweb.transactions.store.resend import RULES, TABLE, Situation, Then, rule_for
from dcmweb.transactions.store.response_module import NotStored, Stored, StoreResponse
from dcmweb.transfer.outcomes import Outcome, Status

SETTINGS = Settings(base_url="http://localhost/dicomweb")


def instance(uid: str, meta: str = "", size: int = 10) -> LocalInstance:
    resource = Resource("1.2", "1.2.3", uid)
    return LocalInstance(f"{uid}.dcm", size, 1, Identity("1.2.840", resource, meta or uid))


def stored(*uids: str) -> dict[str, Stored]:
    return {uid: Stored(uid) for uid in uids}


def refused(status: int) -> Refused:
    return Refused("no", status=status)


# The table.


def test_every_situation_has_one_rule() -> None:
    assert sorted(RULES, key=lambda one: one.name) == sorted(Situation, key=lambda one: one.name)
    assert len(TABLE) == len(RULES)


@pytest.mark.parametrize(
    ("error", "situation"),
    [
        (NetworkError("broke"), Situation.LOST),
        (Truncated("ended"), Situation.LOST),
        (refused(502), Situation.LOST),
        (refused(504), Situation.LOST),
        (Stalled("hangs"), Situation.STALLED),
        (refused(500), Situation.FAULT),
        (refused(400), Situation.REFUSED),
        (refused(415), Situation.REFUSED),
        (refused(418), Situation.REFUSED),
        (refused(599), Situation.REFUSED),
        (refused(413), Situation.TOO_LARGE),
        (refused(404), Situation.TOO_LARGE),
        (refused(424), Situation.TROUBLED),
        (refused(507), Situation.TROUBLED),
        (refused(408), Situation.BUSY),
        (refused(503), Situation.BUSY),
        (refused(301), Situation.HOPELESS),
        (refused(405), Situation.HOPELESS),
        (refused(501), Situation.HOPELESS),
        (NothingMatched("404"), Situation.HOPELESS),
        (AuthError("401"), Situation.HOPELESS),
        (ProtocolError("a web page"), Situation.HOPELESS),
        (Unreachable("refused"), Situation.HOPELESS),
    ],
)
def test_an_error_is_found_in_the_table(error: DcmwebError, situation: Situation) -> None:
    assert rule_for(error).situation is situation


def test_only_what_may_have_been_done_is_asked_about() -> None:
    errors = {Situation.LOST, Situation.STALLED}
    after_errors = {r.situation for r in TABLE if r.is_asked and r.then is Then.GROUPS}
    assert after_errors == errors


# Which instance an answer means.


def test_one_that_is_left_on_both_sides_is_the_one() -> None:
    batch = [instance("1.1"), instance("1.2"), instance("1.3")]
    found = match(batch, StoreResponse(stored("1.1", "9.9", "1.3")))
    assert found.unnamed == []
    assert {one.path: said.sop_instance for one, said in found.said}["1.2.dcm"] == "9.9"


@pytest.mark.parametrize(
    "response",
    [
        StoreResponse(stored("9.8", "9.9")),
        StoreResponse(stored("9.9")),
        StoreResponse(stored("9.8"), {"9.9": NotStored("9.9", 0x0110)}),
        StoreResponse(stored("9.7", "9.8", "9.9")),
    ],
    ids=["as many", "fewer", "a failure among them", "more"],
)
def test_of_several_nobody_can_tell_which_is_which(response: StoreResponse) -> None:
    batch = [instance("1.1"), instance("1.2")]
    found = match(batch, response)
    assert (found.said, found.unnamed) == ([], batch)
    assert found.strangers == len(response.stored)


def test_failures_of_others_as_many_as_are_left_are_of_these() -> None:
    batch = [instance("1.1"), instance("1.2")]
    failed = {uid: NotStored(uid, 0x0110) for uid in ("9.8", "9.9")}
    found = match(batch, StoreResponse(failed=failed))
    assert [said.sop_instance for _, said in found.said] == ["9.8", "9.9"]
    assert found.unnamed == []


@pytest.mark.parametrize(
    "response",
    [
        StoreResponse(stored("9.9"), {"9.8": NotStored("9.8", 0x0110)}),
        StoreResponse(stored("9.9"), other_failures=[NotStored("", 0x0110)]),
        StoreResponse(other_failures=[NotStored(""), NotStored("")]),
    ],
    ids=["a failure of another", "a failure of nobody", "too many failures"],
)
def test_what_may_have_failed_is_not_stored_by_another_name(response: StoreResponse) -> None:
    batch = [instance("1.1")]
    found = match(batch, response)
    assert (found.said, found.unnamed) == ([], batch)


def test_a_name_in_the_meta_information_is_not_that_of_another_instance() -> None:
    odd, even = instance("1.1", meta="1.2"), instance("1.2")
    found = match([odd, even], StoreResponse(stored("1.2")))
    assert ([one.path for one, _ in found.said], found.unnamed) == ([even.path], [odd])


@pytest.mark.parametrize("named", ["1.0.2", "1.0.2 ", "01.00.002", "1.0.2\0"])
def test_a_uid_written_in_another_way_is_recognised_among_several(named: str) -> None:
    batch = [instance("1.0.02"), instance("1.1"), instance("1.2")]
    found = match(batch, StoreResponse(stored(named)))
    assert [(one.path, said.sop_instance) for one, said in found.said] == [("1.0.02.dcm", named)]
    assert found.strangers == 0


def test_uids_that_differ_by_zeros_only_are_not_confused() -> None:
    batch = [instance("1.02"), instance("1.002")]
    found = match(batch, StoreResponse(stored("1.2")))
    assert (found.said, found.unnamed, found.strangers) == ([], batch, 1)


# What is remembered of a batch.


def test_an_instance_is_unanswered_until_a_request_of_its_own_is_answered() -> None:
    one, two = instance("1.1"), instance("1.2")
    ledger = Ledger([one, two], Session(Transport(SETTINGS)))
    ledger.begin([one, two])
    before = ledger.unanswered([one])
    ledger.begin([one])
    ledger.note_answered([one], but=before)  # a refusal says nothing of the request before
    assert ledger.unanswered([one, two]) == {"1.1.dcm", "1.2.dcm"}
    ledger.note_answered([one], but=set())
    assert ledger.unanswered([one, two]) == {"1.2.dcm"}


def test_when_a_run_ends_only_what_was_sent_can_be_unknown() -> None:
    batch = [instance(uid) for uid in ("1.1", "1.2", "1.3", "1.4")]
    open_, answered, unsent, done = batch
    ledger = Ledger(batch, Session(Transport(SETTINGS)))
    ledger.begin([open_, answered])
    ledger.note_answered([answered], but=set())
    ledger.outcome(done, Status.FAILED, "not DICOM")
    left = {outcome.item: (outcome.status, outcome.reason) for outcome in ledger.left("broke")}
    assert left == {
        open_.path: (Status.UNKNOWN, "it was sent, and no answer came: broke"),
        answered.path: (Status.FAILED, "broke"),
        unsent.path: (Status.FAILED, "not sent: broke"),
    }


def test_when_a_run_is_interrupted_all_that_was_sent_is_unknown() -> None:
    sent, unsent = instance("1.1"), instance("1.2")
    ledger = Ledger([sent, unsent], Session(Transport(SETTINGS)))
    ledger.begin([sent])
    left = {outcome.item: (outcome.status, outcome.reason) for outcome in ledger.left_by_a_stop()}
    assert left == {
        sent.path: (Status.UNKNOWN, "interrupted before the server answered"),
        unsent.path: (Status.FAILED, "interrupted before it was sent"),
    }


@pytest.mark.parametrize("error", [NetworkError("broke"), ValueError("a defect"), Interrupted()])
def test_each_instance_has_one_outcome_whatever_ends_them(error: Exception) -> None:
    done, left = instance("1.1"), instance("1.2")
    ledger = Ledger([done, left], Session(Transport(SETTINGS)))

    def outcomes() -> Iterator[Outcome]:
        yield ledger.outcome(done, Status.STORED)
        raise error

    seen: list[Outcome] = []
    with pytest.raises(type(error)):
        seen.extend(ledger.accounting_for_all(outcomes()))
    assert [(one.item, one.status) for one in seen] == [
        (done.path, Status.STORED), (left.path, Status.FAILED),
    ]  # fmt: skip


def test_a_place_of_another_instance_says_nothing_of_this_one() -> None:
    url = "http://localhost/studies/1/series/2/instances/"
    assert Stored("1.2", f"{url}1.2").resource == Resource("1", "2", "1.2")
    assert Stored("1.2", f"{url}9.9").resource == Resource(instance="1.2")


# What a server turned out to want.


def dialect() -> Dialect:
    return Dialect(SETTINGS, lambda _: None)


def test_what_waits_is_not_sent_in_larger_requests_than_were_refused() -> None:
    one = dialect()
    batch = [instance(f"1.{n}", size=100) for n in range(8)]
    one.make_smaller(batch)
    one.make_smaller(batch[:4])
    assert [len(fitting) for fitting in one.fitting(batch)] == [2, 2, 2, 2]


def test_no_form_is_tried_for_ever() -> None:
    one = dialect()
    formats = (BodyFormat.FILES, BodyFormat.SINGLE, BodyFormat.FILES)
    assert [one.adapts_to(refused(415), form) for form in formats] == [True, True, False]
    assert [one.adapts_to(refused(406), BodyFormat.FILES) for _ in range(2)] == [True, False]
    sure = dialect()
    sure.note_taken(BodyFormat.FILES, 1)
    assert not sure.adapts_to(refused(415), BodyFormat.FILES)


def test_a_404_is_about_the_size_of_what_is_larger_than_anything_taken() -> None:
    one = dialect()
    assert not one.may_be_too_large(500_000)
    assert one.may_be_too_large(2_000_000)
    one.note_taken(BodyFormat.FILES, 300_000)
    assert one.may_be_too_large(500_000)
    assert not one.may_be_too_large(300_000)
    assert not one.may_be_too_large(1000)


def test_sending_files_by_themselves_becomes_the_rule_or_ends() -> None:
    one, other = dialect(), dialect()
    for helped in (False, False, True, True, True):
        one.note_sent_alone(helped=helped)
        other.note_sent_alone(helped=not helped)
    assert (one.batch_count, one.alone_is_vain) == (1, False)
    assert (other.batch_count, other.alone_is_vain) == (256, True)
