"""One store request and its answer (PS3.18 section 10.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dcmweb.counted import plural
from dcmweb.dicom.resources import Level
from dcmweb.errors import DcmwebError, Refused, WrongAnswer
from dcmweb.http import error_mapping
from dcmweb.http.response import LONGEST_PROBLEM, Response
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.store.dialect import Dialect
from dcmweb.transactions.store.matching import Sent
from dcmweb.transactions.store.request_body import Batch, BodyFormat, body_of
from dcmweb.transactions.store.response import TELLING, Answer, read_answer


class StoreExchange:
    """Posts instances as the server wants them; `headers` are of every request."""

    def __init__(
        self,
        context: RunContext,
        dialect: Dialect,
        headers: Mapping[str, str] | None,
        method: str = "POST",
    ) -> None:
        self._context = context
        self._dialect = dialect
        self._headers = headers
        self._method = method
        self._sent = Sent()

    def post(self, batch: Batch, body_format: BodyFormat) -> Answer:
        """Send instances in one request. Raises DcmwebError if it failed as a whole."""
        body, sent = body_of(batch, body_format, self._context.engine.meter)
        session, path = self._context.session, Level.STUDIES.value
        self._sent.note(batch)
        accept = self._dialect.accept
        try:
            with session.post(
                path, body, accept=accept, headers=self._headers, method=self._method
            ) as response:
                if response.status == 404:
                    raise self._not_found(response, len(body))
                response.check(*TELLING)
                answer = read_answer(response)
            own = self._sent.only_own(batch, answer.response)
            if own is None:
                raise WrongAnswer("the answer names instances of other requests, and none of this")
            answer = replace(answer, response=own)
            if body_format is BodyFormat.METADATA and answer.refuses_format:
                raise Refused(answer.words, status=415)
        except DcmwebError:
            sent.take_back()
            raise
        sent.arrive()
        self._dialect.note_taken(body_format, len(body))
        return answer

    def _not_found(self, response: Response, size: int) -> DcmwebError:
        """Make the error for 404: a wrong address, or a request that was too large."""
        body = response.read(LONGEST_PROBLEM)
        error = error_mapping.from_status(
            response.status, response.headers, body, hide=response.hide
        )
        if error_mapping.looks_like_html(body) and self._dialect.may_be_too_large(size):
            request = f"a request of {plural(size, 'byte')}"
            words = f"{error.message}; {request} may be too large for the server"
            error = Refused(words, error.hint, status=response.status)
        error.request = f"{self._method} {response.url}"
        return error
