"""Draws how the figures grow with clicks, connections and hours."""

from collections.abc import Mapping, Sequence
from pathlib import Path

_PANELS = (
    ("clicks waiting", "clicks/s", ("ingest, clicks/s by clicks waiting",), True),
    ("writer connections", "clicks/s", ("ingest, clicks/s by connections",), False),
    ("hours in one backfill", "seconds", ("backfill, seconds by hours", "bare scan, seconds by hours"), True),
)


def draw(curves: Mapping[str, Sequence[tuple[float, float]]], file: Path) -> None:
    """One PNG with a panel per kind of growth; a panel without points stays empty."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(_PANELS), figsize=(12, 3.4), layout="constrained")
    for axis, (x_label, y_label, names, logarithmic) in zip(axes, _PANELS, strict=True):
        for name in names:
            points = curves.get(name, ())
            axis.plot([x for x, _ in points], [y for _, y in points], marker="o", label=name.partition(",")[0])
        if logarithmic:
            axis.set_xscale("log")
        axis.set_xlabel(x_label)
        axis.set_ylabel(y_label)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        if len(names) > 1:
            axis.legend()
    figure.savefig(file, dpi=80, metadata={"Software": None})
    plt.close(figure)
