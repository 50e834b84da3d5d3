"""Who may ask a server, and what its answers allow a browser to do.

A page of another site can send requests to a server on this machine, and under a name of its own (DNS
rebinding) read the answers. So the name that is asked for must be one of the server's, and whatever a browser
sends must come from the server's own page. Beyond this machine a token is wanted as well.
"""

import hmac
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

import psutil
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "genrender_token"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# What may be asked for without a token: the page itself, and what tells it that there is one.
OPEN_PATHS = ("/", "/api/about", "/api/session", "/favicon.ico")
OPEN_FOLDERS = ("/page/",)
MAX_BODY_BYTES = 2**20
# A browser that is answered while it still sends shows no answer; so much is read for its sake.
MAX_DRAINED_BYTES = 2**32
POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        hosts: names and addresses that the server is asked by.
        token: what everybody must know; None: nothing is wanted.
    """

    hosts: frozenset[str] = frozenset(LOOPBACK)
    token: str | None = None

    def is_token(self, text: str) -> bool:
        """Whether a text is the token; takes as long whatever it is."""
        return self.token is None or hmac.compare_digest(text.encode(), self.token.encode())


def own_hosts(host: str, more: Iterable[str] = ()) -> frozenset[str]:
    """The names that a server which listens on `host` is asked by."""
    names = {*LOOPBACK, *more}
    if host in ("0.0.0.0", "::"):
        names |= {socket.gethostname(), socket.getfqdn()}
        names |= {one.address.partition("%")[0] for all_ in psutil.net_if_addrs().values() for one in all_}
    else:
        names.add(host)
    return frozenset(name.lower() for name in names)


class Guard:
    """Stands before the application.

    Args:
        app: is asked by whoever may.
        access: who that is.
        body_bytes: the largest body of a path; others have `MAX_BODY_BYTES`.
    """

    def __init__(self, app: ASGIApp, access: Access, body_bytes: dict[str, int]) -> None:
        self._app = app
        self._access = access
        self._body_bytes = body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] != "websocket":  # there are none
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answered[name] = value
                answered.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope, headers)
        limit = self._body_bytes.get(scope["path"], MAX_BODY_BYTES)
        if (
            refusal is None
            and (length := headers.get("content-length", "")).isdecimal()
            and int(length) > limit
        ):
            await _drain(receive, int(length))
            refusal = (
                413,
                f"the request has {int(length) / 1e6:,.0f} MB, expected at most {limit / 1e6:,.0f} MB",
            )
        if refusal is not None:
            status, text = refusal
            await JSONResponse({"error": text, "field": None}, status)(scope, receive, send_with_headers)
            return
        await self._app(scope, _Bounded(receive, limit), send_with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """Why a request is not answered; None: it is."""
        asked = headers.get("host", "")
        if _name(asked) not in self._access.hosts:
            return 403, "this server does not go by that name: open it by the address that it printed"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != asked.lower():
            return 403, "the request comes from a page of another site"
        site = headers.get("sec-fetch-site", "none")
        is_visit = (
            headers.get("sec-fetch-mode") == "navigate" and scope["method"] == "GET" and scope["path"] == "/"
        )
        if site not in ("none", "same-origin") and not is_visit:
            return 403, "the request comes from a page of another site"
        path = scope["path"]
        if path in OPEN_PATHS or path.startswith(OPEN_FOLDERS) or is_known(self._access, headers):
            return None
        return 401, "the token is missing or wrong: give the one that the server was begun with"


def is_known(access: Access, headers: Headers) -> bool:
    """Whether a request brings the token, where one is wanted."""
    if access.token is None:
        return True
    kind, _, text = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return access.is_token(text.strip())
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return False
    return cookie is not None and access.is_token(cookie.value)


def _name(host: str) -> str:
    """The name in a Host header, without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


async def _drain(receive: Receive, length: int) -> None:
    if length > MAX_DRAINED_BYTES:
        return
    while (message := await receive()).get("more_body"):
        if message["type"] != "http.request":
            return


class _Bounded:
    """A body of which no more than so many bytes are passed on; what is too much ends it."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._left = limit

    async def __call__(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            return {"type": "http.disconnect"}
        return message
