"""Which address of the nodes' network is whose: the gateway's, a node's, or nobody's yet."""

import itertools
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from pgunison.contract.agent import capacity


def node_addresses(subnet: IPv4Network, gateway: IPv4Address) -> Iterator[IPv4Address]:
    """Yield the address of the node with index 1, 2 and so on: the host addresses of the subnet, the gateway left out."""
    return (address for address in subnet.hosts() if address != gateway)


def node_address(subnet: IPv4Network, gateway: IPv4Address, index: int) -> IPv4Address:
    """Return the index-th of :func:`node_addresses`; it is beyond the subnet where there are not so many."""
    place = subnet.network_address + index
    return place if place < gateway else place + 1


def places_of_others(subnet: IPv4Network, gateway: IPv4Address, max_nodes: int) -> IPv4Network | None:
    """Return the largest upper part of ``subnet`` without a node's address, for what is no node; None where the nodes need it all."""
    last = max(itertools.islice(node_addresses(subnet, gateway), capacity(max_nodes)), default=subnet.broadcast_address)
    parts = (IPv4Network((int(subnet.broadcast_address) + 1 - 2**bits, 32 - bits)) for bits in range(31 - subnet.prefixlen, 1, -1))
    return next((part for part in parts if last < part.network_address), None)
