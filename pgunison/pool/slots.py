"""pgdbpool 1.0.2, safely: it opens, counts and keeps the connections, and what it does wrong is guarded here, from outside.

| what pgdbpool does | guard |
|---|---|
| fails to start when one node is down, after 10 s | a connection is made when it is first needed, on a node that takes work |
| deals the connections of all groups over the nodes in one turn, and moves a lost one to another node for good | a group of it is one of ours on one node |
| ``InterfaceError`` is not caught, the slot of a lost connection stays occupied | it is caught as every other, and :meth:`Slots.close` frees the slot |
| marks a slot free while it is in use, when it connects anew; two borrowers on one connection | a slot keeps its status when its connection is replaced |
| a Handler keeps the connection of before | a Handler lives as long as its connection, and nothing connects anew beneath it |
| pings before each statement, takes a lock and writes to the log for each Handler | statements go to the Handler's connection, and the Handler is kept |
| no port, no time-outs, ``PGOPTIONS`` of the process | its psycopg2 adds them to each connection, its environment is its own |
| one set of groups a process | a pool loads the module for itself, once, whatever the groups |

docs/pgdbpool-1.0.2.patch mends it at the source.
"""

import contextlib
import importlib.util
import itertools
import logging
import os
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import psycopg2
import psycopg2.extensions
import psycopg2.extras
from pgdbpool import pool as original

_number = itertools.count()


class Slots:
    """The connections of one pool. Threads may share it."""

    def __init__(self) -> None:
        self._module = _load(f"{original.__name__}_of_pgunison_{next(_number)}")
        self._server = threading.local()
        # what stands in its file under the name psycopg2
        setattr(self._module, "psycopg2", SimpleNamespace(  # noqa: B010  # a module has no such attribute for mypy
            connect=self._connect, extensions=psycopg2.extensions, extras=psycopg2.extras, DatabaseError=psycopg2.Error,
            OperationalError=psycopg2.OperationalError, InternalError=psycopg2.InternalError, ProgrammingError=psycopg2.ProgrammingError))
        setattr(self._module, "os", SimpleNamespace(environ={}))  # noqa: B010
        self._module.Connection.init({"db": [{}], "groups": {}})
        self._module.Connection._dbiter_ref = iter(lambda: self._server.now, None)
        self._making = threading.Lock()

    def open(self, group: str, count: int, autocommit: bool, parameters: dict[str, Any]) -> Any:
        """Take a free slot of the group, of ``count`` ones, and connect it; returns pgdbpool's Handler, whose ``conn_ref`` is the connection.

        ``parameters`` are libpq's. The caller sees to it that no more than ``count`` are open. Raises psycopg2.OperationalError.
        """
        with self._making:
            if group not in self._module.Connection._config["groups"]:
                self._module.Connection._config["groups"][group] = {
                    "connection_count": count, "autocommit": autocommit, "connection_iter": self._module.conn_iter(group),
                    "connections": _Kept((None, "free") for _ in range(count))}
        handler = self._module.Handler(group)
        self._server.now = {"name": parameters["dbname"], "user": parameters["user"], "host": parameters["host"], "pass": parameters["password"],
                            "ssl": parameters["sslmode"], "connect_timeout": parameters["connect_timeout"]}
        self._server.more = parameters
        try:
            self._module.Connection.connect(handler._connection)
        except self._module.DBConnectionError as error:
            self._free(handler)
            cause = error.__context__
            raise cause if isinstance(cause, psycopg2.OperationalError) else psycopg2.OperationalError(str(cause)) from error
        except BaseException:
            self._free(handler)
            raise
        handler.conn_ref, _ = self._module.Connection.get_connection(handler._connection)
        return handler

    def close(self, handler: Any) -> None:
        """Close a connection, dead or alive, and free its slot."""
        # one that is lost is closed
        with contextlib.suppress(psycopg2.Error):
            handler.conn_ref.close()
        self._free(handler)

    def status(self, group: str) -> list[str]:
        """Return what pgdbpool says of the slots of a group: ``free`` or ``occupied``."""
        found = self._module.Connection._config["groups"].get(group, {"connections": []})
        return [status for _, status in found["connections"]]

    def _free(self, handler: Any) -> None:
        slots = self._module.Connection._config["groups"][handler._group]["connections"]
        # no connection that pgdbpool could give to somebody else
        slots.empty(handler._conn_id)

    def _connect(self, **parameters: Any) -> Any:
        return psycopg2.connect(**parameters | self._server.more)


class _Kept(list[tuple[Any, str]]):
    """The slots of a group, each a connection and its status. Who puts in another connection does not change the status: pgdbpool sets it to free there."""

    def __setitem__(self, number: Any, slot: Any) -> None:
        connection, status = self[number]
        super().__setitem__(number, (slot[0], slot[1] if slot[0] is connection else status))

    def empty(self, number: int) -> None:
        """Leave a free slot without a connection."""
        super().__setitem__(number, (None, "free"))


def _load(name: str) -> ModuleType:
    """Load the module once more, under a name of its own: it keeps its state at its classes, and others of this process may use it, too."""
    spec = importlib.util.spec_from_file_location(name, os.fspath(str(original.__file__)))
    if spec is None or spec.loader is None:
        raise ImportError(f"{original.__file__} cannot be loaded once more")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # at DEBUG it writes passwords
    logging.getLogger(name).setLevel(logging.WARNING)
    return module
