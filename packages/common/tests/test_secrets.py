from __future__ import annotations

import json
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_common import without_secrets


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://ann:pw@host/db?sslpassword=x&a=1", "postgresql://ann@host/db?a=1"),
        ("postgresql://ann:p@w:/x@host/db", "postgresql://ann@host/db"),
        ("postgresql://h/db?password=a&password=b", "postgresql://h/db"),
        ("https://u:p@h:5000/a?token=abc#top", "https://h:5000/a#top"),
        ("http://h/x?a=1&api_key=2&b=4", "http://h/x?a=1&b=4"),
        ("https://token@host/x", "https://host/x"),
        ("no answer of 'http://u:p@h' (x@y)", "no answer of 'http://h' (x@y)"),
        ("is it http://localhost:5000?", "is it http://localhost:5000?"),
        ("sqlite:////runs/a:b@c.db", "sqlite:////runs/a:b@c.db"),
        ("CC[C@H](N)C", "CC[C@H](N)C"),
    ],
)
def test_addresses(address: str, shown: str) -> None:
    assert without_secrets(address) == shown
    assert without_secrets(shown) == shown


secrets = st.text("abcXYZ0189:/@?&=#%+!$", min_size=6).map(lambda text: f"Se{text}cret")


@given(secrets, st.sampled_from(["postgresql", "mysql+pymysql", "http"]))
def test_no_secret_is_left(secret: str, scheme: str) -> None:
    hidden = quote(secret, safe="")
    shown = without_secrets(f"{scheme}://ann:{hidden}@host:5432/db?api_key={hidden}&x=1")
    parts = urlsplit(shown)
    assert (parts.password, parse_qs(parts.query)) == (None, {"x": ["1"]})
    assert parts.username == (None if scheme == "http" else "ann")
    assert (parts.hostname, parts.port, parts.path) == ("host", 5432, "/db")


@given(secrets)
def test_a_password_need_not_be_quoted(secret: str) -> None:
    assert without_secrets(f"postgresql://ann:{secret}@host/db") == "postgresql://ann@host/db"


def test_structures_keep_their_shape() -> None:
    values = {"tracking": {"uri": "http://u:p@h"}, "arguments": ["--uri", "http://u:p@h"], "n": 3}
    assert json.loads(json.dumps(without_secrets(values))) == {
        "tracking": {"uri": "http://h"},
        "arguments": ["--uri", "http://h"],
        "n": 3,
    }
