"""Nested containers (tuple, list, dict, namedtuple, dataclass) <-> a flat list of leaves and a structure."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from chainrule.errors import ArgumentError

__all__ = ["LEAF", "Structure", "flatten", "leaf_paths", "map_leaves", "unflatten"]


class Structure:
    """The shape of a nested container without its leaves; equal structures compare equal."""

    __slots__ = ("children", "kind", "meta", "size")

    def __init__(self, kind: Any, meta: Any, children: tuple[Structure, ...]) -> None:
        self.kind = kind
        self.meta = meta
        self.children = children
        self.size: int = 1 if kind is None else sum(child.size for child in children)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, Structure)
            and self.kind is other.kind
            and bool(self.meta == other.meta)
            and self.children == other.children
        )

    def __hash__(self) -> int:
        return hash((self.kind, self.children))

    def __repr__(self) -> str:
        if self.kind is None:
            return "*"
        name = self.kind.__name__
        if self.meta is not None:
            pairs = zip(self.meta, self.children, strict=True)
            return f"{name}({', '.join(f'{key}={child!r}' for key, child in pairs)})"
        return f"{name}({', '.join(map(repr, self.children))})"


LEAF = Structure(None, None, ())


def _open(tree: Any) -> tuple[Any, tuple[Any, ...]] | None:
    """The keys (or None) and the children of a container; None for a leaf."""
    kind = type(tree)
    if kind is tuple or kind is list:
        return None, tuple(tree)
    if kind is dict or kind is OrderedDict or kind is defaultdict:
        return tuple(tree), tuple(tree.values())
    if isinstance(tree, tuple) and hasattr(kind, "_fields"):
        return kind._fields, tuple(tree)
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        names = tuple(field.name for field in dataclasses.fields(tree))
        return names, tuple(getattr(tree, name) for name in names)
    return None


def _is_container(tree: Any) -> bool:
    kind = type(tree)
    if kind in (tuple, list, dict, OrderedDict, defaultdict):
        return True
    if isinstance(tree, tuple) and hasattr(kind, "_fields"):
        return True
    return dataclasses.is_dataclass(tree) and not isinstance(tree, type)


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """The leaves in order, and the structure that puts them back.

    >>> flatten({"a": 1.0, "b": (2.0, [3.0])})[0]
    [1.0, 2.0, 3.0]
    """
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves, ())


def _flatten(tree: Any, leaves: list[Any], above: tuple[int, ...]) -> Structure:
    if not _is_container(tree):
        leaves.append(tree)
        return LEAF
    if id(tree) in above:
        raise ArgumentError(
            f"a {type(tree).__name__} contains itself",
            cure="pass containers (tuple, list, dict, namedtuple, dataclass) that are trees",
        )
    opened = _open(tree)
    assert opened is not None
    keys, children = opened
    inside = (*above, id(tree))
    return Structure(type(tree), keys, tuple(_flatten(child, leaves, inside) for child in children))


def unflatten(structure: Structure, leaves: Iterable[Any]) -> Any:
    """A container of the given structure with the given leaves.

    >>> unflatten(flatten((1.0, [2.0]))[1], [5.0, 6.0])
    (5.0, [6.0])
    """
    rest = iter(leaves)
    return _unflatten(structure, rest)


def _unflatten(structure: Structure, rest: Iterator[Any]) -> Any:
    kind = structure.kind
    if kind is None:
        return next(rest)
    children = [_unflatten(child, rest) for child in structure.children]
    if kind is list:
        return children
    if kind is tuple:
        return tuple(children)
    if kind is dict or kind is OrderedDict:
        return kind(zip(structure.meta, children, strict=True))
    if kind is defaultdict:
        return dict(zip(structure.meta, children, strict=True))
    if hasattr(kind, "_fields"):
        return kind(*children)
    # A dataclass is rebuilt without __init__: a __post_init__ that validates or converts its fields must not see
    # gradients or stand-ins, which are not what its author wrote it for.
    made = object.__new__(kind)
    for name, child in zip(structure.meta, children, strict=True):
        object.__setattr__(made, name, child)
    return made


def map_leaves(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """The container of ``function(leaf, ...)``; all trees must have the same structure."""
    leaves, structure = flatten(tree)
    columns = [leaves]
    for other in others:
        column, its_structure = flatten(other)
        if its_structure != structure:
            raise ArgumentError(f"containers differ: {structure!r} against {its_structure!r}")
        columns.append(column)
    return unflatten(structure, [function(*row) for row in zip(*columns, strict=True)])


def leaf_paths(structure: Structure, root: str = "") -> list[str]:
    """A readable name for each leaf: ``x``, ``params['W1']``, ``state.position``, ``layers[0][1]``."""
    if structure.kind is None:
        return [root]
    paths: list[str] = []
    for position, child in enumerate(structure.children):
        key = position if structure.meta is None else structure.meta[position]
        if structure.kind in (tuple, list, dict, OrderedDict, defaultdict):
            step = f"[{key!r}]"
        else:
            step = f".{key}"
        paths.extend(leaf_paths(child, root + step))
    return paths
