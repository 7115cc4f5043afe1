"""`dataco rules …`: shows the rule about bots, and which hours it or another one would change before it does.

What compares is imported when the command runs, so that `--help` stays quick.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataco_assets.cli.output import Json, iso_time, print_json, print_table
from dataco_assets.cli.progress import hours_done
from dataco_assets.cli.times import ChosenFrom, ChosenTo, chosen_hours
from dataco_assets.clicks.bots import BotRule
from dataco_assets.clicks.hour import hour_key
from dataco_assets.quantities import quantity
from dataco_assets.settings import listed, settings
from dataco_assets.untrusted import printable

if TYPE_CHECKING:
    from dataco_assets.verification.rule_changes import HourChange, RuleChanges

app = typer.Typer(help="The rule about bots, and which hours it changes.", no_args_is_help=True)

_NUMBERS = ("clicks", "of bots", "by the rule", "change", "groups")
_COLUMNS = ("hour (UTC)", *_NUMBERS)
_SHOWN_AGENT = 100
_NOT_COMPARED = {
    "waiting": "they wait for a refresh, which computes them by the rule in the settings anyway",
    "expired": "HBase may have dropped some of their clicks (DATACO_CLICKS_TTL_DAYS), so they stay as they are",
    "outside": "they lie before the first partition (DATACO_PARTITIONS_START), so no run computes them",
}


@app.command()
def show(*, as_json: Json = False) -> None:
    """Show the rule in force.

    It is that of the settings, which every run reads when it starts. It marks clicks (`bot_clicks`) and leaves none
    out.
    """
    config = settings()
    rule, own = config.bot_rule, listed(config.bot_agents)
    if as_json:
        print_json(_rule(rule) | {"own_agents": sorted(own)})
        return
    rate = f"{rule.clicks_per_minute:,} clicks of a user or more within a minute of the clock"
    typer.echo(f"Rule {rule.fingerprint}. A click is a bot's if")
    typer.echo(f"- its user made {rate}" if rule.clicks_per_minute else "- (no number of clicks per minute makes one)")
    typer.echo("- or its browser or device is one of these (* from DATACO_BOT_AGENTS):")
    for agent in sorted(rule.agents, key=str.lower):
        typer.echo(f"  {printable(agent, _SHOWN_AGENT)}{' *' if agent in own else ''}")


@app.command()
def diff(
    first: ChosenFrom = "",
    last: ChosenTo = "",
    *,
    agents: Annotated[
        str | None,
        typer.Option(
            "--agents",
            metavar="FAMILIES",
            help="Try these further families, comma-separated, in place of those of DATACO_BOT_AGENTS.",
        ),
    ] = None,
    clicks_per_minute: Annotated[
        int | None,
        typer.Option(
            "--clicks-per-minute",
            metavar="N",
            min=0,
            max=1_000_000,
            help="Try this number in place of DATACO_BOT_CLICKS_PER_MINUTE; 0: no number.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show which hours a rule would change, and change nothing.

    The rule is that of the settings, or another one with --agents and --clicks-per-minute. The clicks of each hour are
    read from HBase and counted by it, and compared with what was published: by how many clicks of bots would each
    published hour change?

    Hours that were computed by a version that did not count bots are among those that would change.
    """
    config = settings()
    rule = BotRule.of(
        listed(config.bot_agents if agents is None else agents),
        config.bot_clicks_per_minute if clicks_per_minute is None else clicks_per_minute,
    )
    with _comparing(first, last) as (comparison, hours):
        report = _compared(comparison, rule, hours)
    if as_json:
        print_json(_document(report))
    else:
        _print(report)
        if report.changed and rule == config.bot_rule:
            typer.echo("`dataco rules refresh` computes them again.")


@app.command()
def refresh(first: ChosenFrom = "", last: ChosenTo = "", *, as_json: Json = False) -> None:
    """Have the hours that the rule changes computed again.

    It compares by the rule in the settings, as `dataco rules diff` does, shows the result, and marks the hours that
    would change, and no others. The sensors' next runs compute and publish these, and note a restatement of each that
    was final. The services that start runs must have the new settings by then.
    """
    with _comparing(first, last) as (comparison, hours):
        report = _compared(comparison, settings().bot_rule, hours)
        comparison.refresh(report.changed)
    if as_json:
        print_json(_document(report))
    else:
        _print(report)
        if report.changed:
            typer.echo(f"{quantity(len(report.changed), 'hour')} marked: `dataco status` shows when they are done.")


@dataclass
class _Report:
    """What a rule means for the hours that were looked at.

    Attributes:
        rule: The rule.
        outcomes: Hours by outcome.
        changed: The hours that it would change, oldest first.
    """

    rule: BotRule
    outcomes: Counter[str] = field(default_factory=Counter)
    changed: "list[HourChange]" = field(default_factory=list)

    @property
    def compared(self) -> int:
        """How many hours were compared."""
        return len(self.changed) + self.outcomes["same"]


@contextmanager
def _comparing(first: str, last: str) -> "Iterator[tuple[RuleChanges, Sequence[int]]]":
    """What compares hours, and the published ones of a range."""
    start, end = chosen_hours(first, last)
    from dataco_assets.cli.first_contact import connect_at_once
    from dataco_assets.verification.rule_changes import RuleChanges

    config = settings()
    with connect_at_once(config, retry_seconds=30.0) as hbase:
        comparison = RuleChanges(config, hbase)
        yield comparison, comparison.hours(start, end)


def _compared(comparison: "RuleChanges", rule: BotRule, hours: Sequence[int]) -> _Report:
    from dataco_assets.verification.rule_changes import Outcome

    report = _Report(rule)
    with hours_done(len(hours)) as advance:
        for change in comparison.compare(rule, hours):
            report.outcomes[change.outcome.value] += 1
            if change.outcome is Outcome.CHANGED:
                report.changed.append(change)
            advance()
    return report


def _print(report: _Report) -> None:
    if report.changed:
        print_table(_COLUMNS, [_row(change) for change in report.changed], numbers=_NUMBERS)
    more = sum(change.difference for change in report.changed)
    typer.echo(
        f"Rule {report.rule.fingerprint}: {quantity(len(report.changed), 'hour')} of {report.compared:,} would change, "
        f"{more:+,} clicks of bots in all."
    )
    for outcome, why in _NOT_COMPARED.items():
        if count := report.outcomes[outcome]:
            typer.echo(f"{quantity(count, 'hour')} not compared: {why}.")


def _row(change: "HourChange") -> tuple[str, ...]:
    before = "not counted" if change.before is None else f"{change.before:,}"
    numbers = (f"{change.clicks:,}", before, f"{change.after:,}", f"{change.difference:+,}", f"{change.groups:,}")
    return hour_key(change.hour), *numbers


def _rule(rule: BotRule) -> dict[str, Any]:
    return {
        "fingerprint": rule.fingerprint,
        "agents": sorted(rule.agents),
        "clicks_per_minute": rule.clicks_per_minute,
    }


def _document(report: _Report) -> dict[str, Any]:
    return {
        "rule": _rule(report.rule),
        "compared": report.compared,
        "not_compared": {outcome: report.outcomes[outcome] for outcome in _NOT_COMPARED},
        "hours": [
            {
                "hour": iso_time(change.hour),
                "clicks": change.clicks,
                "bot_clicks_before": change.before,
                "bot_clicks_after": change.after,
                "difference": change.difference,
                "groups": change.groups,
            }
            for change in report.changed
        ],
    }
