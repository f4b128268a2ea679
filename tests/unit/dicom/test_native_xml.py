"""Native XML: what is read, what is turned away, and what is written."""

from __future__ import annotations

import json
import random
from typing import Any
from xml.etree import ElementTree

import pytest

from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.native_xml import parse_native_xml, write_native_xml
from dcmweb.errors import ProtocolError

TAG = "00080018"


def xml(content: str, root: str = "<NativeDicomModel xml:space='preserve'>") -> bytes:
    return f"<?xml version='1.0' encoding='UTF-8'?>\n{root}{content}</NativeDicomModel>".encode()


@pytest.mark.parametrize(
    ("content", "dataset"),
    [
        ("", {}),
        ("<DicomAttribute tag='00080018' vr='UI'/>", {TAG: {"vr": "UI"}}),
        (
            "<DicomAttribute tag='7fe00010' vr='OW'><BulkData uri='https://x/y'/></DicomAttribute>",
            {"7FE00010": {"vr": "OW", "BulkDataURI": "https://x/y"}},
        ),
        (
            "<DicomAttribute tag='00420011' vr='OB'><InlineBinary>AAEC</InlineBinary>"
            "</DicomAttribute>",
            {"00420011": {"vr": "OB", "InlineBinary": "AAEC"}},
        ),
        (
            "<DicomAttribute tag='00080060' vr='CS'><Value number='1'>CT</Value>"
            "<Value number='2'>é &amp; &lt;</Value></DicomAttribute>",
            {"00080060": {"vr": "CS", "Value": ["CT", "é & <"]}},
        ),
        (
            "<DicomAttribute tag='00081199' vr='SQ'><Item number='1'>"
            "<DicomAttribute tag='00080018' vr='UI'><Value number='1'>1.2</Value></DicomAttribute>"
            "</Item><Item number='2'/></DicomAttribute>",
            {"00081199": {"vr": "SQ", "Value": [{TAG: {"vr": "UI", "Value": ["1.2"]}}, {}]}},
        ),
        (
            "<DicomAttribute tag='00100010' vr='PN'><PersonName number='1'><Alphabetic>"
            "<GivenName>Jane</GivenName><FamilyName>Doe</FamilyName></Alphabetic></PersonName>"
            "</DicomAttribute>",
            {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]}},
        ),
        (
            "<DicomAttribute tag='00280010' vr='US'><Value number='1'>512</Value></DicomAttribute>"
            "<DicomAttribute tag='00200032' vr='DS'><Value number='1'>1</Value>"
            "<Value number='2'> -1.5e1 </Value><Value number='3'>one</Value></DicomAttribute>"
            "<DicomAttribute tag='00189087' vr='FD'><Value number='1'>NaN</Value>"
            "<Value number='2'>1e999</Value></DicomAttribute>",
            {
                "00280010": {"vr": "US", "Value": [512]},
                "00200032": {"vr": "DS", "Value": [1, -15.0, "one"]},
                "00189087": {"vr": "FD", "Value": ["NaN", "1e999"]},
            },
        ),
        (
            "<DicomAttribute tag='00080008' vr='CS'><Value number='2'>A</Value>"
            "<Value number='4'>B</Value><Value number='5'/></DicomAttribute>"
            "<DicomAttribute tag='00080060' vr='CS'><Value number='1'/></DicomAttribute>"
            "<DicomAttribute tag='00080061' vr='CS'><Value number='99999999'>A</Value>"
            "<Value>B</Value><Value number='x'>C</Value></DicomAttribute>",
            {
                "00080008": {"vr": "CS", "Value": [None, "A", None, "B", None]},
                "00080060": {"vr": "CS"},
                "00080061": {"vr": "CS", "Value": ["A", "B", "C"]},
            },
        ),
        (
            "<DicomAttribute tag='00190010' vr='LO'><Value number='1'>ME</Value></DicomAttribute>"
            "<DicomAttribute tag='00190011' vr='LO'><Value number='1'>YOU</Value></DicomAttribute>"
            "<DicomAttribute tag='00190001' vr='LO' privateCreator='YOU'/>"
            "<DicomAttribute tag='00191001' vr='LO' privateCreator='ME'/>"
            "<DicomAttribute tag='00190097' vr='LO' privateCreator='GOOGLE'/>",
            {
                "00190010": {"vr": "LO", "Value": ["ME"]},
                "00190011": {"vr": "LO", "Value": ["YOU"]},
                "00191101": {"vr": "LO"},
                "00191001": {"vr": "LO"},
                "00190097": {"vr": "LO"},
            },
        ),
        ("<Other tag='00080018'/><DicomAttribute/>", {}),
    ],
)
def test_native_xml_becomes_the_json_model(content: str, dataset: dict[str, Any]) -> None:
    assert parse_native_xml(xml(content)) == dataset
    json.dumps(parse_native_xml(xml(content)))


