"""The rule by which a path is dropped on purpose."""

from __future__ import annotations

from chainrule.rule import Cost, Discrete, apply, register

__all__ = ["stop_gradient"]

stop_gradient: Discrete = register(
    Discrete(
        name="stop_gradient",
        value=lambda x: x,
        native="same",
        source="{0}",
        infer=lambda types, params: (types[0].shape, types[0].dtype),
        batch=lambda batched, size, arguments, params: apply(stop_gradient, arguments),
        latex=r"\operatorname{{stop}}({0})",
        cost=lambda types, params, outs: Cost(0),
        aliases=True,
        convention="the derivative is zero because the user says so",
        points=((("3",), ()),),
    )
)
