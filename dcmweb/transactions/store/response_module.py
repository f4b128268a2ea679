"""The Store Instances Response Module (PS3.18 section I.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from dcmweb.dicom import json_model
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.resources import Resource
from dcmweb.dicom.tags import (
    ERROR_COMMENT,
    FAILED_ATTRIBUTES_SEQUENCE,
    FAILED_SOP_SEQUENCE,
    FAILURE_REASON,
    GOOGLE_ERROR_JSON,
    GOOGLE_ERROR_XML,
    OTHER_FAILURES_SEQUENCE,
    REFERENCED_SOP_CLASS_UID,
    REFERENCED_SOP_INSTANCE_UID,
    REFERENCED_SOP_SEQUENCE,
    RETRIEVE_URL,
    WARNING_REASON,
)
from dcmweb.values import quickly_made

# Where servers explain a failure in words: Google in XML and in JSON, Azure.
_DETAILS = (GOOGLE_ERROR_XML, GOOGLE_ERROR_JSON, ERROR_COMMENT)
_OF_STORED = frozenset([REFERENCED_SOP_CLASS_UID, REFERENCED_SOP_INSTANCE_UID, RETRIEVE_URL])
_WITH_WORDS = frozenset([*_DETAILS, FAILED_ATTRIBUTES_SEQUENCE])


@quickly_made
@dataclass(frozen=True)
class Stored:
    """An instance the server says it has stored."""

    sop_instance: str
    retrieve_url: str = ""
    warning: int | None = None
    detail: str = ""

    @property
    def resource(self) -> Resource:
        """The instance on the server; its study and series are known from its Retrieve URL only."""
        match [unquote(segment) for segment in self.retrieve_url.rstrip("/").split("/")]:
            case [*_, "studies", study, "series", series, "instances", self.sop_instance]:
                return Resource(study, series, self.sop_instance)
            case _:
                return Resource(instance=self.sop_instance)

    def with_texts(self, hide: Callable[[str], str]) -> Stored:
        """Return the same with what must not be shown hidden."""
        if not self.detail and "?" not in self.retrieve_url:
            return self
        url = _hidden_query(self.retrieve_url, hide)
        return replace(self, detail=hide(self.detail), retrieve_url=url)


@dataclass(frozen=True)
class NotStored:
    """An instance, or a part of the request without a UID, the server says it has not stored."""

    sop_instance: str
    reason: int | None = None
    detail: str = ""


@dataclass(frozen=True)
class StoreResponse:
    """What a server's answer says about the instances sent, by SOP Instance UID."""

    stored: dict[str, Stored] = field(default_factory=dict)
    failed: dict[str, NotStored] = field(default_factory=dict)
    other_failures: Sequence[NotStored] = ()

    @property
    def names_any(self) -> bool:
        """Whether it says anything of any instance."""
        return bool(self.stored or self.failed or self.other_failures)

    def with_texts(self, hide: Callable[[str], str]) -> StoreResponse:
        """Return the same with what must not be shown hidden in words, and in queries of URLs."""
        stored = {uid: one.with_texts(hide) for uid, one in self.stored.items()}
        failed = {uid: replace(one, detail=hide(one.detail)) for uid, one in self.failed.items()}
        others = [replace(one, detail=hide(one.detail)) for one in self.other_failures]
        return StoreResponse(stored, failed, others)

    def about(self, names: Iterable[str]) -> Stored | NotStored | None:
        """Return what is said of the instance with any of these UIDs; a failure counts more."""
        names = tuple(names)
        for said in (*map(self.failed.get, names), *map(self.stored.get, names)):
            if said is not None:
                return said
        return None


def _hidden_query(url: str, hide: Callable[[str], str]) -> str:
    path, mark, query = url.partition("?")
    return f"{path}?{hide(query)}" if mark else url


def parse(body: bytes) -> StoreResponse:
    """Read a response in DICOM JSON or native XML; an empty body is a response that says nothing.

    Raises ProtocolError if it is neither.
    """
    content = body.removeprefix(b"\xef\xbb\xbf").strip()
    if not content:
        return StoreResponse()
    datasets = _parse_xml(content) if content.startswith(b"<") else json_model.parse_json(content)
    response = StoreResponse()
    others: list[NotStored] = []
    for dataset in datasets:
        for item in json_model.items(dataset, REFERENCED_SOP_SEQUENCE):
            stored = _stored(item)
            response.stored[stored.sop_instance] = stored
        failures = [_not_stored(item) for item in json_model.items(dataset, FAILED_SOP_SEQUENCE)]
        response.failed.update({f.sop_instance: f for f in failures if f.sop_instance})
        others += [f for f in failures if not f.sop_instance]
        others += [_not_stored(item) for item in json_model.items(dataset, OTHER_FAILURES_SEQUENCE)]
    return StoreResponse(response.stored, response.failed, others)


def _parse_xml(content: bytes) -> list[Dataset]:
    from dcmweb.dicom.native_xml import parse_native_xml  # rarely needed

    return [parse_native_xml(content)]


def _stored(item: Dataset) -> Stored:
    if item.keys() <= _OF_STORED:  # as nearly all items are: no warning, no words
        uid = json_model.text(item, REFERENCED_SOP_INSTANCE_UID)
        return Stored(uid, json_model.text(item, RETRIEVE_URL) if RETRIEVE_URL in item else "")
    return Stored(
        sop_instance=json_model.text(item, REFERENCED_SOP_INSTANCE_UID),
        retrieve_url=json_model.text(item, RETRIEVE_URL),
        warning=json_model.number(item, WARNING_REASON),
        detail=_detail(item),
    )


def _not_stored(item: Dataset) -> NotStored:
    return NotStored(
        sop_instance=json_model.text(item, REFERENCED_SOP_INSTANCE_UID),
        reason=json_model.number(item, FAILURE_REASON),
        detail=_detail(item),
    )


def _detail(item: Dataset) -> str:
    """Collect what the server adds in words."""
    if _WITH_WORDS.isdisjoint(item):
        return ""
    found = [json_model.text(item, tag) for tag in _DETAILS]
    for attribute in json_model.items(item, FAILED_ATTRIBUTES_SEQUENCE):
        found += [json_model.text(attribute, tag) for tag in _DETAILS]
    return "; ".join(dict.fromkeys(filter(None, found)))
