"""What was found out about a server, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Verdict(str, Enum):
    """What a finding means for the user."""

    OK = "ok"
    WARNING = "warning"
    NO = "no"  # the server does not offer it
    UNTESTED = "not tried"
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: its name, the verdict, why, and the figures.

    Times in `details` are in seconds, sizes in bytes.
    """

    name: str
    verdict: Verdict
    words: str = ""
    details: dict[str, Any] = field(default_factory=dict)
