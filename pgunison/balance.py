"""Load balancing: a program borrows a connection of a group, and pgdbpool deals the group's connections over the nodes.

pgdbpool keeps one pool a process, with one list of servers for all groups. So each group loads the module anew, under a name of its own: it then
has a pool to itself, whose servers are all nodes, each with the group's role.
"""

import contextlib
import importlib.util
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import psycopg2
from pgdbpool import pool as pgdbpool

from pgunison.cluster.site import Site
from pgunison.configuration.sysconfig import Group
from pgunison.errors import OrchestratorError, UsageError

CONNECT_TIMEOUT_S = 5
QUERY_TIMEOUT_S = 10
FREE_TIMEOUT_S = 30.0
# What pgdbpool gives to libpq by way of the environment, and so to every connection of the process.
ENVIRONMENT = ("PGPORT", "PGOPTIONS", "PGSSLROOTCERT")
ERRORS = ("DBConnectionError", "DBQueryError", "DBOfflineError", "UnconfiguredGroupError")


class Balancer:
    """Pools of connections to all nodes, one a group: all groups of the configuration, or those named.

    Raises OrchestratorError that names the nodes which do not answer. PGPORT and PGOPTIONS are the process's as long as a Balancer is open;
    balancers of clusters with different ports exclude each other.
    """

    def __init__(self, site: Site, groups: Iterable[str] | None = None):
        self._nodes = {site.runtime.address(node): node.name for node in site.configuration.nodes}
        self._groups = {name: _group(site, name) for name in groups or [group.name for group in site.configuration.groups]}
        servers = {name: _servers(site, group) for name, group in self._groups.items()}
        self._require_answers(next(iter(servers.values()), []), {"port": site.configuration.postgresql_port} | site.security())
        self._environment = {name: os.environ.get(name) for name in ENVIRONMENT}
        os.environ["PGPORT"] = str(site.configuration.postgresql_port)
        if "sslrootcert" in site.security():
            os.environ["PGSSLROOTCERT"] = site.security()["sslrootcert"]
        self._pools: dict[str, ModuleType] = {}
        self._free: dict[str, threading.BoundedSemaphore] = {}
        self._replacing = threading.Lock()
        try:
            for name, group in self._groups.items():
                self._open(group, servers[name])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Balancer":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextlib.contextmanager
    def handler(self, group: str) -> Iterator[pgdbpool.Handler]:
        """Borrow a connection of the group: ``with balancer.handler("writer1") as db: db.query(statement, parameters)``.

        What pgdbpool raises comes as it is. In a group without autocommit call ``db.commit()``: the end of the block commits too, but hides it when that
        fails. After an error leave the block. ``psycopg2.InterfaceError`` at its end says that the connection was lost, and that what was done in the
        block is unknown: it may stand.
        """
        if group not in self._pools:
            raise OrchestratorError(f"the balancer has no group {group}", f"it has {', '.join(self._pools)}", "name one of them")
        pool, handler = self._pools[group], None
        if not self._free[group].acquire(timeout=FREE_TIMEOUT_S):
            raise OrchestratorError(f"no connection of {group} became free within {FREE_TIMEOUT_S:.0f} s", "others hold all of them",
                                    f"keep blocks short, or raise connections_per_node of {group}")
        try:
            with pool.Handler(group) as handler:
                yield handler
        except psycopg2.InterfaceError:
            if handler is not None and handler.conn_ref.closed:
                self._replace(pool, handler._connection)
            raise
        finally:
            self._free[group].release()

    def node(self, handler: pgdbpool.Handler) -> str:
        """Name the node that a borrowed connection leads to."""
        return self._nodes[handler.conn_ref.info.host]

    def close(self) -> None:
        """Close all connections; pgdbpool itself never does."""
        for name, pool in self._pools.items():
            for connection, _ in pool.Connection._config["groups"][name].get("connections", []):
                if connection is not None:
                    connection.close()
        self._pools.clear()
        while self._environment:
            name, value = self._environment.popitem()
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def _open(self, group: Group, servers: list[dict[str, Any]]) -> None:
        pool = self._pools[group.name] = _load(group.name)
        count = group.connections_per_node * len(servers)
        self._free[group.name] = threading.BoundedSemaphore(count)
        try:
            pool.Connection.init({"db": servers, "groups": {group.name: {"connection_count": count, "autocommit": group.autocommit}}})
        except pgdbpool.DBConnectionError as error:
            raise OrchestratorError(f"the connections of {group.name} cannot be made", _line(error.__context__),
                                    "python3 orchestrator.py status") from error

    def _replace(self, pool: ModuleType, slot: tuple[str, int]) -> None:
        """Give the slot of a lost connection a new one, of any node; pgdbpool would keep it occupied for ever."""
        # pgdbpool may have put a connection in, with a transaction that nobody will end
        pool.Connection.get_connection(slot)[0].close()
        with self._replacing:
            for _ in self._nodes:
                with contextlib.suppress(pgdbpool.DBConnectionError):
                    pool.Connection.connect(slot)
                    return
        # no node answers: whoever borrows the slot next sees it, and comes here again
        pool.Connection.set_connection_status(slot, "free")

    def _require_answers(self, servers: list[dict[str, Any]], common: dict[str, Any]) -> None:
        """pgdbpool gives up at the first node that is down, after 10 s, and does not say which; so all are asked before, side by side."""
        with ThreadPoolExecutor(max_workers=max(1, len(servers))) as pool:
            problems = list(pool.map(lambda server: _problem(server, common), servers))
        silent = {self._nodes[server["host"]]: problem for server, problem in zip(servers, problems, strict=True) if problem}
        if silent:
            raise OrchestratorError(f"{', '.join(silent)} cannot be reached", "\n        ".join(f"{name}: {problem}" for name, problem in silent.items()),
                                    "python3 orchestrator.py up")


