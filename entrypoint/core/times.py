"""Times as text."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(moment: datetime) -> str:
    """RFC 3339 in UTC, to the second; ``moment`` is aware."""
    utc = moment.astimezone(UTC).replace(tzinfo=None)  # strftime would write year 1 as "1"
    return f"{utc.isoformat(timespec='seconds')}Z"


def moment(value: object) -> datetime | None:
    """The time that `rfc3339` wrote, None where a value is none."""
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo else None
