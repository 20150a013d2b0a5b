"""The SQL texts of ``sql/`` by when they are executed, and the versions of what is installed.

What is installed has a version, a digest of the texts and of the Python that fills them in. Other text, other digest: then ``up`` installs
it anew, first what stands once in the database, then what stands once a table. A new file belongs into one of these lists (tests/unit/test_texts.py).
"""

import hashlib
import inspect
import re
from collections.abc import Iterable
from functools import cache
from importlib import resources

from pgunison.contract import names as contract_names
from services import shape, statements
from services.trigger import CALLED, INSTALLED

# Once a database, in this order, each repeatable (services/installation.py).
DATABASE = ("takeover", "agent_role", "schema", "facts", "guard", "know", "conflict", "beat", "token", "closed", "privileges")
# What an apply worker writes to under the name of its owner; everything else of DATABASE is the superuser's.
OWNERS = {"beat"}
# Once a table, each repeatable (services/table.py).
TABLE = ("companions", "known", "key_fits", "outlive_drawn", *CALLED, *INSTALLED, "close")
# Each time they are needed; nothing of them stays.
QUERY = ("altered", "begin_run", "bypassed", "clients", "collect", "doubt", "foreign_keys", "headroom", "leftovers", "overdue", "overridden",
         "pinned", "positions", "published", "pulse", "record", "rehearsed", "restate", "round", "running", "seed_done",
         "seed_piece", "send_beat", "senders", "shares", "sizes", "subscriptions", "sweep", "trim_conflicts", "trouble",
         "type_parts", "unfit_columns", "unfit_triggers", "unknown_beats", "unowned_sequences", "upkeep")
# Once in the life of a database, in the order of their numbers, for what cannot be repeated. The numbers are never used again.
MIGRATIONS = ("migrations/0001_before_versions", "migrations/0002_phases")


def database_digest() -> str:
    """Name the version of what this program installs once a database."""
    return _digest([*DATABASE, *MIGRATIONS], _database_sources())


def code_digest() -> str:
    """Name the version of what this program installs once a table: the merge."""
    return _digest(TABLE, _table_sources())


def relation_names() -> list[str]:
    """List the tables and sequences that the texts make once a database and that are the superuser's."""
    texts = "".join(map(statements.text, DATABASE))
    return sorted(set(re.findall(r"^CREATE (?:TABLE|SEQUENCE) IF NOT EXISTS unison\.(\w+)", texts, re.MULTILINE)) - OWNERS)


def function_names() -> list[str]:
    """List the functions that the texts make once a database."""
    return sorted(set(re.findall(r"^CREATE OR REPLACE FUNCTION unison\.(\w+)", "".join(map(statements.text, DATABASE)), re.MULTILINE)))


@cache
def _database_sources() -> tuple[str, ...]:
    """Read the Python that fills in the texts, and grants what no text does. By file: importing these here would be a circle."""
    names = ("installation.py", "agent_role.py", "publication.py", "role.py")
    return *(resources.files("services").joinpath(name).read_text(encoding="utf-8") for name in names), inspect.getsource(contract_names)


@cache
def _table_sources() -> tuple[str, ...]:
    return (inspect.getsource(shape.Shape),)


def _digest(names: Iterable[str], sources: Iterable[str]) -> str:
    return hashlib.sha256("\0".join([*map(statements.text, names), *sources]).encode()).hexdigest()[:16]
