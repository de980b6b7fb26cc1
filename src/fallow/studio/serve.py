"""Start the studio: a free port, a token, a browser."""

from __future__ import annotations

import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable

from fallow.problems import MissingPackage, SettingProblem
from fallow.studio.desk import Desk


def listening(host: str, port: int) -> socket.socket:
    """A socket on that port, or on a free one for 0; a Problem where it is taken."""
    if not 0 <= port < 65536:
        raise SettingProblem(f"port={port} is not possible: use 1 to 65535, or 0 for a free one")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(128)
    except OSError as error:
        raise SettingProblem(
            f"cannot listen on {host}:{port} ({error.strerror or error}): choose another port"
        ) from error
    return found


def address(host: str, port: int, token: str) -> str:
    """What to open in a browser.

    >>> address("127.0.0.1", 8000, "abc"), address("0.0.0.0", 80, "t")
    ('http://127.0.0.1:8000/?token=abc', 'http://127.0.0.1:80/?token=t')
    """
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # nosec B104 (a name for it, no more)
    named = everywhere.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{named}:{port}/?token={token}"


def serve(desk: Desk, *, host: str, port: int, browser: bool, tell: Callable[[str], None]) -> None:
    """Serve one desk until it is interrupted."""
    try:
        import uvicorn

        from fallow.studio.app import build
    except ImportError as error:
        raise MissingPackage(error.name or "fastapi", "studio") from error
    with listening(host, port) as door:
        port, token = door.getsockname()[1], secrets.token_urlsafe(24)
        app = build(desk, token, port, host)
        where = address(host, port, token)
        tell(f"{desk.name}: {len(desk):,} pictures at {where}")
        if browser:
            threading.Timer(0.3, webbrowser.open, [where]).start()
        # the address holds the token: requests are not logged
        settings = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on",
                                  server_header=False, timeout_graceful_shutdown=2)  # fmt: skip
        desk.prepare()
        uvicorn.Server(settings).run(sockets=[door])
