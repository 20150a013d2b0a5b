"""esb_config/definition.py: every definition loads, and one that would spring a trap of microesb is refused when it is loaded."""

import copy
import importlib

import jsonschema
import pytest
import yaml

import esb_config
from esb_config.definition import RESERVED, service, services
from esb_config.errors import DefinitionError
from services.trigger import INSTALLED

MICROESB_NAMES = {"SYSServiceMethod", "_class_mapper", "json", "properties", "class_name", "json_dict", "parent_object", "logger"}
CLASSES = yaml.safe_load("""
Cluster: {description: a cluster, properties: {id: {type: string, required: true, example: a}}}
Node: {description: a node, properties: {name: {type: string, default: none}}}
Role: {description: a role, properties: {name: {type: string, required: true, example: r}}}
""")
WRITTEN = yaml.safe_load("""
service: node.do
description: Do it.
changes: true
target: [Node]
method: do
tree: {Cluster: {uses: [id], children: {Node: {uses: [name], children: {Role: {many: true, uses: [name]}}}}}}
""")


def test_every_part_of_the_merge_is_asked_for_by_default_in_the_order_of_its_list():
    trigger = services()["table.setup"].root.child("Node").child("Table").child("Trigger")
    assert [each["name"] for each in trigger.default] == list(INSTALLED)
    assert trigger.properties[0].schema["enum"] == list(INSTALLED)


def changed(*path_and_value):
    """Return the service above with the value at the path put in."""
    *path, last, value = path_and_value
    written = copy.deepcopy(WRITTEN)
    holder = written
    for step in path:
        holder = holder[step]
    holder[last] = value
    return written


def refusal(written, classes=CLASSES) -> str:
    with pytest.raises(DefinitionError) as refused:
        service(written, classes)
    return str(refused.value)


def test_every_definition_loads_under_the_name_of_its_file():
    folder = importlib.resources.files("esb_config").joinpath("services")
    assert set(services()) == {file.name.removesuffix(".yaml") for file in folder.iterdir()}
    assert len(services()) >= 12


def test_every_service_calls_a_method_that_exists():
    from services import microesb
    for each in services().values():
        name = ([each.root.name] + list(each.path))[-1]
        assert callable(getattr(getattr(microesb, name), each.method)), each.id


def test_every_class_of_a_tree_is_known_to_microesb():
    imported = {name for names in esb_config.import_classes.values() for name in names}

    def walk(node):
        yield node.name
        for child in node.children:
            yield from walk(child)

    assert {name for each in services().values() for name in walk(each.root)} <= imported


def test_a_service_is_what_was_written():
    made = service(WRITTEN, CLASSES)
    assert (made.id, made.path, made.method, made.changes) == ("node.do", ("Node",), "do", True)
    assert made.root.child("Node").child("Role").many
    assert made.example() == {"SYSServiceID": "node.do", "data": [{"Cluster": {"id": "a", "Node": {"Role": [{"name": "r"}]}}}]}


@pytest.mark.parametrize("name", sorted(RESERVED | MICROESB_NAMES))
def test_a_property_that_would_replace_an_attribute_of_microesb(name):
    classes = copy.deepcopy(CLASSES)
    classes["Node"]["properties"][name] = {"type": "string"}
    assert refusal(changed("tree", "Cluster", "children", "Node", "uses", [name]), classes) == f"node.do: Node.{name}: microesb uses this name itself"


def test_a_class_with_many_objects_must_be_a_leaf():
    below = {"many": True, "uses": ["name"], "children": {"Role": {"uses": ["name"]}}}
    assert "must be a leaf" in refusal(changed("tree", "Cluster", "children", {"Node": below}))


@pytest.mark.parametrize(("written", "said"), [
    ({key: value for key, value in WRITTEN.items() if key != "method"}, "expected service, description, changes, target, method and tree"),
    (WRITTEN | {"methods": ["do"]}, "expected service, description, changes, target, method and tree"),
    (WRITTEN | {"tree": {"Cluster": {"uses": []}, "Node": {"uses": []}}}, "a tree has one root"),
    (WRITTEN | {"target": ["Table"]}, "the target ['Table'] is not in the tree"),
    (changed("tree", "Cluster", "children", {"Knot": {"uses": []}}), "Knot is not in classes.yaml"),
    (changed("tree", "Cluster", "children", "Node", "user", ["name"]), "Node has unknown keys ['user']"),
    (changed("tree", "Cluster", "children", "Node", "uses", ["nam"]), "Node has no property ['nam']"),
])
def test_a_definition_that_is_wrong(written, said):
    assert said in refusal(written)


@pytest.mark.parametrize("each", services().values(), ids=lambda each: each.id)
def test_each_definition_is_a_json_schema(each):
    # here and not each time that the definitions are loaded: that takes long
    jsonschema.Draft202012Validator.check_schema(each.schema())


def test_a_property_that_is_no_json_schema_is_found():
    classes = copy.deepcopy(CLASSES)
    classes["Node"]["properties"]["name"] = {"type": "text"}
    with pytest.raises(jsonschema.SchemaError):
        jsonschema.Draft202012Validator.check_schema(service(WRITTEN, classes).schema())
