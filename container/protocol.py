"""HTTP as the agent speaks it: uvicorn's, with a deadline for the head of a request, and a limit for those who loiter."""

import asyncio
import weakref
from collections import OrderedDict

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

HEAD_TIMEOUT_S = 10.0
# for whoever was answered and has not sent all of the body
LINGER_S = 1.0
# So many connections may wait for a request to become whole. One more, and one is closed: first those that got an
# answer already, then the one that has waited the longest.
WAITING_LIMIT = 64

_waiting: weakref.WeakKeyDictionary[ServerState, OrderedDict["PromptProtocol", None]] = weakref.WeakKeyDictionary()


class PromptProtocol(H11Protocol):
    """Close connections on which no whole request head arrives in time, or that are too many without one: uvicorn itself waits for ever, and counts
    half a request as one of its limit. A probe, whose request comes at once, gets through however many loiter."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        super().connection_made(transport)
        # what the request's state says of who called; without TLS there is nothing to say
        tls = transport.get_extra_info("ssl_object")
        self.app_state = self.app_state | {"certified": tls is None or bool(tls.getpeercert())}
        self._others = _waiting.setdefault(self.server_state, OrderedDict())
        self._hurry = self.loop.call_later(HEAD_TIMEOUT_S, transport.close)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and self.cycle.response_complete and self.conn.their_state is not h11.IDLE:
            # the rest of a body that nobody reads
            return
        if self.conn.their_state is not h11.IDLE:
            self._hurry.cancel()
            self._others.pop(self, None)
        elif self._hurry.cancelled():
            self._hurry = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def on_response_complete(self) -> None:
        unread = self.conn.their_state is h11.SEND_BODY
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if unread:
            # not at once: what arrives at a closed socket takes the answer back
            self._hurry.cancel()
            self._hurry = self.loop.call_later(LINGER_S, self.transport.close)
        if self.cycle is None or self.cycle.response_complete:
            self._wait(answered=True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._hurry.cancel()
        self._others.pop(self, None)
        super().connection_lost(exc)

    def _wait(self, *, answered: bool = False) -> None:
        self._others[self] = None
        self._others.move_to_end(self, last=not answered)
        if len(self._others) > WAITING_LIMIT:
            first, _ = self._others.popitem(last=False)
            first.transport.close()
