"""Servers as they are in the field, each scripted by what its documents or its source say.

Each is the embedded archive with its own ways around it, at an address like its own, so that it is
recognised as it would be. `had` is what it held at first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from dcmweb.archive.app import Archive as App
from tests.functional.archive import Archive, json_answer, sent_parts
from tests.functional.origin import Answer, Request

HTML = {"Content-Type": "text/html"}
CT = "1.2.840.10008.5.1.4.1.1.2"
_UIDS = re.compile(r"(?:studies|series|instances)/([^/?]+)")
_INSTANCE = re.compile(r"/instances/[^/]+$")


def _item(uid: str, **more: tuple[str, Any]) -> dict[str, Any]:
    pairs = {"00081150": ("UI", CT), "00081155": ("UI", uid), **more}
    return {tag.lstrip("T"): {"vr": vr, "Value": [value]} for tag, (vr, value) in pairs.items()}


def _module(stored: list[dict[str, Any]], failed: list[dict[str, Any]]) -> dict[str, Any]:
    found = {"00081199": stored, "00081198": failed}
    return {tag: {"vr": "SQ", "Value": items} for tag, items in found.items() if items}


class Kind(Archive):
    """What these servers share: an address, and an archive that others can be compared with."""

    path = "/dicomweb"

    def __init__(self, *files: bytes) -> None:
        super().__init__(*files)
        self.requests: list[Request] = []

    def url(self, port: int) -> str:
        return f"http://127.0.0.1:{port}{self.path}"

    def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        below = request.path.removeprefix(self.path).strip("/")
        if not request.path.startswith(self.path):
            return self.outside(request)
        if request.method in ("POST", "PUT") and below == "studies":
            return self.take(request)
        if request.method == "DELETE":
            return self.remove(below, request)
        if request.method == "GET":
            return self.get(below, request)
        return Answer(405)

    def outside(self, _request: Request) -> Answer:
        return Answer(404)

    def take(self, request: Request) -> Answer:
        return self.usual(request)

    def get(self, _below: str, request: Request) -> Answer:
        return self.usual(request)

    def remove(self, _below: str, request: Request) -> Answer:
        return self.usual(request)

    def usual(self, request: Request) -> Answer:
        """Answer as the embedded archive does."""
        path = "/dicomweb" + request.path.removeprefix(self.path)
        target = f"{path}?{request.query}" if request.query else path
        headers = dict(request.headers)
        return super().__call__(
            Request(request.method, target, headers, request.body, request.connection)
        )

    def has(self, data: bytes) -> bool:
        return data in self.files.values()

    def key_of(self, data: bytes) -> tuple[str, str, str]:
        """The UIDs of an instance."""
        return next(iter(Archive(data).files))

    def put(self, data: bytes) -> None:
        """Store, in place of what is there."""
        self.drop("studies/{}/series/{}/instances/{}".format(*self.key_of(data)))
        self.add(data)

    def drop(self, below: str) -> bool:
        """Delete; return False if there was nothing."""
        request = Request("DELETE", f"/dicomweb/{below}", {}, b"", 0)
        return Archive.__call__(self, request).status < 300

    def keep_or_add(self, data: bytes) -> tuple[str, bool]:
        """Store unless it is there; return the UID, and whether it was there."""
        key = self.key_of(data)
        is_there = key in self.files
        if not is_there:
            self.add(data)
        return key[2], is_there


class Google(Kind):
    """Google Cloud Healthcare, by its DICOM conformance statement.

    The embedded archive has its dialect, here as strict as it is known to be: an instance with
    other bytes is 409 with reason 272 and a detail, the same bytes are stored again, PUT is in
    v1beta1 only, a deletion of a study or series is an operation. Sources: docs/google.md.
    """

    path = "/v1/projects/p/locations/l/datasets/d/dicomStores/s/dicomWeb"

    def __init__(self, *files: bytes) -> None:
        super().__init__(*files)
        self._app = App(self._storage, is_strict=True)

    def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        return Archive.__call__(self, request)


class GoogleBeta(Google):
    """The same at v1beta1, which replaces instances by PUT.

    Source: docs.cloud.google.com/healthcare-api/docs/how-tos/dicom-update-patch.
    """

    path = Google.path.replace("/v1/", "/v1beta1/")


class Azure(Kind):
    """Azure Health Data Services, by its DICOM conformance statement v2.

    learn.microsoft.com/azure/healthcare-apis/dicom/dicom-services-conformance-statement-v2: Accept
    of a store is application/dicom+json or 406; reason 45070 for what it has; 202 if some failed,
    409 if all did; PUT replaces or adds; limit from 1 to 200 or 400; 204 for no results; preambles
    are zeroed; DELETE is 204, or 404.
    """

    path = "/v2"

    def url(self, port: int) -> str:
        return f"http://127.0.0.1:{port}{self.path}"

    def take(self, request: Request) -> Answer:
        if request.headers.get("accept") != "application/dicom+json":
            return Answer(406)
        stored: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for data in sent_parts(request):
            zeroed = bytes(128) + data[128:]
            if request.method == "PUT":
                self.put(zeroed)
                stored.append(_item(self.key_of(data)[2]))
                continue
            uid, is_there = self.keep_or_add(zeroed)
            (failed if is_there else stored).append(
                _item(uid, T00081197=("US", 45070)) if is_there else _item(uid)
            )
        status = 200 if not failed else 202 if stored else 409
        return json_answer(_module(stored, failed), status)

    def get(self, below: str, request: Request) -> Answer:
        limit = re.search(r"limit=(\d+)", request.query)
        if limit and not 1 <= int(limit[1]) <= 200:
            return Answer(400, b"limit must be between 1 and 200")
        return self.usual(request)

    def remove(self, below: str, _request: Request) -> Answer:
        return Answer(204 if self.drop(below) else 404)


class AzureV1(Azure):
    """The same at v1, which has no PUT: what it has is refused with reason 45070."""

    path = "/v1"

    def take(self, request: Request) -> Answer:
        return Answer(405) if request.method == "PUT" else super().take(request)


class Aws(Kind):
    """AWS HealthImaging, by its developer guide.

    docs.aws.amazon.com/healthimaging/latest/devguide/dicomweb-retrieve and dicomweb-search:
    instances are application/dicom alone, there are no whole studies, searches go level by level,
    and nothing is deleted by DICOMweb. What is not routed is answered as AWS gateways do: 403
    MissingAuthenticationToken for unknown paths, 404 for unknown resources.
    """

    path = "/datastore/1234"

    def get(self, below: str, request: Request) -> Answer:
        if re.fullmatch(r"series|instances|studies/[^/]+/instances", below):
            return Answer(404)
        if re.fullmatch(r"studies/[^/]+(/series/[^/]+)?", below):
            return Answer(404)
        if _INSTANCE.search(below):
            if not request.headers.get("accept", "").startswith("application/dicom"):
                return Answer(406)
            found = [self.files[key] for key in self.matching(below)]
            return Answer(200, found[0], {"Content-Type": "application/dicom"})
        return self.usual(request)

    def take(self, request: Request) -> Answer:
        stored = [_item(self.keep_or_add(data)[0]) for data in sent_parts(request)]
        return json_answer(_module(stored, []))

    def remove(self, _below: str, _request: Request) -> Answer:
        return json_answer({"message": "Method Not Allowed"}, 405)


class Orthanc(Kind):
    """Orthanc 1.10 with its DICOMweb plugin 1.7, as it answers on a socket.

    Single parts are refused, in stores (415) and in Accept (400); what it has is kept and named as
    stored, unless OverwriteInstances is set; DELETE is 405. Its REST API is one level above:
    github.com/orthanc-mirrors/orthanc-dicomweb Plugin/StowRs.cpp, and
    orthanc.uclouvain.be/book/users/rest.html.
    """

    path = "/dicom-web"
    overwrites = False

    def take(self, request: Request) -> Answer:
        if not request.headers["content-type"].startswith("multipart/related"):
            return Answer(415)
        stored = []
        for data in sent_parts(request):
            if self.overwrites:
                self.put(data)
            else:
                self.keep_or_add(data)
            stored.append(_item(self.key_of(data)[2]))
        return json_answer(_module(stored, []))

    def get(self, below: str, request: Request) -> Answer:
        accept = request.headers.get("accept", "")
        if _INSTANCE.search(below) and accept.startswith("application/dicom"):
            return json_answer({"OrthancError": "Bad request", "HttpStatus": 400}, 400)
        answer = self.usual(request)
        return json_answer([]) if answer.status == 204 else answer

    def remove(self, _below: str, _request: Request) -> Answer:
        return Answer(405, headers={"Allow": "GET,POST"})

    def outside(self, request: Request) -> Answer:
        """Its own API, with UIDs written as paths for identifiers."""
        if request.path == "/system":
            return json_answer({"ApiVersion": 16, "Version": "1.10.1"})
        if request.path == "/tools/lookup":
            return json_answer(list(self._lookup(request.body.decode())))
        kind, _, identifier = request.path.strip("/").partition("/")
        identifier, _, relative = identifier.partition("/")
        uids = identifier.split("-")
        levels = ["studies", "series", "instances"][: len(uids)]
        below = "/".join(f"{level}/{uid}" for level, uid in zip(levels, uids, strict=True))
        if kind not in levels or not self.matching(below):
            return Answer(404)
        if request.method == "DELETE":
            self.drop(below)
            return json_answer({"RemainingAncestor": None})
        tag, uid = {"study": ("Study", uids[0]), "series": ("Series", uids[1])}[relative]
        return json_answer({"MainDicomTags": {f"{tag}InstanceUID": uid}})

    def _lookup(self, uid: str) -> Any:
        kinds = [("Study", "studies"), ("Series", "series"), ("Instance", "instances")]
        found = {
            (kind, path, "-".join(key[: depth + 1]))
            for key in self.files
            for depth, (kind, path) in enumerate(kinds)
            if key[depth] == uid
        }
        for kind, path, identifier in found:
            yield {"ID": identifier, "Path": f"/{path}/{identifier}", "Type": kind}


class OverwritingOrthanc(Orthanc):
    """The same with OverwriteInstances."""

    overwrites = True


class Dcm4chee(Kind):
    """dcm4chee-arc, by its source (github.com/dcm4che/dcm4chee-arc-light at 674a864).

    StowRS consumes multipart only; OverwritePolicy NEVER keeps what is there and names it as
    stored; IocmRS rejects by `POST .../reject/CODE` with {"count": n}, 404 if nothing is left to
    be rejected or the code is not known; rejected instances are not listed, and ignored when they
    come again (dcmAcceptPreviousRejectedInstance: IGNORE); StudyMgtRS deletes studies only: 204,
    403 unless all of it is rejected, 404. Bare application/dicom is 406.
    """

    path = "/dcm4chee-arc/aets/DCM4CHEE/rs"

    def __init__(self, *files: bytes) -> None:
        super().__init__(*files)
        self.rejected: dict[tuple[str, str, str], bytes] = {}
        self.deletes = True

    def __call__(self, request: Request) -> Answer:
        below, _, code = request.path.removeprefix(f"{self.path}/").partition("/reject/")
        if request.method == "POST" and code:
            self.requests.append(request)
            return self._reject(below, code)
        return super().__call__(request)

    def _reject(self, below: str, code: str) -> Answer:
        if code != "113001^DCM":
            words = "Unknown Rejection Note Code: (" + code.replace("^", ", ") + ")"
            return json_answer({"errorMessage": words}, 404)
        found = self.matching(below)
        if not found:
            words = f"No instances of Study[UID={below}] found for rejection."
            return json_answer({"errorMessage": words}, 404)
        for key in found:
            self.rejected[key] = self.files[key]
            self.drop("studies/{}/series/{}/instances/{}".format(*key))
        return json_answer({"count": len(found)})

    def take(self, request: Request) -> Answer:
        if not request.headers["content-type"].startswith("multipart/related"):
            return Answer(415)
        stored = []
        for data in sent_parts(request):
            key = self.key_of(data)
            if key not in self.rejected:
                self.keep_or_add(data)
            stored.append(_item(key[2]))
        return json_answer(_module(stored, []))

    def get(self, below: str, request: Request) -> Answer:
        if request.headers.get("accept", "") == "application/dicom":
            return Answer(406)
        return self.usual(request)

    def remove(self, below: str, _request: Request) -> Answer:
        if not re.fullmatch(r"studies/[^/]+", below):
            return Answer(405)
        if not self.deletes:
            return json_answer({"errorMessage": "no permission"}, 403)
        if self.matching(below):
            words = "Deletion of Study with Rejection State: NONE not permitted"
            return json_answer({"errorMessage": words}, 403)
        uid = below.partition("/")[2]
        gone = [key for key in self.rejected if key[0] == uid]
        for key in gone:
            del self.rejected[key]
        return Answer(204 if gone else 404)


class Xnat(Kind):
    """XNAT with its DICOMweb plugin (github.com/NrgXnat/xnat-dicomweb-plugin, README, StowRsApi).

    Searches go level by level and pages are capped at 1000 (here 2) without a word; a store takes
    what it gets and answers 200 with a module; there is no DELETE.
    """

    path = "/xapi/dicomweb/projects/P"

    def __init__(self, *files: bytes) -> None:
        super().__init__(*files)
        self.page = 2

    def get(self, below: str, request: Request) -> Answer:
        if re.fullmatch(r"series|instances|studies/[^/]+/instances", below):
            return Answer(404)
        return self.usual(request)

    def take(self, request: Request) -> Answer:
        stored = [_item(self.keep_or_add(data)[0]) for data in sent_parts(request)]
        return json_answer(_module(stored, []))

    def remove(self, _below: str, _request: Request) -> Answer:
        return Answer(405)


class Iis(Kind):
    """A service behind IIS: 404.13 with a web page above maxAllowedContentLength, 30,000,000.

    Source: learn.microsoft.com/iis/configuration/system.webserver/security/requestfiltering
    /requestlimits; improve.dk/iis-request-filtering-woes has the answer. Here the limit is lower.
    """

    longest = 2_000_000

    def __call__(self, request: Request) -> Answer:
        if len(request.body) > self.longest:
            answer = Answer(404, b"<!DOCTYPE html><h1>404 - File or directory not found</h1>", HTML)
        else:
            answer = super().__call__(request)
        headers = {**answer.headers, "Server": "Microsoft-IIS/10.0"}
        return Answer(answer.status, answer.body, headers)

    def take(self, request: Request) -> Answer:
        stored = [_item(self.keep_or_add(data)[0]) for data in sent_parts(request)]
        return json_answer(_module(stored, []))


class Kheops(Kind):
    """Kheops, by its source (github.com/OsiriX-Foundation/kheops at 0f4fc7f).

    Its proxy takes single and multipart stores; QIDOResource writes a Warning without quotes, with
    its name in it twice; there is no DELETE in DICOMweb.
    """

    path = "/kheops/api"

    def get(self, _below: str, request: Request) -> Answer:
        answer = self.usual(request)
        if found := re.search(r"There are (\d+) additional", answer.headers.get("Warning", "")):
            text = f"Warning: 299 {{+service}}: {found[0]} results that can be requested"
            return Answer(answer.status, answer.body, {**answer.headers, "Warning": text})
        return answer

    def take(self, request: Request) -> Answer:
        stored = [_item(self.keep_or_add(data)[0]) for data in sent_parts(request)]
        return json_answer(_module(stored, []))

    def remove(self, _below: str, _request: Request) -> Answer:
        return Answer(405)


MakeKind = Callable[..., Kind]
EVERY: tuple[type[Kind], ...] = (
    Google, GoogleBeta, Azure, AzureV1, Aws, Orthanc, OverwritingOrthanc, Dcm4chee, Xnat, Iis,
    Kheops,
)  # fmt: skip
