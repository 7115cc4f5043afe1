"""What must hold of an hour's aggregates before anyone sees them, as one pandera schema.

Belongs here: the rules and their report. Does not belong here: what happens when one is broken.

pandera and pandas cost a second to import, so they are imported when a table is checked.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from dataco_assets.aggregates.columns import COLUMNS, LATER_COLUMNS, TOTALLED, Column
from dataco_assets.aggregates.reading import ARROW_SCHEMA
from dataco_assets.clicks.hour import VISIT_GAP_MS

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pandera
    import pyarrow as pa

LONGEST_SECONDS = VISIT_GAP_MS / 1000
_LATER = ", ".join(sorted(LATER_COLUMNS))
_EXAMPLES = 3
_ROWS_AT_ONCE = 50_000
_SHOWN = 80


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

    def __str__(self) -> str:
        where = f"{self.column}: " if self.column else ""
        rows = f" ({self.rows} rows)" if self.rows else ""
        examples = f", e.g. {', '.join(self.examples)}" if self.examples else ""
        return f"{where}{self.rule}{rows}{examples}"


def problems(table: "pa.Table", hour_ms: int) -> list[Problem]:
    """Every rule the table breaks; an empty list when it is sound.

    Args:
        table: An hour's aggregates; may have no rows.
        hour_ms: The hour it must be of, epoch ms.
    """
    from pandera.errors import SchemaErrors

    try:
        hour_schema(hour_ms).validate(_frame(table), lazy=True)
    except SchemaErrors as errors:
        return _report(errors.failure_cases)
    return []


def problems_by_hour(hours: "Iterable[tuple[int, pa.Table]]") -> dict[int, list[Problem]]:
    """Every rule that the tables break, by hour; hours whose tables are sound are left out.

    Sound hours, which nearly all are, are validated many at a time: that takes a tenth of the time. Only among hours of
    which one is not sound is each looked at alone.

    Args:
        hours: Start (epoch ms) and aggregates of each hour; read one after another, and few are held at a time.
    """
    broken: dict[int, list[Problem]] = {}
    batch: dict[int, pa.Table] = {}
    for hour, table in hours:
        batch[hour] = table
        if sum(held.num_rows for held in batch.values()) >= _ROWS_AT_ONCE:
            broken |= _problems_of(batch)
            batch = {}
    return broken | _problems_of(batch)


def _problems_of(batch: "Mapping[int, pa.Table]") -> dict[int, list[Problem]]:
    if _are_sound(batch):
        return {}
    found = {hour: problems(table, hour) for hour, table in batch.items()}
    return {hour: broken for hour, broken in found.items() if broken}


def _are_sound(batch: "Mapping[int, pa.Table]") -> bool:
    import pyarrow as pa
    from pandera.errors import SchemaErrors

    tables = [table for table in batch.values() if table.num_rows]
    if not tables:
        return all(table.schema.equals(ARROW_SCHEMA) for table in batch.values())
    if not all(table.schema.equals(ARROW_SCHEMA) for table in batch.values()):
        return False
    if not all(_is_of_one_run(table, hour) for hour, table in batch.items() if table.num_rows):
        return False
    try:
        hour_schema(None).validate(_frame(pa.concat_tables(tables)), lazy=True)
    except SchemaErrors:
        return False
    return True


def _frame(table: "pa.Table") -> "pd.DataFrame":
    """The table for pandera: a histogram's buckets are columns, and whole numbers stay such where some are missing."""
    import pyarrow as pa

    flat = table.flatten()
    frame = flat.to_pandas()
    whole = (
        field.name
        for field in flat.schema
        if field.name.partition(".")[0] in LATER_COLUMNS and pa.types.is_int64(field.type)
    )
    return frame.astype(dict.fromkeys(whole, "Int64"))


def _is_of_one_run(table: "pa.Table", hour_ms: int) -> bool:
    """What the schema of several hours cannot say of each: one hour, one generation, one time of computing."""
    import pyarrow.compute as pc

    ends = {name: pc.min_max(table[name]).as_py() for name in ("hour", "generation", "computed_at")}  # pyright: ignore[reportAttributeAccessIssue]  # made at import
    one = all(end["min"] == end["max"] for end in ends.values())
    return one and ends["hour"]["min"] == datetime.fromtimestamp(hour_ms / 1000, UTC)


