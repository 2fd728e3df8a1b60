# SPDX-License-Identifier: Apache-2.0
"""Dashboards as the interfaces of OAP take them: templates for 10.x, widgets of a layer's page for 11."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .rules import INSTANCE, SERVICE, Rule, Scope
from .versions import LAYER
from .widgets import Widget, widgets

NAMES = {SERVICE: "BanyanDB-Kernel-Service", INSTANCE: "BanyanDB-Kernel-Instance"}
"""Of the templates: their ids, too, which must be unique in an installation."""
_ENTITIES = {SERVICE: "Service", INSTANCE: "ServiceInstance"}
_WIDTH, _COLUMNS, _HEIGHT = 24, 3, 12
_LIST_HEIGHT = 20
_LINE = {"type": "Line", "step": False, "smooth": False, "showSymbol": True, "showXAxis": True, "showYAxis": True}
_TOP = {"type": "TopList", "color": "purple"}
_SPAN, _ROWS = 4, 2
HORIZON_ID = "kernel_"
"""What the ids of our widgets begin with in 11, so that a second installation replaces them."""


def template(made: Mapping[Scope, Sequence[Rule]], scope: Scope) -> str:
    """The template of 10.x: a list with one dashboard. That of the service leads to those of its instances."""
    shown = widgets(made[scope], scope)
    children = [_child(place, widget) for place, widget in enumerate(shown)]
    if scope == SERVICE:
        children.append(_instances(len(shown)))
    configuration = {
        "children": children,
        "layer": LAYER,
        "entity": _ENTITIES[scope],
        "name": NAMES[scope],
        "isRoot": False,
    }
    return _json([{"id": NAMES[scope], "configuration": configuration}])


def horizon_widgets(made: Mapping[Scope, Sequence[Rule]]) -> str:
    """The widgets of 11, by the page of the layer that they belong to."""
    pages = {"service": SERVICE, "instance": INSTANCE}
    return _json({page: [_horizon(each) for each in widgets(made[scope], scope)] for page, scope in pages.items()})


def _child(place: int, widget: Widget) -> dict[str, Any]:
    row, column = divmod(place, _COLUMNS)
    width = _WIDTH // _COLUMNS
    return {
        **_position(place, column * width, row * _HEIGHT, width, _HEIGHT),
        "widget": {"title": widget.title, "tips": widget.tip},
        "graph": _TOP if widget.is_top else _LINE,
        "expressions": [widget.expression],
        "metricConfig": [{"unit": widget.unit}],
    }


def _instances(place: int) -> dict[str, Any]:
    row = -(-place // _COLUMNS)
    graph = {"type": "InstanceList", "dashboardName": NAMES[INSTANCE], "fontSize": 12}
    shown = {"widget": {"title": "Containers"}, "graph": graph, "expressions": [], "metricConfig": []}
    return {**_position(place, 0, row * _HEIGHT, _WIDTH, _LIST_HEIGHT), **shown}


def _position(place: int, x: int, y: int, width: int, height: int) -> dict[str, Any]:
    return {"x": x, "y": y, "w": width, "h": height, "i": str(place), "type": "Widget"}


def _horizon(widget: Widget) -> dict[str, Any]:
    return {
        "id": f"{HORIZON_ID}{widget.id}",
        "title": widget.title,
        "tip": widget.tip,
        "type": "top" if widget.is_top else "line",
        "unit": widget.unit,
        "expressions": [widget.expression],
        "span": _SPAN,
        "rowSpan": _ROWS,
    }


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
