"""docs/merge-of-table1.sql is what services/documentation.py writes from the files in services/sql/, for the table of sysconfig.json."""

import json
import re
from pathlib import Path

import pytest
from psycopg2 import sql

from services import documentation, statements
from services.texts import DATABASE, TABLE

PROJECT = Path(__file__).parents[2]


def test_the_document_is_what_make_docs_writes():
    written = (PROJECT / "docs" / "merge-of-table1.sql").read_text(encoding="utf-8")
    assert written == documentation.text(), "make docs, then look at what changed in docs/merge-of-table1.sql"


def test_it_has_each_file_that_a_table_gets():
    files = [file for file, _ in documentation.parts()]
    # a key of fixed length needs no limit, and a key that is drawn has its own way to outlive
    assert sorted(files) == sorted(set(TABLE) - {"key_fits", "outlive"})


def test_it_is_of_the_table_of_sysconfig_json():
    table, = json.loads((PROJECT / "sysconfig.json").read_text(encoding="utf-8"))["system"]["config"]["tables"]
    shape = documentation.TABLE1
    assert (shape.schema, shape.table) == (table["schema"], table["name"])
    assert shape.columns == (*(column["name"] for column in table["columns"]), "modified_ts", "modified_node")


def test_every_trigger_in_its_introduction_is_made_and_no_other():
    def triggers(text: str) -> set[str]:
        return {word for line in text.splitlines() for word in line.split() if word.startswith("zzz_unison_")}

    made = "".join(made for _, made in documentation.parts())
    assert triggers(documentation.INTRODUCTION) == triggers(made.replace(";", ""))


# a function's name, what stands before its body, and that
FUNCTION = re.compile(r"CREATE OR REPLACE FUNCTION (\S+?)\((.*?)AS \$body\$(.*?)\$body\$", re.DOTALL)
DECLARED = re.compile(r"^ +(\w+) (?:CONSTANT )?(\S+?)(?:;| :=)", re.MULTILINE)
CAST = re.compile(r"(::)(\S+?)(?=[\s),;]|$)")


def loose_types(text: str) -> list[str]:
    """Name the types that a caller's search_path would choose, in functions that set none: those of variables, and of casts."""
    return [f"{function}: {type_name}" for function, head, body in FUNCTION.findall(re.sub(r"--.*", "", text)) if "SET search_path" not in head
            for found in [*(named for part in re.findall(r"DECLARE(.*?)BEGIN", body, re.DOTALL) for named in DECLARED.findall(part)), *CAST.findall(body)]
            if not (type_name := found[1]).startswith(("pg_catalog.", "{table}"))]


@pytest.mark.parametrize("file", [*DATABASE, *TABLE])
def test_no_callers_search_path_chooses_a_type(file):
    assert loose_types(statements.text(file)) == []


@pytest.mark.parametrize("part", ["bury", "outlive_drawn", "image", "merge_row", "merge_tombstone", "settle"])
def test_a_type_that_is_not_qualified_is_found(part):
    assert loose_types(statements.text(part).replace("pg_catalog.", ""))


def test_names_and_values_are_written_without_a_server():
    part = sql.SQL("{} = {} AND {}").format(sql.Identifier("a", "b"), sql.Literal("it"), sql.Literal(7))
    assert documentation.plain(part).string == "\"a\".\"b\" = 'it' AND 7"


def test_a_part_of_another_kind_is_refused():
    with pytest.raises(TypeError, match="Placeholder"):
        documentation.plain(sql.Placeholder())
