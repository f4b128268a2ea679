"""Answers to store requests: what they say of each instance, and in words (PS3.18 10.5.3)."""

from __future__ import annotations

import re
from typing import NamedTuple

from dcmweb.errors import ProtocolError, Truncated
from dcmweb.http.response import Response, not_dicomweb
from dcmweb.http.server_words import looks_like_html, server_words
from dcmweb.transactions.store import response_module
from dcmweb.transactions.store.response_module import StoreResponse

# Statuses whose body has the outcome of each instance (PS3.18 table 10.5.3-1).
SUCCESS = range(200, 300)
TELLING = (*SUCCESS, 400, 409)
_ABOUT_FORM = re.compile(r"media.?type|content.?type|mime|dicom\+json", re.IGNORECASE)


class Answer(NamedTuple):
    """A server's answer to a store request that says something of the instances, or should."""

    status: int
    response: StoreResponse
    words: str = ""

    @property
    def refuses_format(self) -> bool:
        """Whether it is about the form of the request, for which some servers have 400."""
        says_of_instances = self.response.stored or self.response.failed
        about_form = _ABOUT_FORM.search(self.words)
        return self.status == 400 and not says_of_instances and about_form is not None


def read_answer(response: Response) -> Answer:
    """Read what a store request was answered; what says nothing of instances says nothing.

    Raises ProtocolError for a web page in place of success: nothing was stored by that.
    """
    body = response.content()
    words = server_words(response.headers, body, response.hide)
    try:
        said = response_module.parse(body).with_texts(response.hide)
        return Answer(response.status, said, words)
    except Truncated:
        raise
    except ProtocolError:
        if response.status in SUCCESS and looks_like_html(body):
            raise not_dicomweb(response, body) from None
        return Answer(response.status, StoreResponse(), words)
