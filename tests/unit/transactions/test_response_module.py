"""Store responses as servers write them, in JSON and in XML."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dcmweb.errors import ProtocolError
from dcmweb.transactions.store.response_module import NotStored, Stored, StoreResponse, parse

DUPLICATE = "instance 1.2.3 already exists"


def element(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


def referenced(uid: str, **more: Any) -> dict[str, Any]:
    return {"00081150": element("UI", "1.2.840.1"), "00081155": element("UI", uid), **more}


def attribute(tag: str, vr: str, *content: str) -> str:
    inside = "".join(
        f"<Item number='{number}'>{text[1:]}</Item>"
        if text.startswith("#")
        else f"<Value number='{number}'>{text}</Value>"
        for number, text in enumerate(content, start=1)
    )
    return f"<DicomAttribute tag='{tag}' vr='{vr}'>{inside}</DicomAttribute>"


def xml(*attributes: str) -> bytes:
    text = f"<NativeDicomModel>{''.join(attributes)}</NativeDicomModel>"
    return f"<?xml version='1.0' encoding='UTF-8'?>{text}".encode()


STORED_AND_FAILED = {
    "00081190": element("UR", "https://h/studies/1"),
    "00081199": element(
        "SQ",
        referenced("1.1", **{"00081190": element("UR", "https://h/studies/1/instances/1.1")}),
        referenced("1.2", **{"00081196": element("US", 0xB000)}),
    ),
    "00081198": element("SQ", referenced("1.3", **{"00081197": element("US", 0xA900)})),
}
STORED_AND_FAILED_XML = xml(
    attribute("00081190", "UR", "https://h/studies/1"),
    attribute(
        "00081199",
        "SQ",
        "#"
        + attribute("00081155", "UI", "1.1")
        + attribute("00081190", "UR", "https://h/studies/1/instances/1.1"),
        "#" + attribute("00081155", "UI", "1.2") + attribute("00081196", "US", "45056"),
    ),
    attribute(
        "00081198",
        "SQ",
        "#" + attribute("00081155", "UI", "1.3") + attribute("00081197", "US", "43264"),
    ),
)


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(STORED_AND_FAILED).encode(),
        json.dumps([STORED_AND_FAILED]).encode(),
        json.dumps([{tag: value} for tag, value in STORED_AND_FAILED.items()]).encode(),
        b"\xef\xbb\xbf\n" + json.dumps(STORED_AND_FAILED).encode() + b"\n",
        STORED_AND_FAILED_XML,
        b"\xef\xbb\xbf" + STORED_AND_FAILED_XML,
    ],
    ids=["json", "array of one", "array", "json with mark", "xml", "xml with mark"],
)
def test_what_was_stored_and_what_was_not(body: bytes) -> None:
    response = parse(body)
    assert response.stored == {
        "1.1": Stored("1.1", "https://h/studies/1/instances/1.1"),
        "1.2": Stored("1.2", warning=0xB000),
    }
    assert response.failed == {"1.3": NotStored("1.3", 0xA900)}
    assert not response.other_failures


@pytest.mark.parametrize(
    "body", [b"", b" \r\n", b"{}", b"[]", b"[{}]", xml(), b"<NativeDicomModel/>"]
)
def test_an_answer_without_content_says_nothing(body: bytes) -> None:
    response = parse(body)
    assert not response.stored
    assert not response.failed
    assert not response.other_failures
    assert response.about(["1.2"]) is None


@pytest.mark.parametrize(
    "body",
    [
        xml(
            attribute(
                "00081198",
                "SQ",
                "#"
                + attribute("00081155", "UI", "1.2.3")
                + attribute("00081197", "US", "272")
                + attribute("00090097", "LT", DUPLICATE),
            )
        ),
        json.dumps(
            {
                "00081198": element(
                    "SQ",
                    referenced(
                        "1.2.3",
                        **{
                            "00081197": element("US", 272),
                            "00091097": element("LT", DUPLICATE),
                        },
                    ),
                )
            }
        ).encode(),
    ],
    ids=["xml", "json"],
)
def test_google_says_in_words_why_it_failed(body: bytes) -> None:
    assert parse(body).failed == {"1.2.3": NotStored("1.2.3", 272, DUPLICATE)}


def test_azure_says_in_words_which_attributes_failed() -> None:
    said = [
        {"00000902": element("LO", text)} for text in ("DICOM100: (0008,0018) - bad", "two", "two")
    ]
    body = {
        "00081198": element(
            "SQ",
            referenced("1.1", **{"00081197": element("US", 45070)}),
            referenced(
                "1.2", **{"00081197": element("US", 43264), "00741048": element("SQ", *said)}
            ),
        ),
        "00081199": element(
            "SQ",
            referenced("1.3", **{"00081196": element("US", 1), "00741048": element("SQ", said[1])}),
        ),
    }
    response = parse(json.dumps(body).encode())
    assert response.failed == {
        "1.1": NotStored("1.1", 45070),
        "1.2": NotStored("1.2", 43264, "DICOM100: (0008,0018) - bad; two"),
    }
    assert response.stored == {"1.3": Stored("1.3", warning=1, detail="two")}


def test_failures_without_a_uid_are_kept_apart() -> None:
    nameless = {"00081197": element("US", 272), "00091097": element("LT", "not DICOM")}
    body = {
        "00081198": element("SQ", nameless, {}),
        "0008119A": element("SQ", {"00081197": element("US", 0x0110)}),
    }
    response = parse(json.dumps(body).encode())
    assert response.failed == {}
    assert list(response.other_failures) == [
        NotStored("", 272, "not DICOM"),
        NotStored(""),
        NotStored("", 0x0110),
    ]


def test_other_failures_in_xml() -> None:
    body = xml(attribute("0008119a", "SQ", "#" + attribute("00081197", "US", "272")))
    assert list(parse(body).other_failures) == [NotStored("", 272)]


@pytest.mark.parametrize(
    "sequence",
    [None, {}, {"vr": "SQ"}, element("SQ"), element("SQ", None, "x", 1), {"vr": "SQ", "Value": {}}],
)
def test_malformed_sequences_say_nothing(sequence: Any) -> None:
    tags = ("00081198", "00081199", "0008119A")
    response = parse(json.dumps(dict.fromkeys(tags, sequence)).encode())
    assert response.about(["1.2", ""]) is None
    assert not response.other_failures


def test_numbers_written_as_text_are_numbers() -> None:
    body = {"00081198": element("SQ", referenced("1.2\0", **{"00081197": element("US", "272")}))}
    assert parse(json.dumps(body).encode()).failed == {"1.2": NotStored("1.2", 272)}


def test_any_of_its_names_finds_an_instance_and_a_failure_counts_more() -> None:
    stored, failed = Stored("1"), NotStored("2")
    response = StoreResponse({"1": stored}, {"2": failed})
    assert response.about(["9", "1"]) is stored
    assert response.about(["1", "2"]) is failed
    assert response.about(["9"]) is None
    assert response.about([]) is None
    assert response.about(iter(["9", "1"])) is stored


@pytest.mark.parametrize(
    "body",
    [
        b"OK",
        b"<html><body>hello</body></html>",
        b"<!DOCTYPE NativeDicomModel><NativeDicomModel/>",
        b"<!DOCTYPE x [<!ENTITY a 'a'><!ENTITY b '&a;'>]><NativeDicomModel>&b;</NativeDicomModel>",
        STORED_AND_FAILED_XML[:-20],
        json.dumps(STORED_AND_FAILED).encode()[:-20],
        b'["1.2.3"]',
        b"null",
    ],
)
def test_what_is_no_store_response_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(body)
