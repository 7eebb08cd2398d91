"""Where a gradient comes from when ``check`` is given none: ``provider(f, args, argnums) -> (value, pullback)``.

The judge must not import the accused, and the accused need not import the judge; both know this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = ["Provider", "default_provider", "set_default_backend"]

Provider: TypeAlias = Callable[[Callable[..., Any], tuple[Any, ...], Any], tuple[Any, Callable[[Any], Any]]]

_default: list[Provider] = []


def set_default_backend(provider: Provider) -> None:
    """Register where gradients come from when none is given."""
    _default[:] = [provider]


def default_provider() -> Provider | None:
    """The registered provider, or None."""
    return _default[0] if _default else None
