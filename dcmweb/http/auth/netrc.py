"""User names and passwords in a netrc file, by host."""

from __future__ import annotations

import netrc
import os
from urllib.parse import urlsplit

from dcmweb.errors import AuthError

VARIABLE = "NETRC"
_NAMES = (".netrc", "_netrc") if os.name == "nt" else (".netrc",)


def netrc_file() -> str:
    """Return the path of the file: that of NETRC, or the one in the home folder."""
    if given := os.environ.get(VARIABLE):
        return os.path.expanduser(given)
    places = [os.path.join(os.path.expanduser("~"), name) for name in _NAMES]
    return next((place for place in places if os.path.exists(place)), places[0])


def read_netrc(url: str, user: str = "") -> tuple[str, str]:
    """Return the user name and password for the host of a URL; `user` is the one that is wanted.

    Raises AuthError if there is none. Errors never have a word of the file in them, as it may be a
    password.
    """
    file, host = netrc_file(), urlsplit(url).hostname or ""
    try:
        found = netrc.netrc(file).authenticators(host)
    except netrc.NetrcParseError as error:
        where = f", line {error.lineno}" if error.lineno else ""
        raise AuthError(
            f"{file}{where} is not understood", "see the manual page netrc(5)"
        ) from None
    except OSError as error:
        hint = f"name another file with {VARIABLE}"
        raise AuthError(f"cannot read {file}: {error.strerror}", hint) from None
    except UnicodeDecodeError:
        raise AuthError(f"{file} is not text", "save it as UTF-8") from None
    if found is None:
        raise AuthError(f"{file} has no entry for {host}", f"add: machine {host} login ...")
    login, _, password = found
    if not login or password is None:
        raise AuthError(f"the entry for {host} in {file} lacks a login or a password")
    if user and user != login:
        raise AuthError(f"the entry for {host} in {file} is not of user {user}")
    return login, password
