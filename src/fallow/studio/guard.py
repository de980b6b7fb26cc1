"""Who may talk to the studio: one browser, with the token, from the studio's own page."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

UPLOAD_LIMIT = 64 << 20  # bytes of a request; a picture of the decoder's limit fits as a JPEG
READING = ("GET", "HEAD")
# opened by mail programs and feed readers, which have no cookie: their addresses are signed
SIGNED = frozenset({"/api/papers/unsubscribe", "/api/papers/feed"})
WILDCARDS = ("0.0.0.0", "::")  # nosec B104 (told apart, not listened on)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; frame-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
# a page of its own may bring a stricter policy; these are added where a response has none
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}
TOO_LARGE = f"This is larger than the limit of {UPLOAD_LIMIT >> 20} MiB."
NO_TOKEN = "Open the address that fallow studio printed: it carries the token of this session."


class Guard:
    """ASGI middleware: host, token or cookie, origin, size; and the headers of every answer."""

    def __init__(self, app: App, *, token: str, port: int, host: str = "127.0.0.1") -> None:
        self.app, self.token, self.port, self.host = app, token, port, host
        # cookies are shared by all ports of a host: a studio's has a name of its own
        self.cookie = f"fallow-{port}"

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return None  # nothing here speaks anything else
        headers = {name.decode("latin-1").lower(): value.decode("latin-1")
                   for name, value in scope["headers"]}  # fmt: skip
        if (refused := self._refused(scope, headers)) is not None:
            return await _answer(send, *refused)
        if self._arriving(scope):
            cookie = f"{self.cookie}={self.token}; HttpOnly; SameSite=Strict; Path=/"
            return await _answer(send, 303, "", location="/", set_cookie=cookie)
        if scope["path"] not in SIGNED and not self._known(headers):
            return await _answer(send, 403, NO_TOKEN)
        return await self._let_in(scope, receive, send)

    def _refused(self, scope: Message, headers: dict[str, str]) -> tuple[int, str] | None:
        """Why a request is refused before anybody asks who sent it."""
        host = headers.get("host", "")
        if not self._own(host):
            return 421, "This host name is not the studio's."
        signed, origin = scope["path"] in SIGNED, headers.get("origin")
        if not signed and origin is not None and origin != f"http://{host}":
            return 403, "Another page may not use the studio."
        if scope["method"] in READING:
            return None
        if scope["method"] != "POST":
            return 405, "The studio knows GET, HEAD and POST."
        if origin is None and not signed:
            return 403, "A change is accepted from the studio's own page alone."
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > UPLOAD_LIMIT:
            return 413, TOO_LARGE
        return None

    def _own(self, host: str) -> bool:
        """Whether a Host header names this server; a foreign name that points here does not."""
        if ":" not in host.rpartition("]")[2]:
            host += ":80"  # which browsers leave out
        name, _, port = host.rpartition(":")
        if port != str(self.port):
            return False
        name = name.strip("[]").lower()
        if name in ("127.0.0.1", "localhost", "::1", self.host.lower()):
            return name not in WILDCARDS
        if self.host not in WILDCARDS:
            return False
        try:  # listening everywhere: an address cannot be pointed elsewhere, as a name can
            return bool(ipaddress.ip_address(name))
        except ValueError:
            return False

    def _arriving(self, scope: Message) -> bool:
        if scope["path"] != "/" or scope["method"] not in READING:
            return False
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        return secrets.compare_digest(given.encode(), self.token.encode())

    def _known(self, headers: dict[str, str]) -> bool:
        try:
            held = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        return held is not None and secrets.compare_digest(held.value.encode(), self.token.encode())

    async def _let_in(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass on, counting what comes in and completing what goes out."""
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > UPLOAD_LIMIT:  # sent in pieces, without saying how much
                raise HTTPException(413, TOO_LARGE)
            return message

        async def completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message["headers"]}
                more = [(k, v) for k, v in HEADERS.items() if k not in there]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        await self.app(scope, counted, completed)


async def _answer(send: Send, status: int, text: str, **more: str) -> None:
    headers = {**HEADERS, b"content-type": b"text/plain; charset=utf-8"}
    headers |= {name.replace("_", "-").encode(): value.encode() for name, value in more.items()}
    await send({"type": "http.response.start", "status": status, "headers": [*headers.items()]})
    await send({"type": "http.response.body", "body": text.encode()})
