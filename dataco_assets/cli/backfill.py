"""`dataco backfill`: computes and publishes a range of hours anew, as one run of the job `refresh_hours`.

The definitions are imported when the command runs, so that `--help` stays quick.
"""

import logging
import os
import time
import uuid
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated
from urllib.parse import SplitResult, urlsplit

import typer

from dataco_assets.cli.output import Json, iso_time, note, print_json
from dataco_assets.cli.times import From, To, hour_range
from dataco_assets.cli.usage import WrongUsage
from dataco_assets.clicks.hour import HOUR_MS, hour_key, hour_of
from dataco_assets.clock import now_ms
from dataco_assets.errors import DatacoError
from dataco_assets.logs import bound_run
from dataco_assets.quantities import quantity
from dataco_assets.settings import settings
from dataco_assets.untrusted import on_one_line, printable

if TYPE_CHECKING:
    import dagster as dg

_LONGEST_RUN_SECONDS = 24 * 3600
_TAGS = {"dataco/started_by": "dataco backfill", "dagster/max_runtime": str(_LONGEST_RUN_SECONDS)}
_FAILURES_SHOWN = 5


class NoSuchHours(WrongUsage):
    """The requested hours are not partitions."""


class NoWebServer(WrongUsage):
    """What --submit got is not the URL of a web server."""


class BackfillFailed(DatacoError):
    """The run failed, or could not be started."""


