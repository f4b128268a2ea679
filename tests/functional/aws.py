"""The server's side of AWS signatures, worked out from what came, as the AWS manual has it."""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import quote, unquote

from tests.functional.origin import Answer, Request

KEY, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI+bPxRfiCYEXAMPLEKEY", "t0ken//with+signs=="
REGION = "eu-central-1"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": REGION}
SERVICE = "medical-imaging"


def signed_fields(request: Request) -> list[str]:
    """The names of the fields that a request has signed."""
    return request.headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")


def expected_authorization(request: Request, secret: str = SECRET, region: str = REGION) -> str:
    """What the Authorization field of a request has to be."""
    path, _, query = request.target.partition("?")
    decoded = [pair.partition("=") for pair in query.split("&") if pair]
    pairs = sorted((_escaped(unquote(n)), _escaped(unquote(v))) for n, _, v in decoded)
    names = signed_fields(request)
    body = hashlib.sha256(request.body).hexdigest()
    assert request.headers.get("x-amz-content-sha256", body) == body
    canonical = "\n".join(
        [
            request.method,
            "/".join(_escaped(_escaped(unquote(segment))) for segment in path.split("/")),
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{' '.join(request.headers[name].split())}" for name in names),
            "",
            ";".join(names),
            body,
        ]
    )
    time = request.headers["x-amz-date"]
    scope = f"{time[:8]}/{region}/{SERVICE}/aws4_request"
    digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
    key = f"AWS4{secret}".encode()
    for text in scope.split("/"):
        key = hmac.digest(key, text.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}"
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    return (
        f"AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders={';'.join(names)}, "
        f"Signature={signature}"
    )


def _escaped(text: str) -> str:
    return quote(text, safe="-_.~")


def refusal(name: str, words: str, **headers: str) -> Answer:
    """A refusal in the form of AWS."""
    fields = {"x-amzn-ErrorType": name, "Content-Type": "application/json", **headers}
    return Answer(403, f'{{"message": "{words}"}}'.encode(), fields)
