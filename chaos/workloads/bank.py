"""Bank transfers: two accounts and a line in the journal, in one transaction.

What a merge of whole rows can keep: in each transaction the sum is the same before and after on the node that writes; the journal holds every acknowledged
transfer, everywhere; no account is lost. What it cannot keep: the sum over all accounts, because of two transfers from one account at once, on two
nodes, one wins.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from chaos.session import Session
from chaos.target import Target
from chaos.workload import Finding, Marks, Operation, Rows, Workload, finding, uuid_text

ACCOUNT = {"name": "account", "columns": [{"name": "id", "type": "bigint", "primary_key": True}, {"name": "balance", "type": "bigint"}]}
JOURNAL = {"name": "journal", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "mark", "type": "uuid"},
                                          {"name": "payer", "type": "bigint"}, {"name": "payee", "type": "bigint"}, {"name": "amount", "type": "bigint"}]}
ACCOUNTS, OPENING = 20, 1000
# of all accounts, or of the two
SUM = "SELECT sum(balance)::bigint FROM account WHERE %s OR id = ANY(%s)"


@dataclass
class Transfer(Operation):
    mark: str
    payer: int
    payee: int
    amount: int
    level: str
    sums: list[int] = field(default_factory=list)

    def run(self, session: Session) -> None:
        pair = [self.payer, self.payee]
        # the pair stays locked, so no apply worker changes it meanwhile; a snapshot keeps all of the accounts as they are
        watched = [self.level == "REPEATABLE READ", pair]
        with session.transaction(self.level):
            session.execute("SELECT FROM account WHERE id = ANY(%s) ORDER BY id FOR UPDATE", [pair])
            before = session.execute(SUM, watched)[0][0]
            session.execute("UPDATE account SET balance = balance - %s WHERE id = %s", [self.amount, self.payer])
            session.execute("UPDATE account SET balance = balance + %s WHERE id = %s", [self.amount, self.payee])
            session.execute("INSERT INTO journal (mark, payer, payee, amount) VALUES (%s, %s, %s, %s)", [self.mark, *pair, self.amount])
            self.sums = [before, session.execute(SUM, watched)[0][0]]


class Bank(Workload):
    """Transfers between few accounts."""

    name = "bank"
    tables = (ACCOUNT, JOURNAL)

    def __init__(self, versions: tuple[str, ...]):
        super().__init__(versions)
        self._transfers = Marks()

    def prepare(self, target: Target) -> None:
        target.query(target.names()[0], f"INSERT INTO account (id, balance) SELECT n, {OPENING} FROM generate_series(1, {ACCOUNTS}) n")

    def operation(self, node: str, choice: random.Random) -> Operation:
        payer, payee = choice.sample(range(1, ACCOUNTS + 1), 2)
        return Transfer(uuid_text(choice), payer, payee, choice.randint(1, 100), choice.choice(("READ COMMITTED", "REPEATABLE READ")))

    def remember(self, node: str, operation: Transfer, ending: str) -> None:
        with self.lock:
            self._transfers.add([operation.mark], ending)
            if len(set(operation.sums)) > 1:
                self.broken.append(f"transfer {operation.mark} on {node} ({operation.level}): {operation.sums[0]} before, {operation.sums[1]} after")

    def findings(self, rows: dict[str, Rows]) -> Iterator[Finding]:
        yield from super().findings(rows)
        yield from self._transfers.findings(f"{self.name}, journal", rows["journal"])
        yield from finding(f"{self.name}: accounts that are gone", (
            f"{ACCOUNTS - len(held)} on {node}" for node, held in rows["account"].items() if len(held) != ACCOUNTS))
