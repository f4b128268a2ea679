"""Answers as streams: what has gone wrong once does not pass for an end later."""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Mapping

import pytest
import requests
import urllib3
from requests.structures import CaseInsensitiveDict

from dcmweb.errors import (
    DcmwebError,
    IncompletePayload,
    Interrupted,
    NetworkError,
    NothingMatched,
    ProtocolError,
    Refused,
    Truncated,
    Unreachable,
)
from dcmweb.http.redaction import Redaction
from dcmweb.http.response import Response


class Exchanges:
    """A run's exchanges, which may be cut."""

    def __init__(self) -> None:
        self.is_cut = False
        self.largest_read: int | None = None
        self.received: list[int] = []

    def note_received(self, size: int) -> None:
        self.received.append(size)

    def note_data(self) -> None:
        pass

    def note_error(self, _body: bytes) -> None:
        pass

    def advice(self, _status: int) -> str:
        return ""

    redaction = Redaction()
    carries = ""

    def translate(self, error: Exception, _url: str) -> DcmwebError:
        return Interrupted() if self.is_cut else NetworkError(str(error))

    def refusal(
        self, _status: int, _headers: Mapping[str, str], _body: bytes, _url: str
    ) -> DcmwebError | None:
        return None

    def doubt(self, error: DcmwebError, _status: int, _url: str) -> None:
        pass


class Breaking(io.BytesIO):
    """A body that breaks once, and then seems to have ended."""

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if not data and not self.closed:
            self.close()
            raise OSError("broke")
        return data


def response(
    body: io.BytesIO,
    status: int = 200,
    exchanges: Exchanges | None = None,
    *,
    url: str = "http://server.example/x",
    **headers: str,
) -> Response:
    answer = requests.Response()
    answer.status_code, answer.url = status, url
    answer.headers = CaseInsensitiveDict({k.replace("_", "-"): v for k, v in headers.items()})
    answer.raw = urllib3.HTTPResponse(body, headers, status, preload_content=False)
    request = answer.request = requests.Request("GET", answer.url).prepare()
    return Response(answer, request, exchanges or Exchanges())


def test_an_error_is_raised_by_every_later_read() -> None:
    found = response(Breaking(b"data"), Content_Length="9")
    assert found.read(100) == b"data"
    for _ in range(3):
        with pytest.raises(NetworkError, match="broke"):
            found.read(100)


def test_what_was_closed_before_its_end_has_not_ended() -> None:
    found = response(io.BytesIO(b"data"), Content_Length="4")
    found.read(2)
    found.close()
    with pytest.raises(Truncated, match="closed"):
        found.read(2)


def test_what_came_to_its_end_stays_there() -> None:
    found = response(io.BytesIO(b"data"), Content_Length="4")
    assert found.content() == b"data"
    found.close()
    assert found.read(10) == b""


@pytest.mark.parametrize("headers", [{}, {"Content_Length": "4"}])
def test_after_a_cut_the_end_of_a_connection_is_no_end(headers: dict[str, str]) -> None:
    exchanges = Exchanges()
    found = response(io.BytesIO(b"data"), 200, exchanges, **headers)
    assert found.read(4) == b"data"
    exchanges.is_cut = True
    if headers:
        assert found.read(4) == b""
    else:
        with pytest.raises(Interrupted):
            found.read(4)


@pytest.mark.parametrize(
    ("status", "may_be_partial", "error"),
    [
        (200, False, None),
        (201, False, None),
        (207, False, None),
        (299, False, None),
        (206, True, None),
        (206, False, IncompletePayload),
        (204, True, NothingMatched),
        (205, False, NothingMatched),
        (304, False, Refused),
        (404, False, NothingMatched),
    ],
)
def test_which_statuses_have_content(
    status: int, may_be_partial: bool, error: type[DcmwebError] | None
) -> None:
    found = response(io.BytesIO(b""), status)
    if error is None:
        found.check_content(may_be_partial=may_be_partial)
    else:
        with pytest.raises(error):
            found.check_content(may_be_partial=may_be_partial)


def test_the_size_is_that_of_what_is_not_encoded() -> None:
    assert response(io.BytesIO(), Content_Length="12").size == 12
    assert response(io.BytesIO()).size is None
    assert response(io.BytesIO(), Content_Length="12", Content_Encoding="gzip").size is None
    assert response(io.BytesIO(), Content_Length="12", Content_Encoding="identity").size == 12
    assert response(io.BytesIO(), Content_Encoding="gzip").has_end
    assert not response(io.BytesIO(), Content_Encoding="identity").has_end


