"""Tests docs/reading.md, Grafana's board of the traffic and Kibana's visualisations on what the platform published.

Each query of the three is executed, and what it comes to is compared with sums in plain Python over the same clicks.
"""

import html
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
import vl_convert
import yaml
from pyspark.sql import SparkSession

from dataco_assets.aggregates.columns import AUDIENCE, PAGES, Aggregate
from dataco_assets.clicks.time_spent import percentile
from dataco_assets_tests.esql import Query
from dataco_assets_tests.filled import ALIAS, Filled, filled
from dataco_assets_tests.grafana import Panels, Range, Source, annotation_body, body_of, variable_body
from dataco_assets_tests.site_traffic import HOUR, Expected, call
from local_stack.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.soak]  # it fills four days, which takes minutes

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reading.md"
BOARD = json.loads((ROOT / "docker" / "grafana" / "boards" / "traffic.json").read_text())
PANELS = {panel["title"]: panel for panel in BOARD["panels"] if panel["type"] != "table"}
TABLES = {panel["title"]: panel for panel in BOARD["panels"] if panel["type"] == "table"}
SAVED = [json.loads(line) for line in (ROOT / "docker" / "kibana" / "traffic.ndjson").read_text().splitlines()]
VISUALISATIONS: Mapping[str, Any] = {
    state["title"]: json.loads(state["params"]["spec"])
    for state in (json.loads(each["attributes"]["visState"]) for each in SAVED if each["type"] == "visualization")
}
PAGES_BUCKETS = next(column.buckets for column in PAGES.measures if column.buckets)
NOW_MS = time.time_ns() // 1_000_000
VEGA_LITE = "5.21"
METHOD_NOT_ALLOWED = 405


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


DAYS = (at("2026-01-28"), at("2026-01-31"))
DAY = (at("2026-01-30"), at("2026-01-31"))


