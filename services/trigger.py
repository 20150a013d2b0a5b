"""Trigger: one part of the merge on a table, its function and the trigger or triggers that call it."""

from typing import Any

from microesb import microesb

from services import statements
from services.driver import Cursor

# What pg_trigger holds when a part is installed: (on which of the three tables, trigger name, tgenabled); 'O' fires for writers, 'R' for
# apply workers. Each part is the file of the same name in sql/.
INSTALLED = {
    "stamp_insert": {("row", "zzz_unison_stamp_insert", "O")},
    "outlive": {("row", "zzz_unison_outlive", "O")},
    "outlive_moved": {("row", "zzz_unison_outlive_moved", "O")},
    "image": {("row", "zzz_unison_image", "O")},
    "bury": {("row", "zzz_unison_bury", "O")},
    "truncate": {("row", "zzz_unison_truncate", "O")},
    "merge_row": {("row", "zzz_unison_merge", "R")},
    "merge_image": {("image", "zzz_unison_merge", "R")},
    "merge_tombstone": {("tombstone", "zzz_unison_merge", "R")},
}


# Functions that the parts call, made before them.
CALLED = ("latest", "move", "revive", "settle")


class Trigger(microesb.MultiClassHandler):
    """One part of the merge, by name."""

    name: str

    def install(self, cursor: Cursor, parts: dict[str, Any]) -> None:
        """Make or replace the part's function and triggers; ``parts`` are the table's names as SQL."""
        file = parts["files"].get(self.name, self.name)
        cursor.execute(statements.render(file, cursor, function=parts["functions"][self.name], **parts["names"]))
