"""An application that keeps every request as it came, byte by byte, and speaks whatever protocol it is asked for."""

from __future__ import annotations

import re
import socketserver
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple


class Request(NamedTuple):
    """A request as it was sent: its line, its headers by their names in lower case, and the body's bytes."""

    line: str
    headers: dict[str, list[str]]
    body: bytes

    def header(self, name: str) -> str:
        """All values of a header; empty where it was not sent."""
        return ", ".join(self.headers.get(name, []))


@dataclass(frozen=True)
class Answer:
    """What is answered to all requests that ask for no other protocol."""

    headers: bytes = b""
    body: bytes = b"recorded\n"


class Recorder(socketserver.ThreadingTCPServer):
    """A context manager. Any ``Upgrade`` is granted, and what is sent then comes back."""

    daemon_threads = True

    def __init__(self, answer: Answer | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[Request] = []
        self.answer = answer or Answer()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(socketserver.StreamRequestHandler):
    server: Recorder

    def handle(self) -> None:
        line = self.rfile.readline().decode("latin-1").rstrip("\r\n")
        headers: dict[str, list[str]] = {}
        while text := self.rfile.readline().decode("latin-1").rstrip("\r\n"):
            name, _, value = text.partition(":")
            headers.setdefault(name.lower(), []).append(value.strip())
        request = Request(line, headers, self._body(headers))
        self.server.requests.append(request)
        if asked := request.header("upgrade"):
            self.wfile.write(f"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: {asked}\r\n\r\n".encode())
            while data := self.connection.recv(65536):
                self.wfile.write(data)
            return
        answer = self.server.answer
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n%bContent-Length: %d\r\n\r\n" % (
            answer.headers,
            len(answer.body),
        )
        with suppress(OSError):  # who does not want all of it goes
            self.wfile.write(head + (b"" if line.startswith("HEAD ") else answer.body))

    def _body(self, headers: dict[str, list[str]]) -> bytes:
        if "chunked" not in headers.get("transfer-encoding", []):
            return self.rfile.read(int(headers.get("content-length", ["0"])[0]))
        body = b""
        while size := int(re.split(rb"[;\r]", self.rfile.readline())[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body
