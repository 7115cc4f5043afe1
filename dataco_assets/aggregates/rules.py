"""What must hold of an hour's aggregates before anyone sees them: every rule, stated once.

A condition is an expression over the numbers of a row (`Column.numbers`; a bucket's name in backticks), which pandas
evaluates for a table in memory (`schema.py`): it is broken where it is false, and holds where a null leaves it open. It
keeps to operators that Spark's SQL has as well.

Belongs here: the rules and their words. Does not belong here: how they are evaluated, what a broken one leads to.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Self

from dataco_assets.aggregates.columns import Aggregate, Column
from dataco_assets.aggregates.totals import HourTotals
from dataco_assets.clicks.hour import VISIT_GAP_MS

_EXAMPLES: Final = 3
_SHOWN: Final = 80
"""Characters of an offending value that are shown."""
LONGEST_SECONDS: Final = VISIT_GAP_MS // 1000
NOT_NULL: Final = "must not be null"


def later_numbers(aggregate: Aggregate) -> tuple[Column, ...]:
    """Numbers that hours computed by an earlier version lack."""
    return tuple(number for column in aggregate.columns if column.name in aggregate.later for number in column.numbers)


def unique_text(aggregate: Aggregate) -> str:
    """That no two rows are of the same group, in words."""
    return f"{', '.join(('hour', *aggregate.group[:-1]))} and {aggregate.group[-1]} must be unique together"


@dataclass(frozen=True)
class ValueRule:
    """What must hold of a column's values that are not null.

    Attributes:
        column: The column, or a bucket.
        words: The rule in words.
        least: The least number allowed.
        most: The greatest number allowed.
        shortest: The least length allowed of a text, in characters.
        pattern: What the whole of a text must match, a regular expression that Python and Java read alike.
    """

    column: str
    words: str
    least: int | None = None
    most: int | None = None
    shortest: int | None = None
    pattern: str | None = None


@dataclass(frozen=True)
class RowRule:
    """What must hold of the numbers of each row.

    Attributes:
        words: The rule in words.
        condition: Of the row's numbers.
        null: A column that must be null exactly where `null_where` holds.
        null_where: A condition, which no null leaves open.
    """

    words: str
    condition: str
    null: str = ""
    null_where: str = ""


@dataclass(frozen=True)
class HourFacts:
    """What the rows of an hour are together.

    Attributes:
        totals: How many there are, and what they add up to.
        most_users: The greatest `unique_users` of a row.
        is_partly_known: Whether one of `later_numbers` is null in some rows, and not in others.
        differing: Columns that must be the same in all rows, and are not.
    """

    totals: HourTotals
    most_users: int
    is_partly_known: bool
    differing: tuple[str, ...] = ()


_DIMENSION_RULES: Final = {
    "page": ValueRule("page", "must not be empty", shortest=1),
    "country": ValueRule("country", "must be two capital letters", pattern="[A-Z]{2}"),
}
_LEAST: Final = {"click_count": 1, "unique_users": 1}


def value_rules(aggregate: Aggregate) -> tuple[ValueRule, ...]:
    """The rules about single values of an aggregate."""
    counted = [number.name for number in aggregate.totalled]
    at_least = {name: _LEAST.get(name, 0) for name in (*counted, "generation")}
    return (
        *(_DIMENSION_RULES[name] for name in aggregate.group if name in _DIMENSION_RULES),
        *(
            ValueRule(name, f"must be at least {least}" if least else "must not be negative", least=least)
            for name, least in at_least.items()
        ),
        ValueRule(
            "average_time_spent_seconds", f"must be from 0 to {LONGEST_SECONDS} s", least=0, most=LONGEST_SECONDS
        ),
    )


_ROW_RULES: Final = (
    RowRule("unique_users must not exceed click_count", "unique_users <= click_count"),
    RowRule("entering_users must not exceed unique_users", "entering_users <= unique_users"),
    RowRule("bot_clicks must not exceed click_count", "bot_clicks <= click_count"),
    RowRule("time_spent_samples must not exceed click_count", "time_spent_samples <= click_count"),
    RowRule(
        "average_time_spent_seconds must be sum / samples, null without any",
        "time_spent_samples == 0 or average_time_spent_seconds == time_spent_seconds_sum / time_spent_samples",
        null="average_time_spent_seconds",
        null_where="time_spent_samples == 0",
    ),
    RowRule(
        "time_spent_seconds_sum must be 0 without a sample", "time_spent_samples > 0 or time_spent_seconds_sum == 0"
    ),
    RowRule("exits must be click_count - time_spent_samples", "exits == click_count - time_spent_samples"),
    RowRule("bounces must not exceed entries or exits", "bounces <= entries and bounces <= exits"),
    # Clicks that are an entry, an exit or both.
    RowRule("entries + exits - bounces must not exceed click_count", "entries + exits - bounces <= click_count"),
)


def row_rules(aggregate: Aggregate) -> tuple[RowRule, ...]:
    """The rules about the numbers of each row of an aggregate."""
    return (
        *_ROW_RULES,
        *(
            RowRule(
                f"{column.name} must add up to {column.counts}",
                f"{' + '.join(f'`{number.name}`' for number in column.numbers)} == {column.counts}",
            )
            for column in aggregate.histograms
        ),
    )


def hour_text(hour_ms: int) -> str:
    """What the column `hour` must be, in words."""
    return f"must be {datetime.fromtimestamp(hour_ms / 1000, UTC):%Y-%m-%dT%H:%MZ}"


ALIKE: Final = ("generation", "computed_at")
"""Columns that must be the same in all rows of an hour."""


def broken_in_hour(aggregate: Aggregate, facts: HourFacts) -> list[tuple[str | None, str]]:
    """The rules about an hour as a whole that are broken: the column a rule is about, if any, and its words."""
    rows, sums = facts.totals.groups, facts.totals.sums
    if not rows:
        return []
    later = ", ".join(sorted(aggregate.later))
    holds = {
        # No group has more users than its hour; as every group has one, somebody enters every hour with clicks.
        "unique_users must not exceed the hour's sum of entering_users": facts.most_users <= sums["entering_users"],
        # Each user brings at most one visit into an hour and takes at most one out of it.
        "the hour's entries and exits must differ by at most its users": (
            abs(sums["entries"] - sums["exits"]) <= sums["entering_users"]
        ),
        # No row has a column of which there was none when the hour was computed.
        f"{later} must each be in all rows of an hour or in none": not facts.is_partly_known,
    }
    of_columns = [(column, "must be the same in all rows") for column in facts.differing]
    return [*of_columns, *((None, words) for words, is_kept in holds.items() if not is_kept)]


@dataclass(frozen=True)
class Problem:
    """One rule broken by some rows.

    Attributes:
        rule: The rule in words.
        column: The column it is about; None when it is about the whole table.
        rows: How many rows break it (0 when it is not about rows).
        examples: A few offending values, shortened and escaped: they can be text out of a click.
    """

    rule: str
    column: str | None
    rows: int
    examples: tuple[str, ...] = ()

    def and_also(self, other: Self) -> Self:
        """The same rule, broken by these rows and by those of another piece of the table."""
        examples = tuple(dict.fromkeys((*self.examples, *other.examples)))[:_EXAMPLES]
        return replace(self, rows=self.rows + other.rows, examples=examples)

    def __str__(self) -> str:
        where = f"{self.column}: " if self.column else ""
        rows = f" ({self.rows} rows)" if self.rows else ""
        examples = f", e.g. {', '.join(self.examples)}" if self.examples else ""
        return f"{where}{self.rule}{rows}{examples}"


def shown_examples(values: Iterable[object]) -> tuple[str, ...]:
    """The first few different values, shortened and escaped."""
    shown: dict[str, None] = {}
    for value in values:
        shown[ascii(str(value)[:_SHOWN])] = None
        if len(shown) == _EXAMPLES:
            break
    return tuple(shown)
