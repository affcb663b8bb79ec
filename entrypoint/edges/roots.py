"""Trusted root certificates, from a PEM file or from the system."""

from __future__ import annotations

import functools
import logging
import ssl
from pathlib import Path

from cryptography import x509

from entrypoint.core.model import Outcome, Refused
from entrypoint.core.x509 import pem
from entrypoint.core.x509.certificate import parse_all
from entrypoint.system import files

log = logging.getLogger("certfront")


def load(source: str) -> list[x509.Certificate]:
    """The certificates of ``TRUSTED_ROOTS_FILE``. Raises `Refused` (untrusted) where there are none.

    A certificate that does not parse is left out with a warning: the others are trusted as before.
    """
    path = Path(ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt")
    path = path if source == "system" else Path(source)
    try:
        certs, fault = parse_all(pem.decode(files.read(path, files.LARGEST_TEXT)))
    except OSError as error:
        certs, fault, why = [], "", error.strerror or str(error)
    else:
        why = fault or "no certificate in PEM form in it"
    if certs:
        _say(path, fault)
        return certs
    raise Refused(
        Outcome.UNTRUSTED,
        f"TRUSTED_ROOTS_FILE: {path}: {why}",
        "give a file of root certificates in PEM form, or `system` with the package ca-certificates installed",
    )


@functools.lru_cache(maxsize=64)
def _say(path: Path, fault: str) -> None:
    """Log a warning once: the roots are loaded for every chain that is vetted."""
    if fault:
        log.warning("TRUSTED_ROOTS_FILE: %s: %s; it is left out", path, fault)
