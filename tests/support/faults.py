"""What CertMgr can do wrong, and what certfront is expected to say of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from entrypoint.core.model import KeyType
from entrypoint.demo.pki import Issued
from entrypoint.demo.stage import NAME
from tests.support.certmgr import Mode
from tests.support.front import Front


@dataclass(frozen=True)
class Fault:
    """``happen`` makes CertMgr wrong; ``detail`` and ``hint`` are parts of what is said then."""

    name: str
    happen: Callable[[Front], object]
    outcome: str
    detail: str
    hint: str = ""

    def __str__(self) -> str:
        return self.name


def _mode(mode: Mode) -> Callable[[Front], object]:
    return lambda front: setattr(front.certmgr, "mode", mode)


def _issued(days_from: float, days_to: float) -> Callable[[Front], object]:
    """Another certificate for the same key, valid between these days from now."""

    def happen(front: Front) -> None:
        now = datetime.now(UTC)
        dates: dict[str, Any] = {
            "not_before": now + timedelta(days=days_from),
            "not_after": now + timedelta(days=days_to),
        }
        front.put(front.authority.issue(NAME, key=front.issued.key, **dates))

    return happen


def _other_type(front: Front) -> None:
    front.put(front.authority.issue(NAME, key_type=KeyType.RSA))
    front.certmgr.remove(NAME)
    front.put(front.authority.issue(NAME, key_type=KeyType.RSA))


def _without_intermediate(front: Front) -> None:
    issued = front.authority.issue(NAME, key=front.issued.key)
    front.put(Issued(issued.key, (issued.chain[0], issued.chain[-1])))


def _imposter(front: Front) -> None:
    front.put(front.authority.issue(NAME, key=front.issued.key))
    front.certmgr.mode = Mode.IMPOSTER


_ACCESS = "Servers with access"
_DEFAULT = "certmgr.acme.com"

# These need a certificate that CertMgr had before.
CHANGES = (
    Fault("removed", lambda front: front.certmgr.remove(NAME), "wrong-name", _DEFAULT, _ACCESS),
    Fault("archived", lambda front: front.certmgr.archive(NAME), "wrong-name", _DEFAULT, _ACCESS),
    Fault("older", _issued(-10, 80), "not-newer", "older", "stale replica"),
)
FAULTS = (
    Fault("denied", lambda front: front.certmgr.deny(NAME), "wrong-name", _DEFAULT, _ACCESS),
    Fault("new key", lambda f: f.put(f.authority.issue(NAME)), "key-mismatch", "another public key", "export it"),
    Fault("other key type", _other_type, "key-type-mismatch", "RSA", "export the key"),
    Fault("expired", _issued(-90, -1), "expired", "this machine's clock says", "renew it"),
    Fault("not yet valid", _issued(1, 90), "not-yet-valid", "this machine's clock says", "clock"),
    Fault("missing intermediate", _without_intermediate, "broken-chain", "chain is broken", "complete chain"),
    Fault("garbage", _mode(Mode.GARBAGE), "not-tls", "did not answer with TLS", "HTTPS port"),
    Fault("plain HTTP", _mode(Mode.PLAIN_HTTP), "not-tls", "did not answer with TLS", "HTTPS port"),
    Fault("reset", _mode(Mode.RESET), "unreachable", "reset or closed", "CERTMGR_HOST"),
    Fault("close", _mode(Mode.CLOSE), "unreachable", "reset or closed", "CERTMGR_HOST"),
    Fault("hang", _mode(Mode.HANG), "unreachable", "timed out", "CERTMGR_HOST"),
    Fault("refused", lambda front: front.certmgr.stop(), "unreachable", "refused", "CERTMGR_HOST"),
    Fault("malformed", _mode(Mode.MALFORMED_CERTIFICATE), "malformed", "no certificate"),
    Fault("imposter", _imposter, "handshake-failed", "signature does not fit", "really CertMgr"),
)
