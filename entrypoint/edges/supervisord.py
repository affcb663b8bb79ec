"""The agent's requests to supervisord, over its UNIX socket."""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from pathlib import Path
from typing import Any

from entrypoint.core.model import Outcome, Refused
from entrypoint.system import sockets


# supervisor has a client of its own: importing it would cost the agent 3.8 MB of memory.
class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=5)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(self.path)
        except OSError:
            self.close()
            raise


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _UnixConnection(self.path)
        self._connection = host, connection  # so that the transport closes it
        return connection


class Supervisord:
    """The supervisord that is the parent of this process."""

    def __init__(self, run_dir: Path) -> None:
        self._path = str(sockets.reachable(run_dir) / "supervisor.sock")

    def _call(self, method: str, *arguments: str) -> Any:
        with xmlrpc.client.ServerProxy("http://localhost", transport=_UnixTransport(self._path)) as server:
            return getattr(server.supervisor, method)(*arguments)

    def reload_nginx(self) -> None:
        """Send HUP to NGINX. Raises `Refused` (reload-failed)."""
        self._asked("signal NGINX", "signalProcess", "nginx", "HUP")

    def reopen_logs(self) -> None:
        """Send USR1 to NGINX. Raises `Refused`."""
        self._asked("signal NGINX", "signalProcess", "nginx", "USR1")

    def shutdown(self) -> None:
        """End everything, as a stop of the container does, without waiting for the end. Raises `Refused`."""
        self._asked("end", "shutdown")

    def _asked(self, what: str, method: str, *arguments: str) -> None:
        try:
            self._call(method, *arguments)
        except (OSError, xmlrpc.client.Error, http.client.HTTPException) as error:
            why = error.faultString if isinstance(error, xmlrpc.client.Fault) else str(error)
            raise Refused(Outcome.RELOAD_FAILED, f"supervisord could not {what}: {why}") from None
