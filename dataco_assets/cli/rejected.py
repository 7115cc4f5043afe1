"""`dataco rejected …`: shows rejected clicks and sends them back.

`dataco_assets.rejected` does the work; it is imported when a command runs, so that `--help` stays quick. Everything in
a record is untrusted: it is shown without markup, and what a terminal would interpret is escaped.
"""

import base64
import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataco_assets.cli.output import Json, iso_time, print_json, print_table
from dataco_assets.cli.times import TimeUnclear, end_of, moment
from dataco_assets.cli.usage import WrongUsage
from dataco_assets.clicks.event import Reason
from dataco_assets.errors import DatacoError
from dataco_assets.quantities import quantity
from dataco_assets.settings import settings
from dataco_assets.untrusted import printable

if TYPE_CHECKING:
    from dataco_assets.rejected.contents import Contents, Entry, Filter
    from dataco_assets.rejected.replay import ReplayPlan

app = typer.Typer(help="Look at rejected clicks, and send them back.", no_args_is_help=True)

STANDARD_STREAM = "-"
LARGEST_REPAIRED_BYTES = 16 * 1024 * 1024
"""Far above what a click may have; keeps a wrong file from filling the memory."""

_PATIENCE_SECONDS = 30.0
_LISTED_UNFIT = 10
_COLUMNS = ("id", "rejected at (UTC)", "reason", "detail", "state")
_KEEPING = "Kafka keeps them for DATACO_REJECTED_RETENTION_HOURS."

Reasons = Annotated[
    list[Reason] | None,
    typer.Option("--reason", metavar="REASON", help="Only this reason, like invalid_url; may be repeated."),
]
Since = Annotated[
    str, typer.Option(help="Rejected from here on, like 2026-01-31, 2026-01-31T12:00Z or 2026-01-31-12:00 (UTC).")
]
Until = Annotated[str, typer.Option(help="Rejected until then, included: a day with all its hours.")]


class ChoiceUnclear(WrongUsage):
    """The selection contradicts itself, or an argument is not the id of a rejected click."""


class RepairUnusable(DatacoError):
    """The repaired bytes cannot be read."""


class NothingFits(DatacoError):
    """All selected clicks would be rejected again, so nothing was sent."""


class NoValue(DatacoError):
    """A tombstone has no bytes to write."""


@app.command("list")
def list_rejected(
    *,
    reason: Reasons = None,
    since: Since = "",
    until: Until = "",
    limit: Annotated[int, typer.Option(min=1, help="Show so many, the newest.")] = 50,
    as_json: Json = False,
) -> None:
    """List rejected clicks, newest last, each once.

    The state tells whether a click was sent back already, and if not, whether it would pass by the rules of this
    version and its settings.
    """
    selection = _filter(reason, since, until)
    contents = _contents(since_ms=selection.since_ms)
    selected = selection.apply(contents.entries)
    if as_json:
        print_json(_list_document(contents, selected, limit))
        return
    if selected:
        print_table(_COLUMNS, [_row(entry) for entry in selected[-limit:]])
    for line in _summary(contents, selected, limit):
        typer.echo(line)


@app.command()
def show(
    record_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it: topic/partition/offset.")],
    *,
    raw: Annotated[bool, typer.Option("--raw", help="Write the exact bytes of the value, and nothing else.")] = False,
    as_json: Json = False,
) -> None:
    """Show one rejected click: reason, headers, value, replays.

    To repair one: `dataco rejected show ID --raw > click.json`, edit it, `dataco rejected replay ID --with click.json`.
    """
    from dataco_assets.rejected.contents import read_value

    if raw and as_json:
        raise ChoiceUnclear("Give either --raw or --json.")
    _require_ids([record_id])
    contents = _contents(record_ids=[record_id])
    entry = contents.find(record_id)
    value = read_value(settings(), entry)
    if raw:
        if value is None:
            raise NoValue(f"Rejected click {record_id} is a tombstone: it has no value, which no bytes can show.")
        sys.stdout.buffer.write(value)
        sys.stdout.buffer.flush()
        return
    decoded = _decoded(entry, value)
    if as_json:
        print_json({**_show_document(entry, contents, value), "decoded": decoded})
        return
    for line in _about(entry, contents):
        typer.echo(line)
    typer.echo(_value(value))
    if decoded is not None:
        typer.echo(f"decoded      from Avro, the fields of a click:\n{json.dumps(decoded)}")


