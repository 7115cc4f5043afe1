"""The rules of an hour's aggregates as a pandera schema, for a table in memory, and the report of what is broken.

Belongs here: evaluating the rules with pandas, and words for what is found. Does not belong here: the rules
(`rules.py`), and what happens when one is broken.

pandera and pandas cost a second to import, so they are imported when a table is checked.
"""

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from dataco_assets.aggregates.columns import Aggregate
from dataco_assets.aggregates.reading import arrow_schema
from dataco_assets.aggregates.rules import (
    ALIKE,
    NOT_NULL,
    HourFacts,
    Problem,
    RowRule,
    ValueRule,
    broken_in_hour,
    hour_text,
    later_numbers,
    row_rules,
    shown_examples,
    unique_text,
    value_rules,
)
from dataco_assets.aggregates.totals import table_totals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd
    import pandera.pandas as pandera
    import pyarrow as pa

_ROWS_AT_ONCE = 50_000


def problems(aggregate: Aggregate, table: "pa.Table", hour_ms: int) -> list[Problem]:
    """Every rule the table breaks; an empty list when it is sound.

    Args:
        aggregate: Whose rows they are.
        table: An hour's aggregates; may have no rows.
        hour_ms: The hour it must be of, epoch ms.
    """
    from pandera.errors import SchemaErrors

    of_hour = _problems_of_hour(aggregate, table) if table.schema.equals(arrow_schema(aggregate)) else []
    try:
        hour_schema(aggregate, hour_ms).validate(_frame(aggregate, table), lazy=True)
    except SchemaErrors as errors:
        return [*_report(aggregate, errors.failure_cases), *of_hour]
    return of_hour


def _problems_of_hour(aggregate: Aggregate, table: "pa.Table") -> list[Problem]:
    broken = broken_in_hour(aggregate, _facts(aggregate, table))
    return [Problem(words, column, 0) for column, words in broken]


def _facts(aggregate: Aggregate, table: "pa.Table") -> HourFacts:
    import pyarrow.compute as pc

    flat = table.flatten()
    return HourFacts(
        table_totals(aggregate, table),
        pc.max(table["unique_users"]).as_py() or 0,  # pyright: ignore[reportAttributeAccessIssue]  # made at import
        any(flat[number.name].null_count not in (0, table.num_rows) for number in later_numbers(aggregate)),
        tuple(name for name in ALIKE if len(table[name].unique()) > 1),
    )


def problems_by_hour(aggregate: Aggregate, hours: "Iterable[tuple[int, pa.Table]]") -> dict[int, list[Problem]]:
    """Every rule that the tables break, by hour; hours whose tables are sound are left out.

    Sound hours, which nearly all are, are validated many at a time: that takes a tenth of the time. Only among hours of
    which one is not sound is each looked at alone.

    Args:
        aggregate: Whose rows they are.
        hours: Start (epoch ms) and aggregates of each hour; read one after another, and few are held at a time.
    """
    broken: dict[int, list[Problem]] = {}
    batch: dict[int, pa.Table] = {}
    for hour, table in hours:
        batch[hour] = table
        if sum(held.num_rows for held in batch.values()) >= _ROWS_AT_ONCE:
            broken |= _problems_of(aggregate, batch)
            batch = {}
    return broken | _problems_of(aggregate, batch)


def _problems_of(aggregate: Aggregate, batch: "Mapping[int, pa.Table]") -> dict[int, list[Problem]]:
    if _are_sound(aggregate, batch):
        return {}
    found = {hour: problems(aggregate, table, hour) for hour, table in batch.items()}
    return {hour: broken for hour, broken in found.items() if broken}


def _are_sound(aggregate: Aggregate, batch: "Mapping[int, pa.Table]") -> bool:
    import pyarrow as pa
    from pandera.errors import SchemaErrors

    if not all(table.schema.equals(arrow_schema(aggregate)) for table in batch.values()):
        return False
    if not all(_is_of_hour(table, hour) and not _problems_of_hour(aggregate, table) for hour, table in batch.items()):
        return False
    tables = [table for table in batch.values() if table.num_rows]
    if not tables:
        return True
    try:
        hour_schema(aggregate, None).validate(_frame(aggregate, pa.concat_tables(tables)), lazy=True)
    except SchemaErrors:
        return False
    return True


def _is_of_hour(table: "pa.Table", hour_ms: int) -> bool:
    return table["hour"].unique().to_pylist() in ([], [datetime.fromtimestamp(hour_ms / 1000, UTC)])


