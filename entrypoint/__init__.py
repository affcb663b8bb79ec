"""certfront: NGINX that fetches its certificates from HCL Domino CertMgr."""

__version__ = "0.1.0"
