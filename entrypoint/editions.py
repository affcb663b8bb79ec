"""The user's configuration as it ran last: kept with its generation, to go on with it when a later one is refused."""

from __future__ import annotations

import json

from entrypoint.core.conf.configuration import UserConfig
from entrypoint.core.conf.vanished import Ran
from entrypoint.core.generation.plan import SOURCE
from entrypoint.edges.generations import Generations


def last(generations: Generations, now: UserConfig) -> UserConfig | None:
    """What the current generation was made of, ``now`` if that is the same; None where nothing is known of it."""
    current = generations.current()
    if not current or not current.manifest.source:
        return None
    try:
        kept = json.loads(current.content(SOURCE) or b"")
        return now if now.as_json() == kept else UserConfig.from_json(kept)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def ran(generations: Generations) -> Ran | None:
    """The files that the current generation was made of; None where nothing is known of them."""
    current = generations.current()
    if not current or not current.manifest.source:
        return None
    try:
        kept = json.loads(current.content(SOURCE) or b"")
        return Ran(dict(kept["texts"]), {pattern: tuple(paths) for pattern, paths in kept["matches"].items()})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
