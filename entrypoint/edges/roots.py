"""Trusted roots, from a PEM file or from the system."""

from __future__ import annotations

import ssl
import warnings
from pathlib import Path

from cryptography import x509

from entrypoint.core.model import Outcome, Refused


def load(source: str) -> list[x509.Certificate]:
    """The certificates of ``TRUSTED_ROOTS_FILE``. Raises `Refused` (untrusted) where there are none."""
    path = Path(ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt")
    path = path if source == "system" else Path(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one of the system's roots has a serial number of zero
            return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        why = error.strerror or str(error)
    except ValueError:
        why = "no certificate in PEM form in it"
    raise Refused(
        Outcome.UNTRUSTED,
        f"TRUSTED_ROOTS_FILE: {path}: {why}",
        "give a file of root certificates in PEM form, or `system` with the package ca-certificates installed",
    )
