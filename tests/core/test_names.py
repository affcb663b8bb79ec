"""What is a host name, and which certificate name covers which."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from entrypoint.core.names import concrete, covers, to_ascii

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z])?", fullmatch=True).filter(lambda label: label[2:4] != "--")
NAMES = st.lists(LABELS, min_size=2, max_size=4).map(".".join).filter(lambda name: not name[-1].isdigit())


@pytest.mark.parametrize(
    ("written", "ascii_name"),
    [
        ("WWW.Acme.IO", "www.acme.io"),
        ("www.acme.io.", "www.acme.io"),
        ("straße.de", "xn--strae-oqa.de"),
        ("STRAẞE.de", "xn--strae-oqa.de"),
        ("faß。de", "xn--fa-hia.de"),
        ("日本語.jp", "xn--wgv71a119e.jp"),
        ("*.Bücher.example", "*.xn--bcher-kva.example"),
        ("xn--strae-oqa.de", "xn--strae-oqa.de"),
        ("my_host.acme.io", "my_host.acme.io"),
        ("_dmarc.bücher.example", "_dmarc.xn--bcher-kva.example"),
        ("localhost", "localhost"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
    ],
)
def test_names_are_spelt_as_dns_spells_them(written: str, ascii_name: str) -> None:
    """Case, trailing dot and Unicode are folded the one way that certificates use."""
    assert to_ascii(written) == ascii_name
    assert to_ascii(ascii_name) == ascii_name


@pytest.mark.parametrize(
    "written",
    [
        "",
        ".",
        "a..b",
        ".acme.io",
        "*",
        "*.",
        "a.*.io",
        "*a.io",
        "www.*",
        "*.*.io",
        "_",
        "-a.io",
        "a-.io",
        "a b.io",
        "a\n.io",
        "a.io\n",
        "a/b",
        "http://a.io",
        "a.io:443",
        "~^www",
        "256.1.1.1",
        "*.192.0.2.1",
        "x" * 64,
        "ü" * 63,
        ".".join(["abcdefgh"] * 29),
        "☃.net",
        "a\u200d.io",
        "a;b.io",
        "a{.io",
        "\ud800.io",
        "fe80::1%;0",
    ],
)
def test_what_is_no_host_name_is_refused_by_a_sentence(written: str) -> None:
    """Whatever is no host name raises ValueError that quotes it, so that nothing odd gets any further."""
    with pytest.raises(ValueError, match="is not a host name: ") as raised:
        to_ascii(written)
    assert repr(written) in str(raised.value)


@given(st.text())
def test_any_text_is_converted_for_good_or_refused(text: str) -> None:
    """No text escapes: it is a ValueError, or a plain name that converts to itself."""
    try:
        name = to_ascii(text)
    except ValueError:
        return
    assert to_ascii(name) == name
    assert name == name.lower()
    assert name.isascii()
    assert not set(name) & set(" \t\r\n;{}'\"\\$#")


@pytest.mark.parametrize(
    ("presented", "wanted", "covered"),
    [
        ("www.acme.io", "WWW.acme.io.", True),
        ("*.acme.io", "www.acme.io", True),
        ("*.ACME.io", "www.acme.io", True),
        ("*.acme.io", "xn--strae-oqa.acme.io", True),
        ("*.acme.io", "*.acme.io", True),
        ("*.acme.io", "acme.io", False),
        ("*.acme.io", "a.b.acme.io", False),
        ("*.acme.io", ".acme.io", False),
        ("*.acme.io", "*.b.acme.io", False),
        ("*.b.acme.io", "*.acme.io", False),
        ("www.acme.io", "*.acme.io", False),
        ("w*.acme.io", "www.acme.io", False),
        ("*w.acme.io", "www.acme.io", False),
        ("www.*.io", "www.acme.io", False),
        ("*.*.io", "www.acme.io", False),
        ("*.io", "acme.io", False),
        ("*", "localhost", False),
        ("*.", "localhost", False),
        ("*.", "", False),
        ("", "", False),
        ("192.0.2.1", "192.0.2.1", True),
        ("2001:db8:0::1", "2001:DB8::1", True),
        ("*.0.2.1", "192.0.2.1", False),
        ("192.0.2.1", "192.0.2.10", False),
    ],
)
def test_who_covers_whom(presented: str, wanted: str, covered: bool) -> None:
    """RFC 9525's rules, one case each: whole labels, left-most, exactly one, never an IP address."""
    assert covers(presented, wanted) is covered


@given(NAMES)
def test_every_name_covers_itself_in_any_case(name: str) -> None:
    """Names compare without regard to case."""
    assert covers(name.upper(), name)
    assert covers(name, name.upper() + ".")


@given(LABELS, NAMES)
def test_a_wildcard_stands_for_exactly_one_label(label: str, parent: str) -> None:
    """One label more is covered; none more and two more are not."""
    assert covers(f"*.{parent}", f"{label}.{parent}")
    assert not covers(f"*.{parent}", parent)
    assert not covers(f"*.{parent}", f"{label}.{label}.{parent}")


@given(LABELS, NAMES, st.integers(min_value=0))
def test_a_partial_wildcard_covers_nothing(label: str, parent: str, at: int) -> None:
    """A star beside other characters is no wildcard."""
    cut = at % (len(label) + 1)
    assert not covers(f"{label[:cut]}*{label[cut:]}.{parent}", f"{label}.{parent}")


@given(NAMES, NAMES)
def test_different_names_cover_one_another_never(one: str, other: str) -> None:
    """Without a wildcard there is nothing but equality."""
    assume(one != other)
    assert not covers(one, other)


def test_the_first_name_without_wildcard() -> None:
    """The name to ask for is the first concrete one; a server of wildcards alone has none."""
    assert concrete(["*.acme.io", "acme.io", "www.acme.io"]) == "acme.io"
    assert concrete(["*.acme.io"]) is None
    assert concrete([]) is None
