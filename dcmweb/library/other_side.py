"""What a server is compared with: files, a manifest, or another server with its own connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from dcmweb.dicom.resources import Level, Resource
from dcmweb.errors import UsageError
from dcmweb.library.arguments import Paths, Resources, read_paths, read_resources
from dcmweb.library.profiles import read_profile
from dcmweb.settings import Credentials, Settings
from dcmweb.settings.base_url import PROFILE_MARK
from dcmweb.settings.credentials import VARIABLES_OF_DESTINATION

if TYPE_CHECKING:
    from dcmweb.transactions.check.files import Files, ManifestFiles
    from dcmweb.transactions.check.options import CheckOptions
    from dcmweb.transactions.context import RunContext
    from dcmweb.transfer.outcomes import Outcomes

OtherSide = Paths | Settings
_SCHEMES = ("http://", "https://")


def is_server(text: object) -> bool:
    """Return True for the URL of a server, or @NAME for a profile, rather than a path of a file."""
    return isinstance(text, str) and text.lower().startswith((*_SCHEMES, PROFILE_MARK))


def settings_of_other_server(first: Settings, given: str) -> Settings:
    """Make the settings of another server, from its URL or @PROFILE, and those of the first one.

    The first server's credentials are not for it, nor are those in the environment. It gets the
    user and password in its URL, or what its profile has; where these lack a secret, that in a
    variable of its own, such as DCMWEB_TO_PASSWORD. It shares the number of workers and, without a
    profile, how connections are made.
    """
    if given.startswith(PROFILE_MARK):
        other = read_profile(given.removeprefix(PROFILE_MARK)).settings()
        other = replace(other, workers=first.workers, adapts=first.adapts)
    else:
        other = replace(
            first,
            base_url=given,
            credentials=Credentials(),
            qido_root="",  # what is said of the first server does not hold for it
            wado_root="",
            stow_root="",
            server="",
            stow_form="",
            page_size=0,
        )
    own = replace(other.credentials, variables=VARIABLES_OF_DESTINATION)
    return replace(other, credentials=own)


def read_other_side(
    other: OtherSide, first: Settings, *, contents: bool = False
) -> Settings | Files | ManifestFiles:
    """Read what a server is to be compared with. Raises UsageError for what it cannot be."""
    if isinstance(other, Settings):
        return _checked(other, first)
    paths = read_paths(other)
    if not paths:
        raise UsageError("there is nothing to compare with", "name a folder, a manifest or a URL")
    from dcmweb.transactions.check.files import Files, ManifestFiles
    from dcmweb.transfer.manifest import is_manifest

    servers = [one for one in paths if is_server(one)]
    if servers and len(paths) == 1:
        return _checked(settings_of_other_server(first, servers[0]), first)
    manifests = [one for one in paths if is_manifest(one)]
    if len(manifests) == len(paths):
        return ManifestFiles(paths)
    if servers or manifests:
        raise UsageError(
            f"{(servers or manifests)[0]} cannot be compared together with others",
            "name one server, or manifests, or files",
        )
    return Files(paths, contents=contents)


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


def comparison(
    first: Settings, other: OtherSide, paths: Resources | None, options: CheckOptions
) -> Callable[[RunContext, object], Outcomes]:
    """Read the arguments of a comparison; return what begins it."""
    side = read_other_side(other, first, contents=options.contents)
    studies = read_studies(paths)

    def begin(context: RunContext, _is_done: object) -> Outcomes:
        from dcmweb.transactions.check.run import check

        with opened(side, context) as reference:
            yield from check(context, reference, studies, options)

    return begin


@contextmanager
def opened(
    other: Settings | Files | ManifestFiles, context: RunContext
) -> Iterator[RunContext | Files | ManifestFiles]:
    """Connect to another server for the time of a block; leave everything else as it is."""
    if isinstance(other, Settings):
        with connected(other, context) as there:
            yield there
    else:
        yield other


@contextmanager
def connected(other: Settings, context: RunContext) -> Iterator[RunContext]:
    """Connect to another server for the time of a block.

    What stops the run of the first server stops that of the other.
    """
    from dcmweb.http.transport import Transport
    from dcmweb.transactions.context import RunContext

    transport = Transport(other)
    try:
        there = RunContext(transport, stop=context.stop, notify=context.notify)
        there.engine.meter = context.engine.meter  # the progress is that of one run
        context.stop.on_set(there.stop.set)
        yield there
    finally:
        transport.close()
