"""Compares the contents of the instances of a study that both sides have."""

from __future__ import annotations

import os

from dcmweb.buckets.addresses import is_bucket
from dcmweb.dicom.content_digest import Agreement, ContentDigest, digest_file
from dcmweb.dicom.resources import Resource, parse_resource
from dcmweb.errors import DcmwebError, Interrupted, LocalError, UsageError
from dcmweb.local.archive_names import split_member
from dcmweb.transactions.check.inventory import Inventory, Study
from dcmweb.transactions.check.server import Server
from dcmweb.transfer.outcomes import Outcome

# Verdicts on an instance: a figure, so that the worst of several is the largest, and a reason.
WHOLE, DATA_SET, FAILED, DIFFERENT = "1", "2", "3", "4"


class ContentComparison:
    """Compares what the server sends with files, or with what another server sends."""

    def __init__(self, inventory: Inventory, there: Server, here: Server | None) -> None:
        self._inventory = inventory
        self._there = there
        self._here = here

    def compare(self, study: Study) -> None:
        """Note a verdict on each instance of a study that both sides have."""
        problem = ""
        if self._here is not None:
            problem = self._take_digests(self._here, study)
        problem = self._judge(study) or problem
        self._inventory.judge_rest(study, f"{FAILED}{problem or 'it did not come'}")

    def _take_digests(self, server: Server, study: Study) -> str:
        """Note the digests of what the other server sends; return what went wrong as a whole."""
        problem = ""
        try:
            for outcome, digest in server.contents(study):
                found = _resource(outcome)
                if digest is not None:
                    self._inventory.keep_digest(study, found, str(digest))
                elif found.instance:
                    words = f"{FAILED}{server.name}: {outcome.reason}"
                    self._inventory.judge(study, found, "", words)
                else:
                    problem = f"{server.name}: {outcome.reason}"
        except DcmwebError as error:
            problem = f"{server.name}: {_go_on(server, error)}"
        return problem

    def _judge(self, study: Study) -> str:
        """Compare what the server sends; return what went wrong as a whole."""
        problem = ""
        try:
            for outcome, digest in self._there.contents(study):
                found = _resource(outcome)
                if not found.instance:
                    problem = outcome.reason
                    continue
                for path, known in self._inventory.files(study, found):
                    if digest is None:
                        verdict = f"{FAILED}{outcome.reason}"
                    else:
                        verdict = self._verdict(digest, path, known)
                    if verdict:
                        self._inventory.judge(study, found, path, verdict)
        except DcmwebError as error:
            problem = _go_on(self._there, error)
        return problem

    def _verdict(self, digest: ContentDigest, path: str, known: str) -> str:
        """Compare one instance; "" where the other side has not sent it."""
        if known:
            other = ContentDigest.parse(known)
        elif self._here is not None:
            return ""
        else:
            try:
                other = _digest_of_file(path)
            except LocalError as error:
                return f"{FAILED}{error.message}"
        agreement, words = other.compare(digest)
        match agreement:
            case Agreement.WHOLE:
                return WHOLE
            case Agreement.DATA_SET:
                return DATA_SET
            case _:
                return f"{DIFFERENT}{words}"


def _digest_of_file(path: str) -> ContentDigest:
    """Make the digest of a file by its name. Raises LocalError with words on this file."""
    if not path:
        raise LocalError("the manifest names no file of it")
    if is_bucket(path) or (split_member(path)[1] and not os.path.exists(path)):
        words = "can be compared if you name the archive or bucket, rather than the manifest"
        raise LocalError(f"the contents of {path} {words}", path=path)
    try:
        return digest_file(path)
    except LocalError as error:
        raise LocalError(f"{path} cannot be read: {error.message}", path=path) from error


def _resource(outcome: Outcome) -> Resource:
    """Return what an outcome is of; a failure may have a path alone."""
    if outcome.instance:
        return Resource(outcome.study, outcome.series, outcome.instance)
    try:
        return parse_resource(outcome.item)
    except UsageError:
        return Resource()


def _go_on(server: Server, error: DcmwebError) -> str:
    """Return the message of an error that is about one study. Raises one that ends the run."""
    if isinstance(error, Interrupted) or server.context.engine.gives_up(error):
        raise error
    return error.message
