"""Connections to buckets through obstore, and its errors in words.

obstore takes credentials and endpoints from where each cloud's own tools have them, from the
environment and from metadata servers. It does not read the profiles of AWS: boto3 does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcmweb.buckets.addresses import Address
from dcmweb.errors import LocalError, UsageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

CONNECTING, READING = timedelta(seconds=10), timedelta(seconds=60)  # without a byte
LONGEST = timedelta(hours=1)  # of one request: no more than a few MiB
RETRIES, RETRYING = 5, timedelta(seconds=90)
CHANGED = "the object changed while it was being read"
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_PROFILES = {
    "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
    "AWS_CONFIG_FILE": "~/.aws/config",
}
_METADATA_SERVERS = ("169.254.169.254", "metadata.google", "fd00:ec2::254")
_WHERE_CREDENTIALS_ARE = {
    "s3": "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or a token",
}


@lru_cache(maxsize=64)
def bucket_at(address: Address) -> ObjectStore:
    """Return what the objects of a bucket are reached by; nothing is sent yet.

    Raises UsageError if obstore is not installed, LocalError if its configuration is not usable.
    """
    try:
        from obstore.exceptions import BaseError
        from obstore.store import AzureStore, GCSStore, S3Store
    except ImportError:
        from dcmweb.extras import how_to_install

        raise UsageError(
            f"{address.scheme}:// needs an extra that is not installed",
            f"run: {how_to_install('buckets')}",
        ) from None
    how: dict[str, Any] = {
        "client_options": {
            "connect_timeout": CONNECTING,
            "read_timeout": READING,
            "timeout": LONGEST,
            # Plain http is for servers of one's own, whose address somebody wrote so.
            "allow_http": _endpoint(address.scheme).startswith("http://"),
        },
        "retry_config": {"max_retries": RETRIES, "retry_timeout": RETRYING},
    }
    if address.scheme == "s3":
        how |= _profile()
    kinds: dict[str, Callable[..., ObjectStore]]
    kinds = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
    try:
        return kinds[address.scheme](address.bucket, **how)
    except BaseError as error:
        raise LocalError(
            f"{address.root} cannot be used: {_words(error)}",
            _WHERE_CREDENTIALS_ARE[address.scheme],
            path=address.root,
        ) from error


def root_of(address: Address) -> Address:
    """Return the address of the bucket alone."""
    return Address(address.scheme, address.bucket, "")


def _endpoint(scheme: str) -> str:
    return next(filter(None, (os.environ.get(name) for name in _ENDPOINTS[scheme])), "")


def _profile() -> dict[str, Any]:
    """Return credentials and region of a profile of AWS, if that is where they are."""
    if os.environ.get("AWS_ACCESS_KEY_ID") or os.environ.get("AWS_SKIP_SIGNATURE"):
        return {}
    files = (Path(os.environ.get(name) or place).expanduser() for name, place in _PROFILES.items())
    if not (os.environ.get("AWS_PROFILE") or any(file.is_file() for file in files)):
        return {}
    import boto3
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        session = boto3.Session()
        if session.get_credentials() is None:
            return {}
        found: dict[str, Any] = {"credential_provider": Boto3CredentialProvider(session)}
    except BotoCoreError as error:
        raise LocalError(
            f"the profile of AWS cannot be used: {error}", "see AWS_PROFILE"
        ) from error
    if session.region_name and not os.environ.get("AWS_REGION"):
        found["region"] = session.region_name
    return found


@contextmanager
def translating(path: str, *, is_written: bool = False) -> Iterator[None]:
    """Translate errors of obstore into LocalError, which names the object.

    An error of writing that others would meet as well ends the run.
    """
    try:
        yield
    except (LocalError, UsageError):
        raise
    except Exception as error:
        from obstore.exceptions import BaseError

        if not isinstance(error, (BaseError, OSError)):
            raise
        if is_written:
            words = f"cannot write into {path}: {_words(error)}"
            raise LocalError(words, path=path, fatal=_is_of_all(error)) from error
        raise LocalError(_words(error), path=path) from error


def is_missing(error: BaseException) -> bool:
    """Return True if an error says that there is no such object."""
    return isinstance(error, FileNotFoundError)


def _is_of_all(error: BaseException) -> bool:
    """Return True if an error is one of the bucket or its credentials, not of one object."""
    from obstore.exceptions import AlreadyExistsError, InvalidPathError, PreconditionError

    return not isinstance(error, (AlreadyExistsError, InvalidPathError, PreconditionError))


def _words(error: BaseException) -> str:
    """Say in words what went wrong: by the kind of error, and what the server answered."""
    from obstore import exceptions

    text = str(error).partition("\nDebug source")[0].strip()
    is_refused = re.search(r"status code: 40[13]\b", text) or isinstance(
        error, (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)
    )
    if any(code in text for code in ("NoSuchBucket", "ContainerNotFound")):
        words = "there is no such bucket"
    elif is_missing(error):
        words = "there is no such object, or no such bucket"
    elif isinstance(error, exceptions.PreconditionError):
        words = CHANGED
    elif any(server in text for server in _METADATA_SERVERS):
        words = "no credentials were found: set those of the cloud in the environment"
    elif is_refused:
        words = f"the credentials do not permit it{_answer(text)}"
    elif isinstance(error, exceptions.InvalidPathError):
        words = f"the name of an object cannot be used: {text.partition(': ')[2][:200]}"
    elif status := re.search(r"status code: ([0-9]{3}[A-Za-z ]*)", text):
        words = f"answered {status[1].strip()}{_answer(text)}"
    else:
        words = " ".join(text.rpartition(" - ")[2].split())[:300]
    return words


def _answer(text: str) -> str:
    """Return what the server said in its answer, in brackets."""
    said = re.search(r"<Code>([^<]{1,100})</Code>(?:\s*<Message>([^<]{1,200}))?", text)
    return f" ({said[1]}: {' '.join((said[2] or '').split())})" if said else ""
