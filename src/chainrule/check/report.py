"""The outcome of a check -> text, JSON, a picture, a page: what is wrong, how surely, and what would have been seen."""

from __future__ import annotations

import dataclasses
import json as _json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.check.picture import draw, in_characters
from chainrule.check.step_text import steps_html, steps_text
from chainrule.errors import ArgumentError, CheckFailed

__all__ = ["VERDICTS", "Report"]

VERDICTS = ("PASS", "PASS*", "WARN", "FAIL", "INCONCLUSIVE")


@dataclasses.dataclass(repr=False)
class Report:
    """What a check found.

    ``verdict``: PASS, PASS* (a valid subgradient at a kink), WARN (a significant error below the tolerance), FAIL or
    INCONCLUSIVE. ``sentence``: the verdict with its reason. ``resolution``: the smallest error, relative to the norm of
    the gradient (in units of the scales of x), that this run would have seen in one entry. ``limited_by``: what limits
    it. ``worst``: entries by size of their error (name, index, claimed, numeric, error, relative, ratio, x).
    ``steps``: the steps of the program that are at fault, the worst first, where they can be told apart (step, number,
    place, text, rule, input, share, defect, bound, verdict, pattern, sentence, worst). ``evaluations``: calls of
    f by the witness; ``calls``: calls of the claimed gradient. ``structural``: (test, outcome, sentence). ``pattern``:
    how the claimed array differs from the true one. ``notes``: everything else. ``seed`` and ``reproduce``: how to get
    this report again.
    """

    verdict: str
    sentence: str
    resolution: float = float("inf")
    limited_by: str = ""
    unit: str = "the gradient's norm"
    worst: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    steps: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    evaluations: int = 0
    calls: int = 0
    seconds: float = 0.0
    structural: list[tuple[str, str, str]] = dataclasses.field(default_factory=list)
    pattern: str = ""
    notes: list[str] = dataclasses.field(default_factory=list)
    rtol: float = 0.0
    lifted: bool = False
    seed: int = 0
    reproduce: str = ""
    trace: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    _sweep: Callable[[], dict[str, Any] | None] | None = None  # the worst direction at all steps, for a picture
    _power: tuple[Any, Any, Any, Any] | None = None  # contributions, allowances, names, leaf offsets

    def __bool__(self) -> bool:
        return self.verdict in ("PASS", "PASS*")

    def raise_if_wrong(self) -> Report:
        """The report itself; raises ``CheckFailed`` (which carries it) unless the verdict is PASS or PASS*."""
        if not self:
            raise CheckFailed(
                str(self), cure="read the report above; report.plot(path) shows the error against the step", report=self
            )
        return self

    def would_detect(self, rel: float, coordinate: Any) -> bool:
        """Whether this run would have seen a relative error ``rel`` in one entry (its name or flat index).

        Raises ``ArgumentError`` for an entry that does not exist, or where the check did not get to compare anything.
        """
        if self._power is None:
            raise ArgumentError("this check compared nothing", cure="read report.sentence for the reason")
        contributions, allowances, name_of, size = self._power
        index = (
            coordinate
            if isinstance(coordinate, int)
            else next((i for i in range(size) if name_of(i) == coordinate), -1)
        )
        if not 0 <= index < size:
            raise ArgumentError(
                f"there is no entry {coordinate!r}", cure=f"entries are 0 to {size - 1}, or their names"
            )
        part = np.array([c[index] for c in contributions])
        return bool(np.any(abs(rel) * np.abs(part) > 2 * np.array(allowances)))

    def __str__(self) -> str:
        lines = [f"{self.verdict}. {self.sentence}"]
        if self.pattern:
            lines.append(f"pattern: {self.pattern}")
        if np.isfinite(self.resolution):
            lines.append(
                f"resolution: an error of {self.resolution:.1e} of {self.unit} in one entry"
                " would have been seen" + (f" (limited by {self.limited_by})" if self.limited_by else "")
            )
        if self.worst and self.verdict != "PASS":
            lines.append("worst entries:")
            width = max(len(row["name"]) for row in self.worst)
            lines.extend(
                f"  {row['name']:<{width}}  claimed {row['claimed']: .8g}"
                f"  numeric {row['numeric']: .8g} +- {row['error']:.1g}"
                f"  relative {row['relative']:.1e}"
                + (f"  ratio {row['ratio']:.6g}" if row["ratio"] is not None else "")
                for row in self.worst[:8]
            )
        if self.steps:
            lines += ["steps, by their share of the mismatch:", *steps_text(self.steps)]
        drawn = in_characters(self.trace[0]) if self.trace else []
        if drawn and self.verdict != "PASS":
            lines += ["error against step (o: |difference - claimed|, .: noise):", *drawn]
        bad = [s for s in self.structural if s[1] != "ok"]
        lines.extend(f"{test}: {sentence}" for test, _, sentence in bad)
        lines.extend(f"note: {note}" for note in self.notes)
        lines.append(f"{self.evaluations} evaluations of f, {self.calls} calls of the gradient, {self.seconds:.2f} s")
        if self.reproduce:
            lines.append(f"again: {self.reproduce}")
        return "\n".join(lines)

    __repr__ = __str__

    def as_dict(self) -> dict[str, Any]:
        """Everything that is plain data."""
        skipped = ("_power", "_sweep")
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in skipped}

    def json(self) -> str:
        """The report as JSON; infinities and nan become strings."""
        return _json.dumps(_plain(self.as_dict()), indent=2)

    def plot(self, path: str | Path | None = None, axes: Any = None) -> Any:
        """Error against step on logarithmic axes, written to ``path``; returns the matplotlib figure.

        ``axes`` are matplotlib axes of yours to draw on, for several reports side by side.

        Right gradients give a V, wrong ones end on a floor, a kink beside x is a cliff. The check itself takes no more
        steps than it needs: those of the picture are taken now, about 50 evaluations of f along the worst direction.

        Raises ``ArgumentError`` where matplotlib is not installed.
        """
        entries = list(self.trace)
        if entries and self._sweep is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                entries[0] = self._sweep() or entries[0]
        figure = draw(self, entries, axes)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure

    def __getstate__(self) -> dict[str, Any]:
        """Without what holds the user's functions: those need not be picklable."""
        return {**self.__dict__, "_sweep": None, "_power": None}

    def _repr_html_(self) -> str:
        from html import escape

        colour = {"PASS": "#176f2c", "PASS*": "#176f2c", "WARN": "#8a6100", "FAIL": "#a40e26"}.get(self.verdict, "#444")
        rows = "".join(
            f"<tr><td><code>{escape(r['name'])}</code></td><td>{r['claimed']:.8g}</td><td>{r['numeric']:.8g}"
            f" &plusmn; {r['error']:.1g}</td><td>{r['relative']:.1e}</td></tr>"
            for r in self.worst[:8]
        )
        table = (
            f"<table><tr><th>entry</th><th>claimed</th><th>numeric</th><th>relative error</th></tr>{rows}</table>"
            if rows
            else ""
        )
        return (
            f'<div class="chainrule-report"><p><b style="color:{colour}">{self.verdict}</b>. '
            f"{escape(self.sentence)}</p>"
            f"{steps_html(self.steps)}{table}<details><summary>all</summary><pre>{escape(str(self))}</pre></details></div>"
        )

    def html(self, path: str | Path | None = None) -> str:
        """The report as a page of its own (written to ``path`` if one is given), with the picture inside it."""
        picture = ""
        try:
            import io

            buffer = io.StringIO()
            self.plot().savefig(buffer, format="svg")
            picture = buffer.getvalue()[buffer.getvalue().index("<svg") :]
        except ArgumentError:
            pass  # without matplotlib the page has the drawing in characters
        page = (
            "<!doctype html><html lang='en'><meta charset='utf-8'><title>gradient check: "
            f"{self.verdict}</title><body style='font-family:sans-serif;max-width:60em;margin:2em auto'>"
            f"{self._repr_html_()}{picture}</body></html>"
        )
        if path is not None:
            Path(path).write_text(page, encoding="utf-8")
        return page


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value
