"""Ready means that the user's configuration runs and is proved; after a repair it comes in without a restart."""

from __future__ import annotations

import pytest

from entrypoint.core.model import KeyType
from tests.support.user import ROOT, SERVER, User

NAME = "own.acme.io"
FAULTS = {
    "a brace is missing": ROOT.rstrip().removesuffix("}}"),
    "a typo in the root": "worker_proceses 1;\n" + ROOT,
    "a module that is not loaded": "load_module modules/ngx_no_such_module.so;\n" + ROOT,
    "an unknown block": ROOT + "rtmp {{ }}\n",
}
SINGLE = {"all addresses": "", "one address": "127.0.0.1:"}


@pytest.mark.parametrize("where", SINGLE)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_first_start_that_fails(fault: str, where: str) -> None:
    """HTTP runs, and says that it is not ready and why; the repair is served and proved by the same NGINX."""
    with User() as user:
        issued = user.site(NAME, KeyType.ECDSA, own=True)
        single = SINGLE[where]
        user.put_file("conf.d/own.acme.io.conf", SERVER.replace("{https}", single + "{https}"), name=NAME)
        good = ROOT.replace("listen {http}", f"listen {single}{{http}}")
        user.put_file("nginx.conf", FAULTS[fault])
        user.start()
        user.until(lambda: "NGINX_CONF: nothing of" in user.command("health", "--ready").stderr, "the reason")
        said = user.command("health", "--ready")
        assert said.returncode == 1
        assert f"{user.etc}/nginx.conf" in said.stderr
        assert user.report()["configuration"]["problem"]
        assert [each["state"] for each in user.report()["certificates"]] in ([], ["pending"])
        assert user.http()[0] > 0
        master = user.master()
        user.put_file("nginx.conf", good)
        user.until(lambda: user.serves(issued, NAME), "TLS after the repair")
        user.until(lambda: user.command("health", "--ready").returncode == 0, "readiness")
        user.until(user.plain, "plain HTTP")
        assert user.report()["configuration"]["problem"] == ""
        assert user.entry(NAME)["state"] == "serving"
        assert user.master() == master
