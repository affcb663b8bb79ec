"""The stand-in CertMgr and the guided tour."""
