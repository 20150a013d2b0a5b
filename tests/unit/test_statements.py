"""services/statements.py: the SQL files, and how names get into them. psycopg2 asks a server's connection how to quote; here it is told."""

from importlib import resources

import pytest
from psycopg2 import sql

from services import statements
from services.shape import Shape
from services.trigger import INSTALLED, code_digest

FILES = sorted(file.name.removesuffix(".sql") for file in resources.files("services").joinpath("sql").iterdir())
HOSTILE = 'Or"der; $body$ {x} --%s'
NODE_PARTS = {"schema": {"owner": sql.Identifier("unison_owner")}, "begin_sweep": {}, "sweep": {"since": sql.Literal("x")}}


@pytest.fixture(autouse=True)
def _quoting(monkeypatch):
    monkeypatch.setattr(sql.Identifier, "as_string",
                        lambda self, context: ".".join('"' + part.replace('"', '""') + '"' for part in self.strings))
    monkeypatch.setattr(sql.Literal, "as_string", lambda self, context: str(self.wrapped) if isinstance(self.wrapped, int)
                        else "'" + str(self.wrapped).replace("'", "''") + "'")


def parts(table: str, column: str) -> dict:
    shape = Shape("public", table, (column, "b", "modified_ts", "modified_node"), frozenset(), frozenset(), (column,), True)
    return shape.parts(1)


def render(name: str, table: str = "table1", column: str = "id") -> str:
    made = parts(table, column)
    given = made["names"] | NODE_PARTS.get(name, {}) | ({"function": made["functions"][name]} if name in INSTALLED else {})
    return statements.render(name, None, **given)


def test_each_part_of_the_merge_has_its_file():
    assert set(INSTALLED) < set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_file_begins_with_why(name):
    assert statements.text(name).startswith("-- ")


@pytest.mark.parametrize("name", FILES)
def test_every_placeholder_is_filled_and_nothing_is_left(name):
    if name == "begin_sweep":
        # takes parameters, no names
        assert "%(everything)s" in statements.text(name)
        return
    made = render(name)
    assert "{" not in made.replace("{}", "") and "$body$" not in made


@pytest.mark.parametrize("name", sorted(INSTALLED))
def test_a_hostile_name_stays_a_name(name):
    made = render(name, HOSTILE, HOSTILE)
    # the body is one quoted text: without texts and names, no word of the hostile one is left
    outside = "".join(made.split("'")[::2])
    assert "Or" not in "".join(outside.split('"')[::2])
    assert '"Or""der; $body$ {x} --%s"' in made.replace("''", "'")


def test_a_functions_body_becomes_one_quoted_text(monkeypatch):
    monkeypatch.setattr(statements, "text", lambda name: "CREATE FUNCTION {f}() AS $body$ SELECT 'a', {t} $body$;")
    made = statements.render("any", None, f=sql.Identifier("f"), t=sql.Identifier("it's $body$"))
    assert made == """CREATE FUNCTION "f"() AS ' SELECT ''a'', "it''s $body$" ';"""


def test_a_missing_part_is_an_error():
    with pytest.raises(KeyError):
        statements.render("companions", None)


def test_columns_with_commas():
    assert statements.joined(["a", 'b"c']).as_string(None) == '"a", "b""c"'
    assert statements.joined(["a", "b"], "new").as_string(None) == '"new"."a", "new"."b"'
    assert statements.joined([]).as_string(None) == ""


def test_another_text_is_another_digest(monkeypatch):
    before, text = code_digest(), statements.text
    assert before == code_digest()
    for changed in INSTALLED:
        monkeypatch.setattr(statements, "text", lambda name, changed=changed: text(name) + ("-- changed" if name == changed else ""))
        assert code_digest() != before