@pytest.fixture(scope="module")
def known(stack: Stack, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    with filled(stack.env(), spark, tmp_path_factory.mktemp("aggregates")) as made:
        yield made


@pytest.fixture(scope="module")
def pages(known: Filled) -> Expected:
    return known.expected(PAGES, *DAYS)


@pytest.fixture(scope="module")
def audience(known: Filled) -> Expected:
    return known.expected(AUDIENCE, *DAYS)


Ranked = Mapping[Any, Sequence[float]]


def by(expected: Expected, dimension: str, *measures: str) -> dict[Any, list[float]]:
    """The sums of measures by the values of a dimension."""
    counted = [expected.by(dimension, measure) for measure in measures]
    return {value: [each[value] for each in counted] for value in counted[0]}


def same_ranking(found: Ranked, wanted: Ranked, most: int) -> None:
    """Compares values and their sums; which of equal ones are the last of the largest is not said."""
    assert found, "a pass must not be vacuous"
    for value, numbers in found.items():
        assert list(numbers) == pytest.approx(wanted[value]), value
    largest = sorted((numbers[0] for numbers in wanted.values()), reverse=True)[:most]
    assert [numbers[0] for numbers in found.values()] == largest


# docs/reading.md


@dataclass(frozen=True)
class Block:
    """A block of the page.

    Attributes:
        section: The heading that it is below.
        language: What it is written in.
        text: The block.
    """

    section: str
    language: str
    text: str


def blocks() -> list[Block]:
    found, section = [], ""
    for part in re.split(r"^(?=## |```)", PAGE.read_text(), flags=re.MULTILINE):
        if part.startswith("## "):
            section = part.partition("\n")[0].removeprefix("## ")
        elif opened := re.match(r"```(\w+)\n(.*)", part, re.DOTALL):
            found.append(Block(section, opened[1], opened[2]))
    return found


BLOCKS = blocks()


def of(language: str, section: str = "") -> list[Block]:
    return [each for each in BLOCKS if each.language == language and section in each.section]


def answered(known: Filled, block: Block) -> Any:
    """What Elasticsearch answers to a block of Kibana's console."""
    first, _, body = block.text.partition("\n")
    found = re.fullmatch(rf"GET /({ALIAS}[\w-]*)/_search", first)
    assert found, first
    return known.search(found[1], json.loads(body))


def values(aggregations: Mapping[str, Any], block: Block) -> dict[str, Any]:
    """The numbers of an answer, by name and key, in the order in which the block asks for them."""
    asked = json.loads(block.text.partition("\n")[2])["aggs"]
    found: dict[str, Any] = {}
    for name, each in aggregations.items():
        if "value" in each:
            found[name] = each["value"]
        else:
            sums = asked[name].get("aggs", ())
            found[name] = {bucket["key"]: [bucket[one]["value"] for one in sums] for bucket in each["buckets"]}
    return found


def totals(expected: Expected) -> dict[str, float]:
    """What the totals of a range must be."""
    views, visits, entries, bounces = (expected.total(name) for name in ("click_count", "exits", "entries", "bounces"))
    seconds, samples = expected.total("time_spent_seconds_sum"), expected.total("time_spent_samples")
    return {
        "views": views,
        "visits": visits,
        "entries": entries,
        "bounces": bounces,
        "seconds": seconds,
        "samples": samples,
        "views_per_visit": views / visits,
        "visit_duration": seconds / visits,
        "bounce_rate": bounces / entries,
        "time_on_page": seconds / samples,
        "known_durations": samples / views,
    }


def users_by_hour(known: Filled, since: int, until: int) -> Counter[int]:
    """Distinct users of each hour, counted in the clicks."""
    seen = {(click.timestamp // HOUR * HOUR, click.user_id) for click in known.site.clicks}
    return Counter(hour for hour, _ in seen if since <= hour < until)


def hourly(known: Filled, since: int, until: int) -> dict[int, list[float]]:
    """Views, visits and users of each hour that has clicks."""
    users = users_by_hour(known, since, until)
    sums = by(known.expected(PAGES, since, until), "hour", "click_count", "exits")
    return {hour: [*sums[hour], users[hour]] for hour in sorted(sums)}


def test_the_platform_published_what_was_sent(known: Filled, pages: Expected, audience: Expected) -> None:
    """What the tests below are about, and not only a few rows of it."""
    for aggregate, expected in ((PAGES, pages), (AUDIENCE, audience)):
        index = ALIAS if aggregate is PAGES else f"{ALIAS}-audience"
        found = [each for each in known.documents(index) if DAYS[0] <= at(each["hour"].removesuffix("Z")) < DAYS[1]]
        assert sum(each["click_count"] for each in found) == expected.total("click_count")
    assert pages.total("click_count") == sum(DAYS[0] <= click.timestamp < DAYS[1] for click in known.site.clicks) > 300
    assert pages.total("entries") != pages.total("exits"), "the two would be taken for each other"
    assert sum(DAYS[0] <= hour < DAYS[1] for hour in known.restated()) > 2
    assert pages.total("bounces")
    assert len(set(pages.by("page", "click_count"))) > 10


def test_totals_in_query_dsl(known: Filled, pages: Expected) -> None:
    (block,) = of("http", "Totals of a range")
    found, wanted = values(answered(known, block)["aggregations"], block), totals(pages)
    assert found == pytest.approx({name: wanted[name] for name in found})
    assert len(found) == 6


def test_rankings_in_query_dsl(known: Filled, pages: Expected, audience: Expected) -> None:
    def found(section: str) -> dict[str, Any]:
        (block,) = of("http", section)
        return values(answered(known, block)["aggregations"], block)

    same_ranking(found("Busiest pages")["pages"], by(pages, "page", "click_count"), 10)
    ends = found("Entry pages")
    same_ranking(ends["entry_pages"], by(pages, "page", "entries", "bounces"), 10)
    same_ranking(ends["exit_pages"], by(pages, "page", "exits", "click_count"), 10)
    same_ranking(found("Countries")["countries"], by(pages, "country", "click_count", "exits"), 300)
    visitors = found("Browsers")
    same_ranking(visitors["browsers"], by(audience, "browser", "click_count"), 10)
    same_ranking(visitors["devices"], by(audience, "device", "click_count"), 10)
    same_ranking(visitors["referrers"], by(audience, "referrer_host", "entries"), 10)


def test_hours_in_query_dsl(known: Filled) -> None:
    (block,) = of("http", "Hour by hour")
    assert values(answered(known, block)["aggregations"], block)["hours"] == hourly(known, *DAY)
    (block,) = of("http", "Users of a range")
    found = values(answered(known, block)["aggregations"], block)
    users = users_by_hour(known, *DAYS)
    assert found["hours"] == {hour: [users[hour]] for hour in sorted(users)}
    assert found["busiest_hour"] == max(users.values())


def test_buckets_of_time_in_query_dsl(known: Filled, pages: Expected) -> None:
    (block,) = of("http", "Percentiles")
    spent = pages.time_spent()
    assert values(answered(known, block)["aggregations"], block) == {
        "samples": pages.total("time_spent_samples"),
        "from_8_to_12_s": spent["from_8000_ms"],
        "from_12_to_16_s": spent["from_12000_ms"],
    }
    assert spent["from_8000_ms"]


def test_finality_in_query_dsl(known: Filled) -> None:
    ends, restated = of("http", "How final")
    found = values(answered(known, ends)["aggregations"], ends)
    assert found["newest_hour"] == max(click.timestamp // HOUR * HOUR for click in known.site.clicks)
    assert found["last_changed"] == pytest.approx(NOW_MS, abs=600_000)
    hours = values(answered(known, restated)["aggregations"], restated)["restated_hours"]
    assert list(hours) == sorted(hour for hour in known.restated() if DAYS[0] <= hour < DAYS[1])


def test_restatements_in_query_dsl(known: Filled) -> None:
    (block,) = of("http", "Restatements")
    answer, wanted = answered(known, block), known.restated()
    before, since = (sum(clicks[place] for clicks, _ in wanted.values()) for place in (0, 1))
    assert values(answer["aggregations"], block)["causes"] == {"late_clicks": [before, since]}
    found = [hit["_source"] for hit in answer["hits"]["hits"]]
    assert len(found) == min(20, len(wanted))
    for each in found:
        clicks, users = wanted[at(each["hour"].removesuffix("Z"))]
        assert (each["clicks_before"], each["clicks"]) == clicks
        assert (each["users_before"], each["users"]) == users


def test_every_block_of_query_dsl_is_compared() -> None:
    """Each of the tests above takes those of its sections."""
    sections = {block.section for block in of("http")}
    assert len(of("http")) == 11
    assert sections == {
        "Totals of a range",
        "Busiest pages",
        "Entry pages and exit pages",
        "Hour by hour",
        "Percentiles of the time on a page",
        "Countries",
        "Browsers, devices, cities and referrers",
        "Users of a range",
        "How final an hour is",
        "Restatements",
    }


Rows = list[dict[str, Any]]


def ranked(rows: Rows, key: str, *measures: str) -> dict[Any, list[float]]:
    return {row[key]: [row[measure] for measure in measures] for row in rows}


def expected_rows(known: Filled) -> list[Callable[[Rows], None]]:
    """What the ES|QL blocks must answer, in the order of the page."""
    pages, audience = (known.expected(each, *DAYS) for each in (PAGES, AUDIENCE))
    items = Expected([(g, row) for g, row in pages.rows if g["page"].startswith("https://shop.example/item/")])

    def totals_of(rows: Rows) -> None:
        (row,) = rows
        assert row == pytest.approx(totals(pages))

    def entry_pages(rows: Rows) -> None:
        wanted = by(items, "page", "entries", "bounces")
        same_ranking(ranked(rows, "page", "entries", "bounces"), wanted, 10)
        assert all(row["bounced"] == row["bounces"] / row["entries"] for row in rows)
        assert any(0 < row["bounced"] < 1 for row in rows)

    def exit_pages(rows: Rows) -> None:
        same_ranking(ranked(rows, "page", "exits", "views"), by(pages, "page", "exits", "click_count"), 10)
        assert all(row["left_here"] == row["exits"] / row["views"] for row in rows)

    def hours(rows: Rows) -> None:
        assert ranked(rows, "hour", "views", "visits", "users") == hourly(known, *DAY)

    def buckets(rows: Rows) -> None:
        spent = pages.time_spent()
        (row,) = rows
        assert row["samples"] == pages.total("time_spent_samples")
        assert (row["from_8_to_12_s"], row["from_12_to_16_s"]) == (spent["from_8000_ms"], spent["from_12000_ms"])

    def referrers(rows: Rows) -> None:
        wanted = by(audience, "referrer_host", "entries")
        same_ranking(ranked(rows, "referrer_host", "visits"), {host: n for host, n in wanted.items() if host}, 10)

    def busiest_hour(rows: Rows) -> None:
        assert rows == [{"busiest_hour": max(users_by_hour(known, *DAYS).values())}]

    def states(rows: Rows) -> None:
        hours = len(pages.by("hour", "click_count"))
        assert rows == [{"hours": hours, "views": pages.total("click_count"), "state": "final"}]

    def causes(rows: Rows) -> None:
        more = sum(since - before for (before, since), _ in known.restated().values())
        assert rows == [{"count": len(known.restated()), "clicks": more, "cause": "late_clicks"}]

    return [
        totals_of,
        lambda rows: same_ranking(ranked(rows, "page", "views"), by(pages, "page", "click_count"), 10),
        entry_pages,
        exit_pages,
        hours,
        buckets,
        lambda rows: same_ranking(
            ranked(rows, "country", "views", "visits"), by(pages, "country", "click_count", "exits"), 300
        ),
        lambda rows: same_ranking(ranked(rows, "browser", "views"), by(audience, "browser", "click_count"), 300),
        referrers,
        busiest_hour,
        states,
        causes,
    ]


def test_esql_over_the_same_documents(known: Filled) -> None:
    for block, compare in zip(of("esql"), expected_rows(known), strict=True):
        query = Query(block.text)
        compare(query.evaluate(known.documents(query.source), known.mapping(query.source), NOW_MS))


def test_esql_by_elasticsearch(known: Filled) -> None:
    for block, compare in zip(of("esql"), expected_rows(known), strict=True):
        question = json.dumps({"query": known.here(block.text)}).encode()
        try:
            answer = call(known.platform.settings, "POST", "/_query", question)
        except HTTPError as error:
            if error.code != METHOD_NOT_ALLOWED:  # the path is taken for the name of an index
                raise
            pytest.skip(f"this Elasticsearch is built without ES|QL: {error.read().decode()}")
        columns = [column["name"] for column in answer["columns"]]
        dates = {column["name"] for column in answer["columns"] if column["type"] == "date"}
        rows = [dict(zip(columns, row, strict=True)) for row in answer["values"]]
        compare([{n: at(v.removesuffix("Z")) if n in dates else v for n, v in row.items()} for row in rows])


def test_python(
    known: Filled,
    pages: Expected,
    audience: Expected,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = known.platform.settings
    monkeypatch.setenv("DATACO_ELASTICSEARCH_URL", settings.elasticsearch_url)
    elsewhere = {
        "/var/lib/dataco/aggregates": settings.aggregates_uri.removeprefix("file://"),
        'load_catalog("dataco"': f'load_catalog("{settings.catalog_name}"',
    }
    found: dict[str, Any] = {}
    for block in of("python"):
        text = known.here(block.text)
        for there, here in elsewhere.items():
            text = text.replace(there, here)
        exec(compile(text, f"{PAGE.name}, {block.section}", "exec"), found)  # noqa: S102  # the page's own code
    assert capsys.readouterr().out, "it prints answers"

    wanted = totals(pages)
    assert found["totals"] == pytest.approx({name: wanted[name] for name in found["totals"]})
    same_ranking(found["busiest"], by(pages, "page", "click_count"), 10)
    same_ranking(found["entry_pages"], by(pages, "page", "entries", "bounces"), 10)
    same_ranking(found["exit_pages"], by(pages, "page", "exits", "click_count"), 10)
    assert {at(hour.removesuffix("Z")): numbers for hour, numbers in found["hours"].items()} == hourly(known, *DAY)
    spent = pages.time_spent()
    assert found["percentiles"] == {percent: percentile(spent, percent) for percent in (50, 75, 90)}
    assert found["table_percentiles"] == found["percentiles"]
    same_ranking(found["countries"], by(pages, "country", "click_count", "exits"), 300)
    same_ranking(found["browsers"], by(audience, "browser", "click_count"), 10)
    same_ranking(found["devices"], by(audience, "device", "click_count"), 10)
    same_ranking(found["referrers"], by(audience, "referrer_host", "entries"), 10)
    groups: Counter[tuple[str, str]] = Counter()
    for group, row in pages.rows:
        groups[group["page"], group["country"]] += row.click_count
    assert found["by_page_and_country"] == groups
    assert found["table_bounce_rate"] == wanted["bounce_rate"]
    in_table = {row["page"]: [row["click_count_sum"], row["exits_sum"]] for row in found["table_pages"]}
    assert in_table == by(pages, "page", "click_count", "exits")
    least, _, most = found["users"]
    clicks = [click for click in known.site.clicks if DAYS[0] <= click.timestamp < DAYS[1]]
    assert least <= len({click.user_id for click in clicks if click.country == "DE"}) <= most


# Grafana


SOURCES = {
    each["uid"]: Source(each["jsonData"]["index"], each["jsonData"]["timeField"])
    for each in yaml.safe_load(
        (ROOT / "docker" / "grafana" / "provisioning" / "datasources" / "dataco.yaml").read_text()
    )["datasources"]
    if each["type"] == "elasticsearch"
}


def panels_of(known: Filled, country: str = "*", since: int = DAYS[0], until: int = DAYS[1] - 1) -> Panels:
    return Panels(known.search, SOURCES, Range(since, until, {"country": country}))


@pytest.mark.parametrize("country", ["*", "DE"])
def test_grafanas_tiles(known: Filled, pages: Expected, country: str) -> None:
    shown = pages if country == "*" else pages.where(country=country)
    wanted, board = totals(shown), panels_of(known, country)
    figures = {
        "Visits": wanted["visits"],
        "Views": wanted["views"],
        "Views per visit": wanted["views_per_visit"],
        "Visit duration": wanted["visit_duration"],
        "Bounce rate": wanted["bounce_rate"],
        "Time on page": wanted["time_on_page"],
        "Known durations": wanted["known_durations"],
        "Users, busiest hour": max(shown.by("hour", "entering_users").values()),
        "Newest hour": max(shown.by("hour", "click_count")),
    }
    assert {title: board.figure(PANELS[title]) for title in figures} == pytest.approx(figures)
    assert board.figure(PANELS["Documents last changed"]) == pytest.approx(NOW_MS, abs=600_000)
    found = board.figures(PANELS["Time on page: distribution"])
    spent = shown.time_spent()
    assert found == {f"from {int(name.split('_')[1]) / 1000:g} s": spent[name] for name in PAGES_BUCKETS}
    if country == "*":
        assert board.figure(PANELS["Users, busiest hour"]) == max(users_by_hour(known, *DAYS).values())


def test_grafanas_trends(known: Filled) -> None:
    found = panels_of(known, since=DAY[0], until=DAY[1] - 1).series(PANELS["By hour"])
    wanted = hourly(known, *DAY)
    for place, name in enumerate(("Views", "Visits", "Users of the hour")):
        assert found[name] == {hour: wanted.get(hour, [0] * 3)[place] for hour in range(*DAY, HOUR)}
    (rates,) = panels_of(known).series(PANELS["Bounce rate by day"]).values()
    day = known.expected(PAGES, *DAY)
    assert rates[DAY[0]] == day.total("bounces") / day.total("entries")


RANKINGS: list[tuple[str, Aggregate, str, str, str]] = [
    ("Pages", PAGES, "page", "click_count", "exits"),
    ("Entry pages", PAGES, "page", "entries", "bounces"),
    ("Exit pages", PAGES, "page", "exits", "click_count"),
    ("Countries", PAGES, "country", "click_count", "exits"),
    ("Referrers", AUDIENCE, "referrer_host", "entries", "bounces"),
    ("Browsers", AUDIENCE, "browser", "click_count", "exits"),
    ("Operating systems", AUDIENCE, "operating_system", "click_count", "exits"),
    ("Devices", AUDIENCE, "device", "click_count", "exits"),
    ("Cities", AUDIENCE, "city", "click_count", "exits"),
]


def test_grafanas_rankings(known: Filled) -> None:
    board = panels_of(known)
    for title, aggregate, dimension, first, second in RANKINGS:
        rows = board.table(TABLES[title])
        found = ranked(rows, dimension, f"Sum {first}", f"Sum {second}")
        same_ranking(found, by(known.expected(aggregate, *DAYS), dimension, first, second), 1_000)
        for row in rows:
            entries, exits = row.get("Sum entries"), row.get("Sum exits")
            if "Bounced" in row and entries:
                assert row["Bounced"] == row["Sum bounces"] / entries
            if "Of its views" in row:
                assert row["Of its views"] == exits / row["Sum click_count"]
    assert {title for title, *_ in RANKINGS} | {"Newest restatements"} == set(TABLES)


def test_grafanas_restatements(known: Filled) -> None:
    board, wanted = panels_of(known, since=NOW_MS - 24 * HOUR, until=NOW_MS + HOUR), known.restated()
    assert board.figure(PANELS["Restatements"]) == len(wanted)
    more = sum(since - before for (before, since), _ in wanted.values())
    assert board.figure(PANELS["Late clicks"]) == more > 0
    rows = {at(row["hour"].removesuffix("Z")): row for row in board.table(TABLES["Newest restatements"])}
    assert {hour: (row["clicks_before"], row["clicks"]) for hour, row in rows.items()} == {
        hour: clicks for hour, (clicks, _) in wanted.items()
    }
    shown = next(s for s in TABLES["Newest restatements"]["transformations"] if s["id"] == "filterFieldsByName")
    assert set(shown["options"]["include"]["names"]) <= set(next(iter(rows.values())))


def test_grafanas_variable_and_marks(known: Filled, pages: Expected) -> None:
    (variable,), (marks,) = BOARD["templating"]["list"], BOARD["annotations"]["list"]
    shown = Range(DAYS[0], DAYS[1] - 1, {})
    source = SOURCES[variable["datasource"]["uid"]]
    answer = known.search(source.index, variable_body(json.loads(variable["query"]), source, shown))
    countries = [bucket["key"] for bucket in answer["aggregations"]["1"]["buckets"]]
    assert countries == sorted(pages.by("country", "click_count"))
    found = known.search(SOURCES[marks["datasource"]["uid"]].index, annotation_body(marks, shown))["hits"]["hits"]
    marked = {at(hit["_source"][marks["timeField"]].removesuffix("Z")) for hit in found}
    assert marked == {hour for hour in known.restated() if DAYS[0] <= hour < DAYS[1]}
    assert {hit["_source"][marks["textField"]] for hit in found} == {"late_clicks"}


def test_every_query_of_the_board_finds_something(known: Filled) -> None:
    """Also those of which the tests above compare only a part."""
    queries = [(panel, target) for panel in BOARD["panels"] for target in panel["targets"] if "metrics" in target]
    for panel, target in queries:
        source = SOURCES[target["datasource"]["uid"]]
        until = NOW_MS + HOUR if source.time_field == "noted_at" else DAYS[1] - 1
        answer = known.search(source.index, body_of(target, source, Range(DAYS[0], until, {"country": "*"})))
        assert answer["hits"]["total"]["value"] > 0, panel["title"]
        assert answer["_shards"]["failed"] == 0, panel["title"]


# Kibana


def drawn(known: Filled, title: str, since: int = DAYS[0], until: int = DAYS[1] - 1) -> list[str]:
    """The texts of a visualisation, drawn by Vega-Lite from Elasticsearch's answer as Kibana gives it."""
    spec = json.loads(json.dumps(VISUALISATIONS[title]))
    url = spec["data"].pop("url")
    times = {"gte": _iso(since), "lte": _iso(until), "format": "strict_date_optional_time"}
    # Kibana's query for the dashboard's hours and filters, of which there are none.
    in_time = {"range": {url["%timefield%"]: times}}
    query = {"bool": {"must": [in_time], "filter": [], "should": [], "must_not": []}}
    spec["data"]["values"] = known.search(url["index"], {**url["body"], "query": query})
    size = {"width": 1_200, "height": 400, "autosize": {"type": "fit", "contains": "padding"}}
    svg = vl_convert.vegalite_to_svg({**spec, **size}, vl_version=VEGA_LITE)
    return [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat().replace("+00:00", "Z")


def rounded(number: float, places: int = 1) -> str:
    """A number as JavaScript writes it: half of the last place goes up."""
    return str(Decimal(number).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP))


def share(number: float) -> str:
    return f"{rounded(number * 100)}%"


def test_kibanas_figures(known: Filled, pages: Expected) -> None:
    wanted = totals(pages)
    texts = {
        "users, busiest hour": f"{max(users_by_hour(known, *DAYS).values()):,}",
        "visits": f"{wanted['visits']:,}",
        "views": f"{wanted['views']:,}",
        "views per visit": rounded(wanted["views_per_visit"], 2),
        "visit duration": f"{rounded(wanted['visit_duration'])} s",
        "bounce rate": share(wanted["bounce_rate"]),
    }
    assert drawn(known, "Traffic") == [*texts.values(), *texts]
    spent = pages.time_spent()
    times = {f"{percent} % stay at most": f"{rounded(percentile(spent, percent) or 0)} s" for percent in (50, 75, 90)}
    times["mean"] = f"{rounded(wanted['time_on_page'])} s"
    times["of the clicks have a known duration"] = share(wanted["known_durations"])
    assert drawn(known, "Time on page") == [*times.values(), *times]
    newest, changed, *_ = drawn(known, "Documents")
    assert at(newest) == max(pages.by("hour", "click_count"))
    assert at(changed) == pytest.approx(NOW_MS, abs=600_000)
    nothing = drawn(known, "Traffic", since=at("2001-01-01"), until=at("2001-01-02"))
    assert nothing[:6] == ["0", "0", "0", *["\N{EN DASH}"] * 3]


def test_kibanas_rankings(known: Filled) -> None:
    notes: Mapping[str, Callable[[float, float], str]] = {
        "Pages": lambda _, exits: f" · {exits:,} ended a visit",
        "Entry pages": lambda entries, bounces: f" · {share(bounces / entries)} bounced",
        "Referrers": lambda entries, bounces: f" · {share(bounces / entries)} bounced",
        "Exit pages": lambda exits, views: f" · {share(exits / views)} of its views",
    }
    for title, aggregate, dimension, first, second in RANKINGS:
        wanted = by(known.expected(aggregate, *DAYS), dimension, first, second)
        texts = drawn(known, title)
        note = notes.get(title, lambda _, __: "")
        numbers = Counter(f"{a:,}{note(a, b)}" for a, b in wanted.values() if a)
        shown = Counter(text for text in texts if text in numbers)
        assert sum(shown.values()) == min(10, sum(a > 0 for a, _ in wanted.values())), (title, texts)
        largest = max(wanted.values(), key=lambda pair: pair[0])
        assert f"{largest[0]:,}{note(*largest)}" in texts, (title, texts)
        assert shown <= numbers


def test_kibanas_distribution_and_hours(known: Filled, pages: Expected) -> None:
    texts = drawn(known, "Time on page: distribution")
    counts = [pages.time_spent()[bucket] for bucket in PAGES_BUCKETS if pages.time_spent()[bucket]]
    assert [text for text in texts if text.replace(",", "").isdigit()] == [f"{count:,}" for count in counts]
    assert "8 s to 12 s" in texts
    hours = len(pages.by("hour", "click_count"))
    assert set(drawn(known, "Hours by state")) >= {"final", f"{hours:,}"}


def test_kibanas_trend(known: Filled) -> None:
    spec = VISUALISATIONS["By hour"]
    answer = known.search(spec["data"]["url"]["index"], {**spec["data"]["url"]["body"], "query": _of_day()})
    buckets = answer["aggregations"]["hours"]["buckets"]
    found = {b["key"]: [b[name]["value"] for name in ("click_count", "exits", "entering_users")] for b in buckets}
    assert {hour: numbers for hour, numbers in found.items() if any(numbers)} == hourly(known, *DAY)
    assert {"views", "visits", "users of the hour"} <= set(drawn(known, "By hour", *DAY))


def _of_day() -> Mapping[str, Any]:
    return {"range": {"hour": {"gte": _iso(DAY[0]), "lt": _iso(DAY[1])}}}


def test_kibanas_restatements(known: Filled) -> None:
    wanted, since, until = known.restated(), NOW_MS - 24 * HOUR, NOW_MS + HOUR
    more = sum(later - before for (before, later), _ in wanted.values())
    assert f"{len(wanted):,} · +{more:,} clicks" in drawn(known, "Restatements by cause", since, until)
    texts = drawn(known, "Newest restatements", since, until)
    newest = sorted(wanted, reverse=True)[:20]
    shown = Counter(text for text in texts if "→" in text)
    pairs = [pair for hour in newest for pair in wanted[hour]]
    if len(wanted) <= 20:
        assert shown == Counter(f"{before:,} → {later:,}" for before, later in pairs)


def test_every_visualisation_finds_something(known: Filled) -> None:
    for title, spec in VISUALISATIONS.items():
        url = spec["data"]["url"]
        answer = known.search(url["index"], url["body"])
        assert answer["hits"]["total"]["value"] > 0, title
        found: Any = answer
        for part in spec["data"]["format"]["property"].split("."):
            found = found[part]
        assert found, title
