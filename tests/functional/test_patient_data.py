"""No line on stderr has a value of a query or of a data set, whatever a server answers."""

from __future__ import annotations

import json
from urllib.parse import unquote

import pytest

from tests.conftest import Dcmweb, make_instance
from tests.functional.archive import json_answer
from tests.functional.origin import Answer, Request, serving

NAME = "Mustermann^Erika"
MARKS = ("mustermann", "erika", "471199", "äöü", "%c3%a4", "19640812", "xyz")
QUERY = (
    *(f"PatientName={NAME}*", "PatientID=471199", "PatientBirthDate=1964-08-12"),
    *("OtherPatientNames=ÄÖÜ 1", "StudyID=XYZ"),
)
JSON = {"Content-Type": "application/dicom+json"}
ROW = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": NAME}]}}


def echo(status: int, media_type: str, template: str = "%s", **headers: str) -> object:
    """A server that repeats the query in its answer, as it came or decoded."""

    def handle(request: Request) -> Answer:
        query = request.query
        body = template % f"cannot find {unquote(query)} nor {query} of Mustermann, Erika"
        filled = {name: value.replace("QUERY", query) for name, value in headers.items()}
        return Answer(status, body.encode(), {"Content-Type": media_type, **filled})

    return handle


def echo_json(status: int, field: str) -> object:
    def handle(request: Request) -> Answer:
        return json_answer({field: f"no {unquote(request.query)} ({request.query})"}, status)

    return handle


def warn(status: int) -> object:
    def handle(request: Request) -> Answer:
        texts = f'299 x "not supported: {request.query}", 299 x "{unquote(request.query)}"'
        return Answer(status, b"[]" if status == 200 else b"", {**JSON, "Warning": texts})

    return handle


def redirect(location: str, status: int = 302) -> object:
    def handle(request: Request) -> Answer:
        return Answer(status, b"", {"Location": location.replace("QUERY", request.query)})

    return handle


ROWS = json.dumps([ROW]).encode()
ANSWERS: dict[str, object] = {
    **{f"text {status}": echo(status, "text/plain") for status in (400, 401, 403, 404, 409, 500)},
    "json 400": echo_json(400, "message"),
    "json 422": echo_json(422, "detail"),
    "xml 400": echo(400, "text/xml", "<error><message>%s</message></error>"),
    "page 404": echo(404, "text/html", "<html><title>%s</title></html>"),
    "page 200": echo(200, "text/html", "<html><title>%s</title></html>"),
    "text 200": echo(200, "text/plain"),
    "warning 200": warn(200),
    "warning 400": warn(400),
    "warning 503": warn(503),
    "redirect": redirect("https://127.0.0.1:1/login?next=/studies?QUERY#QUERY"),
    "redirect with a port that is not a number": redirect("http://127.0.0.1:port/studies?QUERY"),
    "redirect to another scheme": redirect("ftp://127.0.0.1/studies?QUERY"),
    "redirect to nowhere": redirect("http:///studies?QUERY"),
    "redirect in a circle": redirect("/dicomweb/studies?QUERY"),
    "redirect that is not followed": redirect("http://127.0.0.1:1/x?QUERY", 304),
    "link": lambda r: Answer(404, b"", {"Link": f'<http://127.0.0.1/?{r.query}>; rel="next"'}),
    "broken JSON": Answer(200, ROWS[:-3], JSON),
    "JSON of another kind": Answer(200, json.dumps(NAME).encode(), JSON),
    "array of another kind": Answer(200, json.dumps([NAME, ROW]).encode(), JSON),
    "JSON with control characters": Answer(200, ROWS.replace(b"Erika", b"Eri\nka"), JSON),
    "not UTF-8": Answer(200, ROWS.replace(b"Erika", b"Erika\xfc"), JSON),
    "truncated": Answer(200, ROWS * 9, JSON, cut=60),
    "truncated chunks": Answer(200, ROWS * 9, JSON, chunk=9, cut=60),
    "closed": Answer(200, ROWS[:50], JSON, close=True),
    "no answer": Answer(cut=-1),
    "stalled": Answer(200, ROWS, JSON, stall=20),
    "coding that is not understood": Answer(200, ROWS, {**JSON, "Content-Encoding": "xyzzy"}),
    "not gzip": Answer(200, ROWS, {**JSON, "Content-Encoding": "gzip"}),
    "multipart": Answer(200, b"--x\r\n" + ROWS, {"Content-Type": "multipart/related; boundary=x"}),
}


