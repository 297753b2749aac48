"""A fake Messages API and chat-completions API on loopback, with the faults of real ones; for tests and for
benchmarks/stress.py.

python tests/stress/asking/messages_api.py --delay 0.2   # prints its address, serves until stdin is closed
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

STATUS = {
    "rate limit": (429, "rate_limit_error"),
    "server error": (500, "api_error"),
    "overloaded": (529, "overloaded_error"),
    "too large": (413, "request_too_large"),
    "wrong key": (401, "authentication_error"),
}
FAULTS = (*STATUS, "dropped", "half a reply", "malformed", "empty", "refusal", "unfinished", "hang")


@dataclass
class MessagesAPI:
    """Context manager that serves `POST /v1/messages` and `POST …/chat/completions` on 127.0.0.1.

    Attributes:
        answer: returns the reply to a question.
        echo: returns what every reply, refusal and header repeats of the request's headers.
        fault: returns the fault of the n-th request (n from 0), one of `FAULTS`, or None.
        delay: seconds per reply.
        hang: seconds that the fault "hang" takes.
        bodies: bodies of all requests, in order of arrival.
        headers: headers of all requests.
        most: largest number of requests at a time so far.
    """

    answer: Callable[[str], str] = lambda question: "Paris"
    fault: Callable[[int, str], str | None] = lambda number, question: None
    echo: Callable[[dict[str, str]], str] = lambda headers: ""
    delay: float = 0.0
    hang: float = 30.0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    most: int = 0

    def __enter__(self) -> MessagesAPI:
        self.lock, self.over, self.now = threading.Lock(), threading.Event(), 0
        handler = type("Handler", (_Handler,), {"api": self})
        self.server = _Server(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def questions(self) -> list[str]:
        """The user message of each request."""
        return [text_of(body) for body in self.bodies]


def text_of(body: dict[str, Any]) -> str:
    """Return the user message of a request."""
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore that a client was killed."""


class _Handler(BaseHTTPRequestHandler):
    api: MessagesAPI
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        api, length = self.api, int(self.headers["content-length"])
        data = self.rfile.read(length)
        if len(data) < length:
            return  # the client was killed
        body = json.loads(data)
        with api.lock:
            number = len(api.bodies)
            api.bodies.append(body)
            api.headers.append(dict(self.headers.items()))
            api.now += 1
            api.most = max(api.most, api.now)
        try:
            time.sleep(api.delay)
            fault = api.fault(number, text_of(body))
            echo = api.echo(dict(self.headers.items()))
            if fault in STATUS:
                self._refuse(*STATUS[fault], echo)
            else:
                form = _completion if self.path.endswith("/chat/completions") else _message
                self._reply(fault, form(fault, api.answer(text_of(body)) + echo))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client has given up
        finally:
            with api.lock:
                api.now -= 1

    def _refuse(self, status: int, kind: str, echo: str) -> None:
        key = self.headers.get("x-api-key") or self.headers.get("authorization")
        error = {"type": kind, "message": f"{kind}, and the key was {key} {echo}"}
        more = {"retry-after": "1"} if status == 429 else {}
        self._send(status, json.dumps({"type": "error", "error": error}).encode(), more)

    def _reply(self, fault: str | None, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode()
        if fault == "dropped":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault == "half a reply":
            self._send(200, data[: len(data) // 2], {}, length=len(data))
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault == "malformed":
            self._send(200, b'{"id": "msg_1", "content": [{"type": "te', {})
        else:
            if fault == "hang":
                self.api.over.wait(self.api.hang)
            self._send(200, data, {})

    def _send(self, status: int, data: bytes, more: dict[str, str], length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data) if length is None else length))
        if echo := self.api.echo(dict(self.headers.items())):
            more = {**more, "request-id": echo, "x-request-id": echo, "set-cookie": echo}
        for name, value in more.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, *arguments: Any) -> None:
        pass


def _message(fault: str | None, text: str) -> dict[str, Any]:
    content = [] if fault in ("empty", "refusal") else [{"type": "text", "text": text}]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": content,
        "stop_reason": {"refusal": "refusal", "unfinished": "pause_turn"}.get(str(fault), "end_turn"),
        "stop_sequence": None,
        "usage": {"input_tokens": 20, "output_tokens": 3},
    }


def _completion(fault: str | None, text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": "" if fault in ("empty", "refusal") else text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-test",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 3, "total_tokens": 23},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--delay", type=float, default=0.2, help="seconds that a reply takes")
    with MessagesAPI(delay=parser.parse_args().delay) as api:
        print(api.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
