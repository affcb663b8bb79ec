"""A small application behind certfront: ``python -m entrypoint.demo.application [PORT]``."""

from __future__ import annotations

import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from entrypoint.system.signals import ENDING


class _Application(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        told = {name: self.headers.get(name, "") for name in ("X-Forwarded-Proto", "Host", "X-Forwarded-For")}
        text = "Hello from the application behind certfront, {}.\nYou asked {} from {}.\n".format(*told.values())
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def server(host: str, port: int) -> ThreadingHTTPServer:
    """The application's server, listening; ``serve_forever`` answers. Raises OSError."""
    return ThreadingHTTPServer((host, port), _Application)


def main() -> None:
    """Answer until SIGTERM, SIGINT or SIGQUIT."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    running = server("", int(sys.argv[1]) if len(sys.argv) > 1 else 8080)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    signal.sigwait(ENDING)


if __name__ == "__main__":
    main()
