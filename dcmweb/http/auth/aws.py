"""Signatures of Amazon Web Services (Signature Version 4), for HealthImaging."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from threading import Lock
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit, urlunsplit

from requests import PreparedRequest

from dcmweb.errors import AuthError, DcmwebError, NetworkError, UsageError
from dcmweb.http.auth.base import Authentication
from dcmweb.http.auth.hosts import aws_region
from dcmweb.http.multipart import Body

SERVICE = "medical-imaging"
_UNRESERVED = "-_.~"
_REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")
_READ_AGAIN_AFTER = 60.0  # seconds, so that many refusals do not read the credentials as often


class AwsAuth(Authentication):
    """Signs each request with the credentials that botocore finds, when they are first needed."""

    signs_urls = True

    def __init__(self, base_url: str, profile: str = "", region: str = "") -> None:
        try:
            import botocore.session
        except ImportError:
            from dcmweb.extras import how_to_install

            raise UsageError(
                "--auth aws needs the Python package botocore", f"run: {how_to_install('aws')}"
            ) from None
        self._make_session = lambda: botocore.session.Session(profile=profile or None)
        self._profile = profile
        self._region = region or aws_region(base_url)
        self._credentials: Any = None
        self._frozen: Any = None  # those that the last request was signed with
        self._lock = Lock()  # one refresh at a time
        self._read_again_at = -_READ_AGAIN_AFTER

    @property
    def identity(self) -> str:
        """The access key, once it is known, which is not a secret."""
        return f"AWS access key {self._frozen.access_key}" if self._frozen else "AWS credentials"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secret key and the session token of now."""
        frozen = self._frozen
        return (frozen.secret_key, frozen.token or "") if frozen else ()

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Sign a request: its method, URL and body, and those fields that nobody may change."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        frozen = self._current()
        request.url = exact_url(str(request.url))
        for name in [name for name in request.headers if _is_of_signature(name)]:
            del request.headers[name]
        signed = AWSRequest(request.method, request.url, headers=_fields_to_sign(request))
        if request.body:
            signed.headers["X-Amz-Content-SHA256"] = _sha256(request.body)
        SigV4Auth(frozen, SERVICE, self._region).add_auth(signed)
        request.headers.update(dict(signed.headers.items()))
        return request

    def renew(self, refused: PreparedRequest, status: int = 401) -> bool:  # noqa: ARG002
        """Look whether there are other credentials by now, as somebody may have logged in again."""
        authorization = refused.headers.get("Authorization") or ""
        with self._lock:
            if self._is_signed_with(self._frozen, refused, authorization):
                now = time.monotonic()
                if now - self._read_again_at < _READ_AGAIN_AFTER:
                    return False
                self._read_again_at = now
                self._find()
                self._freeze()
            return not self._is_signed_with(self._frozen, refused, authorization)

    @staticmethod
    def _is_signed_with(frozen: Any, request: PreparedRequest, authorization: str) -> bool:
        token = request.headers.get("X-Amz-Security-Token") or ""
        return f"Credential={frozen.access_key}/" in authorization and token == (frozen.token or "")

    def _current(self) -> Any:
        with self._lock:
            if self._credentials is None:
                self._find()
            return self._freeze()

    def _find(self) -> None:
        session = _botocore(self._make_session)
        self._credentials = _botocore(session.get_credentials)
        if self._credentials is None:
            raise AuthError(
                "there are no AWS credentials",
                "run aws configure or aws sso login, or set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY",
            )
        variables = filter(None, map(os.environ.get, _REGION_VARIABLES))
        if not self._region:
            self._region = next(variables, "") or _botocore(
                lambda: session.get_config_variable("region") or ""
            )
        if not self._region:
            raise UsageError("the AWS region is not known", "give --aws-region, or set AWS_REGION")

    def _freeze(self) -> Any:
        """Take the credentials of now, which botocore refreshes ahead of their expiry."""
        self._frozen = _botocore(self._credentials.get_frozen_credentials)
        return self._frozen


def _botocore(action: Callable[[], Any]) -> Any:
    """Translate what botocore raises."""
    from botocore import exceptions

    try:
        return action()
    except exceptions.ProfileNotFound as error:
        raise UsageError(f"--aws-profile: {_reason(error)}") from None
    except (exceptions.HTTPClientError, exceptions.ConnectionError) as error:
        raise NetworkError(f"AWS credentials cannot be got: {_reason(error)}") from error
    except DcmwebError:
        raise
    # Those of botocore, and what comes of files that are not as it expects them.
    except (
        exceptions.BotoCoreError,
        exceptions.ClientError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
    ) as error:
        raise AuthError(
            f"no usable AWS credentials: {_reason(error)}",
            "run aws configure or aws sso login, and try aws sts get-caller-identity",
        ) from error


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _is_of_signature(name: str) -> bool:
    """Return True for what an earlier signature of the same request left."""
    return name.lower() in (
        "authorization",
        "x-amz-date",
        "x-amz-security-token",
        "x-amz-content-sha256",
    )


def _fields_to_sign(request: PreparedRequest) -> dict[str, str]:
    """Return the fields that a proxy does not change; Host is among them, and botocore adds it."""
    fields: Any = request.headers.items()
    return {
        name: value.decode("latin-1") if isinstance(value, bytes) else value
        for name, value in fields
        if name.lower() == "content-type" or name.lower().startswith("x-amz-")
    }


def _sha256(body: Any) -> str:
    """Hash a body in a pass of its own, which does not count as progress."""
    digest = hashlib.sha256()
    if isinstance(body, (str, bytes)):
        digest.update(body.encode() if isinstance(body, str) else body)
    else:
        for piece in body.pieces_uncounted() if isinstance(body, Body) else body:
            digest.update(piece)
    return digest.hexdigest()


def exact_url(url: str) -> str:
    """Write a URL in the one way that signer and server agree on, whatever is in it.

    AWS decodes what it gets, and escapes all but letters, digits and `-_.~` before it compares.
    """
    parts = urlsplit(url)
    path = "/".join(_escaped(segment) for segment in parts.path.split("/"))
    pairs = [pair.partition("=") for pair in parts.query.split("&") if pair]
    query = "&".join(f"{_escaped(name)}={_escaped(value)}" for name, _, value in pairs)
    return urlunsplit((parts.scheme, parts.netloc, path or "/", query, ""))


def _escaped(text: str) -> str:
    return quote(unquote_to_bytes(text), safe=_UNRESERVED)
