"""The URLs of the archive: the resources of PS3.18 below the base URL of each dialect."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, unquote_to_bytes, urlsplit

from werkzeug.routing import Map, Rule, RuleFactory, Submount
from werkzeug.wrappers import Request

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
STANDARD_PATH = "/dicomweb"
PAGES_PATH = "/browse"
GOOGLE_VERSIONS = ("v1", "v1beta1")
_DATASET = "projects/<project>/locations/<location>/datasets/<dataset>"
_GOOGLE_PATH = f"/<any({', '.join(GOOGLE_VERSIONS)}):version>/{_DATASET}"
_GOOGLE_STORE = "/dicomStores/<store>/dicomWeb"
_DATASETS = f"/<any({', '.join(GOOGLE_VERSIONS)}):version>/projects/<project>/locations/<location>"
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


def _update_rules() -> list[RuleFactory]:
    """List how instances are updated in v1beta1 of Google's API."""
    levels = ("/studies/<study>", "/series/<series>", "/instances/<instance>")
    paths = ["".join(levels[:depth]) for depth in (1, 2, 3)]
    return [
        Rule("/studies", endpoint="update", methods=["PUT"]),
        Rule("/studies/<study>", endpoint="update", methods=["PUT"]),
        *[Rule(f"{path}/metadata", endpoint="patch", methods=["PATCH"]) for path in paths],
    ]


def _resource_rules(collection: str, name: str) -> list[RuleFactory]:
    """List how the resources of a collection are managed."""
    return [
        Rule(collection, endpoint=f"{name}_collection", methods=["GET", "POST"]),
        Rule(
            f"{collection}/<{name}>",
            endpoint=f"{name}_resource",
            methods=["GET", "PATCH", "DELETE"],
        ),
    ]


def _page_rules() -> list[RuleFactory]:
    """List the pages for people, and what they are made of."""
    levels = ("/studies/<study>", "/series/<series>", "/instances/<instance>")
    study, series, instance = ("".join(levels[:depth]) for depth in (1, 2, 3))
    rules = [("/static/<name>", "static")]
    rules += [(path, "resource") for path in (study, series, instance)]
    rules += [(f"{path}/files.zip", "zip") for path in (study, series)]
    for path in (series, instance):
        rules += [(f"{path}/pictures/<number>", "picture"), (f"{path}/pictures/<number>/at", "at")]
    return [
        *[Rule(p, endpoint="page", methods=["GET"], defaults={"page": n}) for p, n in rules],
        *[
            Rule(
                f"{path}/delete",
                endpoint="page",
                methods=["GET", "POST"],
                defaults={"page": "delete"},
            )
            for path in (study, series, instance)
        ],
    ]


URLS = Map(
    [
        Rule("/", endpoint="home", methods=["GET"]),
        Submount(PAGES_PATH, _page_rules()),
        Submount(STANDARD_PATH, _dicomweb_rules()),
        Submount(_GOOGLE_PATH + _GOOGLE_STORE, _dicomweb_rules()),
        Submount(_GOOGLE_PATH + _GOOGLE_STORE, _update_rules()),
        Rule(f"{_GOOGLE_PATH}/operations/<operation>", endpoint="operation", methods=["GET"]),
        *_resource_rules(f"{_DATASETS}/datasets", "dataset"),
        *_resource_rules(f"{_GOOGLE_PATH}/dicomStores", "store"),
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
    return f"{location_name(args)}/datasets/{quote(args['dataset'], safe='')}"


def store_name(args: Mapping[str, str]) -> str:
    """Name the Google DICOM store of a URL."""
    return f"{dataset_name(args)}/dicomStores/{quote(args['store'], safe='')}"


def location_name(args: Mapping[str, str]) -> str:
    """Name the project and location of a URL."""
    return (
        f"projects/{quote(args['project'], safe='')}/locations/{quote(args['location'], safe='')}"
    )


def base_url(request: Request, args: Mapping[str, str]) -> str:
    """Return the base URL as the client wrote it."""
    path = STANDARD_PATH
    if "store" in args:
        path = f"/{args['version']}/{store_name(args)}/dicomWeb"
    return root_url(request) + path


def root_url(request: Request) -> str:
    """Return the root as the client wrote it; some clients leave out the port of this machine."""
    root = request.host_url.rstrip("/")
    port = request.environ.get("SERVER_PORT", "80")
    try:
        parts = urlsplit(root)
        has_port = parts.port is not None
    except ValueError:  # a malformed host or port
        return root
    if not has_port and parts.hostname in LOOPBACK_NAMES and port != "80":
        return f"{root}:{port}"
    return root
