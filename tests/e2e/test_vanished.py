"""Sites that are gone though nobody removed them go on, and it is said."""

from __future__ import annotations

from tests.support.user import User

NAME = "a.acme.io"


def test_a_folder_that_cannot_be_entered(user: User) -> None:
    """Its site is served and renewed, over a restart too; it is in the log once, and in the status until it is back."""
    issued = user.site(NAME)
    user.give(issued, NAME)
    user.start()
    user.until(lambda: user.entry(NAME).get("state") == "serving", "the proof")
    before = user.generation()
    conf_d = user.etc / "conf.d"
    conf_d.rename(user.etc / "away")
    conf_d.symlink_to("x" * 300)  # for root as well it cannot be followed, and it is no link to nothing
    user.check()
    said = f"{conf_d}/{NAME}.conf (with {NAME}) cannot be reached by uid"
    user.until(lambda: said in str(user.report()["configuration"]["problem"]), "the problem in the status")
    user.check()
    assert user.generation() == before
    assert user.serves(issued, NAME)
    assert user.log().count(said) == 1
    renewed = user.authority.issue(NAME, key=issued.key)
    user.give(renewed, NAME)
    user.until(lambda: user.serves(renewed, NAME), "a renewal meanwhile")
    user.stop()
    user.start()
    user.until(lambda: user.serves(renewed, NAME), "the site after a restart")
    user.until(lambda: said in str(user.report()["configuration"]["problem"]), "the problem after a restart")
    assert user.commented_out() == {}
    conf_d.unlink()
    (user.etc / "away").rename(conf_d)
    user.until(lambda: not user.report()["configuration"]["problem"], "the repair")
    assert "the configuration is accepted again" in user.log()
    user.until(lambda: user.serves(renewed, NAME) and user.plain(), "both servers")
    user.tested()
