"""Nodes as containers: what the engine does to them, TLS and its renewal, and what is said when the engine cannot do what is asked."""

import contextlib
import io
import json
import os
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator

import docker
import httpx
import psycopg2
import pytest

from chaos.cluster import Cluster
from chaos.runtimes import free_subnet
from pgunison.certificates import Certificates
from pgunison.cluster.execute import bring_up
from pgunison.cluster.renewal import renew
from pgunison.progress import Progress
from tests.conftest import DEFAULT
from tests.convergence.comparison import MARKS, all_links, assert_same, everywhere, names, wait_until
from tests.integration.orchestrator import assert_explained, command_line, run

pytestmark = pytest.mark.docker_runtime("it is about containers")

ENTRY = {"name": "entry", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "value", "type": "text"}]}
WRITES = 60
DEADLINE_S = 120.0


@pytest.fixture(scope="module")
def cluster(make_cluster) -> Cluster:
    return make_cluster(nodes=3, tables=[ENTRY, MARKS]).up()


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    with contextlib.closing(docker.from_env(timeout=120)) as client:
        yield client


def url(cluster, path: str = "", node: str = "node1") -> str:
    return f"https://{cluster.site.runtime.address(cluster.site.spec(node))}:{cluster.site.configuration.agent_port}/{path}"


def bearer(cluster) -> dict[str, str]:
    return {"Authorization": f"Bearer {cluster.site.credentials.token}"}


class Writer(threading.Thread):
    """Insert a row at a time into a node until told to stop; ``acknowledged`` are the keys that were."""

    def __init__(self, cluster: Cluster, node: str):
        super().__init__(name=f"writer of {node}", daemon=True)
        self.acknowledged: list[int] = []
        self.enough = threading.Event()
        self._cluster, self._node = cluster, node

    def run(self) -> None:
        while not self.enough.is_set():
            # a node that is away refuses, or says nothing until libpq gives up
            with contextlib.suppress(psycopg2.Error), contextlib.closing(psycopg2.connect(
                    self._cluster.site.dsn("writer1", self._node), connect_timeout=3, tcp_user_timeout=4000, keepalives_idle=2, keepalives_interval=1,
                    keepalives_count=2)) as connection, connection.cursor() as cursor:
                connection.autocommit = True
                while not self.enough.is_set():
                    cursor.execute("INSERT INTO entry (value) VALUES (%s) RETURNING id", [self._node])
                    self.acknowledged.append(cursor.fetchone()[0])


@contextlib.contextmanager
def writing(cluster) -> Iterator[Callable[[], None]]:
    """Write on every node within the block, and afterwards until each node has taken more; then every acknowledged row is on every node.

    Gives a function that waits until every node that can be written to has taken some rows more.
    """
    writers = [Writer(cluster, node) for node in names(cluster)]

    def some_more(of: list[Writer] = writers) -> None:
        before = {writer: len(writer.acknowledged) for writer in of}
        wait_until(lambda: ", ".join(writer.name for writer in of if len(writer.acknowledged) < before[writer] + WRITES) or None,
                   f"each of them has written {WRITES} rows more", DEADLINE_S)

    for writer in writers:
        writer.start()
    try:
        some_more()
        yield some_more
        some_more()
    finally:
        for writer in writers:
            writer.enough.set()
        for writer in writers:
            writer.join(DEADLINE_S)
    assert_same(cluster, "entry")
    acknowledged = {key for writer in writers for key in writer.acknowledged}
    there = {row[0] for row in cluster.query("node1", "SELECT id FROM entry")}
    assert acknowledged <= there, f"{len(acknowledged - there)} acknowledged rows are lost"


def streaming(cluster) -> None:
    """Wait until all links stream."""
    def waiting() -> str | None:
        found = cluster.site.observe()
        return ", ".join(f"{source} to {target} {found.link(source, target).state}" for source, target in all_links(cluster)
                         if found.link(source, target).state != "streaming") or None

    wait_until(waiting, "all links stream", DEADLINE_S, 0.2)


def pause(container) -> None:
    """Pause a container. The engine asks the kernel some times, and gives up where a process was being made each time: that is asked again."""
    def waiting() -> str | None:
        try:
            container.pause()
        except docker.errors.APIError as error:
            if "unable to freeze" not in str(error):
                raise
            return str(error)
        return None

    wait_until(waiting, f"{container.name} is paused", DEADLINE_S, 0.2)


