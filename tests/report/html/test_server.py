"""Server of one page: for this machine, this page, and browsers that call it by its name."""

from __future__ import annotations

import errno
import http.client
import socket
from collections.abc import Iterator

import pytest

from lowland.ground.mistakes import Mistake
from lowland.report.html import server as module
from lowland.report.html.server import PageServer


@pytest.fixture
def server() -> Iterator[PageServer]:
    with PageServer() as server:
        server.show("<!doctype html>ü")
        yield server


def ask(
    server: PageServer, method: str = "GET", path: str = "/", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    port = int(server.url.rstrip("/").rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        if value:
            connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_the_page_is_served_and_replaced(server: PageServer) -> None:
    answer, body = ask(server)
    assert (answer.status, body.decode()) == (200, "<!doctype html>ü")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    server.show("new")
    assert ask(server)[1] == b"new"


def test_a_page_that_the_browser_has_is_not_sent_again(server: PageServer) -> None:
    tag = ask(server)[0].headers["ETag"]
    answer, body = ask(server, If_None_Match=tag)
    assert (answer.status, body) == (304, b"")
    server.show("new")
    assert ask(server, If_None_Match=tag)[0].status == 200


@pytest.mark.parametrize("path", ["/index.html", "/../etc/passwd", "/?x", "*"])
def test_there_is_no_other_path(server: PageServer, path: str) -> None:
    assert ask(server, path=path)[0].status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"])
def test_only_get_is_answered(server: PageServer, method: str) -> None:
    answer, _ = ask(server, method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost", "", "127.0.0.1.evil.example"]
)
def test_another_name_is_refused(server: PageServer, host: str) -> None:
    answer, body = ask(server, Host=host)
    assert answer.status == 403
    assert b"doctype" not in body


def test_a_whole_address_is_refused_like_another_name(server: PageServer) -> None:
    assert ask(server, path="http://evil.example/")[0].status == 403


def test_its_own_names_are_served(server: PageServer) -> None:
    port = server.url.rstrip("/").rpartition(":")[2]
    for name in ("127.0.0.1", "localhost"):
        assert ask(server, Host=f"{name}:{port}")[0].status == 200


def test_no_other_machine_is_answered(server: PageServer) -> None:
    assert server.url.startswith("http://127.0.0.1:")
    assert server._server.server_address[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_a_mistake(server: PageServer) -> None:
    port = int(server.url.rstrip("/").rpartition(":")[2])
    with pytest.raises(Mistake, match=f"port {port} is taken; name another"):
        PageServer(port)


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.EACCES, "is not allowed; name one above 1023"), (errno.EIO, "cannot be opened")],
)
def test_a_port_that_cannot_be_had_is_a_mistake(
    monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, "no")

    monkeypatch.setattr(module, "_Server", refuse)
    with pytest.raises(Mistake, match=f"port 80 {words}"):
        PageServer(80)


def test_a_browser_that_goes_away_disturbs_nobody(
    server: PageServer, capfd: pytest.CaptureFixture[str]
) -> None:
    port = int(server.url.rstrip("/").rpartition(":")[2])
    for request in (b"", b"GET / HTT", b"\xff\xfe\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(request)
    assert ask(server)[0].status == 200
    assert capfd.readouterr() == ("", "")
