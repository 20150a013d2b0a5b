"""docs/merge-of-table1.sql, written from the files in ``sql/``: ``python3 -m services.documentation > docs/merge-of-table1.sql``.

No server is needed: what ``table.set_up`` reads of the default table from the catalogue is written down here
(tests/integration/test_table.py compares the two, and the functions with those of a cluster).
"""

from collections.abc import Iterator

from psycopg2 import sql

from services import statements
from services.shape import Shape
from services.trigger import CALLED, INSTALLED

NODE_INDEX = 1
TABLE1 = Shape(schema="public", table="table1", columns=("id", "col1", "col2", "modified_ts", "modified_node"),
               generated=frozenset(), always_identity=frozenset(), key=("id",), own_sequence_key=True, long_key=())

INTRODUCTION = """\
-- The merge of public.table1 (id bigserial, col1 text, col2 text), as node1 has it installed.
-- Written by "make docs" from services/sql/; a test compares the two. To be read, not to be run:
-- services/table.py installs it, as the table's owner and in one transaction with more around it.
-- docs/life-of-a-change.md follows a row through it.
--
-- For writers      zzz_unison_stamp_insert  BEFORE INSERT       the row's version
--                  zzz_unison_outlive       AFTER INSERT        a deleted key is used again
--                  zzz_unison_image         BEFORE UPDATE       the row's version, and its image
--                  zzz_unison_outlive_moved AFTER UPDATE OF id  the same as outlive, for a new key
--                  zzz_unison_bury          AFTER DELETE        tombstones
--                  zzz_unison_truncate      BEFORE TRUNCATE     tombstones
-- For apply workers zzz_unison_merge        BEFORE INSERT       on the table, its images, its tombstones
--
-- Which of two concurrent changes of a row wins is decided in settle.sql.
"""


def text() -> str:
    """Write the whole document."""
    return "\n".join([INTRODUCTION, *(f"\n-- ==== services/sql/{file}.sql\n\n{made}" for file, made in parts())])


def parts() -> Iterator[tuple[str, str]]:
    """Give each file that is installed on the table, in the order in which it is, and the SQL that it makes."""
    found = TABLE1.parts(NODE_INDEX)
    for part in ("companions", "known", *CALLED, *INSTALLED, "close"):
        file = found["files"].get(part, part)
        function = {"function": found["functions"][part]} if part in found["functions"] else {}
        # the services quote the bodies of functions, because a name may contain any mark; these names do not
        yield file, plain(sql.SQL(statements.text(file)).format(**found["names"], **function)).string


def plain(part: sql.Composable) -> sql.SQL:
    """Write names and values without asking a server how to; for names and texts without anything to escape."""
    match part:
        case sql.Composed():
            return sql.SQL("".join(plain(each).string for each in part))
        case sql.Identifier():
            return sql.SQL(".".join(f'"{name}"' for name in part.strings))
        case sql.Literal():
            return sql.SQL(str(part.wrapped) if isinstance(part.wrapped, int) else f"'{part.wrapped}'")
        case sql.SQL():
            return part
    raise TypeError(f"{type(part).__name__} is no part of the merge")


if __name__ == "__main__":
    print(text(), end="")
