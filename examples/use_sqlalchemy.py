"""python3 examples/use_sqlalchemy.py [sysconfig.json]: insert with SQLAlchemy and psycopg2."""

import sys

from sqlalchemy import text

from pgunison.pool.adapters.sqlalchemy import Engines
from pgunison.pool.routes import Routes

with Routes.open(sys.argv[1] if len(sys.argv) > 1 else "sysconfig.json") as routes:
    engines = Engines(routes, "writer2")
    for number in range(6):
        with engines.next().begin() as connection:
            insert = text("INSERT INTO table1 (col1) VALUES (:value) RETURNING id, modified_node")
            row = connection.execute(insert, {"value": f"SQLAlchemy {number}"}).one()
        print(f"stored row {row.id} as node {row.modified_node}")
    engines.dispose()
