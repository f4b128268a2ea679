"""Fixtures of the tests that use the installed command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.origin import Origin
from tests.functional.starting import Start, starting
from tests.functional.token_servers import WriteKey


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the command in the folder of the test, and go on while it runs."""
    with starting(tmp_path) as start:
        yield start


@pytest.fixture(scope="session")
def service_account(tmp_path_factory: pytest.TempPathFactory) -> WriteKey:
    """Write the key file of a service account whose tokens come from a server."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )

    def write(tokens: Origin) -> Path:
        path = tmp_path_factory.mktemp("key") / "key.json"
        content = {
            "type": "service_account",
            "client_email": "tests@example.invalid",
            "private_key": key.decode(),
            "token_uri": f"http://127.0.0.1:{tokens.port}/token",
        }
        path.write_text(json.dumps(content))
        return path

    return write
