"""What a server is compared with: files, a manifest, or another server with its own connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from dcmweb.dicom.resources import Level, Resource
from dcmweb.errors import UsageError
from dcmweb.library.arguments import Paths, Resources, read_paths, read_resources
from dcmweb.settings import AuthScheme, Credentials, Settings, parse_base_url

if TYPE_CHECKING:
    from dcmweb.transactions.check.files import Files, ManifestFile
    from dcmweb.transactions.context import RunContext

OtherSide = Paths | Settings
_SCHEMES = ("http://", "https://")


def is_url(text: object) -> bool:
    """Return True for the URL of a server, rather than a path of a file."""
    return isinstance(text, str) and text.lower().startswith(_SCHEMES)


def settings_of_other_server(first: Settings, url: str) -> Settings:
    """Make the settings of another server, from its URL and those of the first one.

    The first server's credentials are not for it, nor are those in the environment. It gets the
    user and password in its URL; if it is Google, Google's own; otherwise none.
    """
    base_url, user, password = parse_base_url(url)
    if user and not password:
        raise UsageError(
            f"{base_url}: there is no password for user {user}", "write it as USER:PASSWORD@HOST"
        )
    from dcmweb.http.auth import is_google

    scheme = AuthScheme.GOOGLE if is_google(base_url) else AuthScheme.NONE
    credentials = Credentials(scheme=scheme)
    if user:
        credentials = Credentials(scheme=AuthScheme.BASIC, user=user, password=password)
    return replace(first, base_url=base_url, credentials=credentials)


def read_other_side(other: OtherSide, first: Settings) -> Settings | Files | ManifestFile:
    """Read what a server is to be compared with. Raises UsageError for what it cannot be."""
    if isinstance(other, Settings):
        return _checked(other, first)
    paths = read_paths(other)
    if not paths:
        raise UsageError("there is nothing to compare with", "name a folder, a manifest or a URL")
    from dcmweb.transactions.check.files import Files, ManifestFile
    from dcmweb.transfer.manifest import is_manifest

    special = [one for one in paths if is_url(one) or is_manifest(one)]
    if special and len(paths) > 1:
        raise UsageError(
            f"{special[0]} cannot be compared together with others", "name it alone, or files only"
        )
    if not special:
        return Files(paths)
    if is_url(special[0]):
        return _checked(settings_of_other_server(first, special[0]), first)
    return ManifestFile(special[0])


def _checked(other: Settings, first: Settings) -> Settings:
    if other.base_url == first.base_url:
        raise UsageError("both sides are the same server", "name another one")
    return other


def read_studies(paths: Resources | None) -> list[Resource] | None:
    """Read paths of studies; None is all studies. Raises UsageError for anything below a study."""
    if paths is None:
        return None
    studies = read_resources(paths)
    for one in studies:
        if one.level is not Level.STUDIES:
            raise UsageError(
                f"{str(one) or 'the whole store'} is not a study, and studies are compared",
                "name it as studies/UID",
            )
    return studies


@contextmanager
def opened(
    other: Settings | Files | ManifestFile, context: RunContext
) -> Iterator[RunContext | Files | ManifestFile]:
    """Connect to another server for the time of a block; leave everything else as it is.

    What stops the run of the first server stops that of the other.
    """
    if not isinstance(other, Settings):
        yield other
        return
    from dcmweb.http.transport import Transport
    from dcmweb.transactions.context import RunContext

    transport = Transport(other)
    try:
        there = RunContext(transport, stop=context.stop, notify=context.notify)
        context.stop.on_set(there.stop.set)
        yield there
    finally:
        transport.close()
