"""Pools of connections to the nodes of a cluster: health, lag, read-your-writes, and the truth about a COMMIT whose answer was lost.

    with Pool.open("sysconfig.json") as pool, pool.connection("writer1") as db:
        db.query("INSERT INTO table1 (col1) VALUES (%s)", ["a"])

docs/pool.md describes it.
"""

from pgunison.pool.borrowed import Borrowed
from pgunison.pool.errors import ConnectionLost, PartlyCommitted, PoolError, Unavailable, UnknownOutcome
from pgunison.pool.pool import Pool

__all__ = ["Borrowed", "ConnectionLost", "PartlyCommitted", "Pool", "PoolError", "Unavailable", "UnknownOutcome"]
