"""Server of one page, for browsers of this machine alone."""

from __future__ import annotations

import errno
import hashlib
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from lowland.ground.mistakes import Mistake, reason_of

ADDRESS = "127.0.0.1"
"""Address of this machine that no other machine reaches."""
NAMES = (ADDRESS, "localhost")
"""Names by which a browser may ask. Any other is of a site that had its name lead here, to read the page."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every answer; what a page may load and run, it says itself."""
ANSWER_SECONDS = 10.0
"""Seconds that a browser may take for a request."""


class PageServer:
    """Server of one page at `/`, which can be replaced. Enter it as a context to serve.

    It listens at 127.0.0.1 alone, answers only GET of its page, and only browsers that call it by its own name.

    Args:
        port: port; 0 takes a free one.

    Raises:
        Mistake: if the port is taken or not allowed.
    """

    def __init__(self, port: int = 0) -> None:
        try:
            self._server = _Server((ADDRESS, port), _Answer)
        except OSError as error:
            raise Mistake(_why_not(port, error)) from None
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    @property
    def url(self) -> str:
        """Return the address of the page."""
        return f"http://{ADDRESS}:{self._server.server_port}/"

    def show(self, page: str) -> None:
        """Replace the page by this text."""
        self._server.page = page.encode()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _why_not(port: int, error: OSError) -> str:
    """Return the sentence for a port that cannot be had."""
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is taken; name another, or leave --port out for a free one"
    if error.errno == errno.EACCES:
        return f"port {port} is not allowed; name one above 1023, or leave --port out for a free one"
    return f"port {port} cannot be opened ({reason_of(error)}); leave --port out for a free one"


class _Server(ThreadingHTTPServer):
    """Server with the bytes of its page."""

    daemon_threads = True
    allow_reuse_port = False
    page = b""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that went away."""


class _Answer(BaseHTTPRequestHandler):
    """Answer to one request."""

    server: _Server
    timeout = ANSWER_SECONDS
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Send the page, or say that the browser has it already."""
        if not self._is_own_name():
            self._refuse(HTTPStatus.FORBIDDEN, f"Open this page as {ADDRESS}:{self.server.server_port}.")
        elif self.path != "/":
            self._refuse(HTTPStatus.NOT_FOUND, "There is only the page /.")
        else:
            page = self.server.page
            tag = f'"{hashlib.sha256(page).hexdigest()[:32]}"'
            known = self.headers.get("If-None-Match") == tag
            self._send(
                HTTPStatus.NOT_MODIFIED if known else HTTPStatus.OK, b"" if known else page, "text/html", tag
            )

    def _refuse_method(self) -> None:
        self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET is answered.")

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse_method

    def _is_own_name(self) -> bool:
        port = self.server.server_port
        own = {f"{name}:{port}" for name in NAMES} | (set(NAMES) if port == 80 else set())
        return self.headers.get_all("Host", []) in [[name] for name in own]

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        self.close_connection = True  # a body that was sent is not read
        self._send(status, b"" if self.command == "HEAD" else sentence.encode(), "text/plain")

    def _send(self, status: HTTPStatus, body: bytes, kind: str, tag: str | None = None) -> None:
        self.send_response(status)
        headers = {**HEADERS, "Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(body))}
        if status is HTTPStatus.NOT_MODIFIED:
            del headers["Content-Length"]
        if tag is not None:
            headers["ETag"] = tag
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = "GET"
        if self.close_connection:
            headers["Connection"] = "close"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        """Return what the server calls itself."""
        return "lowland"

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""
