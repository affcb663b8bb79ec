"""Tests of the stand-in CertMgr, and of what it is made of."""
