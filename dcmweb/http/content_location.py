"""Compares Content-Location with the resource of the request (RFC 9110 section 8.7)."""

from __future__ import annotations

import re
from urllib.parse import unquote, urljoin, urlsplit

_UIDS = r"/(studies|series|instances)/([^/]+)"


def names_another(url: str, content_location: str) -> str:
    """Return the path that Content-Location names, if it is another resource than the URL's.

    It is another one if it has another study, series or instance, on the same server; "" if not,
    or if nothing tells.
    """
    if not content_location:
        return ""
    try:
        asked, named = urlsplit(url), urlsplit(urljoin(url, content_location.strip()))
    except ValueError:  # it is not an address
        return ""
    if (asked.scheme, asked.netloc.lower()) != (named.scheme, named.netloc.lower()):
        return ""
    wanted, found = dict(re.findall(_UIDS, asked.path)), dict(re.findall(_UIDS, named.path))
    for level in wanted.keys() & found.keys():
        if unquote(wanted[level]) != unquote(found[level]):
            return named.path
    return ""
