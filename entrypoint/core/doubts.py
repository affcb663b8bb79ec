"""What the settings say and hardly mean, as a sentence for each variable: for the log and the status, no error."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from entrypoint.core.options import Settings

_FOLLOWED = (None, 80, 443)


def of_settings(settings: Settings) -> Iterator[tuple[str, str]]:
    """Doubts that the settings alone give rise to: variable and sentence."""
    target = settings.acme_challenge_target
    if settings.acme_challenge == "redirect" and target and urlsplit(target).port not in _FOLLOWED:
        yield (
            "ACME_CHALLENGE",
            f"challenges are redirected to {target}, but ACME servers follow redirects to the ports 80 and 443 only: "
            "ACME_CHALLENGE=proxy passes them on instead",
        )
