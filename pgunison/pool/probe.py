"""The probe: ``GET /ready`` of one agent, on a connection that is kept."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import Callable

from pgunison.endpoints import Endpoint
from pgunison.pool.node import Heard

BODY_LIMIT_BYTES = 1024 * 1024


class Refused(Exception):
    """The node's machine answers, and no agent does: that is told at once, and need not be waited for."""


class Probe:
    """Ask one agent again and again; one question at a time. ``tls`` returns whom to trust at this moment."""

    def __init__(self, endpoint: Endpoint, tls: Callable[[], ssl.SSLContext | None]):
        self._endpoint, self._tls = endpoint, tls
        self._request = f"GET /ready HTTP/1.1\r\nHost: {endpoint.address}\r\n\r\n".encode()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, timeout_s: float) -> Heard:
        """Return what the agent says. Refused or TimeoutError when it does not, OSError or ValueError when what answers is no agent of this cluster."""
        async with asyncio.timeout(timeout_s):
            # an agent closes a connection that was not used for a while
            if self._streams is not None:
                with contextlib.suppress(OSError, EOFError):
                    return await self._exchange(*self._streams)
                self.close()
            try:
                self._streams = await asyncio.open_connection(self._endpoint.address, self._endpoint.agent_port, ssl=self._tls())
                return await self._exchange(*self._streams)
            except (ConnectionRefusedError, ConnectionResetError, EOFError) as error:
                self.close()
                raise Refused(f"no agent answers at {self._endpoint.address}:{self._endpoint.agent_port}") from error

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Heard:
        try:
            writer.write(self._request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            status, length = int(head.split(maxsplit=2)[1]), int(head.partition(b"content-length:")[2].split(maxsplit=1)[0])
            if length > BODY_LIMIT_BYTES:
                raise ValueError(f"an answer of {length} bytes")
            answer = json.loads(await reader.readexactly(length))
            if status not in (200, 503) or "ready" not in answer:
                # it says why it cannot be asked just now
                raise ValueError(str(answer.get("error") or f"status {status}")[:200])
            return Heard.of(answer)
        except (ValueError, LookupError, TypeError, AttributeError, asyncio.LimitOverrunError) as error:
            self.close()
            raise ValueError(f"what answers at {self._endpoint.address}:{self._endpoint.agent_port} is no agent of this version: {error}") from error
        except BaseException:
            # half an answer would be taken for the next one
            self.close()
            raise

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None