def test_a_namespace_changes_nothing() -> None:
    root = "<NativeDicomModel xmlns='http://dicom.nema.org/PS3.19/models/NativeDICOM'>"
    content = (
        "<DicomAttribute tag='00080018' vr='UI'><Value number='1'>1.2</Value></DicomAttribute>"
    )
    assert parse_native_xml(xml(content, root)) == parse_native_xml(xml(content))


ENTITIES = "".join(f"<!ENTITY e{n} '{f'&e{n - 1};' * 10}'>" for n in range(1, 10))
BOMB = f"<!DOCTYPE x [<!ENTITY e0 'lol'>{ENTITIES}]><NativeDicomModel>&e9;</NativeDicomModel>"
OUTSIDE = (
    "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><NativeDicomModel>&e;</NativeDicomModel>"
)


@pytest.mark.parametrize(
    "text", ["<!DOCTYPE html><html/>", "<!DOCTYPE NativeDicomModel>", BOMB, OUTSIDE], ids=range(4)
)
def test_documents_with_a_document_type_are_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="document type"):
        parse_native_xml(text.encode())


@pytest.mark.parametrize(
    "body",
    [
        b"", b"text", b"<html/>", b"<a><b></a>", b"<NativeDicomModel>", b"<NativeDicomModel>\xff<",
        b"<?xml version='1.0' encoding='nonsense'?><NativeDicomModel/>", xml("&undefined;"),
        xml("")[:-1], xml("<DicomAttribute tag='1' vr='SQ'><Item>" * 50_000),
        xml(
            "<DicomAttribute tag='00081199' vr='SQ'><Item>" * 20_000
            + "</Item></DicomAttribute>" * 20_000
        ),
    ],
    ids=range(11),
)  # fmt: skip
def test_what_is_no_native_xml_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProtocolError, match="XML"):
        parse_native_xml(body)


def written(dataset: Dataset) -> ElementTree.Element:
    """The root of what is written, as another reader sees it, without the namespace."""
    document = write_native_xml(dataset)
    assert document.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n')
    root = ElementTree.fromstring(document)
    for element in root.iter():
        namespace, _, element.tag = element.tag.rpartition("}")
        assert namespace == "{http://dicom.nema.org/PS3.19/models/NativeDICOM"
    return root


def found(root: ElementTree.Element, tag: str) -> ElementTree.Element:
    element = root.find(f".//DicomAttribute[@tag='{tag}']")
    assert element is not None
    return element


def test_elements_have_tag_vr_and_keyword() -> None:
    root = written({"00280010": {"vr": "US", "Value": [512]}, "00181111": {"vr": "DS"}})
    assert [a.attrib for a in root] == [
        {"tag": "00181111", "vr": "DS", "keyword": "DistanceSourceToPatient"},
        {"tag": "00280010", "vr": "US", "keyword": "Rows"},
    ]
    assert [(v.tag, v.attrib, v.text) for v in root[1]] == [("Value", {"number": "1"}, "512")]
    assert "keyword" not in found(written({"00281FFF": {"vr": "UN"}}), "00281FFF").attrib


