"""The agent's HTTP side: JSON-RPC 2.0 at ``POST /``, ``GET /health``, ``GET /ready``; ``POST /settings`` has PostgreSQL check settings.

``GET /ready?role=reader&max_lag_s=5`` asks whether the node may serve somebody who takes rows that are up to 5 s old.
"""

import asyncio
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import psycopg2
from jsonrpcserver import dispatch
from jsonrpcserver.codes import ERROR_INVALID_PARAMS, ERROR_INVALID_REQUEST, ERROR_SERVER_ERROR
from jsonrpcserver.exceptions import JsonRpcError
from jsonrpcserver.result import Result, Success
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from container.postgresql import PostgresqlError
from esb_config.call import execute
from esb_config.errors import CallError
from services.errors import ServiceError

BODY_LIMIT_BYTES = 256 * 1024
BODY_TIMEOUT_S = 30.0
BUSY_LIMIT = 64
ROLES = ("writer", "reader")

logger = logging.getLogger(__name__)


def application(token: str, health_of: Callable[[], dict[str, Any]], ready_of: Callable[[float | None], dict[str, Any]],
                refused: Callable[[tuple[tuple[str, str], ...]], str | None]) -> Starlette:
    """Make the agent's application.

    ``token`` is what callers must bear, beside a certificate where the agent speaks TLS; ``health_of`` returns what ``/health`` says of the node,
    ``ready_of`` what ``/ready`` says to whoever takes rows that are up to so many seconds old; ``refused`` why PostgreSQL would not start with settings,
    or None.
    """
    busy: set[Request] = set()

    def limited(endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """Refuse a request when too many are being answered; /health has no such limit, because it asks nobody."""
        async def answer(request: Request) -> Response:
            if len(busy) >= BUSY_LIMIT:
                return JSONResponse({"error": f"{BUSY_LIMIT} requests are being answered"}, 503, {"Retry-After": "1", "Connection": "close"})
            busy.add(request)
            try:
                return await endpoint(request)
            finally:
                busy.remove(request)

        return answer

    def stranger(request: Request) -> Response | None:
        given = request.headers.get("authorization", "")
        if not getattr(request.state, "certified", True):
            return JSONResponse({"error": "a client certificate of this cluster is missing"}, 401)
        if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            return JSONResponse({"error": "credentials are missing or wrong"}, 401, {"WWW-Authenticate": "Bearer", "Connection": "close"})
        return None

    async def settings(request: Request) -> Response:
        if (unwanted := stranger(request)) is not None:
            return unwanted
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                given = tuple((str(name), str(value)) for name, value in (await request.json())["settings"])
        except (TimeoutError, ValueError, KeyError, TypeError) as error:
            return JSONResponse({"error": f"expected a list of names and values: {type(error).__name__}"}, 400)
        try:
            return JSONResponse({"refused": await run_in_threadpool(refused, given)})
        except (PostgresqlError, OSError) as error:
            return JSONResponse({"error": str(error)}, 500)

    async def call(request: Request) -> Response:
        if (unwanted := stranger(request)) is not None:
            return unwanted
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                body = await request.body()
        except TimeoutError:
            return JSONResponse({"error": f"the body did not arrive within {BODY_TIMEOUT_S:.0f} s"}, 408)
        answer = await run_in_threadpool(answer_to, body)
        return Response(answer, 200 if answer else 204, media_type="application/json")

    async def health(request: Request) -> Response:
        return JSONResponse(health_of())

    async def ready(request: Request) -> Response:
        try:
            max_lag_s = demand(request.query_params)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        answer = await run_in_threadpool(ready_of, max_lag_s)
        return JSONResponse(answer, 200 if answer["ready"] else 503)

    routes = [Route("/", limited(call), methods=["POST"]), Route("/settings", limited(settings), methods=["POST"]), Route("/health", health),
              Route("/ready", limited(ready))]
    return Starlette(routes=routes, max_body_size=BODY_LIMIT_BYTES)


def demand(query: Mapping[str, str]) -> float | None:
    """Read what ``/ready`` is asked for, the greatest lag in seconds, None for any; ValueError that names what is wrong. A role is a kind, and changes nothing
    so far: every node serves them all."""
    if unknown := set(query) - {"role", "max_lag_s"}:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))[:100]}; there are role and max_lag_s")
    if query.get("role", "reader") not in ROLES:
        raise ValueError(f"role: expected one of {', '.join(ROLES)}")
    try:
        seconds = float(query.get("max_lag_s", 0))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError("max_lag_s: expected a number of seconds, 0 or more")
    return seconds if "max_lag_s" in query else None


def answer_to(body: bytes) -> str:
    """Answer a JSON-RPC request; empty for a notification."""
    if body.lstrip()[:1] == b"[":
        return _error(ERROR_INVALID_REQUEST, "batches are not supported", "send one request at a time")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return _error(ERROR_INVALID_REQUEST, "the request is not UTF-8", "")
    # NaN is no JSON
    return str(dispatch(text, methods={"esb.execute": esb_execute}, deserializer=partial(json.loads, parse_constant=_refuse_constant)))


def esb_execute(**call: Any) -> Result:
    """Execute a call document. What the caller can mend is told; anything else is logged here and not told."""
    try:
        answer = execute(call)
        # checked here, where a failure has an answer
        json.dumps(answer, allow_nan=False)
        return Success(answer)
    except CallError as error:
        raise _rpc_error(ERROR_INVALID_PARAMS, error) from error
    except ServiceError as error:
        raise _rpc_error(ERROR_SERVER_ERROR, error) from error
    except psycopg2.Error as error:
        # the primary message only: the whole text may quote the statement
        said = error.diag.message_primary or type(error).__name__
        logger.error("%s: PostgreSQL: %s", call.get("SYSServiceID"), said)
        raise JsonRpcError(ERROR_SERVER_ERROR, "PostgreSQL refused", {
            "detail": " ".join(filter(None, (said, error.diag.message_detail))), "hint": error.diag.message_hint or "see the node's log"}) from error
    except Exception as error:
        logger.error("%s: %s", call.get("SYSServiceID"), type(error).__name__, exc_info=error)
        raise JsonRpcError(ERROR_SERVER_ERROR, "the service failed", {"detail": "a fault of the agent", "hint": "see the node's log"}) from error


def _rpc_error(code: int, error: CallError | ServiceError) -> JsonRpcError:
    return JsonRpcError(code, error.message, {"detail": error.detail, "hint": error.hint})


def _error(code: int, message: str, hint: str) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message, "data": {"detail": "", "hint": hint}}})


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
