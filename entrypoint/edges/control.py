"""The agent's UNIX socket: one JSON line asks for a check, one JSON line answers when it is done."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from entrypoint.core.model import Outcome, Refused
from entrypoint.system import sockets

Handler = Callable[[list[str], bool], Awaitable[list[dict[str, Any]]]]


def _path(run_dir: Path) -> Path:
    return sockets.reachable(run_dir) / "agent.sock"


async def serve(run_dir: Path, handler: Handler) -> asyncio.Server:
    """Answer requests; ``handler`` takes names (none: all) and force, and returns their entries of status.json."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = json.loads(await reader.readline())
            reply = await handler([str(name) for name in request["names"]], bool(request["force"]))
            writer.write(json.dumps(reply).encode() + b"\n")
            await writer.drain()
        except (ValueError, KeyError, TypeError, ConnectionError):
            pass  # not our client, or gone: nobody to tell
        finally:
            writer.close()

    _path(run_dir).unlink(missing_ok=True)
    server = await asyncio.start_unix_server(answer, _path(run_dir))
    _path(run_dir).chmod(0o600)
    return server


def refresh(run_dir: Path, names: list[str], *, force: bool, timeout: float) -> list[dict[str, Any]]:
    """Ask the running agent to check now, and wait for its report. ``timeout`` in seconds. Raises `Refused`."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(str(_path(run_dir)))
            connection.sendall(json.dumps({"names": names, "force": force}).encode() + b"\n")
            reply: list[dict[str, Any]] = json.loads(connection.makefile("rb").readline())
            return reply
    except (OSError, ValueError) as error:
        raise Refused(
            Outcome.UNREACHABLE,
            f"no answer from the agent at {run_dir}/agent.sock: {error or 'it ended'}",
            "is `certfront run` running with the same CERTFRONT_RUN_DIR? Its log says more",
        ) from None