@app.command()
def replay(  # noqa: PLR0913  # the options of the command
    record_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Only these; without: all that the options choose.")
    ] = None,
    *,
    reason: Reasons = None,
    since: Since = "",
    until: Until = "",
    repaired: Annotated[
        str, typer.Option("--with", metavar="FILE", help="Send these bytes instead, exactly; for one ID.")
    ] = "",
    again: Annotated[bool, typer.Option("--again", help="Also what was sent back before.")] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Also what would be rejected again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Send rejected clicks back to the clicks topic.

    They are sent as they are or repaired, keep their key and headers, and get headers that mark the replay. Kafka takes
    them as of now. The next ingest run stores what passes, and the hours are computed again; what is rejected again
    becomes a new rejected click. Sending a click twice stores it once, unless its bytes were repaired differently and
    have no event_id.
    """
    from dataco_assets.rejected.replay import plan_replay
    from dataco_assets.rejected.replay import replay as send_back

    ids, selection = _require_ids(record_ids or ()), _filter(reason, since, until)
    _refuse_contradictions(ids, selection, repaired)
    if repaired == STANDARD_STREAM and not (yes or dry_run):
        raise ChoiceUnclear("--with - leaves no standard input to ask on: add --yes or --dry-run.")
    payload = _repaired(repaired) if repaired else None
    contents = _contents(record_ids=ids, since_ms=selection.since_ms)
    wanted = [contents.find(record_id) for record_id in ids] if ids else selection.apply(contents.entries)
    if payload is not None:
        wanted = [_with_verdict_on(wanted[0], payload)]
    plan = plan_replay(wanted, again=again, unfit_too=anyway)
    for line in _intent(plan, contents):
        typer.echo(line)
    if plan.unfit and not plan.sent and not plan.replayed:
        raise NothingFits(
            "Nothing was sent. Repair clicks and send them --with FILE, or send them as they are --anyway."
        )
    if dry_run:
        for entry in plan.sent:
            typer.echo(f"  would send {printable(entry.record_id)}")
        return
    if not plan.sent:
        return
    if not yes:
        typer.confirm(f"Send {quantity(len(plan.sent), 'click')} to topic {settings().clicks_topic}?", abort=True)
    sent = send_back(settings(), plan.sent, repaired=payload)
    typer.echo(
        f"{quantity(sent, 'click')} sent back to topic {settings().clicks_topic}; the next ingest run takes them."
    )


def _contents(*, record_ids: Sequence[str] = (), since_ms: int | None = None) -> "Contents":
    from dataco_assets.cli.first_contact import connect_at_once
    from dataco_assets.rejected.contents import find_rejected, read_rejected

    with connect_at_once(settings(), retry_seconds=_PATIENCE_SECONDS) as hbase:
        if record_ids:
            return find_rejected(settings(), hbase, record_ids)
        return read_rejected(settings(), hbase, since_ms=since_ms)


def _filter(reasons: Sequence[Reason] | None, since: str, until: str) -> "Filter":
    from dataco_assets.rejected.contents import Filter

    since_ms = moment("--since", since) if since else None
    until_ms = end_of("--until", until) if until else None
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        raise TimeUnclear(f"There is no time from --since {since[:40]!r} to --until {until[:40]!r}.")
    return Filter(frozenset(reason.value for reason in reasons or ()), since_ms, until_ms)


def _require_ids(texts: Iterable[str]) -> list[str]:
    from dataco_assets.rejected.records import is_record_id

    ids = list(dict.fromkeys(texts))
    for text in ids:
        if not is_record_id(text):
            raise ChoiceUnclear(
                f"{printable(text[:80])!r} is not the id of a rejected click, like clicks/0/1234 "
                "(topic/partition/offset); `dataco rejected list` shows them."
            )
    return ids


def _refuse_contradictions(ids: Sequence[str], selection: "Filter", repaired: str) -> None:
    if ids and (selection.reasons or selection.since_ms is not None or selection.until_ms is not None):
        raise ChoiceUnclear("Give either ids, or --reason, --since and --until.")
    if repaired and len(ids) != 1:
        raise ChoiceUnclear(f"--with sends the bytes of one click, so it takes exactly one id, not {len(ids)}.")


def _repaired(file: str) -> bytes:
    try:
        if file == STANDARD_STREAM:
            payload = sys.stdin.buffer.read(LARGEST_REPAIRED_BYTES + 1)
        else:
            with Path(file).open("rb") as stream:
                payload = stream.read(LARGEST_REPAIRED_BYTES + 1)
    except OSError as error:
        raise RepairUnusable(f"The file {file} cannot be read: {error.strerror}.") from error
    if len(payload) > LARGEST_REPAIRED_BYTES:
        raise RepairUnusable(f"The file {file} is larger than {LARGEST_REPAIRED_BYTES:,} bytes: is it a click?")
    return payload


def _with_verdict_on(entry: "Entry", payload: bytes) -> "Entry":
    from dataco_assets.rejected.judging import Judge

    return dataclasses.replace(entry, verdict=Judge.of(settings()).verdict(payload, None))


def _decoded(entry: "Entry", value: bytes | None) -> dict[str, Any] | None:
    """What a value in Avro says of a click's fields."""
    from dataco_assets.rejected.judging import Judge

    return Judge.of(settings()).decoded(value, entry.record.schema_header)


