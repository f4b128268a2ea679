"""Authentication: what is added to requests, and what can be renewed after a refusal."""

from dcmweb.http.auth.base import Authentication
from dcmweb.http.auth.choice import choose, read_token, without_overridden

__all__ = ["Authentication", "choose", "read_token", "without_overridden"]
