"""HTTP as the agent speaks it: uvicorn's, with a deadline for the head of a request."""

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_TIMEOUT_S = 10.0


class PromptProtocol(H11Protocol):
    """Close connections on which no whole request head arrives in time: uvicorn itself waits for ever, and half a request
    counts as one of its limit."""

    def connection_made(self, transport) -> None:
        super().connection_made(transport)
        # what the request's state says of who called; without TLS there is nothing to say
        tls = transport.get_extra_info("ssl_object")
        self.app_state = self.app_state | {"certified": tls is None or bool(tls.getpeercert())}
        self._hurry = self.loop.call_later(HEAD_TIMEOUT_S, transport.close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._hurry.cancel()
        elif self._hurry.cancelled():
            self._hurry = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def connection_lost(self, exc) -> None:
        self._hurry.cancel()
        super().connection_lost(exc)
