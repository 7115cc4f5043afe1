"""The results of a benchmark run, as data: figures beside their peers, curves, and the time of each stage."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Bound(StrEnum):
    """Which side of the target is good."""

    AT_LEAST = "≥"
    AT_MOST = "≤"


@dataclass(frozen=True)
class Figure:
    """One figure, held against another.

    Attributes:
        name: What was measured.
        value: The measurement.
        unit: Its unit.
        target: What to reach: of the ratio when there is a peer, of the value otherwise; None: nothing, it explains
            another figure.
        bound: Which side of the target is good.
        against: What it is held against; empty: nothing, the target is absolute.
        against_value: The peer's measurement, in the same unit.
        factor: What the peer is multiplied with before the ratio is taken.
        note: What a reader has to know, short.
    """

    name: str
    value: float
    unit: str
    target: float | None = None
    bound: Bound = Bound.AT_MOST
    against: str = ""
    against_value: float = 0.0
    factor: float = 1.0
    note: str = ""

    @property
    def compared(self) -> float:
        """What the target is about: the ratio to the peer, or the value itself."""
        return self.value / (self.against_value * self.factor) if self.against else self.value

    @property
    def reached(self) -> bool | None:
        """Whether the target is met; None when there is none."""
        if self.target is None:
            return None
        return self.compared >= self.target if self.bound is Bound.AT_LEAST else self.compared <= self.target


@dataclass(frozen=True)
class Stage:
    """A stage of some work and what it costs."""

    work: str
    stage: str
    value: float
    unit: str


@dataclass
class Findings:
    """All that one run found out.

    Attributes:
        figures: In the order of the table.
        stages: The profile.
        curves: Points (x, y) by name of the curve.
    """

    figures: list[Figure] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def as_json(self) -> Mapping[str, Any]:
        """The findings as plain JSON values."""
        return {
            "figures": [{**asdict(f), "compared": f.compared, "reached": f.reached} for f in self.figures],
            "stages": [asdict(stage) for stage in self.stages],
            "curves": self.curves,
        }
