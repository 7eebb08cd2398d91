"""Where a gradient comes from when ``check`` is given none, and the steps of a program as the judge may see them.

The judge must not import the accused, and the accused need not import the judge; both know this file.
``provider(f, args, argnums)`` returns ``(value, pullback)``; ``taped(f, args, argnums)`` returns a ``Tape``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

__all__ = [
    "Provider",
    "Tape",
    "TapeStep",
    "Taped",
    "Untraceable",
    "default_provider",
    "default_taped",
    "set_default_backend",
]


class Untraceable(Exception):
    """The steps of a program can not be told apart; the sentence says why."""


class TapeStep(NamedTuple):
    """One step of a program at one point: what it reads and writes, and both of its directions, runnable alone.

    ``inputs`` and ``outputs`` are numbers of values. ``forward(*inputs)`` returns the outputs, ``vjp(*inputs)`` returns
    ``(outputs, pullback)``, where ``pullback(adjoints)`` is the claimed adjoint of each input (None: no dependence).
    ``labels`` are names of the inputs, ``place`` and ``text`` the user's line, ``rule`` where the backward pass is
    written. ``inside(*inputs)`` is the tape of one pass of a loop, or of a branch, and the leaves of its roots.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    forward: Callable[..., Sequence[Any]]
    vjp: Callable[..., tuple[Sequence[Any], Callable[[Sequence[Any]], Sequence[Any]]]]
    labels: tuple[str, ...] = ()
    place: str = ""
    text: str = ""
    rule: str = ""
    inside: Callable[..., tuple[Tape, Sequence[Any]]] | None = None


@dataclasses.dataclass
class Tape:
    """The steps of a program at one point, in the order in which they ran.

    ``roots`` and ``results`` are the numbers of the leaves of the differentiated arguments and of the output.
    ``replay(leaves)`` runs the whole program at other leaves and returns all values by number, or None where it took
    another path. ``remarks`` says what the recording saw besides.
    """

    steps: list[TapeStep]
    roots: list[int]
    results: list[int]
    replay: Callable[[Sequence[Any]], Mapping[int, Any] | None]
    remarks: list[str] = dataclasses.field(default_factory=list)


Provider: TypeAlias = Callable[[Callable[..., Any], tuple[Any, ...], Any], tuple[Any, Callable[[Any], Any]]]
Taped: TypeAlias = Callable[[Callable[..., Any], tuple[Any, ...], Any], Tape]

_default: list[tuple[Provider, Taped | None]] = []


def set_default_backend(provider: Provider, taped: Taped | None = None) -> None:
    """Register where gradients come from when none is given, and (optionally) how their steps are had."""
    _default[:] = [(provider, taped)]


def default_provider() -> Provider | None:
    """The registered provider, or None."""
    return _default[0][0] if _default else None


def default_taped() -> Taped | None:
    """The registered recorder of steps, or None."""
    return _default[0][1] if _default else None
