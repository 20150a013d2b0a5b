"""Service definitions: what each service takes, read from YAML and checked before anything uses them."""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from esb_config.errors import DefinitionError

# microesb sets properties as attributes; these would replace its own.
RESERVED = {"json", "properties", "class_name", "json_dict", "parent_object", "logger", "path", "method"}
OWN_KEYS = {"required", "default", "example"}


@dataclass(frozen=True)
class Property:
    """A value that an object of a call may have; ``schema`` is its JSON Schema."""

    name: str
    schema: dict[str, Any]
    required: bool
    default: Any
    example: Any


@dataclass(frozen=True)
class ClassNode:
    """A class in a service's tree. ``many``: the call holds a list of objects, and the class is a leaf.

    ``default`` is what a call without the class means. ``complete``: a list that is given must hold all of the default's.
    """

    name: str
    description: str
    properties: tuple[Property, ...]
    children: tuple["ClassNode", ...]
    many: bool
    required: bool
    complete: bool
    default: Any

    def child(self, name: str) -> "ClassNode":
        return next(child for child in self.children if child.name == name)

    def schema(self) -> dict[str, Any]:
        """Write what an object (or list of objects) of this class must look like, as JSON Schema."""
        members = {p.name: p.schema for p in self.properties} | {child.name: child.schema() for child in self.children}
        required = [p.name for p in self.properties if p.required] + [child.name for child in self.children if child.required]
        schema = {"type": "object", "properties": members, "required": required, "additionalProperties": False}
        if self.many:
            least = len(self.default) if self.complete else 1 if self.required else 0
            return {"type": "array", "items": schema, "minItems": least, "maxItems": 1600, "uniqueItems": self.complete}
        return schema

    def example(self) -> Any:
        """Make an object with every property's example."""
        made = {p.name: p.example for p in self.properties if p.example is not None}
        made |= {child.name: child.example() for child in self.children if not child.complete}
        return [made] if self.many else made


@dataclass(frozen=True)
class Service:
    """Something that can be asked of a node: ``method`` is called on the object at ``path`` below ``root``."""

    id: str
    description: str
    changes: bool
    path: tuple[str, ...]
    method: str
    root: ClassNode

    def schema(self) -> dict[str, Any]:
        """Write what a call document of this service must look like, as JSON Schema."""
        item = {"type": "object", "properties": {self.root.name: self.root.schema()}, "required": [self.root.name],
                "additionalProperties": False}
        return {"type": "object", "required": ["SYSServiceID", "data"], "additionalProperties": False,
                "properties": {"SYSServiceID": {"const": self.id},
                               "data": {"type": "array", "items": item, "minItems": 1, "maxItems": 1}}}

    def example(self) -> dict[str, Any]:
        """Make a call document that shows every property."""
        return {"SYSServiceID": self.id, "data": [{self.root.name: self.root.example()}]}


@cache
def services() -> dict[str, Service]:
    """Load every service of ``esb_config/services/``, by id. Raises DefinitionError when one is wrong."""
    folder = resources.files("esb_config")
    classes = _load(folder.joinpath("classes.yaml").read_text(encoding="utf-8"))
    files = sorted((f for f in folder.joinpath("services").iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    found = [service(_load(file.read_text(encoding="utf-8")), classes) for file in files]
    return {each.id: each for each in found}


def _load(text: str) -> Any:
    # the loader in C takes a tenth of the time; where PyYAML was built without, the other one does as well
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def service(written: dict[str, Any], classes: dict[str, Any]) -> Service:
    """Turn one YAML document into a Service; ``classes`` is the content of classes.yaml."""
    name = written.get("service", "?")
    unknown = set(written) - {"service", "description", "changes", "target", "method", "tree"}
    if unknown or len(written) != 6:
        raise DefinitionError(f"{name}: expected service, description, changes, target, method and tree, found {sorted(written)}")
    if len(written["tree"]) != 1:
        raise DefinitionError(f"{name}: a tree has one root")
    (root_name, root_written), = written["tree"].items()
    root = _node(name, root_name, root_written, classes)
    node = root
    for step in written["target"]:
        if step not in [child.name for child in node.children]:
            raise DefinitionError(f"{name}: the target {written['target']} is not in the tree")
        node = node.child(step)
    return Service(name, written["description"], written["changes"], tuple(written["target"]), written["method"], root)


def _node(service_id: str, name: str, written: dict[str, Any], classes: dict[str, Any]) -> ClassNode:
    place = f"{service_id}: {name}"
    if name not in classes:
        raise DefinitionError(f"{place} is not in classes.yaml")
    unknown = set(written) - {"uses", "children", "many", "required", "complete", "default"}
    if unknown:
        raise DefinitionError(f"{place} has unknown keys {sorted(unknown)}")
    properties = classes[name]["properties"]
    missing = set(written["uses"]) - set(properties)
    if missing:
        raise DefinitionError(f"{place} has no property {sorted(missing)}")
    children = tuple(_node(service_id, child, child_written, classes) for child, child_written in (written.get("children") or {}).items())
    if written.get("many") and children:
        raise DefinitionError(f"{place}: a class with many objects must be a leaf (microesb maps nothing below it)")
    return ClassNode(name, classes[name]["description"], tuple(_property(place, used, properties[used]) for used in written["uses"]),
                     children, written.get("many", False), written.get("required", not written.get("many", False)),
                     written.get("complete", False), written.get("default"))


def _property(place: str, name: str, written: dict[str, Any]) -> Property:
    if name in RESERVED or name.startswith(("_", "SYS")):
        raise DefinitionError(f"{place}.{name}: microesb uses this name itself")
    schema = {key: value for key, value in written.items() if key not in OWN_KEYS}
    return Property(name, schema, written.get("required", False), written.get("default"), written.get("example"))