# --- what happens to containers ---


@pytest.mark.parametrize("verb", ["pause", "kill", "stop"])
def test_a_node_that_was_away_comes_back_with_all_rows(cluster, verb):
    container = cluster.container("node2")
    with writing(cluster):
        {"pause": lambda: pause(container), "kill": container.kill, "stop": lambda: container.stop(timeout=60)}[verb]()
        assert cluster.site.observe().node("node2").state == "stopped"
        # what `up` does with it; the engine itself starts nothing again that somebody stopped or killed
        bring_up(cluster.site, Progress())
    streaming(cluster)


def test_a_node_that_was_off_the_network_comes_back_with_all_rows(cluster):
    with writing(cluster):
        cluster.network().disconnect(cluster.container("node2"))
        assert cluster.site.observe().node("node2").state == "stopped"
        # with a limit of their own, which is what is tested: not one of them waits for the network
        for words, said in ((("status",), "node2"), (("conflicts",), "node2 is stopped")):
            done = subprocess.run(command_line(cluster, *words), capture_output=True, text=True, timeout=15)
            assert done.returncode == 1 and said in done.stdout + done.stderr
        bring_up(cluster.site, Progress())
    streaming(cluster)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may kill what runs in a container")
def test_a_container_that_crashes_is_started_again_by_the_engine(cluster):
    with writing(cluster):
        before = cluster.container("node2").attrs["State"]["Pid"]
        os.kill(before, 9)
        wait_until(lambda: None if cluster.container("node2").attrs["State"]["Pid"] not in (0, before) else "it is not started again",
                   "the engine has started it again", DEADLINE_S)
    streaming(cluster)


def test_all_nodes_are_restarted_at_once(cluster):
    with writing(cluster):
        everywhere(cluster, lambda node: cluster.container(node).restart(timeout=60))
    streaming(cluster)


def test_a_container_that_was_removed_is_made_again_on_its_volume(cluster):
    with writing(cluster):
        cluster.container("node2").remove(force=True, v=True)
        assert cluster.site.observe().node("node2").state == "stopped"
        bring_up(cluster.site, Progress())
    streaming(cluster)


def test_the_network_of_a_stopped_cluster_is_removed(make_cluster):
    """As docker network prune does."""
    made = make_cluster(nodes=1, tables=[ENTRY, MARKS]).up()
    made.query("node1", "INSERT INTO entry (value) VALUES ('kept')", role="writer1")
    made.stop("node1")
    made.network().remove()
    run(made, "up")
    assert made.query("node1", "SELECT value FROM entry") == [("kept",)]


def test_an_upgrade_makes_one_node_after_another_anew_while_writes_go_on(make_cluster, client):
    image = f"pgunison-test-{os.getpid()}:latest"
    base = DEFAULT["system"]["config"].get("container", {}).get("image", "pgunison-node:latest")
    client.images.get(base).tag(image)
    try:
        made = make_cluster(nodes=2, tables=[ENTRY, MARKS], container={"image": image}).up()
        before = {node: made.container(node).id for node in names(made)}
        client.images.build(fileobj=io.BytesIO(f"FROM {base}\nLABEL org.pgunison.test=newer\n".encode()), tag=image, rm=True)
        assert [node.current for node in made.site.observe().nodes] == [False, False]
        with writing(made):
            done = run(made, "up").stderr
        assert done.index("make node1 anew") < done.index("wait until the links of node1 stream") < done.index("make node2 anew")
        assert all(made.container(node).id != before[node] and made.container(node).labels["org.pgunison.test"] == "newer" for node in names(made))
        made.remove()
    finally:
        client.images.remove(image, force=True)


def test_limits_are_those_of_the_configuration(make_cluster):
    made = make_cluster(nodes=1, tables=[MARKS], container=DEFAULT["system"]["config"].get("container", {}) | {"memory_mib": 512, "cpus": 1.5}).up()
    given = made.container("node1").attrs["HostConfig"]
    assert (given["Memory"], given["NanoCpus"]) == (512 * 2**20, 1_500_000_000)
    assert given["RestartPolicy"]["Name"] == "unless-stopped"


# --- who may come in ---