def test_private_elements_are_named_by_their_creator() -> None:
    creators: Dataset = {
        "00190010": {"vr": "LO", "Value": ["A & B"]},
        "00190011": {"vr": "LO", "Value": ["TWICE"]},
        "00190012": {"vr": "LO", "Value": ["TWICE"]},
        "00191001": {"vr": "UN"},
        "00191101": {"vr": "UN"},
        "00191301": {"vr": "UN"},
        "0019000D": {"vr": "LO"},
    }
    root = written({"00081199": {"vr": "SQ", "Value": [creators]}, "00191001": {"vr": "UN"}})
    item = found(root, "00081199")[0]
    assert found(item, "00190001").get("privateCreator") == "A & B"
    for tag in ("00190010", "00191101", "00191301", "0019000D"):
        assert "privateCreator" not in found(item, tag).attrib
    assert "privateCreator" not in found(root, "00191001").attrib
    named = written({"00090097": {"vr": "LT", "Value": ["x"], "privateCreator": "GOOGLE"}})
    assert named[0].attrib == {"tag": "00090097", "vr": "LT", "privateCreator": "GOOGLE"}


def test_names_are_split_into_their_components() -> None:
    name = {"Alphabetic": "Doe^Jane^^Dr^MD^x", "Phonetic": "D"}
    (element,) = written({"00100010": {"vr": "PN", "Value": [None, name]}})[0].iter("PersonName")
    assert element.get("number") == "2"
    groups = {group.tag: [(part.tag, part.text) for part in group] for group in element}
    assert groups == {
        "Alphabetic": [
            ("FamilyName", "Doe"),
            ("GivenName", "Jane"),
            ("NamePrefix", "Dr"),
            ("NameSuffix", "MD^x"),
        ],
        "Phonetic": [("FamilyName", "D")],
    }


BULK = {"vr": "OB", "BulkDataURI": 'x\x01"<>&\n'}


def test_characters_that_xml_cannot_hold_are_replaced() -> None:
    text = "a\0b\x1b\ud800\uffff\tc\U0001f600"
    dataset: Dataset = {"00104000": {"vr": "LT", "Value": [text]}, "00091001": BULK}
    assert parse_native_xml(write_native_xml(dataset)) == {
        "00104000": {"vr": "LT", "Value": ["a\ufffdb\ufffd\ufffd\ufffd\tc\U0001f600"]},
        "00091001": {"vr": "OB", "BulkDataURI": 'x\ufffd"<>&\n'},
    }


ALPHABET = "abcXYZ019 .-_<>&\"'\r\n\t\\/]äß山\u2028\U0001f600"
SOME_TAGS = ["00080018", "00100010", "00280010", "7FE00010", "00190010", "00190011", "00191001"]


def some_text(chance: random.Random) -> str:
    return "".join(chance.choices(ALPHABET, k=chance.randint(1, 12)))


def some_value(chance: random.Random, vr: str, depth: int) -> Any:
    match vr:
        case "SQ":
            return some_dataset(chance, depth + 1)
        case "PN":
            groups = chance.sample(["Alphabetic", "Ideographic", "Phonetic"], chance.randint(1, 3))
            return {group: some_text(chance) + "^" * 2 + some_text(chance) for group in groups}
        case "US" | "IS":
            return chance.randint(-(2**70), 2**70)
        case "FD" | "DS":
            return chance.choice([0.0, -1.5, 1e-300, 1e308, 7, chance.random()])
    return some_text(chance)


def some_element(chance: random.Random, depth: int) -> dict[str, Any]:
    vr = chance.choice(["LO", "LT", "PN", "US", "IS", "FD", "DS", "OB", "SQ"])
    if vr == "SQ" and depth > 3:
        return {"vr": vr}
    if vr == "OB":
        kind = chance.choice(["InlineBinary", "BulkDataURI"])
        return {"vr": vr, kind: some_text(chance)}
    values = [some_value(chance, vr, depth) for _ in range(chance.randint(0, 3))]
    if vr != "SQ" and values:
        values = [*chance.choices([*values, None], k=len(values)), values[0]]
        values += [None] * chance.randint(0, 2)
    return {"vr": vr, "Value": values} if values else {"vr": vr}