def backfill(
    first: From,
    last: To,
    *,
    submit: Annotated[
        str,
        typer.Option(
            "--submit",
            metavar="URL",
            help="Hand the run to the Dagster web server there, like http://127.0.0.1:3000: it is queued, the daemon "
            "starts it, and this command ends at once.",
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Compute and publish hours again, all in one run.

    One scan and one Spark job, whatever the number of hours.

    Late clicks need no backfill: the sensor starts a run for them. This is for hours without new clicks, for instance
    when the aggregation has changed or `dataco verify` found a difference, also when documents were changed or deleted
    by hand. Interrupted, it can simply be started again.

    Without --submit the run executes in this process and its log goes to the terminal. It is recorded in the instance
    of DAGSTER_HOME, so the UI shows it while it is going on, and the sensors leave its hours alone. It is not queued:
    it can go on beside another run, which is safe. In Kubernetes use --submit: a run without a pod is treated as dead.
    """
    server = _web_server(submit) if submit else None
    start, end = _existing(*hour_range(first, last))
    hours = (end - start) // HOUR_MS + 1
    say = note if as_json else typer.echo
    say(f"{quantity(hours, 'hour')}: {hour_key(start)} to {hour_key(end)}, both included.")
    from dataco_assets.partitions import range_tags

    tags = {**range_tags(hour_key(start), hour_key(end)), **_TAGS}
    if server:
        run_id = _submit(server, tags)
        say(f"Run {run_id} is queued; {submit.rstrip('/')}/runs/{run_id} shows it.")
    else:
        started = time.monotonic()
        run_id = _execute(tags)
        say(f"{quantity(hours, 'hour')} published in {time.monotonic() - started:.0f} s (run {run_id}).")
    if as_json:
        print_json(
            {
                "first_hour": iso_time(start),
                "last_hour": iso_time(end),
                "hours": hours,
                "run_id": run_id,
                "status": "queued" if server else "published",
            }
        )


def _existing(start: int, end: int) -> tuple[int, int]:
    earliest, running = settings().partitions_start_ms, hour_of(now_ms())
    if start < earliest:
        raise NoSuchHours(
            f"FROM ({hour_key(start)}) is before the first hour there is, {hour_key(earliest)} "
            "(DATACO_PARTITIONS_START)."
        )
    if start > running:
        raise NoSuchHours(f"FROM ({hour_key(start)}) is in the future; the running hour is {hour_key(running)}.")
    if end > running:
        note(f"TO is cut to the running hour, {hour_key(running)}.")
    return start, min(end, running)


def _execute(tags: Mapping[str, str]) -> str:
    """Runs the refresh here, and returns the run's id.

    Raises:
        BackfillFailed: The run failed.
    """
    import dagster as dg

    from dataco_assets.definitions import defs
    from dataco_assets.jobs import REFRESH_JOB
    from dataco_assets.partitions import range_tags
    from dataco_assets.run_leases import held_lease

    recorded = "DAGSTER_HOME" in os.environ
    if not recorded:
        note("DAGSTER_HOME is not set: the run is recorded nowhere.", logging.WARNING)
    instance = dg.DagsterInstance.get() if recorded else dg.DagsterInstance.ephemeral()
    job = defs.resolve_job_def(REFRESH_JOB)

    def execute(run_tags: Mapping[str, str]) -> dg.ExecuteInProcessResult:
        run_id = str(uuid.uuid4())
        with bound_run(run_id), held_lease(instance, run_id) if recorded else nullcontext():
            return job.execute_in_process(
                instance=instance,
                run_id=run_id,
                tags=dict(run_tags),
                run_config={"loggers": {"console": {"config": {"log_level": "INFO"}}}},
                raise_on_error=False,
            )

    with instance:
        result = execute(tags)
        if again := _hours_to_replace(instance, result):
            note(
                f"The index holds documents of {hour_key(again[0])} to {hour_key(again[-1])} that were changed by "
                "something other than this platform: the hours are computed again, with a generation above theirs.",
                logging.WARNING,
            )
            result = execute({**tags, **range_tags(hour_key(again[0]), hour_key(again[-1]))})
    if not result.success:
        raise BackfillFailed(f"Run {result.run_id} failed; what it had published stays right.\n{_why(result)}")
    return result.run_id


def _hours_to_replace(instance: "dg.DagsterInstance", result: "dg.ExecuteInProcessResult") -> tuple[int, ...]:
    """Hours whose publication met documents changed by hand; a second run, of a higher generation, replaces them."""
    from dataco_assets.assets.es_click_index import IndexDiffers
    from dataco_assets.assets.failures import failure_of
    from dataco_assets.index.conflicts import DocumentsChanged

    run = None if result.success else instance.get_run_by_id(result.run_id)
    failure = failure_of(run) if run is not None else None
    curable = (DocumentsChanged.__name__, IndexDiffers.__name__)
    return failure.hours if failure is not None and failure.error in curable else ()


def _why(result: "dg.ExecuteInProcessResult") -> str:
    messages: list[str] = []
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data
            said = failure.user_failure_data.description if failure.user_failure_data else None
            messages.append(said or (failure.error.message.strip() if failure.error else str(event.message)))
    return "\n".join(messages[:_FAILURES_SHOWN])


def _web_server(url: str) -> SplitResult:
    """The parts of the address of a web server.

    Raises:
        NoWebServer: It is none.
    """
    parts = None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number
        usable = False
    if parts is None or not usable:
        raise NoWebServer(
            f"--submit '{printable(url, 100)}' is not the URL of a web server, like http://127.0.0.1:3000."
        )
    return parts


def _submit(server: SplitResult, tags: Mapping[str, str]) -> str:
    from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError
    from requests.exceptions import RequestException

    from dataco_assets.jobs import REFRESH_JOB

    try:
        client = DagsterGraphQLClient(str(server.hostname), server.port, use_https=server.scheme == "https")
        return client.submit_job_execution(REFRESH_JOB, tags=dict(tags))
    except (DagsterGraphQLClientError, RequestException) as error:
        raise BackfillFailed(
            f"Dagster's web server at {printable(server.geturl(), 100)} did not take the run: {_cause(error)}. Is it "
            "up, and has it loaded the code location? Without --submit the run executes here."
        ) from error


def _cause(error: BaseException) -> str:
    """What was wrong in the end, in a few words: the clients' own messages quote the whole query, and each other."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.strerror:
            return found.strerror
        error, found = found, found.__cause__ or found.__context__
    return on_one_line(str(error), 300)
