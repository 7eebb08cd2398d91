"""What a numerical derivative is: the value with everything that is known about it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from chainrule.containers import flatten

__all__ = ["STATUSES", "Derivative"]

STATUSES = ("ok", "kink", "jump", "noisy", "unresolved", "nan")


@dataclasses.dataclass(frozen=True, repr=False)
class Derivative:
    """A numerical derivative: every field but the last five has the container and shapes of ``value``.

    ``value``: the derivative. ``error``: a bound of its error. ``noise``: the part of the bound that is rounding noise.
    ``step``: the step of the difference (in units of x). ``order``: the order of the extrapolation that was believed.
    ``status``: ``ok``, ``kink`` (the one-sided slopes differ), ``jump``, ``noisy``, ``unresolved``, ``nan``.
    ``one_sided``: the slopes to the left and to the right (the same container, twice).
    ``evaluations``: how often f was called. ``mode``: the way it was done. ``stopped``: ``""``, ``"budget"`` or
    ``"interrupt"``; ``remarks``: sentences for the reader. ``trace``: steps and quotients of the first lines.
    """

    value: Any
    error: Any
    noise: Any
    step: Any
    order: Any
    status: Any
    one_sided: tuple[Any, Any]
    evaluations: int
    mode: str = "accurate"
    stopped: str = ""
    remarks: tuple[str, ...] = ()
    trace: tuple[dict[str, Any], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every entry is resolved."""
        return all(bool(np.all(np.asarray(leaf) == "ok")) for leaf in flatten(self.status)[0])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.asarray(self.value, dtype=dtype)

    def __repr__(self) -> str:
        worst = max((float(np.max(leaf)) for leaf in map(np.asarray, flatten(self.error)[0]) if leaf.size), default=0.0)
        counts: dict[str, int] = {}
        for leaf in flatten(self.status)[0]:
            for word in np.asarray(leaf).ravel():
                counts[str(word)] = counts.get(str(word), 0) + 1
        status = ", ".join(f"{number} {word}" for word, number in counts.items())
        return f"Derivative(value={self.value!r}, error<={worst:.2g}, {status}, {self.evaluations} evaluations)"
