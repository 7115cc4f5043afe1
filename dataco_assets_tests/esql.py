"""Evaluates the part of ES|QL that docs/reading.md uses, over documents: the local Elasticsearch is built without it.

Written from the language's reference. A field must be in the mapping or come from a command before, and a whole number
divided by a whole number is a whole number, as in Elasticsearch; so are a null where a field is missing, and dates as
epoch ms. Anything else that is not known here is an error.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

Row = dict[str, Any]

_UNITS = {"hour": 3_600_000, "minute": 60_000, "day": 86_400_000}
_TOKEN = re.compile(
    r'(?P<text>"[^"]*")|(?P<time>\d+ (?:hour|minute|day)s?\b)|(?P<number>\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][\w.]*)'
    r"|(?P<sign>==|!=|>=|<=|[-+*/<>(),=])|(?P<blank>\s+)"
)
_WORDS = {"AND": "and", "OR": "or", "NOT": "not", "IS": "is", "NULL": "None", "LIKE": "@"}
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:T[\d:.]+Z?)?")


class Unknown(Exception):
    """A query uses a field, a function or a command that there is not."""


class Query:
    """A query, taken apart.

    Attributes:
        source: What it reads.
        commands: The others, as name and text.
    """

    def __init__(self, text: str) -> None:
        first, *rest = [part.strip() for part in re.split(r"\|(?=\s)", text)]
        kind, _, self.source = first.partition(" ")
        if kind != "FROM" or not re.fullmatch(r"[\w.-]+", self.source):
            raise Unknown(first)
        self.commands = [(part.split(None, 1)[0], part.split(None, 1)[1]) for part in rest]

    def evaluate(self, documents: Sequence[Mapping[str, Any]], mapping: Mapping[str, Any], now_ms: int) -> list[Row]:
        """Its rows.

        Args:
            documents: All documents of its source.
            mapping: The properties of its mapping.
            now_ms: What `NOW()` is, epoch ms.
        """
        types = _types(mapping)
        rows = [{name: _value(document, name, kind) for name, kind in types.items()} for document in documents]
        known = set(types)
        for name, text in self.commands:
            step = _COMMANDS.get(name)
            if step is None:
                raise Unknown(name)
            rows, known = step(text, rows, known, now_ms)
        return rows


def _types(properties: Mapping[str, Any], above: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, rule in properties.items():
        if "properties" in rule:
            found |= _types(rule["properties"], f"{above}{name}.")
        elif rule.get("type") != "object":
            found[above + name] = rule["type"]
    return found


def _value(document: Mapping[str, Any], name: str, kind: str) -> Any:
    value: Any = document
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return _epoch(value) if kind == "date" and value is not None else value


def _epoch(text: str) -> int:
    parsed = datetime.fromisoformat(text)
    return round((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)


def _where(text: str, rows: list[Row], known: set[str], now_ms: int) -> tuple[list[Row], set[str]]:
    condition = _Expression(text, known, now_ms)
    return [row for row in rows if condition.of([row])], known


def _eval(text: str, rows: list[Row], known: set[str], now_ms: int) -> tuple[list[Row], set[str]]:
    for name, formula in _assignments(text):
        expression = _Expression(formula, known, now_ms)
        rows = [{**row, name: expression.of([row])} for row in rows]
        known = known | {name}
    return rows, known


def _stats(text: str, rows: list[Row], known: set[str], now_ms: int) -> tuple[list[Row], set[str]]:
    sums, _, by = text.partition(" BY ")
    keys = [name.strip() for name in by.split(",") if name.strip()]
    if missing := set(keys) - known:
        raise Unknown(f"fields {sorted(missing)}")
    groups: dict[tuple[Any, ...], list[Row]] = {} if keys else {(): []}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in keys), []).append(row)
    wanted = [(name, _Expression(formula, known, now_ms)) for name, formula in _assignments(sums)]
    found = [
        {**{name: each.of(members) for name, each in wanted}, **dict(zip(keys, group, strict=True))}
        for group, members in groups.items()
    ]
    return found, {*keys, *(name for name, _ in wanted)}


def _sort(text: str, rows: list[Row], known: set[str], _now_ms: int) -> tuple[list[Row], set[str]]:
    for each in reversed(text.split(",")):
        name, _, order = each.strip().partition(" ")
        if name not in known or order not in {"", "ASC", "DESC"}:
            raise Unknown(each)
        rows = sorted(rows, key=lambda row, by=name: row[by], reverse=order == "DESC")
    return rows, known


def _limit(text: str, rows: list[Row], known: set[str], _now_ms: int) -> tuple[list[Row], set[str]]:
    return rows[: int(text)], known


_COMMANDS: Mapping[str, Callable[[str, list[Row], set[str], int], tuple[list[Row], set[str]]]] = {
    "WHERE": _where,
    "EVAL": _eval,
    "STATS": _stats,
    "SORT": _sort,
    "LIMIT": _limit,
}


def _assignments(text: str) -> list[tuple[str, str]]:
    """`name = formula`, separated by commas outside of brackets."""
    parts, depth = [""], 0
    for sign in text:
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    pairs = [re.fullmatch(r"\s*(\w+)\s*=(?!=)\s*(.+?)\s*", part, re.DOTALL) for part in parts]
    if not all(pairs):
        raise Unknown(text)
    return [(pair[1], pair[2]) for pair in pairs if pair]


class _Expression:
    """A formula over one row, or with aggregates over many."""

    def __init__(self, text: str, known: set[str], now_ms: int) -> None:
        self._known, self._now_ms = known, now_ms
        self._tree = ast.parse(_as_python(text), mode="eval").body

    def of(self, rows: Sequence[Row]) -> Any:
        return self._of(self._tree, rows)

    def _of(self, node: ast.expr, rows: Sequence[Row]) -> Any:  # noqa: PLR0911  # one case for each kind of node
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name() | ast.Attribute():
                return self._field(ast.unparse(node), rows)
            case ast.BoolOp(op=ast.And(), values=values):
                return all(self._of(each, rows) for each in values)
            case ast.BoolOp(values=values):
                return any(self._of(each, rows) for each in values)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return not self._of(operand, rows)
            case ast.Compare(left=left, ops=[sign], comparators=[right]):
                return _compared(self._of(left, rows), sign, self._of(right, rows))
            case ast.BinOp(left=left, op=sign, right=right):
                return _computed(self._of(left, rows), sign, self._of(right, rows))
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return self._called(name, arguments, rows)
        raise Unknown(ast.unparse(node))

    def _field(self, name: str, rows: Sequence[Row]) -> Any:
        if name not in self._known or len(rows) != 1:
            raise Unknown(f"field {name}" if len(rows) == 1 else f"{name}, which is no aggregate")
        return rows[0][name]

    def _called(self, name: str, arguments: Sequence[ast.expr], rows: Sequence[Row]) -> Any:
        if name in _AGGREGATES:
            each = [self._of(arguments[0], [row]) for row in rows] if arguments else list(rows)
            return _AGGREGATES[name]([value for value in each if value is not None])
        values = [self._of(argument, rows) for argument in arguments]
        if name == "NOW":
            return self._now_ms
        if name == "TO_DOUBLE":
            return None if values[0] is None else float(values[0])
        if name == "CASE":
            pairs = zip(values[::2], values[1::2], strict=False)
            return next((value for condition, value in pairs if condition), values[-1])
        raise Unknown(f"function {name}")


_AGGREGATES: Mapping[str, Callable[[list[Any]], Any]] = {
    "SUM": lambda values: sum(values) if values else None,
    "MAX": lambda values: max(values, default=None),
    "COUNT": len,
}


def _as_python(text: str) -> str:
    found, at = [], 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise Unknown(text[at : at + 20])
        at = token.end()
        found.append(_translated(str(token.lastgroup), token[0]))
    return "".join(found).strip().replace("COUNT(*)", "COUNT()").replace("\n", " ")


def _translated(kind: str, part: str) -> str:
    if kind == "text":
        return str(_epoch(part[1:-1])) if _DATE.fullmatch(part[1:-1]) else repr(part[1:-1])
    if kind == "time":
        number, _, unit = part.partition(" ")
        return str(int(number) * _UNITS[unit.removesuffix("s")])
    if kind == "sign" and part == "=":
        raise Unknown("= in an expression; comparisons are ==")
    return _WORDS.get(part, part)


def _compared(left: Any, sign: ast.cmpop, right: Any) -> bool | None:
    if isinstance(sign, ast.Is | ast.IsNot):
        return (left is None) == isinstance(sign, ast.Is)
    return None if left is None or right is None else _COMPARISONS[type(sign)](left, right)


def _computed(left: Any, sign: ast.operator, right: Any) -> Any:
    if type(sign) not in _OPERATORS:
        raise Unknown(type(sign).__name__)
    return None if left is None or right is None else _OPERATORS[type(sign)](left, right)


def _divided(left: float, right: float) -> float | None:
    if right == 0:
        return None
    return int(left / right) if isinstance(left, int) and isinstance(right, int) else left / right


_COMPARISONS: Mapping[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_OPERATORS: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _divided,
    ast.MatMult: fnmatchcase,  # stands for LIKE
}
