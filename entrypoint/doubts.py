"""Probable mistakes in settings: logged once, shown in the status, and a reason against readiness for unused keys."""

from __future__ import annotations

import logging
import os

from entrypoint.core import doubts
from entrypoint.core.conf.configuration import UserConfig
from entrypoint.core.doubts import Doubt
from entrypoint.core.settings import Settings

log = logging.getLogger("certfront")


class Doubts:
    """The doubts of one run; ``near`` are variables that resemble certfront's (see `environment.near_misses`)."""

    def __init__(self, settings: Settings, near: tuple[tuple[str, str], ...] = ()) -> None:
        self.settings, self.near = settings, near
        self.warnings: tuple[Doubt, ...] = settings.warnings  # the boot has said them
        self.not_ready = ""
        self._seen: tuple[object, ...] = ()

    def consider(self, user: UserConfig, *, certificates: bool) -> None:
        """Update the warnings for the user's configuration; ``certificates``: whether any server needs one."""
        seen = (user, certificates, *map(os.path.lexists, self.settings.key_files))
        if seen == self._seen:
            return
        self._seen = seen
        idle = tuple(doubts.of_idle_keys(self._idle(user), self.near))
        site = doubts.of_the_site(self.settings, self.near, certificates=certificates)
        found = (*self.settings.warnings, *doubts.of_misspelt(self.near), *idle, *site)
        for where, reason in found:
            if (where, reason) not in self.warnings:
                log.warning("%s: %s", where, reason)
        self.warnings = found
        self.not_ready = "\n".join(f"{where}: {reason}" for where, reason in idle)

    def _idle(self, user: UserConfig) -> list[str]:
        """The existing or explicitly given key files that no server uses."""
        if self.settings.server_names:
            return []
        used = {os.path.realpath(path) for path in user.configuration.key_files}
        given = self.settings.key_files
        return [
            str(path)
            for path in given
            if (self.settings.key_given or os.path.lexists(path)) and os.path.realpath(path) not in used
        ]
