"""The checked call: the one place where microesb runs, with its traps worked round.

microesb itself checks nothing of a call, mutates what it is given, swallows exceptions of every method but the root's and throws away
what a method returns (docs/decisions/0002-microesb.md). So the call is checked before, microesb gets fresh copies each time, only the
root's ``execute`` is called, and the answer is taken from the root.
"""

from collections.abc import Iterator
from typing import Any

from esb_config.definition import ClassNode, Service
from esb_config.document import check

# from there, because that package imports it in the only order that works
from services import microesb


def execute(call: Any) -> dict[str, Any]:
    """Check a call document, do what it asks for on this process's server, and return the answer.

    Raises CallError for a document that is wrong, ServiceError when the service refuses or fails.
    """
    service, root = check(call)
    mapper = microesb.ClassMapper(
        class_references={service.root.name: _references(service.root)},
        class_mappings={node.name: node.name for node in _walk(service.root)},
        class_properties=_properties(service))
    item = {"SYSBackendMethod": {service.root.name: "execute"},
            service.root.name: root | {"path": list(service.path), "method": service.method}}
    mapped, = microesb.ServiceExecuter().execute(class_mapper=mapper, service_data={"data": [item]})
    answer: dict[str, Any] = getattr(mapped._class_mapper, service.root.name).answer
    return answer


def _walk(node: ClassNode) -> Iterator[ClassNode]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _references(node: ClassNode) -> dict[str, Any]:
    return {"property_ref": node.name, "children": {child.name: _references(child) for child in node.children}}


def _properties(service: Service) -> dict[str, Any]:
    def described(node: ClassNode) -> dict[str, Any]:
        return {p.name: {"type": "any", "default": p.default, "required": p.required, "description": ""} for p in node.properties}

    found: dict[str, dict[str, Any]] = {
        node.name: {"properties": described(node), "methods": []} for node in _walk(service.root)}
    root = found[service.root.name]
    root["methods"] = ["execute"]
    root["properties"] |= {name: {"type": "any", "default": None, "required": True, "description": ""} for name in ("path", "method")}
    return found
