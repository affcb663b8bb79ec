"""How fast and how large certfront is, measured with a real NGINX and the stand-in CertMgr: `make bench`."""