def hour_schema(hour_ms: int | None) -> "pandera.DataFrameSchema":
    """The schema of the aggregates of one hour (epoch ms); None: of several, without what holds of each alone."""
    import pandas as pd
    import pandera.pandas as pandera
    from pandera.pandas import Check

    instant = pd.DatetimeTZDtype("us", "UTC")
    checks = {
        "hour": [],
        "page": [Check.str_length(min_value=1, error="must not be empty")],
        "country": [Check.str_matches(r"^[A-Z]{2}\Z", error="must be two capital letters")],
        **{column.name: [Check.ge(0, error="must not be negative")] for column in TOTALLED},
        "click_count": [Check.ge(1, error="must be at least 1")],
        "unique_users": [Check.ge(1, error="must be at least 1")],
        "average_time_spent_seconds": [
            Check.in_range(0, LONGEST_SECONDS, error=f"must be from 0 to {LONGEST_SECONDS:.0f} s")
        ],
        "generation": [Check.ge(0, error="must not be negative")],
        "computed_at": [],
    }
    if hour_ms is not None:
        hour = pd.Timestamp(hour_ms, unit="ms", tz="UTC")
        checks["hour"].append(Check(lambda column: column == hour, error=f"must be {hour:%Y-%m-%dT%H:%MZ}"))
        for name in ("generation", "computed_at"):
            checks[name].append(Check(lambda column: column.nunique() <= 1, error="must be the same in all rows"))
    types = {"timestamp": instant, "string": str, "long": "int64", "double": "float64", "sketch": "object"}
    numbers = [number for column in COLUMNS for number in column.numbers]
    types_of = {c.name: "Int64" if c.nullable and c.type == "long" else types[c.type] for c in numbers}
    return pandera.DataFrameSchema(
        {c.name: pandera.Column(types_of[c.name], checks.get(c.name, []), nullable=c.nullable) for c in numbers},
        checks=[
            Check(_users_within_clicks, error="unique_users must not exceed click_count"),
            Check(_entering_within_users, error="entering_users must not exceed unique_users"),
            Check(_users_within_hour, error="unique_users must not exceed the hour's sum of entering_users"),
            Check(_samples_within_clicks, error="time_spent_samples must not exceed click_count"),
            Check(_average_is_the_quotient, error="average_time_spent_seconds must be sum / samples, null without any"),
            Check(_no_time_without_sample, error="time_spent_seconds_sum must be 0 without a sample"),
            Check(_exits_are_the_rest, error="exits must be click_count - time_spent_samples"),
            Check(_bounces_are_both, error="bounces must not exceed entries or exits"),
            Check(_visits_within_clicks, error="entries + exits - bounces must not exceed click_count"),
            Check(_open_visits_within_users, error="the hour's entries and exits must differ by at most its users"),
            *(
                Check(partial(_buckets_add_up, column), error=f"{column.name} must add up to {column.counts}")
                for column in COLUMNS
                if column.type == "histogram"
            ),
            Check(_all_or_none, error=f"{_LATER} must each be in all rows of an hour or in none"),
        ],
        unique=["hour", "page", "country"],
        strict=True,
        ordered=True,
    )


def _users_within_clicks(frame: "pd.DataFrame") -> "pd.Series":
    return frame["unique_users"] <= frame["click_count"]


def _entering_within_users(frame: "pd.DataFrame") -> "pd.Series":
    return frame["entering_users"] <= frame["unique_users"]


def _users_within_hour(frame: "pd.DataFrame") -> "pd.Series":
    # No group has more users than its hour; as every group has one, somebody enters every hour with clicks.
    return frame["unique_users"] <= frame.groupby("hour")["entering_users"].transform("sum")


def _samples_within_clicks(frame: "pd.DataFrame") -> "pd.Series":
    return frame["time_spent_samples"] <= frame["click_count"]


