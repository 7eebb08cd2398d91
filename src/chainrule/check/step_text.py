"""The steps that a report accuses -> lines of text, and rows of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

__all__ = ["step_line", "steps_html", "steps_text"]


def _name(row: Mapping[str, Any], total: int) -> str:
    if row["number"] < 0:
        return str(row["step"])
    count = f" of {total}" if total else ""
    at = f" ({row['place']})" if row["place"] else ""
    return f"step {row['number'] + 1}{count} `{row['step']}`{at}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if np.isfinite(share) and abs(share) >= 1e-4 else ""


def step_line(row: Mapping[str, Any], total: int = 0) -> str:
    """``step 3 of 7 `square` (model.py:41) accounts for 100.0 % of the mismatch, ...`` as part of a sentence."""
    share = _percent(row["share"])
    text = _name(row, total) + (f" accounts for {share} of the mismatch" if share else " is at fault")
    if row["input"]:
        text += f", in the adjoint of {row['input']}"
    return text + (f": {row['pattern']}" if row["pattern"] else "")


def steps_text(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A few lines for each step: its share, name and pattern, the user's line, where the backward pass is written."""
    lines: list[str] = []
    for row in rows:
        of = f", adjoint of {row['input']}" if row["input"] else ""
        told = f": {row['pattern']}" if row["pattern"] else ""
        lines.append(f"  {_percent(row['share']):>8}  {_name(row, 0)}{of}{told}")
        more = [row["text"], f"backward pass: {row['rule']}" if row["rule"] else ""]
        lines.extend(f"{'':12}{one}" for one in more if one)
    return lines


def steps_html(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of the steps; empty where there are none."""
    if not rows:
        return ""
    body = "".join(
        f"<tr><td>{_percent(row['share'])}</td><td>{escape(_name(row, 0))}"
        + (f"<br><code>{escape(row['text'])}</code>" if row["text"] else "")
        + (f"<br>backward pass: {escape(row['rule'])}" if row["rule"] else "")
        + f"</td><td><code>{escape(row['input'])}</code></td><td>{escape(row['pattern'])}</td></tr>"
        for row in rows
    )
    return (
        f"<table><tr><th>share of the mismatch</th><th>step</th><th>adjoint of</th><th>pattern</th></tr>{body}</table>"
    )
