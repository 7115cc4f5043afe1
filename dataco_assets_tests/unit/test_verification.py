"""Tests that the recomputation equals the oracle, which shares no code with it, and that every field is compared."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from datasketches import HLL_8, hll_sketch  # pyright: ignore[reportAttributeAccessIssue]  # compiled, without stubs

from dataco_assets.aggregates.columns import PAGES
from dataco_assets.aggregates.reading import HourAggregates, arrow_schema
from dataco_assets.clicks.bots import BotRule
from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.clicks.time_spent import BUCKETS
from dataco_assets.index.layout import document_id
from dataco_assets.index.layout import host_and_path as host_and_path_of_the_index
from dataco_assets.ledgers.hours import HourState
from dataco_assets.verification import verifier
from dataco_assets.verification.compare import (
    DIFFERENCES_KEPT,
    HourVerdict,
    Outcome,
    Place,
    compare_index,
    compare_table,
    host_and_path,
)
from dataco_assets.verification.conservation import conservation_problems
from dataco_assets.verification.recompute import Figures, Group, recompute
from dataco_assets.verification.sketches import sketched
from dataco_assets.verification.stored_clicks import StoredClick
from dataco_assets_tests import hour_vectors, oracle
from dataco_assets_tests.hour_vectors import NOON as NOON_OF_VECTORS
from dataco_assets_tests.hour_vectors import HourVector, read_vectors

NOON = 1_591_012_800_000
HALF = HOUR_MS // 2
PAGE = "https://shop.example:8080/a/b?c=/d"


def stored_click(row_key: str, user_id: str, timestamp: int, page: str, country: str, **more: str) -> StoredClick:
    dimensions = dict.fromkeys(oracle.AUDIENCE, "") | {"page": page, "country": country} | more
    return StoredClick(row_key.encode(), user_id, timestamp, dimensions)


RULE = oracle.Bots({"a", "c"}, 3)


def made_up_clicks(seed: int) -> list[StoredClick]:
    """Six hours of few users on few pages; many clicks at the same time, at the edges of hours and 30 min apart."""
    chance = random.Random(seed)
    clicks = []
    for number in range(chance.randrange(200)):
        time = NOON + chance.randrange(6 * HOUR_MS)
        if chance.random() < 0.5:
            time = time - time % HALF + chance.choice([-1, 0, 1])
        user = f"u{chance.randrange(5)}"
        more = {name: chance.choice(["", "a", "b"]) for name in oracle.AUDIENCE[1:]}
        page = f"https://a.example/{chance.randrange(3)}"
        clicks.append(stored_click(f"{user}-{number:04}", user, time, page, "FR", **more))
    return sorted(clicks, key=lambda click: (click.timestamp, click.row_key))


@pytest.mark.parametrize("seed", range(200))
def test_the_recomputation_agrees_with_the_oracle(seed: int) -> None:
    clicks = made_up_clicks(seed)
    hours = [NOON + n * HOUR_MS for n in range(1, 4)]
    known = [oracle.OracleClick(c.row_key.decode(), c.user_id, c.timestamp, **c.dimensions) for c in clicks]
    needed = [click for click in clicks if hours[0] - HALF <= click.timestamp < hours[-1] + HOUR_MS + HALF]

    found = dict(recompute(needed, hours, bots=BotRule(frozenset(RULE.agents), RULE.clicks_per_minute)))

    assert list(found) == hours
    for place, by in enumerate((oracle.PAGES, oracle.AUDIENCE)):
        rows = {
            (hour, *group): counted(figures)
            for hour, groups in found.items()
            for group, figures in groups[place].items()
        }
        assert rows == {key: vars(row) for key, row in oracle.aggregate(known, hours, by, RULE).items()}


def counted(figures: Figures) -> dict[str, Any]:
    """The measures but the sketch, which must be of the users."""
    fields = figures.fields
    assert fields.pop("users_sketch") == sketched(figures.users)
    return fields


@pytest.mark.parametrize("vector", read_vectors().values(), ids=read_vectors().keys())
def test_the_recomputation_of_the_vectors(vector: HourVector) -> None:
    in_order = sorted(vector.clicks, key=lambda click: (click.timestamp, click.row_key))
    clicks = [
        stored_click(
            *(c.row_key, c.user_id, c.timestamp, c.page, c.country or "ZZ"),
            browser=c.browser or "",
            device=c.device or "",
        )
        for c in in_order
    ]
    ((hour, (groups, _)),) = recompute(clicks, [NOON_OF_VECTORS], bots=hour_vectors.BOTS)
    assert {(hour, *group): counted(figures) for group, figures in groups.items()} == {
        key: vars(row) for key, row in vector.rows.items()
    }


def test_memory_holds_two_hours_at_most() -> None:
    hours = [NOON + n * HOUR_MS for n in range(48)]

    def stream() -> Any:
        for n in range(48 * 60):
            yield stored_click(f"{n:06}", f"u{n}", NOON + n * 60_000, "https://a.example/", "FR")

    pending = recompute(stream(), hours, bots=hour_vectors.BOTS)
    for _ in hours[:-1]:
        next(pending)
        frame = pending.gi_frame  # pyright: ignore[reportAttributeAccessIssue]  # a generator has one
        assert len(frame.f_locals["unfinished"]) <= 2
        assert len(frame.f_locals["latest"]) <= 32 + 60
        assert len(frame.f_locals["present"]) <= 60


EXPECTED: dict[Group, Figures] = {(PAGE, "FR"): Figures(3, {"ann", "bob"}, 1, 90_500, 2, begun=2, gone_on=1)}
EXPECTED[PAGE, "FR"].spent_in.update({"from_32000_ms": 1, "from_48000_ms": 1})
NOT_IN_INDEX = {"users_sketch": None}
LATER = {
    **dict.fromkeys(("entries", "exits", "bounces", "time_spent_buckets")),
    **NOT_IN_INDEX,
    "bot_clicks": None,
}


def buckets(**filled: int) -> dict[str, int]:
    return dict.fromkeys(BUCKETS, 0) | filled


def sketch(*users: str) -> bytes:
    made = hll_sketch(12, HLL_8)
    for user in users:
        made.update(user)
    return made.serialize_updatable()  # as Spark writes it


def row(**changed: Any) -> dict[str, Any]:
    return {
        "hour": NOON * 1000,
        "page": PAGE,
        "country": "FR",
        "click_count": 3,
        "unique_users": 2,
        "entering_users": 1,
        "time_spent_seconds_sum": 90.5,
        "time_spent_samples": 2,
        "average_time_spent_seconds": 45.25,
        "entries": 2,
        "exits": 1,
        "bounces": 1,
        "time_spent_buckets": buckets(from_32000_ms=1, from_48000_ms=1),
        "users_sketch": sketch("bob", "ann"),
        "bot_clicks": 0,
        "generation": 7,
        "computed_at": 5_000_000,
        **changed,
    }


def stored(*rows: dict[str, Any]) -> HourAggregates:
    import pyarrow as pa

    return HourAggregates(NOON, pa.Table.from_pylist(list(rows), arrow_schema(PAGES)), 7, 5_000)


def hit(**changed: Any) -> dict[str, Any]:
    times = {"hour": "2020-06-01T12:00:00.000Z", "computed_at": "1970-01-01T00:00:05.000Z"}
    filled = {"time_spent_buckets": {"from_32000_ms": 1, "from_48000_ms": 1}}
    source = {**row(), **times, **filled, **NOT_IN_INDEX, "host": "shop.example", "path": "/a/b"}
    found = {"_id": document_id(PAGES, NOON, PAGE, "FR"), "_version": 7}
    for name, value in changed.items():
        (found if name in found else source)[name] = value
    return {**found, "_source": source}


def table_differences(*rows: dict[str, Any]) -> list[str]:
    verdict = HourVerdict(NOON)
    compare_table(verdict, PAGES, EXPECTED, stored(*rows))
    assert all(each.place == Place.TABLE for each in verdict.differences)
    return [each.field for each in verdict.differences]


def index_differences(*hits: dict[str, Any], lacking: frozenset[str] = frozenset()) -> list[str]:
    verdict = HourVerdict(NOON)
    compare_index(verdict, PAGES, EXPECTED, hits, stored(row()), lacking)
    assert all(each.place == Place.INDEX for each in verdict.differences)
    return [each.field for each in verdict.differences]


def test_what_is_equal_has_no_difference() -> None:
    assert table_differences(row()) == []
    assert index_differences(hit()) == []
    assert index_differences(hit(computed_at=4_000)) == [], "computed again since, without a change"
    assert index_differences(hit(generation=6, _version=6)) == [], "not changed by a later generation"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("click_count", 4),
        ("unique_users", 1),
        ("entering_users", 2),
        ("entering_users", None),
        ("time_spent_seconds_sum", 90.501),
        ("time_spent_samples", 3),
        ("average_time_spent_seconds", None),
        ("average_time_spent_seconds", 45.2),
        ("entries", 1),
        ("exits", 2),
        ("bounces", 0),
        ("bot_clicks", 1),
    ],
)
def test_every_figure_is_compared(name: str, value: object) -> None:
    assert table_differences(row(**{name: value})) == [name]
    assert index_differences(hit(**{name: value})) == [name]


@pytest.mark.parametrize(
    "held",
    [
        buckets(from_32000_ms=2),
        buckets(from_32000_ms=1, from_48000_ms=1, from_0_ms=1),
        {"from_32000_ms": 1, "from_48000_ms": 1},
        None,
    ],
    ids=["another bucket", "a bucket too many", "null for empty buckets", "no buckets"],
)
def test_the_buckets_of_time_are_compared(held: dict[str, int] | None) -> None:
    assert table_differences(row(time_spent_buckets=held), row(country="DE"))[0] == "time_spent_buckets"


@pytest.mark.parametrize("held", [{"from_32000_ms": 2}, {"from_32000_ms": 1}, {}, None])
def test_the_buckets_of_a_document_are_compared(held: dict[str, int] | None) -> None:
    assert index_differences(hit(time_spent_buckets=held)) == ["time_spent_buckets"]


@pytest.mark.parametrize(
    "held",
    [sketch("ann"), sketch("ann", "eve"), sketch("ann", "bob", "eve"), b"", b"nonsense", sketch("ann", "bob")[:9]],
    ids=["a user too few", "another user", "a user too many", "nothing", "nonsense", "cut"],
)
def test_sketches_of_users_are_compared(held: bytes) -> None:
    assert table_differences(row(users_sketch=held)) == ["users_sketch"]


def test_an_hour_computed_before_there_was_a_measure_lacks_it_in_every_row_and_document() -> None:
    verdict = HourVerdict(NOON)
    lacking = compare_table(verdict, PAGES, EXPECTED, stored(row(**LATER)))
    assert (verdict.differing, verdict.lacking, lacking) == (0, LATER.keys(), LATER.keys())
    assert table_differences(row(**LATER), row(country="DE")) == [*LATER, "group"]
    assert index_differences(hit(**LATER), lacking=lacking) == []
    in_index = [name for name in LATER if name not in NOT_IN_INDEX]
    assert index_differences(hit(), lacking=lacking) == in_index
    assert index_differences(hit(**LATER)) == in_index


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hour", NOON + 1),
        ("host", "other.example"),
        ("path", "/"),
        ("_version", 6),
        ("_id", "0" * 32),
        ("computed_at", 5_001),
    ],
)
def test_every_other_field_of_a_document_is_compared(name: str, value: object) -> None:
    assert index_differences(hit(**{name: value})) == [name]


def test_the_version_of_a_document_is_its_generation_which_is_not_above_the_tables() -> None:
    assert index_differences(hit(generation=6)) == ["_version"]
    assert index_differences(hit(generation=8, _version=8)) == ["generation"]


def test_other_fields_of_a_row_are_compared() -> None:
    assert table_differences(row(hour=NOON * 1000 + 1000)) == ["hour"]
    assert table_differences(row(), row(generation=6, country="DE")) == ["group"]


@pytest.mark.parametrize(("compare", "make"), [(table_differences, row), (index_differences, hit)])
def test_groups_too_many_twice_or_missing_are_seen(
    compare: Callable[..., list[str]], make: Callable[..., dict[str, Any]]
) -> None:
    assert compare() == ["group"]
    assert compare(make(), make()) == ["group"]
    assert compare(make(), make(country="DE")) == ["group"]


def test_differences_are_bounded_but_all_counted() -> None:
    verdict = HourVerdict(NOON)
    compare_table(verdict, PAGES, EXPECTED, stored(*(row(country=f"{n}") for n in range(500))))
    assert (verdict.differing, len(verdict.differences)) == (501, DIFFERENCES_KEPT)


@pytest.mark.parametrize(
    "page",
    [
        PAGE,
        "https://shop.example/",
        "https://shop.example/?a=b://c/d",
        "http://[2001:db8::1]:9000/x?y=https://z.example/",
        "http://bücher.example/straße;x=1/é",
    ],
)
def test_host_and_path_agree_with_what_the_index_writes(page: str) -> None:
    assert host_and_path(page) == host_and_path_of_the_index(page)


@pytest.mark.parametrize(
    ("before", "after", "differing", "expected"),
    [
        ((3, 3), (3, 3), 0, Outcome.EQUAL),
        ((3, 3), (3, 3), 1, Outcome.DIFFERENT),
        ((4, 3), (4, 3), 1, Outcome.DIRTY),
        ((4, 3), (5, 3), 1, Outcome.DIRTY),
        ((3, 3), (4, 3), 1, Outcome.CHANGING),
        ((4, 3), (4, 4), 1, Outcome.CHANGING),
        ((3, 3), (4, 4), 0, Outcome.CHANGING),
    ],
)
def test_an_hour_is_judged_only_while_nothing_changes_it(
    before: tuple[int, int], after: tuple[int, int], differing: int, expected: Outcome
) -> None:
    verdict = HourVerdict(NOON, differing=differing)
    states = HourState(NOON, *before), HourState(NOON, *after)
    assert verifier._outcome(verdict, *states, expired=set(), is_computed=True) == expected
    assert verifier._outcome(verdict, *states, expired={NOON}, is_computed=True) == Outcome.EXPIRED
    outside = Outcome.OUTSIDE if states[1].is_dirty else expected
    assert verifier._outcome(verdict, *states, expired=set(), is_computed=False) == outside


@pytest.mark.parametrize(
    ("clicks", "before", "after", "is_conserved"),
    [(5, 5, 5, True), (6, 5, 7, True), (4, 5, 7, False), (8, 5, 7, False), (5, 6, 4, True), (3, 6, 4, False)],
)
def test_clicks_are_conserved_between_the_counts_before_and_after(
    clicks: int, before: int, after: int, is_conserved: bool
) -> None:
    found = conservation_problems({NOON: clicks}, {NOON: before}, {NOON: after})
    assert list(found) == ([] if is_conserved else [NOON])
