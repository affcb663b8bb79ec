"""An upgrade with CertMgr away: what the version before left on its volume is served on.

The archives in `volumes` were written by the code of commit 3ed8c54 as it really ran, with NGINX, a stand-in CertMgr,
the image's own folders and the ports below: first certificates, then one renewal, then the end. They are as it wrote
them, manifests and sums included. The folders and ports are exchanged for a test's own while they are unpacked, and the
sums of all files made anew, so that a digest is never that of the plan of now. Keys and password were made for this;
the certificates are valid from 2020 (the renewed ones from 2021) until 2099.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from entrypoint.core.model import KeyType
from entrypoint.demo.pki import Issued, load_key
from entrypoint.demo.stage import NAME, fingerprint
from entrypoint.demo.standin import Credential
from tests.support.clients import ECDSA_ONLY, RSA_ONLY
from tests.support.front import PASSWORD, Front, holding, presented

VOLUMES = Path(__file__).parent / "volumes"
SHOP, OWN = "shop.acme.io", "own.acme.io"


class Upgraded(Front):
    """A front, not started yet, with a volume of the version before; nobody listens where CertMgr should be."""

    def __init__(self, volume: str, **environment: str | None) -> None:
        super().__init__()
        self.etc = self.folder / "etc"
        keys = ",".join(str(self.etc / f"{kind}.pem") for kind in KeyType)
        own = {"KEY_FILE": keys, "KEY_PASSWORD_FILE": f"{self.etc}/ssl_pw.txt", "NGINX_CONF": f"{self.etc}/nginx.conf"}
        self.environment = {**self.environment, **own, **environment}
        self.places = {
            "/var/lib/certfront": f"{self.folder}/state",
            "/run/certfront": f"{self.folder}/run",
            "/etc/nginx": str(self.etc),
            "10080": str(self.http_port),
            "10443": str(self.https_port),
            "18081": str(self.status_port),
        }
        with tarfile.open(VOLUMES / f"{volume}.tar.xz") as tar:
            for member in tar:
                self._unpacked(tar, member)
        for sums in self.folder.glob("state/generations/*/sums.json"):
            found = {name: _sum((sums.parent / name).read_bytes()) for name in json.loads(sums.read_bytes())}
            sums.write_text(json.dumps(found))
        self.last = json.loads((self.current / "manifest.json").read_bytes())

    def _unpacked(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        target = self.folder / self._here(member.name)
        if member.isdir():
            target.mkdir(member.mode, parents=True, exist_ok=True)
        elif member.issym():
            target.symlink_to(member.linkname)
        elif file := tar.extractfile(member):
            data = file.read()
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch(member.mode | 0o200)
            target.write_bytes(data if target.suffix == ".pem" else self._here(data.decode()).encode())

    def _here(self, text: str) -> str:
        for before, now in self.places.items():
            text = text.replace(before, now)
        return text

    def __enter__(self) -> Upgraded:
        super().__enter__()
        self.certmgr.stop()
        return self

    def was(self, name: str, kind: KeyType = KeyType.ECDSA) -> str:
        """The fingerprint that the version before proved last."""
        return next(each for each in self._pairs(name) if each["key_type"] == kind)["fingerprint_sha256"]

    def _pairs(self, name: str) -> list[dict[str, str]]:
        return [each for each in self.last["pairs"].values() if each["names"] == [name]]

    def presents(self, name: str, kind: KeyType = KeyType.ECDSA) -> str:
        """The fingerprint that a visitor of a name gets, empty where there is none."""
        try:
            chain = presented(self.https_port, name, RSA_ONLY if kind is KeyType.RSA else ECDSA_ONLY)
        except OSError:
            return ""
        return hashlib.sha256(chain[0]).hexdigest()

    def renewed(self, name: str, key_file: str) -> Issued:
        """A new certificate for a key as it is, which CertMgr, back again, has from now on."""
        issued = self.authority.issue(name, key=load_key((self.etc / key_file).read_bytes(), PASSWORD))
        self.certmgr.put(Credential((name,), issued.key, issued.chain))
        self.certmgr.start()
        return issued

    def keeps_its_keys(self) -> bool:
        """Whether each key of the live generation is one of the user's files as it is, encrypted."""
        given = [path.read_bytes() for path in self.etc.iterdir() if path.suffix in (".pem", ".key")]
        stored = [path.read_bytes() for path in self.current.glob("certs/*/key-*.pem")]
        plain = holding(self.folder, b"BEGIN PRIVATE KEY")
        return bool(stored) and all(key in given and b"BEGIN ENCRYPTED" in key for key in stored) and not plain

    def entry(self, name: str) -> dict[str, Any]:
        return next((dict(each) for each in self.report().get("certificates", []) if each["name"] == name), {})


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def site() -> Iterator[Upgraded]:
    """The built-in site, with an RSA and an ECDSA key."""
    with Upgraded("site") as front:
        yield front


@pytest.fixture
def servers() -> Iterator[Upgraded]:
    """Servers of the user's: one with a certificate of CertMgr's, one with an own one, one refused, one waiting."""
    with Upgraded("servers", SERVER_NAME=None, UPSTREAM=None, KEY_FILE=None) as front:
        yield front


