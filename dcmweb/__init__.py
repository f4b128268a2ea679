"""Move medical images in and out of DICOMweb servers.

    from dcmweb import Client

    with Client("http://localhost:8042/dicom-web") as client:
        client.store("./images").wait().check()

Names are imported when they are first used: `import dcmweb` costs nothing.
"""

TYPE_CHECKING = False  # as type checkers know it, without the import
if TYPE_CHECKING:
    from dcmweb.errors import (
        AuthError,
        DcmwebError,
        Interrupted,
        ItemsFailed,
        LocalError,
        NetworkError,
        NothingMatched,
        ProtocolError,
        Refused,
        UsageError,
    )
    from dcmweb.http.auth import Authentication
    from dcmweb.http.auth.scheme_arguments import SchemeArguments
    from dcmweb.library.client import Client
    from dcmweb.library.row_runs import Rows, SearchRows
    from dcmweb.library.runs import Run, Transfer
    from dcmweb.library.work import Work, WorkDone, perform
    from dcmweb.settings import Credentials, Settings
    from dcmweb.transactions.ping.finding import Finding, Verdict
    from dcmweb.transfer.outcomes import Outcome, Status
    from dcmweb.transfer.summary import Progress, Summary

__version__ = "2.0.0.dev0"

__all__ = [
    "AuthError",
    "Authentication",
    "Client",
    "Credentials",
    "DcmwebError",
    "Finding",
    "Interrupted",
    "ItemsFailed",
    "LocalError",
    "NetworkError",
    "NothingMatched",
    "Outcome",
    "Progress",
    "ProtocolError",
    "Refused",
    "Rows",
    "Run",
    "SchemeArguments",
    "SearchRows",
    "Settings",
    "Status",
    "Summary",
    "Transfer",
    "UsageError",
    "Verdict",
    "Work",
    "WorkDone",
    "__version__",
    "perform",
]

_HOMES = {
    "Authentication": "dcmweb.http.auth",
    "Client": "dcmweb.library.client",
    "Credentials": "dcmweb.settings",
    "Finding": "dcmweb.transactions.ping.finding",
    "Outcome": "dcmweb.transfer.outcomes",
    "Progress": "dcmweb.transfer.summary",
    "Rows": "dcmweb.library.row_runs",
    "Run": "dcmweb.library.runs",
    "SchemeArguments": "dcmweb.http.auth.scheme_arguments",
    "SearchRows": "dcmweb.library.row_runs",
    "Settings": "dcmweb.settings",
    "Status": "dcmweb.transfer.outcomes",
    "Summary": "dcmweb.transfer.summary",
    "Transfer": "dcmweb.library.runs",
    "Verdict": "dcmweb.transactions.ping.finding",
    "Work": "dcmweb.library.work",
    "WorkDone": "dcmweb.library.work",
    "perform": "dcmweb.library.work",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'dcmweb' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES.get(name, "dcmweb.errors")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
