"""container/serverlog.py: of all that a server wrote, the line that tells why it ended."""

import pytest

from container.serverlog import telling

AT = "2026-11-26 15:16:09.256 UTC [17890] "
STARTING = AT + "writer1@lb-test [unknown] FATAL:  the database system is starting up"
STATEMENT = AT + "writer1@lb-test psql ERROR:  relation \"none\" does not exist"
KILLED = AT + "LOG:  server process (PID 4711) was terminated by signal 9: Killed"
PANIC = AT + "writer1@lb-test psql PANIC:  could not write to file \"pg_wal/xlogtemp.1\": No space left on device"


@pytest.mark.parametrize(("lines", "told"), [
    ([], None),
    ([STARTING], None),
    ([AT + "FATAL:  the database system is shutting down"], None),
    ([STATEMENT, STARTING], None),
    ([KILLED, AT + "LOG:  terminating any other active server processes", STARTING], "server process (PID 4711) was terminated by signal 9: Killed"),
    ([PANIC, KILLED, STARTING], PANIC),
    ([AT + "FATAL:  could not access file \"nolib\": No such file or directory", STARTING, STATEMENT],
     "could not access file \"nolib\": No such file or directory"),
    (["FATAL:  data directory \"/data\" has invalid permissions"], "data directory \"/data\" has invalid permissions"),
    ([AT + "LOG:  unrecognized configuration parameter \"nonsense\" in file \"/data/postgresql.conf\" line 70",
      AT + "LOG:  invalid value for parameter \"work_mem\": \"1 parsec\"", AT + "HINT:  Valid units for this parameter are \"B\" and \"kB\".",
      AT + "FATAL:  configuration file \"/data/postgresql.conf\" contains errors"],
     "unrecognized configuration parameter \"nonsense\"; "
     "invalid value for parameter \"work_mem\": \"1 parsec\"; Valid units for this parameter are \"B\" and \"kB\"."),
    ([AT + "LOG:  skipping missing configuration file \"/data/unison_pace.conf\"",
      AT + "LOG:  syntax error in file \"/tmp/x\" line 890, near token \"'\"", AT + "FATAL:  configuration file \"/tmp/x\" contains errors"],
     "syntax error, near token \"'\""),
    (["postgres: error while loading shared libraries: libssl.so.3: cannot open shared object file", "\tmore"],
     "postgres: error while loading shared libraries: libssl.so.3: cannot open shared object file")])
def test_what_tells(lines, told):
    assert telling(lines) == told


def test_it_is_short():
    assert len(telling([AT + "FATAL:  " + "x" * 10000])) == 300