def test_volumes_are_as_they_were_written() -> None:
    """Every file of a volume has the sum that the version before wrote of it."""
    for volume in VOLUMES.glob("*.tar.xz"):
        with tarfile.open(volume) as tar:
            files = {each.name: file.read() for each in tar if (file := tar.extractfile(each))}
        sums = {name: json.loads(data) for name, data in files.items() if name.endswith("/sums.json")}
        assert sums
        for path, found in sums.items():
            folder = path.removesuffix("sums.json")
            assert found == {name: _sum(files[folder + name]) for name in found}


def test_a_site(site: Upgraded) -> None:
    """Both old chains, keys encrypted, numbers go on; status is told; with CertMgr back, a renewal is installed."""
    last = site.last["generation"]
    site.start()
    for kind in KeyType:
        site.until(lambda kind=kind: site.presents(NAME, kind) == site.was(NAME, kind), kind)  # type: ignore[misc]
    site.until(lambda: site.status().get("outcome") == "unreachable", "the first check")
    assert site.status()["state"] == "serving"
    assert site.generation() > last
    assert site.answers(site.generation())
    assert site.keeps_its_keys()
    site.tested()
    said = site.command("status").stdout
    assert all(site.was(NAME, kind) in said for kind in KeyType)
    before = site.generation()
    issued = site.renewed(NAME, "rsa.pem")
    site.until(lambda: site.presents(NAME, KeyType.RSA) == fingerprint(issued), "the renewal")
    site.until(lambda: site.answers(before + 1), "the generation")
    assert site.presents(NAME, KeyType.ECDSA) == site.was(NAME, KeyType.ECDSA)
    site.until(lambda: (site.folder / "state/verified").readlink() == site.current.readlink(), "the proof")
    assert site.keeps_its_keys()
    site.tested()


def test_servers_of_the_users(servers: Upgraded) -> None:
    """The old chain and the own one; refused and waiting are as they were; a renewal is installed later."""
    servers.start()
    for name in (SHOP, OWN):
        servers.until(lambda name=name: servers.presents(name) == servers.was(name), name)  # type: ignore[misc]
    servers.until(lambda: servers.entry(SHOP).get("outcome") == "unreachable", "the first check")
    assert servers.http()[::2] == (200, "plain\n")
    assert servers.presents("refused.acme.io") not in ("", servers.was("refused.acme.io"))
    found = {each["where"]: each["reason"] for each in servers.report()["configuration"]["commented_out"]}
    assert list(found) == list(servers.last["commented_out"])
    assert found[f"{servers.etc}/conf.d/refused.conf:1"] == servers.last["gates"]["servers"][0][2]
    assert servers.generation() > servers.last["generation"]
    assert servers.keeps_its_keys()
    servers.tested()
    issued = servers.renewed(SHOP, "shop.key")
    servers.until(lambda: servers.presents(SHOP) == fingerprint(issued), "the renewal")
    servers.until(lambda: servers.entry(SHOP).get("fingerprint_sha256") == fingerprint(issued), "the status")
    assert servers.presents(OWN) == servers.was(OWN)
    servers.tested()


def test_users_files_are_broken(servers: Upgraded) -> None:
    """With a root file that cannot be parsed, the generation of the version before runs as it is, keys opened."""
    (servers.etc / "nginx.conf").write_text("events { } http {")
    servers.start()
    for name in (SHOP, OWN):
        servers.until(lambda name=name: servers.presents(name) == servers.was(name), name)  # type: ignore[misc]
    assert servers.generation() == servers.last["generation"]
    assert servers.answers(servers.last["generation"])


@pytest.mark.parametrize("damage", ["cut off", "without pairs", "tampered with"])
def test_a_damaged_manifest(servers: Upgraded, damage: str) -> None:
    """Where the last manifest is damaged, the newest pair of an older one is served; the other one as it is on disk."""
    path = servers.current / "manifest.json"
    older = json.loads((servers.current.parent / "generations/3/manifest.json").read_bytes())["pairs"]
    if damage == "cut off":
        path.write_bytes(path.read_bytes()[:700])
    elif damage == "without pairs":
        path.write_text(json.dumps({**servers.last, "pairs": None}))
    else:
        pairs = {
            name: {**pair, "chain_file": "../../../etc/ssl_pw.txt"} for name, pair in servers.last["pairs"].items()
        }
        path.write_text(json.dumps({**servers.last, "pairs": pairs}))
    shop = older[f"{servers.etc}/shop.crt {servers.etc}/shop.key"]
    servers.start()
    servers.until(lambda: servers.presents(SHOP) == shop["fingerprint_sha256"], "the certificate before the renewal")
    servers.until(lambda: servers.presents(OWN) == servers.was(OWN), "the own one")
    assert servers.generation() > servers.last["generation"]
    servers.tested()


def test_a_fresh_run_of_what_was_served_by_both(site: Upgraded) -> None:
    """A second start of the present version, the run folder fresh again, goes on with what the first one made of it."""
    site.start()
    site.until(lambda: site.presents(NAME) == site.was(NAME), "the certificate")
    site.until(lambda: (site.folder / "state/verified").readlink() == site.current.readlink(), "the proof")
    number = site.generation()
    site.stop()
    shutil.rmtree(site.folder / "run")
    site.start()
    site.until(lambda: site.presents(NAME) == site.was(NAME), "the certificate")
    assert site.generation() == number
