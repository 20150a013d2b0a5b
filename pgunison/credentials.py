"""Passwords and the agents' token: made at the first ``up``, kept in a file that only its owner can read."""

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from pgunison.configuration.sysconfig import Configuration
from pgunison.errors import UsageError
from pgunison.files import write_whole

PASSWORDS, TOKEN, PASSFILE = "passwords.json", "agent-token", "passfile"


@dataclass(frozen=True)
class Credentials:
    """``passwords`` by role, the ``token`` of the agents, and the files that hold them for others (libpq, the agents)."""

    passwords: dict[str, str] = field(repr=False)
    token: str = field(repr=False)
    passfile: Path
    token_file: Path


def ensure(configuration: Configuration, directory: Path) -> Credentials:
    """Read the cluster's credentials, making what is missing; those of roles that are not configured now stay, because the nodes still have them.

    UsageError for a password file that the configuration names and that is wrong.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    known = _read(directory / PASSWORDS) if (directory / PASSWORDS).exists() else {}
    given = _given(configuration)
    wanted = known | {role.name: given.get(role.name) or known.get(role.name) or secrets.token_urlsafe(24) for role in configuration.roles}
    if wanted != known:
        write_private(directory / PASSWORDS, json.dumps(wanted, indent=1) + "\n")
    if not (directory / TOKEN).exists():
        write_private(directory / TOKEN, secrets.token_urlsafe(32) + "\n")
    passfile = directory / PASSFILE
    lines = "".join(f"*:*:*:{_escaped(name)}:{_escaped(password)}\n" for name, password in sorted(wanted.items()))
    if not passfile.exists() or passfile.read_text(encoding="utf-8") != lines:
        write_private(passfile, lines)
    return read(directory)


def read(directory: Path) -> Credentials:
    """Read the credentials of a cluster that has them (:func:`exist`); changes nothing. A role that is new in the configuration has none yet."""
    return Credentials(_read(directory / PASSWORDS), (directory / TOKEN).read_text(encoding="utf-8").strip(), directory / PASSFILE, directory / TOKEN)


def stored(configuration: Configuration, directory: Path) -> dict[str, str]:
    """Read the passwords by role that ``up`` has stored; changes nothing. UsageError when one is missing."""
    found = _read(directory / PASSWORDS)
    missing = [role.name for role in configuration.roles if role.name not in found]
    if missing:
        raise UsageError(f"there is no password of {', '.join(missing)}", f"{directory} was made for other roles", "python3 orchestrator.py up")
    return found


def exist(directory: Path) -> bool:
    """Tell whether a cluster's credentials were made, all of them: no ``up`` has ever run without."""
    return all((directory / name).exists() for name in (PASSWORDS, TOKEN, PASSFILE))


def write_private(path: Path, content: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    write_whole(path, content, 0o600)


def _given(configuration: Configuration) -> dict[str, str]:
    path = configuration.password_file
    if path is None:
        return {}
    if path.exists() and path.stat().st_mode & 0o077:
        raise UsageError(f"{path} can be read by others", f"its mode is {path.stat().st_mode & 0o777:o}", f"chmod 600 {path}")
    given = _read(path)
    unknown = set(given) - {role.name for role in configuration.roles}
    weak = [name for name, password in given.items() if not isinstance(password, str) or not 8 <= len(password) <= 200 or not password.isprintable()]
    if unknown or weak:
        raise UsageError(f"{path} is not a password file", f"unknown roles: {sorted(unknown) or 'none'}; passwords that are no text of 8 to 200"
                         f" printable characters: {sorted(weak) or 'none'}", 'write {"role": "password", ...}')
    return given


def _read(path: Path) -> dict[str, str]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read", error.strerror or str(error), "name a readable file at $.system.config.passwords.file") from error
    except ValueError as error:
        # not the text itself: it may hold a password
        raise UsageError(f"{path} is not JSON", type(error).__name__, 'write {"role": "password", ...}') from error
    if not isinstance(read, dict):
        raise UsageError(f"{path} is not a password file", "it holds no object", 'write {"role": "password", ...}')
    return read


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(":", "\\:")
