"""Authentication: what is added to requests, and what can be renewed after a refusal."""

from dcmweb.http.auth.base import Authentication
from dcmweb.http.auth.choice import choose, read_token
from dcmweb.http.auth.scheme_arguments import SchemeArguments

__all__ = ["Authentication", "SchemeArguments", "choose", "read_token"]
