"""1,000 TLS servers with a certificate each: the way from CertMgr's first answer to proven service, and memory."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import probes
from bench.figures import Figure
from bench.renewal import SETTLED, by_hand, settled, standing_still
from entrypoint.core.model import KeyType
from entrypoint.demo.pki import PrivateKey, new_key
from entrypoint.demo.stage import fingerprint
from entrypoint.demo.standin import Credential
from entrypoint.edges import control
from tests.support.front import PASSWORD, Front, presented
from tests.support.pki import key_pem

_SERVERS = 1000
_PATIENCE = 300  # seconds
_MEMORY = "/dev/shm"  # noqa: S108 - a tmpfs
_ROOT = "events {{ worker_connections 4096; }}\nhttp {{\n    access_log off;\n    include conf.d/*.conf;\n}}\n"
_SERVER = (
    "server {{\n    listen {port} ssl;\n    server_name {name};\n    ssl_certificate {name}.crt;\n"
    "    ssl_certificate_key {name}.key;\n    return 204;\n}}\n"
)


def measure(runs: int) -> list[Figure]:
    """Started once with plain keys, and once with encrypted ones that are decrypted into memory."""
    with tempfile.TemporaryDirectory(prefix="certfront-", dir=_MEMORY) as folder:
        unlocked = {"KEY_UNLOCK": "memory", "CERTFRONT_RUN_DIR": folder}
        return [
            *_measured(runs, "1,000 servers", {}, None),
            *_measured(runs, "1,000 keys unlocked", unlocked, PASSWORD),
        ]


def _measured(runs: int, what: str, environment: Mapping[str, str], password: bytes | None) -> Iterator[Figure]:
    with Front({"SERVER_NAME": None, "UPSTREAM": None, "CERTMGR_CHECK_INTERVAL": "600", **environment}) as front:
        names = [f"host-{number}.acme.io" for number in range(_SERVERS)]
        keys = _write(front, names, password)
        began = time.monotonic()
        front.start()
        _until(front, names)
        yield Figure(f"{what}: start to all served", [time.monotonic() - began], "s")
        yield Figure(f"{what}: generations until then", [front.generation()], "")
        run_dir = Path(environment.get("CERTFRONT_RUN_DIR", front.folder / "run"))
        pairs = [(_renewed(front, run_dir, *each), _alone(front)) for each in zip(names[:runs], keys, strict=False)]
        renewed, alone = [own for own, _ in pairs], [each for _, both in pairs for each in both]
        yield Figure(f"{what}: NGINX alone, -t and HUP to the last old answer", alone, "s")
        yield Figure(f"{what}: one renewed, from the check to the proof", renewed, "s", 1.3 * statistics.median(alone))
        yield Figure(f"{what}: agent, PSS", [probes.pss(front.agent().pid)], "MB", 100)


def _write(front: Front, names: list[str], password: bytes | None) -> list[PrivateKey]:
    etc = front.folder / "etc"
    (etc / "conf.d").mkdir(parents=True)
    (etc / "nginx.conf").write_text(_ROOT.format())
    keys = [new_key(KeyType.ECDSA) for _ in names]
    for name, key in zip(names, keys, strict=True):
        issued = front.authority.issue(name, key=key)
        (etc / f"{name}.key").write_bytes(key_pem(key, password))
        (etc / "conf.d" / f"{name}.conf").write_text(_SERVER.format(port=front.https_port, name=name))
        front.certmgr.put(Credential((name,), issued.key, issued.chain))
    front.environment = {**front.environment, "NGINX_CONF": str(etc / "nginx.conf")}
    return keys


def _until(front: Front, names: list[str]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not _all_serving(front, len(names)):
        if time.monotonic() > deadline:
            raise probes.Missing(f"{len(names)} certificates served; the log ends with {front.log()[-2000:]}")
        time.sleep(0.1)
    for name in names[:: len(names) // 10]:
        presented(front.https_port, name)


def _all_serving(front: Front, count: int) -> bool:
    found = front.report().get("certificates", [])
    return len(found) == count and all(entry["state"] == "serving" for entry in found)


def _alone(front: Front) -> list[float]:
    """NGINX's own test and reload: to the generation before, which has as many certificates, and back."""
    new = front.generation()
    with standing_still(front.agent()):
        return [_switched(front, number) for number in (new - 1, new)]


def _switched(front: Front, number: int) -> float:
    time.sleep(SETTLED)
    began = time.time()
    by_hand(front, front.folder / "state" / "generations" / str(number))
    return settled(lambda: front.answers(number), time.time()) - began


def _renewed(front: Front, run_dir: Path, name: str, key: PrivateKey) -> float:
    issued = front.authority.issue(name, key=key)
    front.certmgr.put(Credential((name,), issued.key, issued.chain))
    time.sleep(SETTLED)
    verified, before, asked = front.folder / "state" / "verified", front.generation(), len(front.certmgr.log)
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(control.refresh, run_dir, [name], force=False, timeout=_PATIENCE)
        proved = probes.until("the proof", lambda: int(verified.readlink().name) != before)
        (entry,) = told.result()
    if entry["fingerprint_sha256"] != fingerprint(issued):
        raise probes.Missing(f"the renewed certificate: {entry}")
    return proved - front.certmgr.log[asked].time.timestamp()
