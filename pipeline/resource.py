# SPDX-License-Identifier: Apache-2.0
"""The observed entity: the attributes that all rows of a frame have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from weakref import WeakValueDictionary

from .errors import FrameError

Attributes = tuple[tuple[str, str], ...]


class Resource(Mapping[str, str]):
    """An immutable mapping, sorted by name. Equal resources are one object, so a resource is a cheap key.

    Created from any mapping; values that are not text are converted to text. Raises `FrameError` for anything else.
    """

    __slots__ = ("__weakref__", "_attributes", "_hash")
    _attributes: dict[str, str]
    _hash: int
    _interned: ClassVar[WeakValueDictionary[Attributes, Resource]] = WeakValueDictionary()

    def __new__(cls, attributes: Mapping[str, Any] | None = None) -> Resource:
        """The resource with these attributes; a resource is returned unchanged."""
        if isinstance(attributes, Resource):
            return attributes
        key = _key({} if attributes is None else attributes)
        known = cls._interned.get(key)
        if known is not None:
            return known
        made = super().__new__(cls)
        object.__setattr__(made, "_attributes", dict(key))
        object.__setattr__(made, "_hash", hash(key))
        return cls._interned.setdefault(key, made)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f'a resource does not change; make another one instead of setting "{name}"')

    def __getitem__(self, name: str) -> str:
        return self._attributes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._attributes)

    def __len__(self) -> int:
        return len(self._attributes)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Mapping) and self._attributes == dict(other))

    def __repr__(self) -> str:
        return f"Resource({self._attributes!r})"

    def __reduce__(self) -> tuple[type[Resource], tuple[dict[str, str]]]:
        return Resource, (dict(self._attributes),)


def _key(attributes: Mapping[str, Any]) -> Attributes:
    if not isinstance(attributes, Mapping):
        raise FrameError(f"resource: is a {type(attributes).__name__}; give a mapping of attributes")
    return tuple(sorted((str(name), str(value)) for name, value in attributes.items()))
