"""`raw_clicks`: every valid click, exactly once, in HBase; and the topic it comes from, as an external asset."""

from dataclasses import asdict, replace
from datetime import timedelta
from enum import Enum

import dagster as dg
from pydantic import Field

from dataco_assets.assets.failures import explained
from dataco_assets.clicks.hour import DAY_MS, hour_key, hour_of
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.resources.kafka import KafkaResource
from dataco_assets.settings import Settings

OWNERS = ["team:clickstream"]
WARN_REJECTED_SHARE = 0.01
_SHOWN_HOURS = 48
_SHOWN_PROBLEMS = 20


class OnDataLoss(Enum):
    """What to do when clicks left the topic before they were stored."""

    FAIL = "fail"
    SKIP = "skip"


class WithoutRegistry(Enum):
    """What to do with a record that names its schema by the id of a registry when no registry is configured."""

    FAIL = "fail"
    REJECT = "reject"


class DrainConfig(dg.Config):
    """Run configuration of an ingest; the defaults are right for ordinary runs."""

    max_clicks: int | None = Field(
        None, description="Maximum number of offsets to read; empty: DATACO_INGEST_MAX_CLICKS. The next run continues."
    )
    on_data_loss: OnDataLoss = Field(
        OnDataLoss.FAIL,
        description="`fail` when clicks were lost before they were stored (retention, re-created topic); `skip` "
        "continues behind the gap and reports it.",
    )
    max_rejected_share: float | None = Field(
        None,
        description="Share of rejected clicks above which the run fails; empty: DATACO_INGEST_MAX_REJECTED_SHARE; "
        "1.0 lets all pass to the rejected topic.",
    )
    without_registry: WithoutRegistry = Field(
        WithoutRegistry.FAIL,
        description="`fail` when a record was written with a schema registry, but DATACO_SCHEMA_REGISTRY_URL is not "
        "set; `reject` sends such records to the rejected topic.",
    )


clicks_topic = dg.AssetSpec(
    "clicks_topic",
    description="Kafka topic of the web clicks, enriched upstream with country, city, browser, OS and device. "
    "One click per message, in JSON or Avro; `docs/clicks.md` is the contract.",
    group_name="clickstream",
    kinds={"kafka"},
    owners=OWNERS,
)

_COLUMNS = [
    dg.TableColumn("click_data:event_id", "string", "Id of the click, unique among those of its user."),
    dg.TableColumn("click_data:user_id", "string", "Who clicked. Personal data."),
    dg.TableColumn("click_data:timestamp", "long (text)", "When, epoch milliseconds UTC."),
    dg.TableColumn("click_data:url", "string", "The URL as sent."),
    dg.TableColumn("click_data:page", "string", "The URL without fragment, default port and tracking parameters."),
    dg.TableColumn("click_data:ip_address", "string", "IPv4 or IPv6 address. Personal data."),
    dg.TableColumn("click_data:user_agent", "string", "User agent as the browser sent it."),
    dg.TableColumn("click_data:referrer", "string", "Referrer as sent; empty when there was none."),
    dg.TableColumn("click_data:referrer_host", "string", "Host of the other site that led here; empty when none did."),
    dg.TableColumn("geo_data:country", "string", "ISO 3166-1 alpha-2; ZZ when unknown."),
    dg.TableColumn("geo_data:city", "string", "City; empty when unknown."),
    dg.TableColumn("user_agent_data:browser", "string", "Browser; empty when unknown."),
    dg.TableColumn("user_agent_data:operating_system", "string", "Operating system; empty when unknown."),
    dg.TableColumn("user_agent_data:device", "string", "Device; empty when unknown."),
]


@dg.asset(
    deps=[clicks_topic],
    description="Every valid click, exactly once, as a row of the HBase table `clicks`. A run stores what was in the "
    "topic when it started and then ends; `kafka_lag_sensor` starts the next one. Invalid clicks go, bytes unchanged, "
    "to the rejected topic.",
    group_name="clickstream",
    kinds={"hbase", "kafka"},
    owners=OWNERS,
    tags={"domain": "clickstream", "contains": "personal-data"},
    pool="hbase_ingest",
    # An hour without a single click deserves a warning, too.
    freshness_policy=dg.FreshnessPolicy.time_window(warn_window=timedelta(minutes=30), fail_window=timedelta(hours=1)),
    metadata={"dagster/column_schema": dg.TableSchema(columns=_COLUMNS)},
    check_specs=[
        dg.AssetCheckSpec(
            "rejected_share",
            asset="raw_clicks",
            description=f"At most {WARN_REJECTED_SHARE:.0%} of this run's messages were rejected.",
        ),
        dg.AssetCheckSpec(
            "accounts_add_up",
            asset="raw_clicks",
            description="Of all messages ingested in the last 24 hours, each was stored, rejected, suppressed or lost "
            "with a person's consent, by the offset ledger (`dataco account`).",
        ),
    ],
)
def raw_clicks(
    context: dg.AssetExecutionContext,
    config: DrainConfig,
    settings: dg.ResourceParam[Settings],
    kafka: KafkaResource,
    hbase: HBaseResource,
) -> dg.MaterializeResult:
    """Drains the topic once."""
    from dataco_assets.clock import now_ms
    from dataco_assets.ingest.accounting import read_account
    from dataco_assets.ingest.drain import Drain, policy_from

    policy = replace(
        policy_from(settings),
        on_data_loss=config.on_data_loss.value,
        without_registry=config.without_registry.value,
    )
    if config.max_clicks is not None:
        policy = replace(policy, max_clicks=config.max_clicks)
    if config.max_rejected_share is not None:
        policy = replace(policy, max_rejected_share=config.max_rejected_share)
    with (
        explained(),
        hbase.client() as client,
        Drain(settings, client, policy, brokers=kafka.brokers) as drain,
    ):
        result = drain.run()
        now = now_ms()
        account = read_account(settings, client, now_ms=now, since_ms=hour_of(now - DAY_MS))
    waiting = "an unknown number" if result.lag_left is None else f"{result.lag_left:,}"
    context.log.info(
        f"{result.stored:,} clicks stored and {result.rejected.total():,} rejected in {result.seconds:.1f} s; "
        f"{waiting} more have arrived since."
    )
    rejected_share = result.rejected.total() / result.seen if result.seen else 0.0
    return dg.MaterializeResult(
        metadata={
            "clicks stored": result.stored,
            "clicks rejected": result.rejected.total(),
            "clicks suppressed": result.suppressed,
            "rejected by reason": {reason.value: count for reason, count in result.rejected.most_common()},
            "offsets": {str(p): f"[{r.start}, {r.end})" for p, r in sorted(result.ranges.items())},
            "lag left": result.lag_left,
            "hours touched": len(result.hours),
            "clicks by hour": {hour_key(h): result.hours[h] for h in sorted(result.hours)[-_SHOWN_HOURS:]},
            "clicks per second": round(result.seen / result.seconds) if result.seconds else 0,
            "seconds": round(result.seconds, 3),
            "HBase calls tried again": result.hbase_retries,
            "lost and skipped": [f"partition {loss.partition}: {loss.why}" for loss in result.skipped],
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="rejected_share",
                passed=rejected_share <= WARN_REJECTED_SHARE,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"share": rejected_share, "rejected": result.rejected.total(), "messages": result.seen},
            ),
            dg.AssetCheckResult(
                check_name="accounts_add_up",
                passed=account.adds_up,
                metadata={
                    "produced": account.produced,
                    **asdict(account.counts),
                    "problems": [str(problem) for problem in account.problems[:_SHOWN_PROBLEMS]],
                },
            ),
        ],
    )