def test_a_call_needs_a_certificate_and_the_token(cluster):
    certificates = cluster.site.runtime.certificates
    nobody = ssl.create_default_context(cafile=certificates.authorities)
    for path in ("health", "ready"):
        assert httpx.get(url(cluster, path), verify=nobody).status_code == 200
    assert httpx.post(url(cluster), verify=nobody, headers=bearer(cluster), json={}).status_code == 401
    assert httpx.post(url(cluster), verify=certificates.trust(), json={}).status_code == 401
    assert httpx.post(url(cluster), verify=certificates.trust(), headers=bearer(cluster), json={}).status_code == 200


def test_neither_a_node_nor_a_stranger_may_call(cluster, tmp_path):
    certificates = cluster.site.runtime.certificates
    stranger = Certificates("stranger", tmp_path)
    stranger.ensure()
    for shown in (certificates.node(cluster.site.spec("node2")), stranger.client):
        context = ssl.create_default_context(cafile=certificates.authorities)
        context.load_cert_chain(shown)
        with pytest.raises(httpx.TransportError):
            httpx.post(url(cluster), verify=context, headers=bearer(cluster), json={})
    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        httpx.get(url(cluster, "health"), verify=stranger.trust())


def test_nothing_but_tls_reaches_postgresql(cluster, tmp_path):
    dsn = cluster.site.dsn("writer1", "node1")
    assert "sslmode=verify-full" in dsn
    with pytest.raises(psycopg2.OperationalError, match="no encryption|no pg_hba.conf entry"):
        psycopg2.connect(dsn, sslmode="disable", sslrootcert="")
    stranger = Certificates("stranger", tmp_path)
    stranger.ensure()
    with pytest.raises(psycopg2.OperationalError, match="certificate verify failed"):
        psycopg2.connect(dsn, sslrootcert=str(stranger.authorities))
    for node in names(cluster):
        with contextlib.closing(cluster.superuser(node)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT bool_and(s.ssl), count(*) FROM pg_stat_replication r JOIN pg_stat_ssl s USING (pid)")
            assert cursor.fetchone() == (True, 2)
            cursor.execute("SELECT bool_and(subconninfo LIKE '%sslmode=verify-full%') FROM pg_subscription")
            assert cursor.fetchone() == (True,)


def test_no_secret_is_in_what_the_engine_tells(cluster):
    for node in names(cluster):
        container = cluster.container(node)
        told = json.dumps(container.attrs) + container.logs().decode(errors="replace") + json.dumps(container.top())
        for secret in (cluster.site.credentials.token, *cluster.site.credentials.passwords.values()):
            assert secret not in told
        modes = container.exec_run(["find", "/etc/pgunison", "-type", "f", "-printf", "%m %U\n"]).output.decode().split()
        assert modes == ["600", "999"] * 4


# --- certificates ---


def test_certificates_are_renewed_while_connections_stay(cluster):
    certificates, spec = cluster.site.runtime.certificates, cluster.site.spec
    before = {node: certificates.serial(spec(node)) for node in names(cluster)}
    with cluster.connect("node1", "writer") as connection, connection.cursor() as cursor:
        with writing(cluster):
            renew(cluster.site, Progress(), authority=True)
            renew(cluster.site, Progress(), authority=False)
            cluster.reopen()
        cursor.execute("SELECT count(*) FROM entry")
    for node in names(cluster):
        shown = cluster.site.agents.certificate(spec(node))
        assert shown.serial == certificates.serial(spec(node)) != before[node]
    assert certificates.authorities.read_text().count("BEGIN CERTIFICATE") == 2
    streaming(cluster)


def test_up_mends_a_renewal_that_was_interrupted(cluster):
    """The orchestrator shows what no node trusts yet: as if it was killed between making and giving."""
    cluster.site.runtime.certificates.renew_authority()
    cluster.site.runtime.certificates.renew_client()
    cluster.reopen()
    assert {node.state for node in cluster.site.observe().nodes} == {"agent down"}
    bring_up(cluster.site, Progress())
    assert {node.state for node in cluster.site.observe().nodes} == {"ready"}


# --- what the engine refuses ---


def test_there_is_no_engine(cluster):
    done = subprocess.run(command_line(cluster, "status"), capture_output=True, text=True, env=os.environ | {"DOCKER_HOST": "unix:///nowhere/docker.sock"})
    assert done.returncode == 1
    assert_explained(done.stderr)
    assert "no Docker engine answers" in done.stderr and "/nowhere/docker.sock" in done.stderr


def test_the_image_is_missing(make_cluster):
    made = make_cluster(nodes=1, tables=[MARKS], container={"image": "pgunison-none:latest"})
    assert "there is no image pgunison-none:latest" in run(made, "up", status=1).stderr
    assert made.site.runtime.nodes() == []


@pytest.mark.parametrize(("label", "said"), [
    ("org.pgunison.version=0.0.1", "is of version 0.0.1"), ("org.pgunison.code=0", "was made of other sources")])
def test_the_image_does_not_fit(make_cluster, client, label, said):
    image = f"pgunison-old-{os.getpid()}:latest"
    base = DEFAULT["system"]["config"].get("container", {}).get("image", "pgunison-node:latest")
    client.images.build(fileobj=io.BytesIO(f"FROM {base}\nLABEL {label}\n".encode()), tag=image, rm=True)
    try:
        made = make_cluster(nodes=1, tables=[MARKS], container={"image": image})
        assert said in run(made, "up", status=1).stderr
        assert made.site.runtime.nodes() == []
    finally:
        client.images.remove(image, force=True)


def test_a_name_is_taken(make_cluster, client):
    made = make_cluster(nodes=1, tables=[MARKS])
    image = made.site.configuration.container.image
    name = f"{made.site.configuration.id}-node1"
    stranger = client.containers.create(image, name=name)
    try:
        assert "has the name of a node" in run(made, "up", status=1).stderr
        made.remove()
        assert client.containers.get(name).id == stranger.id, "it was not ours"
    finally:
        stranger.remove()
    volume = client.volumes.create(name)
    try:
        assert f"there is a volume {name} that is not of this cluster" in run(made, "up", status=1).stderr
        run(made, "down", "--purge")
        assert client.volumes.get(name)
    finally:
        volume.remove()


def test_the_network_cannot_be(make_cluster, client):
    made = make_cluster(nodes=1, tables=[MARKS])
    configuration = made.site.configuration
    last = str(configuration.subnet.broadcast_address - 1)
    for overlapping in ({"subnet": str(configuration.subnet)}, {"subnet": str(configuration.subnet), "gateway": last},
                        {"subnet": str(configuration.subnet.supernet()), "gateway": last}):
        other = client.networks.create("pgunison-test-overlap", ipam=docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(**overlapping)]))
        try:
            assert "the subnet overlaps another network" in run(made, "up", status=1).stderr
        finally:
            other.remove()
    name = f"{configuration.id}-{configuration.network_id}"
    other = client.networks.create(name)
    try:
        assert f"there is a network {name} that is not of this cluster" in run(made, "up", status=1).stderr
    finally:
        other.remove()
    made.up()
    written = json.loads(made.config_path.read_text())
    subnet = free_subnet("docker")
    written["system"]["networks"][0]["config"]["net"]["ipv4"] = {"subnet": str(subnet.network_address), "netbits": 24, "gateway": str(subnet[1])}
    made.stop("node1")
    made.config_path.write_text(json.dumps(written))
    assert "has another subnet or gateway than sysconfig.json" in run(made, "up", status=1).stderr


def test_a_stranger_in_the_network_is_not_touched(make_cluster, client):
    made = make_cluster(nodes=1, tables=[MARKS]).up()
    guest = client.containers.run(made.site.configuration.container.image, entrypoint=["sleep", "600"], network=made.network().name, detach=True)
    try:
        assert "other containers use the cluster's network" in run(made, "down", "--purge", status=1).stderr
        guest.reload()
        assert guest.status == "running"
    finally:
        guest.remove(force=True)
    run(made, "down", "--purge")


def test_the_logs_of_a_node_can_be_read_also_when_it_is_stopped(cluster):
    cluster.query("node3", "DO $$BEGIN RAISE WARNING 'to be found'; END$$")
    assert "to be found" in run(cluster, "logs", "node3").stdout
    cluster.stop("node3")
    found = run(cluster, "logs", "node3").stdout
    assert "to be found" in found and "PostgreSQL is stopped" in found and "==> docker logs" in found
    cluster.up()
