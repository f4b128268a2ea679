"""A server that lists as many instances as it is told to, all of them made up.

    python -m tests.bench.listing INSTANCES [PER_STUDY]

Prints its base URL, and serves until it is killed.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PREFIX = "1.2.826.0.1.3680043.8.498.10283746574839201928"  # as long as UIDs often are
PER_SERIES = 100
_PATH = re.compile(r"/dicomweb/studies(?:/([0-9.]+)/(series|instances))?$")


def study_uid(number: int) -> str:
    return f"{PREFIX}.{number + 1_000_000}"


def uids(study: int, number: int) -> tuple[str, str, str]:
    """The UIDs of an instance, by the number of its study and its own number in that."""
    uid = study_uid(study)
    series = f"{uid}.{number // PER_SERIES + 1}"
    return uid, series, f"{PREFIX}.{study + 1_000_000}.{number + 1_000_000}"


def _element(vr: str, value: object) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


class Listing:
    """What the server lists: rows as large as those of real servers."""

    def __init__(self, instances: int, per_study: int) -> None:
        self.instances = instances
        self.per_study = per_study
        self.studies = -(-instances // per_study)

    def size_of(self, study: int) -> int:
        return min(self.per_study, self.instances - study * self.per_study)

    def rows(self, path: str, start: int, limit: int) -> Iterator[dict[str, Any]]:
        match = _PATH.match(path)
        assert match, path
        if match[1] is None:
            for study in range(start, min(start + limit, self.studies)):
                yield {
                    "0020000D": _element("UI", study_uid(study)),
                    "00201208": _element("IS", self.size_of(study)),
                    "00201206": _element("IS", -(-self.size_of(study) // PER_SERIES)),
                    "00080020": _element("DA", "20240229"),
                    "00100010": _element("PN", {"Alphabetic": f"Patient^{study}"}),
                }
            return
        assert match[2] == "instances", path
        study = int(match[1].rpartition(".")[2]) - 1_000_000
        for number in range(start, min(start + limit, self.size_of(study))):
            uid, series, instance = uids(study, number)
            yield {
                "0020000D": _element("UI", uid),
                "0020000E": _element("UI", series),
                "00080018": _element("UI", instance),
                "00080016": _element("UI", "1.2.840.10008.5.1.4.1.1.2"),
                "00200013": _element("IS", number),
                "00280010": _element("US", 512),
                "00280011": _element("US", 512),
            }


def make_handler(listing: Listing) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = parse_qs(parts.query)
            start, limit = int(query.get("offset", ["0"])[0]), int(query["limit"][0])
            body = json.dumps(list(listing.rows(parts.path, start, limit))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def main() -> None:
    instances, per_study = (*map(int, sys.argv[1:]), 500)[:2]
    handler = make_handler(Listing(instances, per_study))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    print(f"http://127.0.0.1:{server.server_port}/dicomweb", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