def _row(entry: "Entry") -> tuple[str, ...]:
    record = entry.record
    return record.record_id, _time(record.rejected_at_ms), record.reason, record.detail, _state(entry)


def _list_document(contents: "Contents", selected: Sequence["Entry"], limit: int) -> dict[str, Any]:
    return {
        "topic": settings().rejected_topic,
        "total": len(selected),
        "by_reason": Counter(entry.record.reason for entry in selected),
        "erased": len(contents.erased),
        "foreign": contents.foreign,
        "clicks": [_document(entry) for entry in selected[-limit:]],
    }


def _document(entry: "Entry") -> dict[str, Any]:
    record, verdict = entry.record, entry.verdict
    return {
        "id": record.record_id,
        "rejected_at": iso_time(record.rejected_at_ms),
        "kafka_time": iso_time(record.record_time_ms),
        "reason": record.reason,
        "detail": record.detail,
        "replays": entry.replays,
        "replayed_at": iso_time(entry.replayed_at_ms),
        "would_be_rejected": verdict and {"reason": verdict.reason.value, "detail": verdict.detail},
    }


def _show_document(entry: "Entry", contents: "Contents", value: bytes | None) -> dict[str, Any]:
    record = entry.record
    return _document(entry) | {
        "key_base64": _base64(record.key),
        "headers": [{"name": name, "value_base64": _base64(content)} for name, content in record.headers],
        "value_base64": _base64(value),
        "replay_of": list(contents.origins(record)),
        "rejected_again_as": list(contents.rejected_again(record)),
    }


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _state(entry: "Entry") -> str:
    if entry.replays:
        return f"replayed {entry.replays}x" if entry.replays > 1 else "replayed"
    if entry.verdict is not None:
        return ""
    return "may pass" if entry.record.reason == Reason.REFUSED_BY_STORE else "would pass"


