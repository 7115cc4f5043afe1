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
from dataco_assets.aggregates.totals import HourTotals, table_totals

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    import pandas as pd
    import pandera.pandas as pandera
    import pyarrow as pa

_ROWS_AT_ONCE = 50_000
_HASH_KEYS = ("0123456789123456", "6543219876543210")


def problems(aggregate: Aggregate, table: "pa.Table", hour_ms: int) -> list[Problem]:
    """Every rule the table breaks; an empty list when it is sound.

    Args:
        aggregate: Whose rows they are.
        table: An hour's aggregates; may have no rows.
        hour_ms: The hour it must be of, epoch ms.
    """
    return problems_by_hour(aggregate, [(hour_ms, table)]).get(hour_ms, [])


def problems_by_hour(aggregate: Aggregate, pieces: "Iterable[tuple[int, pa.Table]]") -> dict[int, list[Problem]]:
    """Every rule that the hours' rows break, by hour; hours that are sound are left out.

    Sound hours, which nearly all are, are validated many at a time: that takes a tenth of the time. Only where one is
    not sound is each looked at alone.

    Args:
        aggregate: Whose rows they are.
        pieces: Start of an hour (epoch ms) and some of its rows, or all; an hour's pieces come one after another. Few
            are held at a time.
    """
    found = _Found(aggregate)
    batch: list[tuple[int, pa.Table]] = []
    for hour, piece in pieces:
        batch.append((hour, piece))
        if sum(held.num_rows for _, held in batch) >= _ROWS_AT_ONCE:
            found.look_at(batch)
            batch = []
    found.look_at(batch)
    return found.problems()


class _Found:
    """What is wrong with the hours looked at so far."""

    def __init__(self, aggregate: Aggregate) -> None:
        self._aggregate = aggregate
        self._rows: dict[int, list[Problem]] = {}
        self._facts: dict[int, _Facts] = {}

    def look_at(self, batch: "Sequence[tuple[int, pa.Table]]") -> None:
        known = arrow_schema(self._aggregate)
        for hour, piece in batch:
            if piece.schema.equals(known):
                self._facts.setdefault(hour, _Facts(self._aggregate)).add(piece)
        if not _are_sound(self._aggregate, batch):
            for hour, piece in batch:
                self._rows.setdefault(hour, []).extend(_problems_of_rows(self._aggregate, piece, hour))

    def problems(self) -> dict[int, list[Problem]]:
        """By hour, those of rows before those of the hour."""
        of_hours = {hour: facts.problems() for hour, facts in self._facts.items()}
        found = {
            hour: _joined([*self._rows.get(hour, []), *of_hours.get(hour, [])]) for hour in {**self._rows, **of_hours}
        }
        return {hour: broken for hour, broken in found.items() if broken}


class _Facts:
    """What the rows of an hour are together, added up piece by piece."""

    def __init__(self, aggregate: Aggregate) -> None:
        self._aggregate = aggregate
        self._totals: HourTotals | None = None
        self._most_users = 0
        self._known = {number.name: set[bool]() for number in later_numbers(aggregate)}
        self._alike: dict[str, set[object]] = {name: set() for name in ALIKE}
        self._groups = _Groups(aggregate)

    def add(self, piece: "pa.Table") -> None:
        import pyarrow.compute as pc

        sums = table_totals(self._aggregate, piece)
        self._totals = sums if self._totals is None else self._totals.plus(sums)
        self._most_users = max(self._most_users, pc.max(piece["unique_users"]).as_py() or 0)  # pyright: ignore[reportAttributeAccessIssue]  # made at import
        flat = piece.flatten()
        for name, known in self._known.items():
            known.update(flat[name].is_valid().unique().to_pylist())
        for name, values in self._alike.items():
            values.update(piece[name].unique().to_pylist())
        self._groups.add(piece)

    def problems(self) -> list[Problem]:
        if self._totals is None:
            return []
        facts = HourFacts(
            self._totals,
            self._most_users,
            any(len(known) > 1 for known in self._known.values()),
            tuple(name for name, values in self._alike.items() if len(values) > 1),
        )
        broken = [Problem(words, column, 0) for column, words in broken_in_hour(self._aggregate, facts)]
        if repeated := self._groups.repeated():
            broken.append(Problem(unique_text(self._aggregate), None, repeated))
        return broken


class _Groups:
    """Finds groups that two pieces of an hour have; within a piece, its validation finds them.

    Of a group it keeps two hashes, 16 bytes: among ten million groups, the chance that two different ones have the same
    is less than 1 : 10^24.
    """

    def __init__(self, aggregate: Aggregate) -> None:
        self._names = list(aggregate.group)
        self._first: pa.Table | None = None
        self._hashes: list[np.ndarray] = []

    def add(self, piece: "pa.Table") -> None:
        groups = piece.select(self._names)
        if self._first is None:
            self._first = groups  # most hours have no second piece
            return
        if not self._hashes:
            self._hashes.append(_hashes(self._first))
            self._first = groups.slice(0, 0)
        self._hashes.append(_hashes(groups))

    def repeated(self) -> int:
        """Number of groups that more than one piece has."""
        import numpy as np

        if not self._hashes:
            return 0
        of_pieces = np.concatenate([np.unique(each) for each in self._hashes])
        return len(of_pieces) - len(np.unique(of_pieces))


def _hashes(groups: "pa.Table") -> "np.ndarray":
    import numpy as np
    from pandas.util import hash_pandas_object

    frame = groups.to_pandas()
    pair = np.empty(len(frame), dtype=[("first", np.uint64), ("second", np.uint64)])
    for name, key in zip(("first", "second"), _HASH_KEYS, strict=True):
        options = {"index": False, "hash_key": key, "categorize": False}
        pair[name] = hash_pandas_object(frame, **options)  # pyright: ignore[reportArgumentType,reportCallIssue]  # documented, but not declared
    return pair


def _joined(problems: "Iterable[Problem]") -> list[Problem]:
    """The same rules broken in several pieces as one problem each."""
    found: dict[tuple[str, str | None], Problem] = {}
    for each in problems:
        key = (each.rule, each.column)
        earlier = found.get(key)
        found[key] = each if earlier is None else earlier.and_also(each)
    return list(found.values())


def _problems_of_rows(aggregate: Aggregate, piece: "pa.Table", hour_ms: int) -> list[Problem]:
    from pandera.errors import SchemaErrors

    try:
        hour_schema(aggregate, hour_ms).validate(_frame(aggregate, piece), lazy=True)
    except SchemaErrors as errors:
        return _report(aggregate, errors.failure_cases)
    return []


def _are_sound(aggregate: Aggregate, batch: "Sequence[tuple[int, pa.Table]]") -> bool:
    """Whether all rows keep all rules about rows."""
    import pyarrow as pa
    from pandera.errors import SchemaErrors

    known = arrow_schema(aggregate)
    if not all(piece.schema.equals(known) and _is_of_hour(piece, hour) for hour, piece in batch):
        return False
    tables = [piece for _, piece in batch if piece.num_rows]
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
