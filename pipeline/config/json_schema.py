# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema of a configuration, for editors, generated from the installed components' settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ebpf_sidecar.pipeline.component import ComponentKind, Factory
from ebpf_sidecar.pipeline.errors import PluginError
from ebpf_sidecar.pipeline.plugins import Plugins

from .service_settings import PipelineBody, ServiceBody
from .sources import USER_SECTION_PREFIX

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE = "reference"
_OWN = (ServiceBody, PipelineBody)


def schema(plugins: Plugins) -> dict[str, Any]:
    """The schema as plain data; broken plugins are left out, so the editor does not know their components."""
    factories = list(_factories(plugins))
    models: dict[type[BaseModel], None] = dict.fromkeys([*_OWN, *(factory.settings for factory in factories)])
    names, parts = models_json_schema([(model, "validation") for model in models], ref_template="#/$defs/{model}")
    definitions: dict[str, Any] = {name: _with_references(part) for name, part in parts.get("$defs", {}).items()}
    refs = {model: names[model, "validation"] for model in models}
    sections = {kind.section: _section(kind, factories, refs, definitions) for kind in ComponentKind}
    return {
        "$schema": DIALECT,
        "title": "ebpf-sidecar configuration",
        "type": "object",
        "properties": {**sections, "service": _service(refs, definitions)},
        "patternProperties": {f"^{USER_SECTION_PREFIX}": {}},
        "required": [ComponentKind.RECEIVER.section, ComponentKind.EXPORTER.section, "service"],
        "additionalProperties": False,
        "$defs": {**definitions, _REFERENCE: {"type": "string", "pattern": r"\$\{.+\}"}},
    }


def _factories(plugins: Plugins) -> Iterable[Factory]:
    for kind, type_, _ in plugins.all():
        try:
            yield plugins.factory(kind, type_)
        except PluginError:
            continue  # "components" explains it


def _section(
    kind: ComponentKind, factories: Iterable[Factory], refs: Mapping[type[BaseModel], Any], definitions: dict[str, Any]
) -> dict[str, Any]:
    """A section: ids of each installed type, each with that type's settings or null."""
    bodies = {}
    for factory in factories:
        if factory.kind is kind:
            name = f"{kind.value}.{factory.type}"
            definitions[name] = _body(factory, _named(refs[factory.settings], definitions))
            body = {"$ref": f"#/$defs/{name}"}
            bodies[f"^{re.escape(factory.type)}(/.+)?$"] = (
                body if definitions[name].get("required") else _or_nothing(body)
            )
    return _or_reference({"type": ["object", "null"], "patternProperties": bodies, "additionalProperties": False})


def _body(factory: Factory, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {**settings, "title": factory.type, "description": factory.description or settings.get("description", "")}


def _service(refs: Mapping[type[BaseModel], Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    own = _named(refs[ServiceBody], definitions)
    pipelines = {
        "type": "object",
        "description": "Each pipeline passes data from its receivers through its processors to all its exporters.",
        "patternProperties": {"^metrics(/.+)?$": refs[PipelineBody]},
        "additionalProperties": False,
        "minProperties": 1,
    }
    return {
        **own,
        "properties": {**own["properties"], "pipelines": _or_reference(pipelines)},
        "required": ["pipelines"],
    }


def _named(ref: Mapping[str, str], definitions: Mapping[str, Any]) -> dict[str, Any]:
    return dict(definitions[ref["$ref"].removeprefix("#/$defs/")])


def _with_references(part: Any) -> Any:
    """A settings class's schema in which values may also be ``${env:…}`` or, unless required, null."""
    if "properties" not in part:
        return part
    needed = part.get("required", ())
    properties = part["properties"].items()
    return {**part, "properties": {n: _or_reference(p if n in needed else _or_nothing(p)) for n, p in properties}}


def _or_nothing(part: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [part, {"type": "null"}]}


def _or_reference(part: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [part, {"$ref": f"#/$defs/{_REFERENCE}"}]}