def _summary(contents: "Contents", selected: Sequence["Entry"], limit: int) -> Iterator[str]:
    topic = settings().rejected_topic
    if not contents.entries:
        yield f"Topic {topic} holds no rejected clicks. {_KEEPING}"
    elif not selected:
        held = quantity(len(contents.entries), "rejected click")
        yield f"Topic {topic} holds {held}, none of them meant by these options."
    else:
        counts = Counter(printable(entry.record.reason) for entry in selected)
        shares = ", ".join(
            f"{count:,} {reason}" for reason, count in sorted(counts.items(), key=lambda c: (-c[1], c[0]))
        )
        yield f"{quantity(len(selected), 'rejected click')}: {shares}"
        if len(selected) > limit:
            yield f"Older ones not shown: {len(selected) - limit:,}; --limit shows more."
    if contents.erased:
        yield f"Not shown, because their users were erased: {len(contents.erased):,}"
    if contents.foreign:
        yield f"Records in topic {topic} that are not this platform's, left out: {contents.foreign:,}"


def _about(entry: "Entry", contents: "Contents") -> Iterator[str]:
    record = entry.record
    yield f"id           {printable(record.record_id)}"
    yield f"reason       {printable(record.reason)}"
    yield f"detail       {printable(record.detail)}"
    yield f"Kafka time   {_time(record.record_time_ms)} UTC"
    where = f"partition {record.partition}, offset {record.offset} of topic {settings().rejected_topic}"
    yield f"rejected at  {_time(record.rejected_at_ms)} UTC ({where})"
    yield f"key          {'none' if record.key is None else _safe_bytes(record.key)}"
    for name, value in record.headers:
        yield f"header       {printable(name)}: {'null' if value is None else _safe_bytes(value)}"
    yield from _history(entry, contents)


def _history(entry: "Entry", contents: "Contents") -> Iterator[str]:
    verdict = entry.verdict
    if verdict is not None:
        yield f"now          would be rejected: {verdict.reason.value}, {verdict.detail}"
    elif entry.record.reason == Reason.REFUSED_BY_STORE:
        yield "now          passes the rules; HBase decides"
    else:
        yield "now          would pass"
    for origin in contents.origins(entry.record):
        yield f"replay of    {printable(origin)}"
    if entry.replays:
        times = "once" if entry.replays == 1 else f"{entry.replays:,} times"
        yield f"sent back    {times}, last {_time(entry.replayed_at_ms or 0)} UTC"
    for follower in contents.rejected_again(entry.record):
        yield f"and rejected again as {printable(follower)}"


def _value(value: bytes | None) -> str:
    if value is None:
        return "value        none (a tombstone)"
    size = f"{len(value):,} bytes"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = None
    if text is not None and all(character.isprintable() or character in "\n\t" for character in text):
        return f"value        {size}, as text:\n{text}"
    why = "not UTF-8" if text is None else "with characters a terminal would obey or hide"
    return f"value        {size}, {why}, so in base64 (--raw writes the bytes):\n{base64.b64encode(value).decode()}"


def _intent(plan: "ReplayPlan", contents: "Contents") -> Iterator[str]:
    total = len(plan.sent) + len(plan.replayed) + len(plan.unfit)
    if not total:
        held = quantity(len(contents.entries), "rejected click")
        yield f"Nothing to send: topic {settings().rejected_topic} holds {held}, none of them meant."
        return
    yield f"{quantity(total, 'rejected click')} meant: {len(plan.sent):,} to be sent back"
    if plan.replayed:
        yield f"  {len(plan.replayed):,} left out, sent back before (--again sends them again)"
    if plan.unfit:
        yield f"  {len(plan.unfit):,} left out, would be rejected again (--anyway sends them)"
        for entry in plan.unfit[:_LISTED_UNFIT]:
            if (verdict := entry.verdict) is not None:
                yield f"    {printable(entry.record_id)}: {verdict.reason.value}: {verdict.detail}"
        if len(plan.unfit) > _LISTED_UNFIT:
            yield f"    and {len(plan.unfit) - _LISTED_UNFIT:,} more"


def _time(epoch_ms: int) -> str:
    """A time as text, to the second; what producers wrote may be none, or far outside of any calendar."""
    if epoch_ms < 0:
        return "unknown"
    try:
        return f"{datetime.fromtimestamp(epoch_ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return f"{epoch_ms} ms"


def _safe_bytes(value: bytes) -> str:
    return printable(value.decode(errors="backslashreplace"))