def _frame(aggregate: Aggregate, table: "pa.Table") -> "pd.DataFrame":
    """The table for pandera: a histogram's buckets are columns, and whole numbers stay such where some are missing."""
    import pyarrow as pa

    flat = table.flatten()
    frame = flat.to_pandas()
    whole = (
        field.name
        for field in flat.schema
        if field.name.partition(".")[0] in aggregate.later and pa.types.is_int64(field.type)
    )
    return frame.astype(dict.fromkeys(whole, "Int64"))


def hour_schema(aggregate: Aggregate, hour_ms: int | None) -> "pandera.DataFrameSchema":
    """The schema of the rows of one hour (epoch ms), or of several (None); without the rules of an hour as a whole."""
    import pandas as pd
    import pandera.pandas as pandera
    from pandera.pandas import Check

    checks: dict[str, list[Check]] = {}
    for rule in value_rules(aggregate):
        checks.setdefault(rule.column, []).append(_value_check(rule))
    if hour_ms is not None:
        hour = pd.Timestamp(hour_ms, unit="ms", tz="UTC")
        checks["hour"] = [Check(lambda column: column == hour, error=hour_text(hour_ms))]
    instant = pd.DatetimeTZDtype("us", "UTC")
    types = {"timestamp": instant, "string": str, "long": "int64", "double": "float64", "sketch": "object"}
    numbers = [number for column in aggregate.columns for number in column.numbers]
    types_of = {c.name: "Int64" if c.nullable and c.type == "long" else types[c.type] for c in numbers}
    return pandera.DataFrameSchema(
        {c.name: pandera.Column(types_of[c.name], checks.get(c.name, []), nullable=c.nullable) for c in numbers},
        checks=[Check(partial(_holds, rule), error=rule.words) for rule in row_rules(aggregate)],
        unique=["hour", *aggregate.group],
        strict=True,
        ordered=True,
    )


def _value_check(rule: ValueRule) -> "pandera.Check":
    from pandera.pandas import Check

    if rule.pattern is not None:
        return Check.str_matches(rf"\A(?:{rule.pattern})\Z", error=rule.words)
    if rule.shortest is not None:
        return Check.str_length(min_value=rule.shortest, error=rule.words)
    if rule.most is None:
        return Check.ge(rule.least, error=rule.words)
    return Check.in_range(rule.least, rule.most, error=rule.words)


def _holds(rule: RowRule, frame: "pd.DataFrame") -> "pd.Series":
    holds = frame.eval(rule.condition, engine="python").fillna(value=True)
    if rule.null:
        holds &= frame[rule.null].isna() == frame.eval(rule.null_where, engine="python")
    return holds


_IN_WORDS = {
    "not_nullable": NOT_NULL,
    "column_in_dataframe": "columns are missing",
    "column_in_schema": "columns are not known",
    "column_ordered": "columns are not in order",
}
_NAMES_COLUMNS = ("column_in_dataframe", "column_in_schema", "column_ordered")


def _report(aggregate: Aggregate, cases: "pd.DataFrame") -> list[Problem]:
    # A rule about whole rows is reported once per cell of each row that breaks it, under the cell's column.
    about_column = cases["schema_context"] == "Column"
    cases = cases.assign(column=cases["column"].where(about_column, "")).sort_values("index", kind="stable")
    columns = ("column", "check", "index", "failure_case")
    broken: dict[tuple[str, str], list[tuple[object, object]]] = {}
    for column, rule, row, value in zip(*(cases[name].tolist() for name in columns), strict=True):
        broken.setdefault((str(column), str(rule)), []).append((row, value))
    words = _IN_WORDS | {"multiple_fields_uniqueness": unique_text(aggregate)}
    return [_problem(column, rule, words.get(rule, rule), found) for (column, rule), found in sorted(broken.items())]


def _problem(column: str, rule: str, words: str, found: list[tuple[object, object]]) -> Problem:
    """One problem out of the (row number or None, offending value) pairs of a column's broken rule."""
    rows = len({row for row, _ in found if row is not None and row == row})  # noqa: PLR0124  # a missing one is NaN
    show = (bool(column) and rows > 0) or rule in _NAMES_COLUMNS
    return Problem(
        rule=f"must be of type {rule[6:-1]}" if rule.startswith("dtype(") else words[:200],
        column=column or None,
        rows=rows,
        examples=shown_examples(value for _, value in found) if show else (),
    )
