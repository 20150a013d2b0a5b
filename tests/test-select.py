#!/usr/bin/env python3
"""Ask all nodes the same questions through the readers, then check that the answers are the same and that no reader can write."""

import sys
from itertools import cycle, product, zip_longest
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pgunison.interpreter import require_packages

require_packages()

import psycopg2
from byhand.commandline import main
from byhand.run import ROW, Run, require, side_by_side
from byhand.spread import Spread
from psycopg2 import errorcodes, sql

from pgunison.cluster.barrier import Barrier
from pgunison.configuration.sysconfig import Group
from pgunison.errors import OrchestratorError
from pgunison.pool import Pool

KEYS = 100
RANGE = 50

RANGES = sql.SQL("SELECT {row} FROM {table} WHERE id BETWEEN %s AND %s ORDER BY id")
AGGREGATES = sql.SQL("SELECT modified_node, count(*), min(id), max(id), max(modified_ts) AS newest, sum(hashtext(col2)) FROM {table}"
                     " WHERE id >= %s GROUP BY modified_node ORDER BY modified_node")
# Each would do nothing if it were allowed, and is rolled back.
WRITES = {
    "INSERT": sql.SQL("INSERT INTO {table} (col1, col2) SELECT 'written', 'by a reader' WHERE false"),
    "UPDATE": sql.SQL("UPDATE {table} SET col2 = 'by a reader' WHERE false"),
    "DELETE": sql.SQL("DELETE FROM {table} WHERE false"),
    "TRUNCATE": sql.SQL("TRUNCATE {table}"),
    "nextval": sql.SQL("SELECT nextval(pg_get_serial_sequence(format('%I.%I', {schema}, {name}), 'id'))"),
    "CREATE TABLE": sql.SQL("CREATE TABLE {mine} ()"),
    "lo_create": sql.SQL("SELECT lo_create(0)"),
    "pg_logical_emit_message": sql.SQL("SELECT pg_logical_emit_message(true, 'reader', 'wrote')"),
    "INSERT INTO unison.member": sql.SQL("INSERT INTO unison.member (name) SELECT 'x' WHERE false"),
    "UPDATE unison.node": sql.SQL("UPDATE unison.node SET phase = 'joining' WHERE false"),
    "DELETE FROM unison.replicated_table": sql.SQL("DELETE FROM unison.replicated_table WHERE false"),
}


class Question(NamedTuple):
    """A statement that every node must answer alike; ``text`` is for people."""

    text: str
    statement: sql.Composable
    parameters: list


def test(run: Run) -> None:
    """Ask all nodes the same questions through all readers at once; the answers must be the same, and no reader may write."""
    groups, spread = run.groups("reader"), Spread()
    table = run.configured_table
    run.report.say(f"select: {', '.join(group.name for group in groups)} ask every node the same questions at once, each its own kind;"
                   f" the answers must be the same, and no reader may write\nrun {run.id}")
    Barrier(run.site).wait(run.timeout_s)
    keys = sample(run)
    require(keys, f"{table.schema}.{table.name} has no rows yet", f"{run.nodes[0]} was asked", "the insert test comes first: python3 tests/test-insert.py")
    kinds = cycle([single_keys, ranges])
    with run.pool(groups) as pool:
        tasks = [(group, kind(run, keys)) for group, kind in zip(groups, kinds, strict=False)]
        asked = side_by_side(lambda task: [ask(run, pool, task[0], question, spread) for question in task[1]], tasks)
    run.report.spread(spread)
    for (group, questions), answers in zip(tasks, asked, strict=True):
        for question, by_node in zip(questions, answers, strict=True):
            check_answers(group, question, by_node)
        run.report.checked(f"{group.name}: {len(questions)} questions, each answered alike by {', '.join(run.serving)}")
    roles = sorted({group.role for group in groups})
    side_by_side(lambda place: check_refusals(run, *place), product(run.nodes, roles))
    run.report.checked(f"{', '.join(roles)}: refused on every node: {', '.join(WRITES)}")
    run.require_all_served()


def sample(run: Run) -> list[int]:
    """Choose some keys of the table, others in each run."""
    with run.connect(run.nodes[0], run.site.configuration.role("owner").name) as connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT id FROM {} ORDER BY md5(id || %s) LIMIT %s").format(run.table), [run.id, KEYS])
        return [row[0] for row in cursor]


def single_keys(run: Run, keys: list[int]) -> list[Question]:
    """Ask for one row after the other."""
    statement = sql.SQL("SELECT {} FROM {} WHERE id = %s").format(ROW, run.table)
    return [Question(f"the row with id {key}", statement, [key]) for key in keys]


def ranges(run: Run, keys: list[int]) -> list[Question]:
    """Ask for ranges of rows, and for sums over parts of the table."""
    rows, sums = RANGES.format(row=ROW, table=run.table), AGGREGATES.format(table=run.table)
    return [question for key in keys[::2] for question in (
        Question(f"the rows with id {key} to {key + RANGE}", rows, [key, key + RANGE]), Question(f"the sums over id {key} and greater", sums, [key]))]


def ask(run: Run, pool: Pool, group: Group, question: Question, spread: Spread) -> dict[str, list[tuple]]:
    """Ask until every node has answered: ``{node: rows}``; nodes come in turn."""
    answers = {}
    for _ in range(group.connections_per_node * len(run.nodes)):
        with pool.connection(group.name) as db, spread.measured(group.name, db.node):
            answers[db.node] = [tuple(row.values()) for row in db.query(question.statement, question.parameters)]
        if len(answers) == len(run.serving):
            return answers
    silent = ", ".join(node for node in run.serving if node not in answers)
    raise OrchestratorError(f"{silent} did not serve {group.name}", f"asked for {question.text}", "python3 orchestrator.py status shows the nodes")


def check_answers(group: Group, question: Question, answers: dict[str, list[tuple]]) -> None:
    """Every node must have given the same answer."""
    (first, expected), *others = sorted(answers.items())
    for node, answer in others:
        here, there = next((pair for pair in zip_longest(expected, answer) if pair[0] != pair[1]), (None, None))
        require(answer == expected, f"{group.name}: {first} and {node} answer differently", f"asked for {question.text}\n"
                f"        {first}: {written(here)}\n        {node}: {written(there)}",
                "let no one write meanwhile; python3 orchestrator.py verify compares all rows of the nodes")


def written(row: tuple | None) -> str:
    """Write a row of an answer, for a message."""
    return ", ".join(str(value) for value in row) if row else "no such row"


def check_refusals(run: Run, node: str, role: str) -> None:
    """A reader must be refused whatever writes, because it lacks the privilege and for no other reason."""
    table = run.configured_table
    names = {"table": run.table, "schema": sql.Literal(table.schema), "name": sql.Literal(table.name), "mine": sql.Identifier(table.schema, run.id)}
    with run.connect(node, role) as connection:
        for what, statement in WRITES.items():
            found = None
            try:
                connection.cursor().execute(statement.format(**names))
            except psycopg2.Error as error:
                found = error
            connection.rollback()
            require(found, f"{role} may write on {node}", f"{what} was not refused", f"REVOKE it there; {role} is to read only")
            require(found.pgcode == errorcodes.INSUFFICIENT_PRIVILEGE, f"{what} as {role} on {node} ended otherwise than refused",
                    f"{found.pgcode} {str(found).strip()}", "python3 orchestrator.py status shows the node")


if __name__ == "__main__":
    sys.exit(main(test))
