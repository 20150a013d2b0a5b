"""pgunison/balancer.py: HAProxy's configuration says what the endpoints say."""

import re

from pgunison.balancer import Listening, haproxy
from pgunison.endpoints import Endpoint, Endpoints

NODES = tuple(Endpoint(f"node{k}", k, f"127.28.64.{k + 1}", 5432, 64000) for k in (1, 2, 3))
LISTENING = Listening("127.0.0.1", 5000, 5001, 5002)


def servers(text: str, backend: str) -> list[str]:
    return re.findall(r"^    server (.*)$", text.split(f"\nbackend {backend}\n")[1].split("\n\n")[0], re.MULTILINE)


def test_each_backend_has_every_node_and_asks_its_agent():
    text = haproxy(Endpoints("lb-test", "lb-test", NODES), LISTENING, 5)
    for backend in ("write", "fresh", "any"):
        assert servers(text, backend) == [f"node{k} 127.28.64.{k + 1}:5432 check port 64000" for k in (1, 2, 3)]
    assert re.findall(r"GET (.*)", text) == ["/ready?role=writer", "/ready?role=reader&max_lag_s=5", "/ready?role=reader"]
    assert re.findall(r"bind (.*)", text) == ["127.0.0.1:5000", "127.0.0.1:5001", "127.0.0.1:5002"]


def test_old_rows_are_better_than_none():
    assert "use_backend fresh if { nbsrv(fresh) gt 0 }\n    default_backend any" in haproxy(Endpoints("lb-test", "lb-test", NODES), LISTENING, 5)


def test_where_nodes_speak_tls_the_agent_is_asked_with_it():
    text = haproxy(Endpoints("lb-test", "lb-test", NODES[:1], "/var/lib/a b/ca.pem"), LISTENING, 5)
    assert servers(text, "any") == [r"node1 127.28.64.2:5432 check port 64000 check-ssl verify required ca-file /var/lib/a\ b/ca.pem"]


def test_a_cluster_without_nodes_has_none():
    assert not re.findall(r"^    server ", haproxy(Endpoints("lb-test", "lb-test", ()), LISTENING, 5), re.MULTILINE)
