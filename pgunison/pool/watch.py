"""The watch over calls that are under way: nobody waits for a node that does not answer."""

import time
from collections.abc import Iterable

from pgunison.pool.router import Router
from pgunison.pool.session import Session

# A call that takes longer than this has its node asked, and asked again, whether it is well.
STALL_S, ASK_EVERY_S = 0.15, 0.1


def watch(sessions: Iterable[Session], router: Router) -> None:
    """Cut what takes too long, and have the node asked of what takes long."""
    now = time.monotonic()
    for session in sessions:
        since = session.since
        if not since or session.cut_because is not None or now - since < min(STALL_S, session.limit_s):
            continue
        state = router.states.get(session.node)
        if now - since > session.limit_s:
            session.cut(f"{session.node} has not answered within {session.limit_s:g} s")
            router.suspect(session.node)
        elif state is not None and state.state == "silent":
            session.cut(f"{session.node}: {state.reason}")
        elif now - session.asked_at >= ASK_EVERY_S:
            session.asked_at = now
            router.ask(session.node)
