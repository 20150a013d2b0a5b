"""Call documents: make one, check one against its service's definition."""

import copy
import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import jsonschema

from esb_config.definition import ClassNode, Service, services
from esb_config.errors import CallError
from pgunison.contract.call import call_document
from pgunison.contract.names import is_identifier, is_line

FAULTS_SHOWN = 10
FORMATS = jsonschema.FormatChecker(formats=())
# the same rule as in a configuration (pgunison/configuration/), so that what passes there does not fail here
FORMATS.checks("identifier")(is_identifier)
FORMATS.checks("line")(is_line)


def document(service_id: str, **root: Any) -> dict[str, Any]:
    """Make the call document of a service, checked: ``document("node.describe", Cluster={"id": ..., "Node": {...}})``.

    Raises CallError when it is not what the service takes.
    """
    made = call_document(service_id, **root)
    check(made)
    return made


def check(call: Any) -> tuple[Service, dict[str, Any]]:
    """Check a call document; returns its service and the root's data with every default filled in.

    Raises CallError that names each fault by its path. The document itself is not touched.
    """
    known = services()
    if not isinstance(call, dict) or not isinstance(call.get("SYSServiceID"), str):
        raise CallError("not a call document", "$.SYSServiceID: expected the name of a service", f"services: {', '.join(known)}")
    service = known.get(call["SYSServiceID"])
    if service is None:
        raise CallError(f"there is no service {call['SYSServiceID'][:80]!r}", "", f"services: {', '.join(known)}")
    faults = sorted(_validator(service.id).iter_errors(call), key=lambda fault: fault.json_path)
    lines = [f"{fault.json_path}: {_said(fault)}" for fault in faults[:FAULTS_SHOWN]]
    lines += [f"{path}: expected text that PostgreSQL takes (no NUL, valid Unicode)" for path in _unsendable(call, "$")][:FAULTS_SHOWN]
    if lines:
        raise CallError(f"the call is not what {service.id} takes", "; ".join(lines), "see docs/services.md")
    return service, _filled(service.root, copy.deepcopy(call["data"][0][service.root.name]))


@cache
def _validator(service_id: str) -> jsonschema.Draft202012Validator:
    # an agent checks the same call every two seconds
    return jsonschema.Draft202012Validator(services()[service_id].schema(), format_checker=FORMATS)


def _filled(node: ClassNode, value: Any) -> Any:
    """Put in what microesb does not: defaults of items in a list, and of classes that the call leaves out."""
    if node.many:
        return [_with_defaults(node, item) for item in value]
    made = _with_defaults(node, value)
    for child in node.children:
        given = made.get(child.name, copy.deepcopy(child.default) or ([] if child.many else {}))
        made[child.name] = _filled(child, given)
    return made


def _with_defaults(node: ClassNode, value: dict[str, Any]) -> dict[str, Any]:
    made = {p.name: copy.deepcopy(p.default) for p in node.properties} | value
    for each in node.properties:
        # JSON Schema takes 1.0 for an integer, SQL does not
        if each.schema.get("type") == "integer" and isinstance(made[each.name], float):
            made[each.name] = int(made[each.name])
    return made


def _unsendable(value: Any, path: str) -> Iterator[str]:
    """Find the texts that cannot be sent to PostgreSQL."""
    if isinstance(value, str) and ("\0" in value or any("\ud800" <= character <= "\udfff" for character in value)):
        yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield from _unsendable(member, f"{path}[{key}]" if isinstance(value, list) else f"{path}.{key}")


def _said(fault: jsonschema.ValidationError) -> str:
    # jsonschema shows the whole value, which may be long, or a password
    if fault.validator in ("additionalProperties", "required"):
        return fault.message[:200]
    wanted = f"{fault.validator} {json.dumps(fault.validator_value)}"
    # a schema may be true or false, too, which describe nothing
    expected = fault.schema.get("description", wanted) if isinstance(fault.schema, Mapping) else wanted
    return f"expected {expected} ({wanted})"[:200] if expected != wanted else f"expected {wanted}"[:200]
