"""services/role.py: is a stored verifier that of a password? The verifiers were made by PostgreSQL 18."""

import pytest

from pgunison.contract.names import GROUPS
from services.role import ATTRIBUTES, MEMBERSHIPS, is_password

PLAIN = ("SCRAM-SHA-256$4096:g4K50hsotiyhO4/VldaCtQ==$37s3IIoQKGa+E6uPQeaLvOnBF/IcUIw0dsJlzgKt6WU=:Sv9VzplvbDhyV3hoJ0Z8cKiV6icw2d9r4OSFi3X9Ifo=")
UMLAUTS = ("SCRAM-SHA-256$4096:TLIGC9NImdv5eIeXrxS2+w==$7Qh61ZsSL5UOw6vF4aikho/LwfyoNK5fvlR5hl8zBe8=:vnIxui4MbMATHl19Om7RW0CSiHUcfwiTP0A5hEy0FVA=")
COMPATIBILITY = ("SCRAM-SHA-256$4096:dVTE5NZmBBgeaZqMBnXk0g==$RJ7rhPCGaDqNL3w/eSTmv0Ci86OV/qtw18tmA4/iQiI=:"
                 "sd+Vs5diUVW8bk6DSyiRqkIx5avB405Yi/CIC2FNL2Y=")


@pytest.mark.parametrize(("password", "verifier"), [
    ("plain-password", PLAIN), ("pässwörd-ü", UMLAUTS),
    # a ligature and numbers in circles: PostgreSQL normalizes them (SASLprep, RFC 4013) before it hashes
    ("ﬁnd①theⅨ", COMPATIBILITY)])
def test_the_password_of_a_verifier(password, verifier):
    assert is_password(password, verifier)


@pytest.mark.parametrize("password", ["", "plain-passwore", "Plain-password", "plain-password ", "pässwörd-ü"])
def test_another_password(password):
    assert not is_password(password, PLAIN)


@pytest.mark.parametrize("verifier", [None, "", "md5a3556571e93b0d20722ba62be61e8c2d", "plain-password"])
def test_what_is_no_verifier(verifier):
    assert not is_password("plain-password", verifier)


def test_the_same_password_with_another_salt():
    assert not is_password("plain-password", PLAIN.replace("g4K50hsotiyhO4/VldaCtQ==", "TLIGC9NImdv5eIeXrxS2+w=="))


def test_each_kind_has_its_least():
    assert set(ATTRIBUTES) == set(MEMBERSHIPS) == {"owner", "replicator", "writer", "reader"}
    assert not any(word in attributes for attributes in ATTRIBUTES.values() for word in ("SUPERUSER", "CREATEROLE", "CREATEDB"))
    # whoever copies a table to a peer must see all of it
    assert [kind for kind, attributes in ATTRIBUTES.items() if "BYPASSRLS" in attributes] == ["replicator"]
    assert [kind for kind, attributes in ATTRIBUTES.items() if "REPLICATION" in attributes] == ["replicator"]
    assert {kind: groups for kind, groups in MEMBERSHIPS.items() if kind != "owner"} == {
        "replicator": ("unison_replicators",), "writer": ("unison_writers",), "reader": ("unison_readers",)}
    assert set(GROUPS) == {"unison_writers", "unison_readers", "unison_replicators"}