def _average_is_the_quotient(frame: "pd.DataFrame") -> "pd.Series":
    average, samples = frame["average_time_spent_seconds"], frame["time_spent_samples"]
    quotient = frame["time_spent_seconds_sum"] / samples.where(samples > 0)
    return (average == quotient) | (average.isna() & (samples == 0))


def _no_time_without_sample(frame: "pd.DataFrame") -> "pd.Series":
    return (frame["time_spent_samples"] > 0) | (frame["time_spent_seconds_sum"] == 0)


def _exits_are_the_rest(frame: "pd.DataFrame") -> "pd.Series":
    return (frame["exits"] == frame["click_count"] - frame["time_spent_samples"]).fillna(value=True)


def _bounces_are_both(frame: "pd.DataFrame") -> "pd.Series":
    within = (frame["bounces"] <= frame["entries"]) & (frame["bounces"] <= frame["exits"])
    return within.fillna(value=True)


def _visits_within_clicks(frame: "pd.DataFrame") -> "pd.Series":
    # Clicks that are an entry, an exit or both.
    return (frame["entries"] + frame["exits"] - frame["bounces"] <= frame["click_count"]).fillna(value=True)


def _open_visits_within_users(frame: "pd.DataFrame") -> "pd.Series":
    # Each user brings at most one visit into an hour and takes at most one out of it.
    carried = (frame["entries"] - frame["exits"]).groupby(frame["hour"]).transform("sum").abs()
    return carried <= frame.groupby("hour")["entering_users"].transform("sum")


def _buckets_add_up(column: Column, frame: "pd.DataFrame") -> "pd.Series":
    counted = frame[[number.name for number in column.numbers]].sum(axis="columns", skipna=False)
    return (counted == frame[column.counts]).fillna(value=True)


def _all_or_none(frame: "pd.DataFrame") -> "pd.Series":
    # No row has a column of which there was none when the hour was computed.
    missing = frame[
        [number.name for column in COLUMNS if column.name in LATER_COLUMNS for number in column.numbers]
    ].isna()
    return missing.groupby(frame["hour"]).transform("nunique").eq(1).all(axis="columns")


_IN_WORDS = {
    "not_nullable": "must not be null",
    "column_in_dataframe": "columns are missing",
    "column_in_schema": "columns are not known",
    "column_ordered": "columns are not in order",
    "multiple_fields_uniqueness": "hour, page and country must be unique together",
}
_NAMES_COLUMNS = ("column_in_dataframe", "column_in_schema", "column_ordered")


def _report(cases: "pd.DataFrame") -> list[Problem]:
    # A rule about whole rows is reported once per cell of each row that breaks it, under the cell's column.
    about_column = cases["schema_context"] == "Column"
    cases = cases.assign(column=cases["column"].where(about_column, "")).sort_values("index", kind="stable")
    columns = ("column", "check", "index", "failure_case")
    broken: dict[tuple[str, str], list[tuple[object, object]]] = {}
    for column, rule, row, value in zip(*(cases[name].tolist() for name in columns), strict=True):
        broken.setdefault((str(column), str(rule)), []).append((row, value))
    return [_problem(column, rule, found) for (column, rule), found in sorted(broken.items())]


def _problem(column: str, rule: str, found: list[tuple[object, object]]) -> Problem:
    """One problem out of the (row number or None, offending value) pairs of a column's broken rule."""
    rows = len({row for row, _ in found if row is not None and row == row})  # noqa: PLR0124  # a missing one is NaN
    show = (bool(column) and rows > 0) or rule in _NAMES_COLUMNS
    return Problem(
        rule=f"must be of type {rule[6:-1]}" if rule.startswith("dtype(") else _IN_WORDS.get(rule, rule)[:200],
        column=column or None,
        rows=rows,
        examples=_examples(value for _, value in found) if show else (),
    )


def _examples(values: Iterable[object]) -> tuple[str, ...]:
    shown: dict[str, None] = {}
    for value in values:
        shown[ascii(str(value)[:_SHOWN])] = None
        if len(shown) == _EXAMPLES:
            break
    return tuple(shown)
