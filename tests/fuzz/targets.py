"""All targets by name."""

from __future__ import annotations

from tests.fuzz import archive, client

TARGETS = {**client.TARGETS, **archive.TARGETS}
