"""Writes findings to the terminal, as JSON, and into the tables of docs/performance.md."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, Findings, Stage

_BEGIN, _END = "<!-- {name}: written by make bench -->", "<!-- /{name} -->"


def show(console: Console, figures: Sequence[Figure]) -> None:
    """The figures as a table on the terminal."""
    table = Table("figure", "measured", "against", "ratio", "to reach", "")
    for figure in figures:
        row = _row(figure)
        table.add_row(row[0], row[1], f"{row[2]} {row[3]}".strip(), row[4], row[5], row[6])
    console.print(table)


def write_json(file: Path, findings: Findings, facts: Mapping[str, str], seconds: float) -> None:
    """Writes all that was found so far."""
    file.parent.mkdir(parents=True, exist_ok=True)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    content = {"date": date, "seconds": seconds, "machine": facts, **findings.as_json()}
    file.write_text(json.dumps(content, indent=2) + "\n")


def update_page(page: Path, findings: Findings, facts: Mapping[str, str], seconds: float) -> None:
    """Replaces the two tables of the page, and leaves every other word.

    Raises:
        ValueError: the page has no place for one of them.
    """
    text = page.read_text()
    described = ", ".join(f"{name} {value}" for name, value in facts.items() if name not in ("cores", "memory"))
    head = (
        f"Measured {datetime.now(UTC):%Y-%m-%d} in {seconds / 60:.0f} minutes on {facts['cores']} cores and "
        f"{facts['memory']} of memory, all servers on the one machine: {described}."
    )
    text = _replaced(text, "figures", f"{head}\n\n{_figures_table(findings.figures)}")
    page.write_text(_replaced(text, "profile", _stages_table(findings.stages)))


def _replaced(text: str, name: str, content: str) -> str:
    begin, end = _BEGIN.format(name=name), _END.format(name=name)
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"docs/performance.md needs the lines {begin} and {end}")
    return f"{before}{begin}\n{content}\n{end}{after}"


def _figures_table(figures: Sequence[Figure]) -> str:
    lines = [
        "| figure | measured | against | measured there | ratio | to reach | |",
        "|---|---:|---|---:|---:|---:|---|",
    ]
    lines += [f"| {' | '.join(_row(figure))} |" for figure in figures]
    return "\n".join(lines)


def _stages_table(stages: Sequence[Stage]) -> str:
    lines = ["| work | stage | cost |", "|---|---|---:|"]
    lines += [f"| {stage.work} | {stage.stage} | {_number(stage.value)} {stage.unit} |" for stage in stages]
    return "\n".join(lines)


def _row(figure: Figure) -> tuple[str, str, str, str, str, str, str]:
    name = f"{figure.name} ({figure.note})" if figure.note else figure.name
    return (
        name,
        f"{_number(figure.value)} {figure.unit}",
        figure.against,
        f"{_number(figure.against_value)} {figure.unit}" if figure.against else "",
        f"{figure.compared:.3g}" if figure.against else "",
        *_verdict(figure),
    )


def _verdict(figure: Figure) -> tuple[str, str]:
    if figure.target is None:
        return "", ""
    unit = "" if figure.against else f" {figure.unit}"
    return f"{figure.bound} {figure.target:g}{unit}", "yes" if figure.reached else "no"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
