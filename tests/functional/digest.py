"""A server that wants digest authentication (RFC 7616), and checks it to the letter."""

from __future__ import annotations

import hashlib
import re
import threading

from tests.functional.origin import Answer, Handler, Request

REALM = "pacs"


class Digest:
    """Lets requests with a right digest through; each nonce is good for so many of them."""

    def __init__(
        self,
        handler: Handler,
        user: str,
        password: str,
        *,
        uses: int = 1_000_000,
        algorithm: str = "MD5",
        open_methods: tuple[str, ...] = (),
    ) -> None:
        self.handler = handler
        self.user, self.password = user, password
        self.uses, self.algorithm, self.open_methods = uses, algorithm, open_methods
        self.count = 0
        self.used: dict[str, set[str]] = {}
        self.refused: list[Request] = []
        self.lock = threading.Lock()

    def __call__(self, request: Request) -> Answer:
        if request.method in self.open_methods:
            return self.handler(request)
        with self.lock:
            given = request.headers.get("authorization", "")
            is_right, is_stale = self._check(request, given)
            if not is_right or is_stale:
                self.refused.append(request)
                return self._challenge(is_stale)
        return self.handler(request)

    def _challenge(self, is_stale: bool) -> Answer:
        self.count += 1
        nonce = f"nonce{self.count}"
        self.used[nonce] = set()
        stale = ", stale=true" if is_stale else ""
        field = f'Digest realm="{REALM}", nonce="{nonce}", qop="auth", opaque="o"{stale}'
        return Answer(401, b"who?", {"WWW-Authenticate": f"{field}, algorithm={self.algorithm}"})

    def _check(self, request: Request, given: str) -> tuple[bool, bool]:
        if not given.startswith("Digest "):
            return False, False
        found = {name: a or b for name, a, b in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', given)}
        if found["uri"] != request.target or found["username"] != self.user:
            return False, False

        def digest(text: str) -> str:
            name = self.algorithm.replace("-", "").lower()
            return hashlib.new(name, text.encode()).hexdigest()

        user = self.user.encode("latin-1").decode("utf-8")
        a1 = digest(f"{user}:{REALM}:{self.password}")
        a2 = digest(f"{request.method}:{request.target}")
        rest = ":".join(found[name] for name in ("nonce", "nc", "cnonce", "qop"))
        is_right = found["response"] == digest(f"{a1}:{rest}:{a2}")
        used = self.used.get(found["nonce"])
        if not is_right or used is None:
            return is_right, True
        if found["nc"] in used:
            return False, False  # replayed
        used.add(found["nc"])
        return True, len(used) > self.uses