def sqlstate(error: BaseException) -> str | None:
    """Return PostgreSQL's code of an error that a handler raised, or None when the connection was lost; DBQueryError carries only its text."""
    cause = error if isinstance(error, psycopg2.Error) else error.__context__
    return getattr(cause, "pgcode", None)


def _group(site: Site, name: str) -> Group:
    found = next((group for group in site.configuration.groups if group.name == name), None)
    if found is None:
        names = ", ".join(group.name for group in site.configuration.groups)
        raise UsageError(f"no group is named {name}", f"the groups are {names or 'none'}", "name one of them")
    return found


def _servers(site: Site, group: Group) -> list[dict[str, Any]]:
    return [{"host": site.runtime.address(node), "name": site.configuration.database, "user": group.role, "pass": site.credentials.passwords[group.role],
             "ssl": site.security().get("sslmode", "disable"), "connect_timeout": CONNECT_TIMEOUT_S, "query_timeout": QUERY_TIMEOUT_S * 1000}
            for node in site.configuration.nodes]


def _load(group: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{__name__}.pool_of_{group}", pgdbpool.__file__)
    if spec is None or spec.loader is None:
        raise ImportError(f"{pgdbpool.__file__} cannot be loaded once more")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # one name for callers to catch, whatever the group
    for name in ERRORS:
        setattr(module, name, getattr(pgdbpool, name))
    # at DEBUG it writes passwords
    logging.getLogger(module.__name__).setLevel(logging.WARNING)
    return module


def _problem(server: dict[str, Any], common: dict[str, Any]) -> str | None:
    try:
        psycopg2.connect(host=server["host"], dbname=server["name"], user=server["user"], password=server["pass"],
                         connect_timeout=CONNECT_TIMEOUT_S, **common).close()
    except psycopg2.OperationalError as error:
        return _line(error)
    return None


def _line(error: BaseException | None) -> str:
    return str(error).strip().partition("\n")[0] if error else ""
