"""pgunison/pool/adapters: other drivers' pools use all nodes, leave one that is down and come back to it."""

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import pytest

from pgunison.contract.waiting import wait_until
from pgunison.pool import Unavailable
from pgunison.pool.routes import Routes

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DEADLINE_S = 60


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster().up()


@pytest.fixture
def routes(cluster):
    with Routes.open(cluster.config_path, cluster.site.runtime.name) as routes:
        wait_until(lambda: None if set(weights(routes).values()) == {1.0} and len(weights(routes)) == 3 else str(weights(routes)), "all take work", DEADLINE_S)
        yield routes


def weights(routes: Routes) -> dict[str, float]:
    return routes._router.choices["reader1"].weights


def follows(cluster, routes: Routes, ask: Callable[..., str]) -> None:
    """``ask(key=None)`` answers the address of the node that it was sent to."""
    addresses = {node: cluster.site.runtime.address(cluster.site.spec(node)) for node in cluster.names()}
    await_even(ask, addresses.values())
    assert all(len({ask(key=key) for _ in range(3)}) == 1 for key in range(9))
    cluster.site.runtime.stop(cluster.site.spec("node2"))
    try:
        wait_until(lambda: None if "node2" not in weights(routes) else "it takes work", "node2 is out", DEADLINE_S)
        # no error
        await_even(ask, [addresses["node1"], addresses["node3"]])
    finally:
        cluster.up()
    wait_until(lambda: None if weights(routes).get("node2") == 1 else str(weights(routes)), "node2 is back", DEADLINE_S)
    await_even(ask, addresses.values())


def await_even(ask: Callable[..., str], addresses: Collection[str]) -> None:
    """Nodes take turns; whenever the router has heard something a round may begin anew, and on a busy machine a node that answers late has less for a while."""
    def uneven() -> str | None:
        counts = Counter(ask() for _ in range(30))
        return None if set(counts) == set(addresses) and max(counts.values()) - min(counts.values()) <= 4 else str(counts)

    wait_until(uneven, "the nodes take turns", DEADLINE_S)


WHERE = "SELECT host(inet_server_addr())"


def test_psycopg_pool(cluster, routes):
    from pgunison.pool.adapters.psycopg_pool import Pools
    pools = Pools(routes, "reader1")

    def ask(key=None) -> str:
        with pools.connection(key) as connection:
            return connection.execute(WHERE).fetchone()[0]

    with contextlib.closing(pools):
        follows(cluster, routes, ask)


def test_sqlalchemy(cluster, routes):
    from pgunison.pool.adapters.sqlalchemy import Engines
    engines = Engines(routes, "reader1")

    def ask(key=None) -> str:
        with engines.next(key).connect() as connection:
            return connection.exec_driver_sql(WHERE).scalar_one()

    try:
        follows(cluster, routes, ask)
    finally:
        engines.dispose()


def test_asyncpg(cluster, routes):
    from pgunison.pool.adapters.asyncpg import Pools
    pools = Pools(routes, "reader1")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def asked(key) -> str:
        async with pools.connection(key) as connection:
            return await connection.fetchval(WHERE)

    try:
        follows(cluster, routes, lambda key=None: asyncio.run_coroutine_threadsafe(asked(key), loop).result(DEADLINE_S))
    finally:
        asyncio.run_coroutine_threadsafe(pools.close(), loop).result(DEADLINE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(DEADLINE_S)
        loop.close()


@pytest.fixture
def suspected(routes, monkeypatch) -> list[str]:
    """The nodes that an adapter has called lost. A caller waits for half a second."""
    suspected: list[str] = []
    monkeypatch.setattr(routes, "lost", lambda endpoint: suspected.append(endpoint.name))
    monkeypatch.setitem(routes._groups, "reader1", replace(routes.group("reader1"), timeout_s=0.5, connections_per_node=1))
    return suspected


def test_psycopg_pool_whose_connections_are_in_use_is_no_loss(routes, suspected):
    from pgunison.pool.adapters.psycopg_pool import Pools
    pools = Pools(routes, "reader1", timeout=0.1)
    with contextlib.ExitStack() as held:
        for _ in range(3):
            held.enter_context(pools.connection())
        with pytest.raises(Unavailable, match="no node can serve reader1") as caught, pools.connection():
            pass
        assert caught.value.detail.count("it gave no connection") == 3
    with pools.connection() as connection:
        assert connection.execute(WHERE).fetchone()
    pools.close()
    assert suspected == []


def test_asyncpg_whose_connections_are_in_use_is_no_loss(routes, suspected, monkeypatch):
    from pgunison.pool.adapters import asyncpg
    monkeypatch.setattr(asyncpg, "ACQUIRE_TIMEOUT_S", 0.1)

    async def use() -> None:
        pools = asyncpg.Pools(routes, "reader1")
        # open before the time is short
        for endpoint in routes._router.nodes.values():
            async with (await pools._pool(endpoint)).acquire(timeout=DEADLINE_S):
                pass
        async with contextlib.AsyncExitStack() as held:
            for _ in range(3):
                await held.enter_async_context(pools.connection())
            with pytest.raises(Unavailable, match="no node can serve reader1"):
                await held.enter_async_context(pools.connection())
        async with pools.connection() as connection:
            assert await connection.fetchval(WHERE)
        await pools.close()

    asyncio.run(use())
    assert suspected == []


def test_an_error_of_the_application_is_no_loss(routes, suspected):
    """PostgreSQL has answered; of psycopg2's errors a statement's time-out is an OperationalError, too."""
    from sqlalchemy.exc import OperationalError

    from pgunison.pool.adapters.sqlalchemy import Engines
    engines = Engines(routes, "reader1")
    with engines.next().connect() as connection:
        connection.exec_driver_sql("SET statement_timeout = '1ms'")
        with pytest.raises(OperationalError, match="statement timeout"):
            connection.exec_driver_sql("SELECT pg_sleep(60)")
        assert suspected == []
        connection.exec_driver_sql("SET statement_timeout = 0")
        with pytest.raises(OperationalError):
            connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
    engines.dispose()
    assert len(suspected) == 1


@pytest.mark.parametrize("name", ["use_psycopg_pool", "use_sqlalchemy", "use_asyncpg"])
@pytest.mark.process_runtime("an example is called with no runtime")
def test_examples_run(cluster, name):
    done = subprocess.run([sys.executable, EXAMPLES / f"{name}.py", cluster.config_path], capture_output=True, text=True, timeout=DEADLINE_S)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert len(done.stdout.splitlines()) == 6 and len({line.split()[-1] for line in done.stdout.splitlines()}) > 1, done.stdout
