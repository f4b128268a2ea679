"""Requests that schemathesis makes of the description, and what must be true of each answer."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import APIOperation as Described
from schemathesis import Case as Generated
from schemathesis import GenerationMode, Response
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    status_code_conformance,
)

from dcmweb.http.media_types import DICOM, DICOM_JSON, MULTIPART_RELATED
from tests.api.description import Known, describe
from tests.conftest import make_instance
from tests.functional.archive import multipart_body
from tests.functional.archives import Running, multipart

APIOperation = Described[Any, Any, Any, Any]
Case = Generated[Any]
LONG = 30.0  # seconds after which an answer hangs
KNOWN = Known("1.2.3", "1.2.3.4", "1.2.3.4.1")
INSTANCE = make_instance(KNOWN.study, KNOWN.series, KNOWN.instance, 64)
_BOUNDARY = "between"
_CHECKS: list[Any] = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
]
_METADATA = json.dumps([{"00080018": {"vr": "UI", "Value": ["1.2.3.4.2"]}}]).encode()
_CONTENTS = {"instance": INSTANCE, "half": INSTANCE[: len(INSTANCE) // 2], "metadata": _METADATA}


def serialized(_context: Any, value: Any) -> bytes:
    """Make a body of the parts that the description speaks of; whatever else is sent as it is."""
    if not isinstance(value, list):
        return json.dumps(value, default=str).encode()
    body = b""
    for part in value:
        given = part if isinstance(part, dict) else {"content": part}
        content = str(given.get("content", ""))
        kind = str(given.get("type", "")).encode("ascii", "replace").decode()
        body += f"--{_BOUNDARY}\r\nContent-Type: {kind}\r\n\r\n".encode()
        body += _CONTENTS.get(content, content.encode(errors="replace")) + b"\r\n"
    return body + f"--{_BOUNDARY}--\r\n".encode()


schemathesis.serializer(MULTIPART_RELATED)(serialized)


def operations() -> Iterator[APIOperation]:
    """List what the description has."""
    for result in schemathesis.openapi.from_dict(describe(KNOWN)).get_all_operations():
        assert isinstance(result, Ok)
        yield result.ok()


class Asking:
    """Asks an archive, and counts the requests and the statuses of answers."""

    def __init__(self, archive: Running) -> None:
        self._archive = archive
        self._of_this_machine = {str(archive.folder), str(Path.home()), sys.prefix}
        self.statuses: Counter[int] = Counter()

    def ask_all(
        self, operation: APIOperation, count: int, number: int, modes: Sequence[GenerationMode]
    ) -> None:
        """Ask for a resource with what fits the description, and with what does not."""
        self._put()
        for mode in modes:
            with_fixed_seed = settings(
                max_examples=count,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )

            @seed(number)
            @with_fixed_seed
            @given(operation.as_strategy(mode))
            def asked(case: Case) -> None:
                self.ask(case)

            asked()

    def ask(self, case: Case) -> None:
        """Ask once. Raises AssertionError, or what schemathesis has, if the answer is wrong."""
        if case.media_type == MULTIPART_RELATED:
            kind = f'{MULTIPART_RELATED}; type="{DICOM}"; boundary={_BOUNDARY}'
            case.headers["Content-Type"] = kind
        answer = case.call(self._archive.root, self._archive.session, timeout=LONG)
        self.statuses[answer.status_code] += 1
        check(answer, self._of_this_machine)
        case.validate_response(answer, checks=_CHECKS)

    def _put(self) -> None:
        """Put the instance back, which a request may have deleted or changed."""
        self._archive(
            "POST",
            "dicomweb/studies",
            DICOM_JSON,
            data=multipart_body([INSTANCE]),
            headers=multipart(),
        )


def check(answer: Response, of_this_machine: set[str]) -> None:
    """Check what is true of each answer of the archive."""
    assert answer.status_code < 500, (answer.status_code, answer.content)
    if answer.status_code in (204, 304):
        assert not answer.content
        assert "content-type" not in answer.headers
    said = answer.content.decode("latin-1") + str(answer.headers)
    assert "Traceback" not in said
    found = [path for path in of_this_machine if path in said]
    assert not found, f"the answer has {found}"
