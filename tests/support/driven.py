"""certfront as a process whose agent is driven to where it is to die."""

from __future__ import annotations

import json
import subprocess
import sys

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from entrypoint.edges.generations import Generations
from tests.support import rig
from tests.support.front import PASSWORD, Front

# `certfront run` whose agent dies at one step: once, when it is armed; the next agent waits until it may go on.
DRIVER = """
import os, pathlib, sys, time
folder, step = pathlib.Path(os.environ["STEP_FOLDER"]), os.environ["STEP"]

def armed():
    return (folder / "armed").exists() and not (folder / "died").exists()

def die():
    (folder / "died").touch()
    os.kill(os.getpid(), 9)

def dies(owner, name, when=lambda *_: True, after=True):
    real = getattr(owner, name)
    def call(*arguments, **named):
        if armed() and not after and when(*arguments):
            die()
        found = real(*arguments, **named)
        if armed() and after and when(*arguments):
            die()
        return found
    setattr(owner, name, call)

if sys.argv[1] == "run":
    from entrypoint.edges.supervisor import children
    write = children.write_config
    children.write_config = lambda run, nginx, _: write(run, nginx, [sys.executable, __file__, "agent"])
else:
    while (folder / "died").exists() and not (folder / "go").exists():
        time.sleep(0.02)
    from entrypoint.system import disk, reserve
    from entrypoint.edges import generations, nginx, supervisord
    has_tls = lambda _, generation: bool(generation.manifest.pairs)
    {
        "after the passwords": lambda: dies(reserve, "replace", lambda _, path, *__: "/passwords/" in str(path)),
        "while staging": lambda: dies(disk, "place", lambda target, *_: "/certs/" in str(target)),
        "after staging": lambda: dies(generations.Generations, "stage"),
        "after the test": lambda: dies(nginx, "test"),
        "after publish": lambda: dies(generations.Generations, "publish"),
        "after reload": lambda: dies(supervisord.Supervisord, "reload_nginx"),
        "before confirm": lambda: dies(generations.Generations, "confirm", has_tls, after=False),
    }[step]()

from entrypoint.cli import main
sys.exit(main(sys.argv[1:]))
"""
STEPS = [
    *("after the passwords", "while staging", "after staging", "after the test", "after publish", "after reload"),
    "before confirm",
]


class Driven(Front):
    """A front whose agent dies at a step that is named."""

    def drive(self, step: str) -> None:
        """Start with an agent that dies at that step once it is armed."""
        driver = self.folder / "driver.py"
        driver.write_text(DRIVER)
        path = {"PYTHONPATH": rig.python_environment()["PYTHONPATH"]}
        with (self.folder / "certfront.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(driver), "run"],
                env={**self.variables(), **path, "STEP": step, "STEP_FOLDER": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )

    def mark(self, name: str) -> None:
        (self.folder / name).touch()

    def marked(self, name: str) -> bool:
        return (self.folder / name).exists()

    def pairs(self) -> int:
        """Check that chain and key match in every generation; returns how many pairs there were."""
        found = 0
        for path in (self.folder / "state" / "generations").glob("[0-9]*"):
            config = (path / "site.conf").read_text()
            for pair in json.loads((path / "manifest.json").read_text())["pairs"].values():
                assert f'ssl_certificate "{pair["chain_file"]}"' in config, path
                assert f'ssl_certificate_key "{pair["key_file"]}"' in config, path
                certificate = x509.load_pem_x509_certificate((path / pair["chain_file"]).read_bytes())
                key = load_pem_private_key((path / pair["key_file"]).read_bytes(), PASSWORD)
                assert _spki(certificate.public_key()) == _spki(key.public_key())
                found += 1
        return found

    def disk(self) -> Generations:
        return Generations(self.folder / "state")


def _spki(key: object) -> bytes:
    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))  # type: ignore[attr-defined]
