"""All targets by name."""

from __future__ import annotations

from tests.fuzz import archive, client, routes

TARGETS = {**client.TARGETS, **archive.TARGETS, **routes.TARGETS}