def some_dataset(chance: random.Random, depth: int = 0) -> Dataset:
    tags = [*SOME_TAGS, *(f"{chance.randrange(2**32):08X}" for _ in range(3))]
    return {tag: some_element(chance, depth) for tag in chance.sample(tags, chance.randint(0, 9))}


@pytest.mark.parametrize("seed", range(300))
def test_what_is_written_is_read_back(seed: int) -> None:
    dataset = some_dataset(random.Random(seed))
    before = json.dumps(dataset)
    assert parse_native_xml(write_native_xml(dataset)) == dataset
    assert json.dumps(dataset) == before


@pytest.mark.parametrize(
    "element",
    [None, 5, {"vr": None, "Value": None}, {"vr": "LO"}, {"vr": "SQ", "Value": [None]}],
)
def test_what_has_no_value_is_written_empty(element: Any) -> None:
    written = write_native_xml({TAG: element})
    (attribute,) = ElementTree.fromstring(written)
    assert attribute.get("vr")
    assert not [text for text in attribute.itertext() if text]


@pytest.mark.parametrize(
    "dataset",
    [
        {"error": {"vr": "LO"}},
        {TAG: {"vr": "SQ", "Value": ["no item"]}},
        {TAG: {"vr": "SQ", "Value": [{"x": {}}]}},
        {TAG: {"vr": "SQ", "Value": [5]}},
        {TAG: {"vr": "SQ", "Value": [[]]}},
    ],
)
def test_what_is_no_data_set_is_not_written(dataset: Dataset) -> None:
    with pytest.raises(ProtocolError, match="is not a "):
        write_native_xml(dataset)


def test_sequences_that_are_too_deep_are_not_written() -> None:
    dataset: Dataset = {}
    for _ in range(5000):
        dataset = {TAG: {"vr": "SQ", "Value": [dataset]}}
    with pytest.raises(ProtocolError, match="deep"):
        write_native_xml(dataset)


def test_numbers_do_not_make_many_values_of_few() -> None:
    values = "".join(f'<Value number="{1000 * n + 1}"/>' for n in range(1, 200))
    document = f"<NativeDicomModel><DicomAttribute tag='00081190' vr='UR'>{values}"
    body = f"{document}</DicomAttribute></NativeDicomModel>".encode()
    with pytest.raises(ProtocolError, match="leave out too many values"):
        parse_native_xml(body)


def test_a_number_without_end_stays_text() -> None:
    body = "<NativeDicomModel><DicomAttribute tag='00200013' vr='IS'><Value>%s</Value>" % (
        "9" * 500
    )
    body += "</DicomAttribute></NativeDicomModel>"
    assert parse_native_xml(body.encode())["00200013"]["Value"] == ["9" * 500]


def test_a_number_of_a_value_without_end_is_none() -> None:
    body = "<NativeDicomModel><DicomAttribute tag='00081190' vr='UR'><Value number='%s'>a</Value>"
    body = body % ("9" * 5000) + "</DicomAttribute></NativeDicomModel>"
    assert parse_native_xml(body.encode())["00081190"]["Value"] == ["a"]


@pytest.mark.parametrize("encoding", ["utf-7", "shift_jis", "unknown"])
def test_an_encoding_that_cannot_be_read_is_said(encoding: str) -> None:
    body = f'<?xml version="1.0" encoding="{encoding}"?><NativeDicomModel/>'
    with pytest.raises(ProtocolError, match="in an encoding that cannot be read"):
        parse_native_xml(body.encode())


def test_no_document_of_many_elements_is_parsed() -> None:
    with pytest.raises(ProtocolError, match="too many elements"):
        parse_native_xml(b"<" * 10_000_001)


def test_a_document_has_a_limit_of_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcmweb.dicom.native_xml._MOST_ELEMENTS", 2)
    parse_native_xml(b"<NativeDicomModel><DicomAttribute tag='00081190'/></NativeDicomModel>")
    with pytest.raises(ProtocolError, match="too many elements"):
        parse_native_xml(b"<NativeDicomModel>" + b"<a/>" * 3 + b"</NativeDicomModel>")
