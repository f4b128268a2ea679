"""Reads search parameters as people write them (PS3.18 section 8.3.4).

Errors name keys, and never values: those may be a patient's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import unquote

from dcmweb.dicom.dictionary import SIMILAR, attributes
from dcmweb.errors import UsageError

Pair = tuple[str, str]

# Of PS3.18; of Google's APIs; of dcm4chee.
_STANDARD = (
    "limit",
    "offset",
    "includefield",
    "fuzzymatching",
    "emptyvaluematching",
    "multiplevaluematching",
    "accept",
    "charset",
)
_GOOGLE = ("access_token", "alt", "fields", "key", "prettyPrint", "quotaUser", "$.xgafv")
# Of QueryAttributes in dcm4chee-arc-light 5, and the keywords of its private attributes.
_DCM4CHEE = (
    "ExpirationDate",
    "ExpirationState",
    "ExternalRetrieveAET",
    "ExternalRetrieveAET!",
    "ForceQueryByStudyUID",
    "SendingApplicationEntityTitleOfSeries",
    "SendingPresentationAddressOfSeries",
    "ReceivingApplicationEntityTitleOfSeries",
    "ReceivingPresentationAddressOfSeries",
    "SplitStudyDateRange",
    "StudyAccessDateTime",
    "StudyExpirationDate",
    "StudyReceiveDateTime",
    "StudySizeInKB",
    "allOfModalitiesInStudy",
    "batchID",
    "comparefield",
    "compressionfailed",
    "count",
    "deletionlock",
    "different",
    "expired",
    "includedefaults",
    "incomplete",
    "metadataUpdateFailed",
    "missing",
    "onlyWithStudies",
    "orderby",
    "patientVerificationStatus",
    "priority",
    "retrievefailed",
    "storageClustered",
    "storageExported",
    "storageID",
    "storageVerificationFailed",
    "storageVerificationPolicy",
    "storageVerificationStorageID",
    "template",
)
# Those of them that are dates, written as those of attributes.
_VR_OF_PARAMETER = {
    "ExpirationDate": "DA",
    "StudyExpirationDate": "DA",
    "StudyAccessDateTime": "DT",
    "StudyReceiveDateTime": "DT",
}
_KNOWN = frozenset([*_STANDARD, *_GOOGLE, *_DCM4CHEE])

# A & begins another parameter where a name and = follow; elsewhere it belongs to the value.
_SEPARATOR = r"&(?=[A-Za-z$][A-Za-z0-9._]*!?(?:=|[<>])|[0-9A-Fa-f]{8}[=.<>]|&|$)"
_NOT_ENCODABLE = "[\ud800-\udfff]"
_KEY_AND_VALUE = r"(?s)([^=<>]*)(>=|<=|[=<>])(.*)"
_COMPARISONS = ("<", ">")
_WITH_RANGES = ("DA", "TM", "DT")


def is_parameter(text: str) -> bool:
    """Return True if a word is a search parameter, rather than a path, which has no such sign."""
    return any(sign in text for sign in "=<>")


def parse_parameters(texts: Iterable[str]) -> list[Pair]:
    """Read parameters: `KEY=VALUE`, `A=1&B=2`, with or without `?`; `KEY>=VALUE` for ranges.

    `%XX` is decoded; `+` and what stands after the first `=` belong to the value. Raises
    UsageError for what has no key.
    """
    pairs = []
    for number, text in enumerate(texts, start=1):
        for item in filter(None, re.split(_SEPARATOR, text.strip().removeprefix("?"))):
            match = re.fullmatch(_KEY_AND_VALUE, item)
            key, sign, value = match.groups() if match else ("", "", "")
            if not key.strip():
                raise UsageError(
                    f"search parameter {number} is not valid: it has no key",
                    "write it as KEY=VALUE, as in StudyDate=2024",
                )
            comparison = "" if sign == "=" else sign
            pairs.append((_decode(key.strip()), comparison + _decode(value)))
    return pairs


def check_encoding(pairs: Iterable[Pair]) -> None:
    """Raise UsageError for keys and values that are not UTF-8, as in a script in Latin-1."""
    hint = "save the script as UTF-8, or set the terminal to it"
    for key, value in pairs:
        if re.search(_NOT_ENCODABLE, key):
            raise UsageError("a search key is not UTF-8", hint)
        if re.search(_NOT_ENCODABLE, value):
            raise UsageError(f"the value of {key} is not UTF-8", hint)


def checked_parameters(pairs: Iterable[Pair]) -> list[Pair]:
    """Check keys against the dictionary, and write dates and times as DICOM has them.

    Raises UsageError for keys that are neither attributes nor parameters that servers are known
    to have, and for what is not a valid date.
    """
    found: dict[str, list[str]] = {}
    order: list[Pair] = []
    for key, value in pairs:
        vr = _vr(key)
        if key.lower() == "includefield":
            _check_fields(value)
        if vr in _WITH_RANGES:
            from dcmweb.transactions.search import date_ranges

            with _naming(key):
                found.setdefault(key, []).append(date_ranges.translate(value, vr))
        elif value.startswith(_COMPARISONS) and vr:
            raise UsageError(f"{key} does not take a range", "dates and times do")
        order.append((key, value))
    merged = {}
    for key, values in found.items():
        from dcmweb.transactions.search import date_ranges

        with _naming(key):
            merged[key] = iter(date_ranges.joined(values))
    return [
        (key, translated)
        for key, value in order
        if (translated := next(merged[key], None) if key in merged else value) is not None
    ]


@contextmanager
def _naming(key: str) -> Iterator[None]:
    """Say in a UsageError which key it is about."""
    try:
        yield
    except UsageError as error:
        error.message = f"{key}: {error.message}"
        raise


def _vr(key: str) -> str:
    """Return the VR of the attribute that a key names; "" for other parameters."""
    if key in _KNOWN or key.lower() in _STANDARD:
        return _VR_OF_PARAMETER.get(key, "")
    try:
        return attributes(key)[-1].vr
    except UsageError as error:
        from difflib import get_close_matches

        lower = {name.lower(): name for name in _KNOWN}
        if close := get_close_matches(key.lower(), lower, n=1, cutoff=SIMILAR):
            error.hint = f"did you mean {lower[close[0]]}?"
        then = " To" if error.hint.endswith("?") else "; to"
        error.hint = f"{error.hint}{then} send it all the same: --unchecked"
        raise


def _check_fields(text: str) -> None:
    for name in text.split(","):
        if name.strip() and name.strip() != "all":
            attributes(name.strip())


def _decode(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text
