"""What differs between servers: one row for each, which the whole package reads.

A row is a first guess, by the address, or what the user named; what a server answers counts more.
A wrong guess costs a request or two, never an instance.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple


class StowForm(str, Enum):
    """The form of store requests to begin with (PS3.18 section 10.5.1)."""

    MULTIPART = "multipart"  # several instances in a request
    SINGLE = "single"  # one instance by itself, as application/dicom


class Deletion(Enum):
    """How instances are deleted, which DICOMweb has no standard for; the value is in words."""

    DIRECT = "DELETE"
    OPERATIONS = "DELETE; of a study or series as an operation"
    REST_API = "its own REST API, with `--orthanc-api auto`"
    REJECTION = "rejected first, with `--reject-as CODE`"
    NONE = "not by DICOMweb"


class Server(NamedTuple):
    """What is known of one kind of server.

    `address` and `product` are patterns of BASE_URL and of the Server header field, `error_mark`
    is text in its errors. `page` is the largest limit of a search, `bytes` that of a store request.
    `single_instances`: it has one instance as a single part, rather than as multipart.
    `replaces`: PUT of instances replaces them, as POST does otherwise (the pattern is of BASE_URL).
    `replacement` says so in words. `keeps_both`: it would keep an instance beside another of the
    same UID. `exists` is how it says that it has an instance. `requests_per_second` is a documented
    limit: messages name it, and nothing applies it. The other fields are for the documentation.
    """

    name: str
    title: str
    address: str = ""
    address_has: str = ""  # text that all such addresses have; a pattern is slow to compile
    product: str = ""
    error_mark: str = ""
    stow: StowForm = StowForm.MULTIPART
    page: int | None = None
    bytes: int | None = None
    single_instances: bool = False
    deletion: Deletion = Deletion.DIRECT
    replaces: str = ""
    replacement: str = "no"
    keeps_both: bool = False
    exists: tuple[str, ...] = ()
    requests_per_second: float | None = None
    base_url: str = ""
    credentials: str = ""
    notes: str = ""

    @property
    def label(self) -> str:
        """What it is called within a sentence."""
        return self.title.partition(",")[0]


OTHER = Server(name="other", title="another server")

GOOGLE = Server(
    name="google",
    title="Google Cloud Healthcare",
    address=r"//healthcare\.googleapis\.com/",
    address_has="//healthcare.",
    page=5000,
    deletion=Deletion.OPERATIONS,
    # A preview of v1beta1: docs.cloud.google.com/healthcare-api/docs/how-tos/dicom-update-patch
    replaces=r"/v1beta1/",
    # Reason 0110H for all; only its detail says this.
    exists=("already exist",),
    replacement="PUT in v1beta1; in v1 deleted and stored anew",
    base_url="https://healthcare.googleapis.com/v1/projects/P/locations/L/datasets/D/dicomStores/S"
    "/dicomWeb",
    credentials="`gcloud auth application-default login`, or `--service-account FILE`",
    notes="Bytes that it has already are stored again without a word; other bytes are refused. "
    "Searches of studies and series may lag a few seconds behind.",
)
AZURE = Server(
    name="azure",
    title="Azure Health Data Services",
    address=r"\.dicom\.azurehealthcareapis\.com(:\d+)?/",
    address_has=".dicom.azure",
    page=200,  # others are 400
    bytes=2_000_000_000,  # its documents say 2 GB in some places, 4 GB in others
    replaces=r"/v2(/|$)",
    replacement="PUT in v2; in v1 deleted and stored anew",
    base_url="https://WORKSPACE-SERVICE.dicom.azurehealthcareapis.com/v2",
    credentials="`--auth azure`, or `--token-command 'az account get-access-token "
    "--resource=https://dicom.healthcareapis.azure.com'`",
    notes="It has no implicit VR transfer syntaxes, and writes zeros into the preamble of files.",
)
AWS = Server(
    name="aws",
    title="AWS HealthImaging",
    address=r"//dicom-medical-imaging(-fips)?\.[\w-]+\.amazonaws\.com/",
    address_has="//dicom-medical-imaging",
    page=1000,
    bytes=1_000_000_000,
    single_instances=True,
    deletion=Deletion.NONE,
    keeps_both=True,  # in an image set that is not the primary one
    # docs.aws.amazon.com/healthimaging/latest/devguide/throttling-limits.html
    requests_per_second=50,
    base_url="https://dicom-medical-imaging.us-east-1.amazonaws.com/datastore/ID",
    credentials="`--auth aws`, or an OIDC token with `--token-file FILE`",
    notes="It has no whole studies and searches level by level: dcmweb goes by series and "
    "instance. Image sets are deleted with its own API.",
)
ORTHANC = Server(
    name="orthanc",
    title="Orthanc",
    address=r"/dicom-web(/|$)",
    address_has="/dicom-web",
    error_mark='"OrthancError"',
    deletion=Deletion.REST_API,
    replacement="POST, with OverwriteInstances; otherwise deleted and stored anew, with "
    "`--orthanc-api`",
    base_url="http://HOST:8042/dicom-web",
    credentials="`--user NAME`",
    notes="It keeps an instance that it has and answers as for a new one, unless "
    "OverwriteInstances is set. Values of searches cannot have spaces or umlauts in 1.10.",
)
DCM4CHEE = Server(
    name="dcm4chee",
    title="dcm4chee-arc",
    address=r"/dcm4chee-arc/aets/[^/]+/rs(/|$)",
    address_has="/dcm4chee-arc/",
    deletion=Deletion.REJECTION,
    base_url="https://HOST:8443/dcm4chee-arc/aets/DCM4CHEE/rs",
    credentials="`--auth oauth2 --token-url "
    "https://HOST:8843/realms/dcm4che/protocol/openid-connect/token --client-id ID`",
    notes="By default it keeps an instance that it has, and answers as for a new one. Single "
    "instances can be rejected, not deleted; rejected ones are ignored when they are stored again.",
)
XNAT = Server(
    name="xnat",
    title="XNAT, with its DICOMweb plugin",
    address=r"/xapi/dicomweb(/|$)",
    address_has="/xapi/dicomweb",
    page=1000,  # more is cut to this without a word
    deletion=Deletion.NONE,
    base_url="https://HOST/xapi/dicomweb/projects/PROJECT",
    credentials="`--user NAME`",
    notes="Searches go level by level: series of a study, instances of a series. What is stored "
    "is listed once the session is archived.",
)
IIS = Server(
    name="iis",
    title="a service behind IIS",
    product=r"^Microsoft-IIS/",
    replacement="as the service behind it",
    bytes=30_000_000,
    base_url="https://HOST/dicomweb",
    credentials="`--user NAME`",
    notes="A request above maxAllowedContentLength is answered with 404: dcmweb sends smaller "
    "ones.",
)
KHEOPS = Server(
    name="kheops",
    title="Kheops",
    address=r"//([\w-]+\.)*kheops\.[\w.]+/|/kheops/",
    address_has="kheops",
    deletion=Deletion.NONE,
    base_url="https://HOST/api",
    credentials="`--token-file FILE`",
    notes="Its roots may differ: see `--stow-root` and `--wado-root`.",
)

SERVERS: tuple[Server, ...] = (GOOGLE, AZURE, AWS, ORTHANC, DCM4CHEE, XNAT, IIS, KHEOPS)
BY_NAME = {server.name: server for server in (*SERVERS, OTHER)}
NAMES = tuple(BY_NAME)
EXISTS = tuple(dict.fromkeys(words for server in SERVERS for words in server.exists))


def guess(base_url: str) -> Server:
    """Guess the kind of a server by its address, for a start."""
    url = f"{base_url}/".lower()
    for server in SERVERS:
        if server.address_has and server.address_has in url and re.search(server.address, url):
            return server
    return OTHER


def says_exists(words: str) -> bool:
    """Return True for words of a server that say that it has an instance already."""
    lower = words.lower()
    return any(known in lower for known in EXISTS)


class Recognition:
    """The kind of server that a client talks to: named by the user, guessed, or shown by answers.

    What the user named stays.
    """

    def __init__(self, name: str, base_url: str) -> None:
        self.is_named = bool(name)
        self.server = BY_NAME[name] if name else guess(base_url)

    def note_product(self, product: str) -> None:
        """Take note of a Server header field; that of a proxy does not change a good guess."""
        if self.is_named or not product or self.server is not OTHER:
            return
        for server in SERVERS:
            if server.product and re.search(server.product, product):
                self.server = server

    def note_error(self, body: bytes) -> None:
        """Take note of the body of an error, which only one kind of server writes so."""
        if self.is_named:
            return
        for server in SERVERS:
            if server.error_mark and server.error_mark.encode() in body:
                self.server = server