def test_what_is_held_in_memory_does_not_grow_far_beyond_what_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = b"[" + b"{}," * 1_000_000 + b"{}]"
    bomb = gzip.compress(rows)
    monkeypatch.setattr("dcmweb.http.response.LONGEST_INFLATED", 100_000)
    with pytest.raises(ProtocolError, match="too large"):
        response(io.BytesIO(bomb), Content_Encoding="gzip", Content_Length=str(len(bomb))).content()
    assert response(io.BytesIO(rows), Content_Length=str(len(rows))).content() == rows
    mixed = random.Random(1).randbytes(150_000)
    packed = gzip.compress(mixed)
    assert response(io.BytesIO(packed), Content_Encoding="gzip").content() == mixed


def test_parts_that_are_held_in_memory_have_the_limit_of_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = b"--b\r\n\r\nabc\r\n--b--"
    kind = "multipart/related; boundary=b"
    answer = response(io.BytesIO(body), Content_Type=kind, Content_Length=str(len(body)))
    assert [part.content() for part in answer.held_parts()] == [b"abc"]
    bomb = gzip.compress(b"--b\r\n\r\n" + bytes(1_000_000) + body)
    monkeypatch.setattr("dcmweb.http.response.LONGEST_INFLATED", 10_000)
    with pytest.raises(ProtocolError, match="too large"):
        response(io.BytesIO(bomb), Content_Type=kind, Content_Encoding="gzip").held_parts()


def test_no_answer_is_held_that_is_larger_than_the_limit() -> None:
    assert response(io.BytesIO(b"abc")).content(3) == b"abc"
    with pytest.raises(ProtocolError, match="too large"):
        response(io.BytesIO(b"abcd")).content(3)
    packed = io.BytesIO(gzip.compress(b"abcd"))
    with pytest.raises(ProtocolError, match="too large"):
        response(packed, Content_Encoding="gzip").content(3)


def test_no_more_is_read_than_was_asked_for_where_the_rate_is_limited() -> None:
    exchanges = Exchanges()
    exchanges.largest_read = 10
    found = response(io.BytesIO(bytes(100)), 200, exchanges)
    assert len(found.read(25)) == 25
    assert exchanges.received == [10, 10, 5]


class Refusing(Exchanges):
    """A proxy that says in its page that it is one."""

    def refusal(
        self, _status: int, _headers: Mapping[str, str], body: bytes, _url: str
    ) -> DcmwebError | None:
        return Unreachable("the proxy refuses") if b"proxy" in body else None


def test_only_an_error_can_be_that_of_a_proxy() -> None:
    assert response(io.BytesIO(b"of a proxy"), 200, Refusing()).content() == b"of a proxy"
    assert response(io.BytesIO(b"of a server"), 404, Refusing()).content() == b"of a server"
    with pytest.raises(Unreachable, match="the proxy refuses"):
        response(io.BytesIO(b"of a proxy"), 404, Refusing()).content()
    with pytest.raises(Unreachable, match="the proxy refuses"):
        response(io.BytesIO(b"of a proxy"), 404, Refusing()).check()


@pytest.mark.parametrize("status", [404, 500])
def test_words_that_break_off_are_no_error_of_their_own(status: int) -> None:
    with pytest.raises((NothingMatched, Refused), match=f"answered {status}"):
        response(Breaking(), status).check()


def test_what_is_left_may_break_off() -> None:
    found = response(Breaking(b"data"), Content_Length="9")
    found.read(4)
    found.finish()


def test_an_error_of_an_answer_has_no_values_of_its_request() -> None:
    url = "http://server.example/studies?PatientName=Doe"
    with pytest.raises(ProtocolError) as caught, response(io.BytesIO(), url=url) as found:
        raise ProtocolError("it says Doe", "ask Doe")
    assert "Doe" not in str(caught.value) + repr(caught.value) + caught.value.attempted
    assert "Doe" not in found.url
    with pytest.raises(Refused) as refused:
        response(io.BytesIO(b"no Doe here"), 400, url=url).check()
    assert "no ... here" in str(refused.value)
    assert "Doe" not in repr(refused.value) + refused.value.request


def test_no_half_of_a_value_is_left_where_words_are_cut() -> None:
    url = "http://server.example/studies?PatientName=Anna%20Maria"
    with pytest.raises(Refused) as caught:
        response(io.BytesIO(b"x " * 247 + b"Anna Maria"), 400, url=url).check()
    assert "Anna" not in str(caught.value)


def test_where_a_redirect_leads_has_no_values() -> None:
    url = "http://server.example/studies?PatientName=Doe"
    with pytest.raises(Refused, match=r"to /login/\.\.\.") as caught:
        response(io.BytesIO(), 302, url=url, Location="/login/Doe?a=Doe").check()
    assert "Doe" not in str(caught.value)


def test_a_body_without_a_delimiter_is_whole_only_where_its_end_is_said() -> None:
    kind = "multipart/related; boundary=b"
    with pytest.raises(Truncated):
        list(response(io.BytesIO(b"text"), Content_Type=kind).parts())
    with pytest.raises(ProtocolError, match="no line with its boundary"):
        list(response(io.BytesIO(b"text"), Content_Type=kind, Content_Length="4").parts())
