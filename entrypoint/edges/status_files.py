"""The files that NGINX serves on STATUS_PORT, replaced by renames, so that no reader gets half of one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from entrypoint.system import reserve

SLOT = 10  # seconds; templates/status.conf cuts the same slots


class StatusFiles:
    """The folder ``RUN_DIR/status``."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir, self.folder = run_dir, run_dir / "status"
        self._reasons: str | None = None

    def prepare(self) -> None:
        """Make the folders, readable by NGINX's workers."""
        (self.folder / "alive").mkdir(parents=True, exist_ok=True)
        for path in (self.folder, self.folder / "alive"):
            path.chmod(0o755)

    def status(self, report: Mapping[str, Any]) -> None:
        """Publish ``/status.json``."""
        self._replace("status.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")

    def readiness(self, reasons: str) -> None:
        """Publish ``/readyz``: ready if there are no reasons against it."""
        if reasons == self._reasons:
            return
        self._reasons = reasons
        if reasons:
            self._replace("not-ready.txt", reasons + "\n")
            (self.folder / "ready.txt").unlink(missing_ok=True)
        else:
            self._replace("ready.txt", "ready\n")

    def alive(self, now: float, until: float) -> None:
        """Publish the sign of life for ``now`` to ``until`` (UNIX times, seconds), valid even if the agent dies."""
        reserve.take(self.run_dir)
        wanted = {str(slot) for slot in range(int(now) // SLOT, int(until) // SLOT + 1)}
        found = {path.name for path in (self.folder / "alive").iterdir()}
        for name in wanted - found:
            self._replace(f"alive/{name}", "ok\n")
        for name in found - wanted:
            (self.folder / "alive" / name).unlink(missing_ok=True)

    def read(self) -> dict[str, Any] | None:
        """The published status, None where there is none."""
        try:
            found: dict[str, Any] = json.loads((self.folder / "status.json").read_bytes())
        except (OSError, ValueError):
            return None
        return found

    def _replace(self, name: str, text: str) -> None:
        reserve.replace(self.run_dir, self.folder / name, text.encode(), mode=0o644)  # NGINX's workers read it
