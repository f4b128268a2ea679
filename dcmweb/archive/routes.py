"""The URLs of the archive: the resources of PS3.18 below the base URL of each dialect."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, unquote_to_bytes, urlsplit

from werkzeug.routing import Map, Rule, RuleFactory, Submount
from werkzeug.wrappers import Request

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
STANDARD_PATH = "/dicomweb"
GOOGLE_VERSIONS = ("v1", "v1beta1")
_DATASET = "projects/<project>/locations/<location>/datasets/<dataset>"
_GOOGLE_PATH = f"/<any({', '.join(GOOGLE_VERSIONS)}):version>/{_DATASET}"
_GOOGLE_STORE = "/dicomStores/<store>/dicomWeb"
# Any names will do: all of them are the same store.
GOOGLE_EXAMPLE_PATH = "/v1/projects/p/locations/l/datasets/d/dicomStores/s/dicomWeb"


def _dicomweb_rules() -> list[RuleFactory]:
    """List the resources below a base URL (PS3.18 table 10.1-1), the same for both dialects."""
    study, series, instance = (
        "/studies/<study>",
        "/studies/<study>/series/<series>",
        "/studies/<study>/series/<series>/instances/<instance>",
    )
    frames = f"{instance}/frames/<frames>"
    get, post = ["GET"], ["POST"]
    rules = [
        Rule("/studies", endpoint="store", methods=post),
        Rule(study, endpoint="store", methods=post),
        Rule(f"{frames}", endpoint="frames", methods=get),
        Rule(f"{instance}/bulkdata/<path:element>", endpoint="bulkdata", methods=get),
    ]
    for level, above in (
        ("studies", [""]),
        ("series", ["", study]),
        ("instances", ["", study, series]),
    ):
        rules += [
            Rule(f"{path}/{level}", endpoint="search", methods=get, defaults={"level": level})
            for path in above
        ]
    for path in (study, series, instance):
        rules += [
            Rule(path, endpoint="retrieve", methods=get),
            Rule(path, endpoint="delete", methods=["DELETE"]),
            Rule(f"{path}/metadata", endpoint="metadata", methods=get),
        ]
    for path in (study, series, instance, frames):
        rules += [
            Rule(f"{path}/rendered", endpoint="rendered", methods=get),
            Rule(f"{path}/thumbnail", endpoint="thumbnail", methods=get),
        ]
    return [*rules]


URLS = Map(
    [
        Rule("/", endpoint="home", methods=["GET"]),
        Submount(STANDARD_PATH, _dicomweb_rules()),
        Submount(_GOOGLE_PATH + _GOOGLE_STORE, _dicomweb_rules()),
        Rule(f"{_GOOGLE_PATH}/operations/<operation>", endpoint="operation", methods=["GET"]),
    ],
    strict_slashes=False,
    merge_slashes=False,
    redirect_defaults=False,
)


def match(request: Request) -> tuple[str, dict[str, str]]:
    """Find the endpoint of a URL, and its parameters with their percent-encoding decoded.

    The path is split before it is decoded, so that `%2F` does not separate segments. Raises
    HTTPException if there is no such resource, or no such method of it.
    """
    adapter = URLS.bind_to_environ(request.environ)
    endpoint, args = adapter.match(path_info=_raw_path(request))
    decoded = {name: unquote_to_bytes(text).decode(errors="replace") for name, text in args.items()}
    return endpoint, decoded


def _raw_path(request: Request) -> str:
    """Return the path as the client sent it."""
    uri = request.environ.get("REQUEST_URI") or quote(request.path)
    return str(uri).partition("?")[0].encode("latin-1", "replace").decode(errors="replace")


def is_google_path(request: Request) -> bool:
    """Return True if a request is in the Google dialect."""
    return request.path.startswith(tuple(f"/{version}/" for version in GOOGLE_VERSIONS))


def dataset_name(args: Mapping[str, str]) -> str:
    """Name the Google dataset of a URL; "" in the standard dialect."""
    if "project" not in args:
        return ""
    names = {name: quote(text, safe="") for name, text in args.items()}
    return "projects/{project}/locations/{location}/datasets/{dataset}".format(**names)


def base_url(request: Request, args: Mapping[str, str]) -> str:
    """Return the base URL as the client wrote it."""
    path = STANDARD_PATH
    if "store" in args:
        store = quote(args["store"], safe="")
        path = f"/{args['version']}/{dataset_name(args)}/dicomStores/{store}/dicomWeb"
    return root_url(request) + path


def root_url(request: Request) -> str:
    """Return the root as the client wrote it; some clients leave out the port of this machine."""
    root = request.host_url.rstrip("/")
    parts = urlsplit(root)
    port = request.environ.get("SERVER_PORT", "80")
    if parts.port is None and parts.hostname in LOOPBACK_NAMES and port != "80":
        return f"{root}:{port}"
    return root
