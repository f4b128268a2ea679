"""Everything a client is told: settings, and the credentials among them."""

from dcmweb.settings.base_url import parse_base_url
from dcmweb.settings.credentials import AuthScheme, Credentials, Secret
from dcmweb.settings.settings import ADAPTIVE_WORKERS, MIB, MOST_WORKERS, Settings

__all__ = [
    "ADAPTIVE_WORKERS",
    "MIB",
    "MOST_WORKERS",
    "AuthScheme",
    "Credentials",
    "Secret",
    "Settings",
    "parse_base_url",
]
