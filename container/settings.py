"""postgresql.conf, pg_hba.conf and pg_ident.conf of a node, each setting with its reason."""

import getpass
import itertools
import os
from ipaddress import IPv4Address, IPv4Network

from pgunison.contract.addresses import node_addresses
from pgunison.contract.agent import AgentConfiguration, capacity
from pgunison.contract.names import AGENT, REPLICATORS

# beside postgresql.conf
PACE_FILE = "unison_pace.conf"


def postgresql_conf(configuration: AgentConfiguration, major_version: int) -> str:
    """Write the whole file; the agent writes it anew at every start. What the configuration adds stands last, and wins."""
    peers = capacity(configuration.max_nodes)
    lines = ["# Written by the pgunison agent at every start. Change settings in sysconfig.json."]
    for name, value, reason in _settings(configuration, peers, major_version):
        lines += [f"# {reason}", f"{name} = {quoted(value)}"]
    lines += ["# how fast failing apply workers are started again: the agent writes it while the server runs", f"include_if_exists = '{PACE_FILE}'"]
    lines += ["# from sysconfig.json"] + [f"{name} = {quoted(value)}" for name, value in configuration.settings]
    return "\n".join(lines) + "\n"


def _settings(configuration: AgentConfiguration, peers: int, major_version: int) -> list[tuple[str, object, str]]:
    settings: list[tuple[str, object, str]] = [
        ("listen_addresses", configuration.address, "the node's own address: another node of this machine has the same port"),
        ("port", configuration.postgresql_port, "the same on every node: their addresses differ"),
        ("unix_socket_directories", configuration.socket_directory, "where the agent comes in, without a password (pg_hba.conf: peer)"),
        ("password_encryption", "scram-sha-256", "no other kind of password is stored"),
        ("max_connections", 100 + 8 * peers, "for clients; walsenders are counted apart"),
        ("wal_level", "logical", "rows must be decodable from the WAL"),
        ("max_replication_slots", peers + 8, "one a peer, and some for copies and backups"),
        ("max_wal_senders", peers + 8, "one a slot"),
        ("max_logical_replication_workers", peers + 4, "one apply worker a peer"),
        ("max_worker_processes", peers + 16, "the apply workers, the launcher, and parallel queries"),
        ("wal_retrieve_retry_interval", "200ms", "an apply worker that met a conflict of locks tries again at once"),
        ("wal_sender_timeout", "30s", "a peer that is frozen is noticed"),
        ("wal_receiver_timeout", "30s", "the same from the other side"),
        ("wal_writer_delay", "20ms", "apply workers do not wait for the disk; this bounds how late a peer hears that its change is safe"),
        ("logging_collector", "on", "the log outlives the agent and cannot grow without bound"),
        ("log_directory", configuration.log_directory, "beside the data, not in it"),
        ("log_filename", "postgresql-%u.log", "seven files, one a day of the week"),
        ("log_rotation_size", 0, "a file holds its day"),
        ("log_rotation_age", "1d", "the next day takes the next file"),
        ("log_truncate_on_rotation", "on", "last week's file is overwritten"),
        ("log_line_prefix", "%m [%p] %q%u@%d %a ", "when, which process, who"),
        ("log_min_messages", "warning", "what needs a look"),
        ("track_functions", "pl", "what the merge costs can be seen in pg_stat_user_functions"),
        ("cluster_name", f"pgunison {configuration.cluster} {configuration.node}", "shown by ps"),
    ]
    if configuration.tls:
        settings += [
            ("ssl", "on", "nothing travels in clear between machines"),
            ("ssl_cert_file", configuration.tls / "node.pem", "the node's certificate"),
            ("ssl_key_file", configuration.tls / "node.pem", "and its key, in one file so that both change at once"),
        ]
    if major_version >= 18:
        settings.append(("max_active_replication_origins", peers + 8, "one a subscription, and one for copies"))
    return settings


def pg_hba(configuration: AgentConfiguration) -> str:
    """Write who may come in: the agent through the socket, everybody else with a password; no line says trust."""
    lines = ["# TYPE DATABASE USER ADDRESS METHOD", "local all postgres peer map=agent", f"local all {AGENT} peer map=agent",
             f"local all +{REPLICATORS} reject", "local all all scram-sha-256"]
    kind = "hostssl" if configuration.tls else "host"
    # The word "replication" stands in no line, but that keeps out physical standbys only: a walsender of one database (replication=database) is admitted by
    # the lines of that database, and may take a base backup, too. PostgreSQL has no attribute for the one without the other. So the replicator is admitted
    # from the nodes' own addresses. Processes of one machine all come from its loopback: there, its password is worth the whole server.
    lines += [f"{kind} {hba_quoted(configuration.database)} +{REPLICATORS} {place} scram-sha-256" for place in replicators_places(configuration)]
    lines += [f"host all +{REPLICATORS} all reject", f"host all {AGENT} all reject"]
    lines += [f"{kind} {hba_quoted(configuration.database)} all {network} scram-sha-256" for network in configuration.networks]
    return "\n".join(lines) + "\n"


def replicators_places(configuration: AgentConfiguration) -> list[str]:
    """List the addresses of all nodes that there may be; the networks where nodes have no address to themselves.

    Through the gateway comes the host, and whoever it forwards: that is no node's.
    """
    if not configuration.gateway:
        return list(configuration.networks)
    gateway = IPv4Address(configuration.gateway)
    found = (f"{address}/32" for network in configuration.networks for address in node_addresses(IPv4Network(network), gateway))
    return list(itertools.islice(found, capacity(configuration.max_nodes)))


def pg_ident(configuration: AgentConfiguration) -> str:
    """Let the agent's user, and PostgreSQL's own, be the superuser and the agent's role on the socket."""
    users = {getpass.getuser() if os.getuid() else "root"} | ({configuration.user.name} if configuration.user else set())
    return "".join(f"agent {hba_quoted(user)} {role}\n" for user in sorted(users) for role in ("postgres", AGENT))


def quoted(value: object) -> str:
    """Quote a value for postgresql.conf."""
    return "'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"


def hba_quoted(name: str) -> str:
    """Quote a name for pg_hba.conf, where a quoted name is never a keyword."""
    return '"' + name.replace('"', '""') + '"'
