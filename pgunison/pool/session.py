"""A session: one connection to one node, with what the pool must know of it while somebody waits for its answer."""

import contextlib
import os
import select
import socket
from typing import Any

from psycopg2 import extensions

from pgunison.pool.lanes import Lane


class Session:
    """``connection`` is psycopg2's, ``handler`` pgdbpool's. ``since`` is when the call that is under way began, 0 when there is none; ``limit_s`` how long
    it may take; ``cut_because`` why the pool has cut the connection, None while it has not."""

    __slots__ = ("_poll", "_socket", "asked_at", "connection", "cursor", "cut_because", "handler", "lane", "limit_s", "since")

    def __init__(self, lane: Lane, handler: Any, limit_s: float):
        self.lane, self.handler, self.limit_s = lane, handler, limit_s
        self.connection = handler.conn_ref
        self.cursor = self.connection.cursor()
        self.since = self.asked_at = 0.0
        self.cut_because: str | None = None
        # a descriptor of our own: that of the connection may be another file's by the time that somebody uses it from another thread
        self._socket = socket.socket(fileno=os.dup(self.connection.fileno()))
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    @property
    def node(self) -> str:
        return self.lane.endpoint.name

    def alive(self) -> bool:
        """Tell without asking the server whether the connection stands: one that nobody uses has nothing to read but its end."""
        return not self._poll.poll(0) and not self.connection.closed and self.cut_because is None

    @property
    def settled(self) -> bool:
        """Tell whether no transaction is open: neither the server's nor, as psycopg2 believes, its own. A BEGIN or COMMIT of the caller tells them apart."""
        return bool(self.connection.get_transaction_status() == extensions.TRANSACTION_STATUS_IDLE and self.connection.status == extensions.STATUS_READY)

    def cut(self, because: str) -> None:
        """Cut the connection from another thread: whoever waits for its answer gets an error at once."""
        self.cut_because = because
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Give back the descriptor; the connection is closed by whoever opened it."""
        self._socket.close()
