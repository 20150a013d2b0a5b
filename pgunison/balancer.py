"""HAProxy's configuration for a cluster, from its endpoints. No I/O."""

import re
from dataclasses import dataclass

from pgunison.endpoints import Endpoint, Endpoints

# A node is asked so often, and by connections that fail; two answers that are missing or bad, and it is out within a second.
CHECK = ("inter 1s fastinter 100ms downinter 250ms fall 2 rise 1 observe layer4 error-limit 1 on-error mark-down on-marked-down shutdown-sessions"
         " slowstart 4s")


@dataclass(frozen=True)
class Listening:
    """Where HAProxy listens: a port to write, one to read, and that of its statistics."""

    address: str
    write: int
    read: int
    statistics: int


def haproxy(endpoints: Endpoints, listening: Listening, max_lag_s: float) -> str:
    """Write the whole file.

    Writers go to any node that is ready, readers to those that are up to ``max_lag_s`` behind, and to all that are ready when there is none.
    """
    servers = {"write": "/ready?role=writer", "fresh": f"/ready?role=reader&max_lag_s={max_lag_s:g}", "any": "/ready?role=reader"}
    lines = [
        f"# Written by python3 orchestrator.py balancer for {endpoints.cluster}. It is written anew when nodes come or go.",
        "global", "    maxconn 4000", "",
        "defaults", "    mode tcp", "    maxconn 2000", "    timeout connect 2s", "    timeout client 1h", "    timeout server 1h", "    timeout check 500ms",
        f"    default-server {CHECK}",
        "    option redispatch", "    retries 3", "    option clitcpka", "    option srvtcpka", "",
        "frontend write", f"    bind {listening.address}:{listening.write}", "    default_backend write", "",
        "frontend read", f"    bind {listening.address}:{listening.read}", "    use_backend fresh if { nbsrv(fresh) gt 0 }", "    default_backend any", ""]
    for name, ask in servers.items():
        lines += [f"backend {name}", "    balance leastconn", f"    option httpchk GET {ask}", "    http-check expect status 200"]
        lines += [f"    {_server(node, endpoints.root_certificate)}" for node in endpoints.nodes] + [""]
    return "\n".join([*lines, "frontend statistics", f"    bind {listening.address}:{listening.statistics}", "    mode http", "    timeout client 10s",
                      "    stats enable", "    stats uri /", "    stats refresh 2s", "    stats show-desc " + f"pgunison {endpoints.cluster}", ""])


def _server(node: Endpoint, root_certificate: str | None) -> str:
    # PostgreSQL's own TLS goes through as it is; the check speaks to the agent
    tls = f" check-ssl verify required ca-file {_quoted(root_certificate)}" if root_certificate else ""
    return f"server {node.name} {node.address}:{node.postgresql_port} check port {node.agent_port}{tls}"


def _quoted(text: str) -> str:
    return re.sub(r"([\\ #\"'$])", r"\\\1", text)