@pytest.mark.parametrize("options", [[], ["-v"], ["--debug"]], ids=" ".join)
@pytest.mark.parametrize("name", ANSWERS)
def test_no_error_of_a_search_has_patient_data(
    dcmweb: Dcmweb, name: str, options: list[str]
) -> None:
    answer = ANSWERS[name]
    with serving(answer if callable(answer) else lambda _: answer) as origin:  # type: ignore[arg-type,return-value]
        arguments = ["--retries", "1" if "503" in name else "0", "--timeout", "1", *options]
        result = dcmweb(*arguments, origin.url, "search", *QUERY)
    assert result.err
    assert result.code == (0 if name == "warning 200" else result.code or -1)
    found = [mark for mark in MARKS if mark in result.err.lower().replace("xyzzy", "")]
    assert not found, result.err
    assert all("studies?" not in line for line in result.err.splitlines() if "Error: " in line)


def test_the_words_of_a_server_stay_without_the_values(dcmweb: Dcmweb) -> None:
    with serving(echo(400, "text/plain")) as origin:  # type: ignore[arg-type]
        result = dcmweb(origin.url, "search", "PatientID=471199")
    assert f"GET {origin.url}/studies: answered 400 Bad Request: cannot find " in result.last
    assert "PatientID=..." in result.last


@pytest.mark.parametrize(
    "words",
    [
        ["PatientBirthDate=1964-13-12"],
        ["PatientBirthDate=1964-12-13..1964-08-12"],
        ["PatientBirthDate>=471199-xyz"],
        ["PatientBirthDate=.."],
        ["PatientBirthTime=xyz"],
        ["PatientName>=Mustermann"],
        ["PatientNam=Mustermann"],
        ["studies", "Mustermann^Erika"],
        ["Mustermann^Erika"],
        ["471199"],
        ["PatientID=471199", "limit=xyz"],
        ["PatientName=Mustermann", "--format", "nothing"],
    ],
    ids=" ".join,
)
def test_no_usage_error_of_a_search_has_patient_data(dcmweb: Dcmweb, words: list[str]) -> None:
    result = dcmweb("http://127.0.0.1:1/x", "search", *words)
    assert result.code == 2
    assert not [mark for mark in MARKS if mark in result.err.lower()], result.err


STUDY = "studies/1.2.3"
ELEMENT = (
    '<DicomAttribute tag="00100010" vr="PN" keyword="PatientName"><PersonName number="1">'
    "<Alphabetic><FamilyName>Mustermann</FamilyName></Alphabetic></PersonName></DicomAttribute>"
)
XML = f'<?xml version="1.0"?><NativeDicomModel>{ELEMENT}</NativeDicomModel>'.encode()
XML_TYPE = {"Content-Type": "application/dicom+xml"}
RELATED = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x'}
PART = b"--x\r\nContent-Type: application/dicom\r\n\r\n%s\r\n--x--\r\n"
INSTANCE = make_instance().replace(b"Test^Someone", b"Mustermann^A")
DATA: dict[str, tuple[list[str], Answer]] = {
    "JSON cut": (["/metadata"], Answer(200, ROWS, JSON, cut=40)),
    "JSON broken": (["/metadata"], Answer(200, ROWS[:-4] + b"x" + ROWS[-4:], JSON)),
    "JSON of something else": (["/metadata"], Answer(200, b'["Mustermann"]', JSON)),
    "JSON with odd bytes": (["/metadata"], Answer(200, ROWS.replace(b"^", b"\xff"), JSON)),
    "JSON as text": (["/metadata"], Answer(200, b"Mustermann", {"Content-Type": "text/plain"})),
    "XML broken": (
        ["/metadata", "--type", "application/dicom+xml"],
        Answer(200, XML.replace(b"</Family", b"</Mustermann"), XML_TYPE),
    ),
    "XML with an entity": (
        ["/metadata", "--type", "application/dicom+xml"],
        Answer(200, XML.replace(b">Mustermann", b">&mustermann;"), XML_TYPE),
    ),
    "XML of something else": (
        ["/metadata", "--type", "application/dicom+xml"],
        Answer(200, b"<Mustermann/>", XML_TYPE),
    ),
    "DICOM cut": ([""], Answer(200, PART % INSTANCE[:700], RELATED)),
    "DICOM without UIDs": ([""], Answer(200, PART % (INSTANCE[:132] + b"Mustermann"), RELATED)),
    "not DICOM": ([""], Answer(200, PART % b"Mustermann", RELATED)),
    "a part that breaks off": ([""], Answer(200, (PART % INSTANCE)[:-30], RELATED)),
    "no multipart": ([""], Answer(200, b"Mustermann", {"Content-Type": "text/plain"})),
}


@pytest.mark.parametrize("options", [[], ["--debug"]], ids=" ".join)
@pytest.mark.parametrize("name", DATA)
def test_no_error_of_a_retrieval_has_values_of_a_data_set(
    dcmweb: Dcmweb, name: str, options: list[str]
) -> None:
    (suffix, *more), answer = DATA[name]
    with serving(lambda _: answer) as origin:
        path = STUDY + suffix
        result = dcmweb("--retries", "0", *options, origin.url, "retrieve", path, *more)
    assert result.code in (0, 1, 3, 8), result.err  # 0: files are kept as the server has them
    assert "mustermann" not in result.err.lower()
