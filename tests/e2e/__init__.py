"""The product run natively: `certfront run` as a process, with a real NGINX and a stand-in CertMgr."""
