"""A sparsity pattern -> groups of columns that share no row, and the Jacobian back from the groups' derivatives."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from chainrule.numerical.line import Lines

__all__ = ["colour", "spread_columns"]


def colour(pattern: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.intp]]:
    """Groups of columns no two of which have an entry in the same row, greedily, the fullest columns first.

    Source: A. Curtis, M. Powell and J. Reid, On the estimation of sparse Jacobian matrices (1974).

    >>> [group.tolist() for group in colour(np.eye(4, dtype=bool))]
    [[0, 1, 2, 3]]
    """
    groups: list[list[int]] = []
    taken: list[npt.NDArray[np.bool_]] = []
    for column in np.argsort(-pattern.sum(axis=0), kind="stable"):
        rows = pattern[:, column]
        for number, used in enumerate(taken):
            if not bool((used & rows).any()):
                groups[number].append(int(column))
                used |= rows
                break
        else:
            groups.append([int(column)])
            taken.append(rows.copy())
    return [np.array(sorted(group), dtype=np.intp) for group in groups]


def spread_columns(few: Lines, groups: list[npt.NDArray[np.intp]], pattern: npt.NDArray[np.bool_]) -> Lines:
    """One line for every column: its rows of the pattern from its group, exact zeros elsewhere."""
    columns = pattern.shape[1]
    group_of = np.zeros(columns, dtype=np.intp)
    for number, group in enumerate(groups):
        group_of[group] = number
    own = pattern.T
    fields: dict[str, npt.NDArray[np.generic]] = {}
    for field in dataclasses.fields(Lines):
        if field.name in ("done", "trace"):
            continue
        wide = getattr(few, field.name)[group_of]
        if field.name == "status":
            wide = np.where(own, wide, "ok")
        elif field.name in ("value", "error", "noise", "truncation", "left", "right"):
            wide = np.where(own, wide, 0.0)
        fields[field.name] = wide
    return Lines(**fields, done=few.done[group_of], trace=few.trace)  # type: ignore[arg-type]
