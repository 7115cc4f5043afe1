"""`dataco clicks …`: sends clicks to the platform from a file of JSON lines, the generator, or an access log.

`dataco_assets.sources` makes the clicks; the Kafka client is imported only when a command runs, so that `--help` is
quick. Clicks are not validated here: the platform rejects invalid ones with a reason.
"""

import itertools
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, BinaryIO, NamedTuple

import msgspec
import typer
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dataco_assets.cli.output import Json, note, print_json, stderr_console
from dataco_assets.cli.times import TimeUnclear, typed
from dataco_assets.cli.usage import WrongUsage
from dataco_assets.clock import now_ms
from dataco_assets.errors import DatacoError
from dataco_assets.quantities import quantity
from dataco_assets.settings import settings, variable
from dataco_assets.sources import generator
from dataco_assets.sources.access_logs import formats
from dataco_assets.sources.access_logs.clicks import HOUR_MS, LogReport, Site, clicks, hours_to_now
from dataco_assets.sources.access_logs.compression import decompressed, undamaged
from dataco_assets.sources.access_logs.formats import LINES_LOOKED_AT, Format
from dataco_assets.sources.enrichment import Enrichment

app = typer.Typer(help="Send clicks: from a file, made up, or from an access log.", no_args_is_help=True)

Sink = Callable[[bytes | None, bytes | None], None]
Advance = Callable[[int], None]
Out = Annotated[str, typer.Option(metavar="FILE", help="Write JSON lines there instead of sending.")]

STANDARD_STREAM = "-"
LONGEST_LINE_BYTES = 16 * 1024 * 1024
"""Line end included. Far above the 1 MiB a click may have; keeps a file without line ends from filling the memory."""

_STEP = 1_000  # messages between two updates of the progress bar


class ClickFileError(DatacoError):
    """A file cannot be read or written, or is not what it should be; the message names it."""


class OptionsContradict(WrongUsage):
    """Two options cannot be given together."""


class Encoding(StrEnum):
    """How clicks are sent."""

    JSON = "json"
    AVRO = "avro"


Encoded = Annotated[
    Encoding,
    typer.Option("--format", help="Send JSON, or Avro in its single-object encoding; malformed clicks stay JSON."),
]


class _Summary(NamedTuple):
    """What a command sent or wrote.

    Attributes:
        clicks: Number of messages.
        out: File they were written to, `-` for standard output; empty: the clicks topic.
        started: When the command began, by the monotonic clock in seconds.
        details: Further facts as text; empty ones are left out.
        facts: The same as keys of the JSON document.
    """

    clicks: int
    out: str
    started: float
    details: tuple[str, ...] = ()
    facts: Mapping[str, Any] = MappingProxyType({})


class _Keyed(msgspec.Struct):
    user_id: str


@app.command()
def send(
    file: Annotated[str, typer.Argument(metavar="FILE", help="File of JSON lines; `-` reads standard input.")],
    *,
    encoding: Encoded = Encoding.JSON,
    as_json: Json = False,
) -> None:
    """Send JSON lines as they are, one click a line.

    Lines are neither changed nor validated: the platform rejects a malformed one with a reason. Empty lines are
    skipped. With `--format avro`, a line that is a click is sent as Avro, and any other as it is. The key of a message
    is the line's user_id, if it has one.
    """
    started, sent = time.monotonic(), 0
    key_of = msgspec.json.Decoder(_Keyed)
    with _opened(file) as stream, _bar(file, _size(file), DownloadColumn()) as advance, _topic(encoding) as sink:
        for line in _lines(stream, file, advance):
            payload = line.removesuffix(b"\n")
            if not payload.strip():
                continue
            sink(_key(key_of, payload), payload)
            sent += 1
    _close(_Summary(sent, "", started), as_json=as_json)


@app.command()
def generate(  # noqa: PLR0913  # the options of the command
    *,
    count: Annotated[
        int, typer.Option(min=0, help="Messages in all, duplicates and malformed ones included.")
    ] = 10_000,
    hours: Annotated[float, typer.Option(help="Clicks spread over so many hours before --until.")] = 3.0,
    seed: Annotated[
        int, typer.Option(help="Same seed and options, same clicks, to the byte (with a fixed --until).")
    ] = 0,
    until: Annotated[
        str, typer.Option(help="Time of the last clicks, like 2026-01-31T12:00:00Z; a day: its end. Default: now.")
    ] = "",
    duplicates: Annotated[float, typer.Option(min=0, max=1, help="Share that repeats an earlier click.")] = 0.02,
    late: Annotated[float, typer.Option(min=0, max=1, help="Share of clicks sent later than their turn.")] = 0.05,
    late_hours: Annotated[float, typer.Option(min=0, help="How late at most, hours of event time.")] = 2.0,
    malformed: Annotated[float, typer.Option(min=0, max=1, help="Share that breaks the contract, on purpose.")] = 0.005,
    event_ids: Annotated[
        float, typer.Option(min=0, max=1, help="Share of visits whose clicks carry an event_id.")
    ] = 1.0,
    users: Annotated[int, typer.Option(min=0, help="Returning visitors; 0: one for every 20 messages.")] = 0,
    encoding: Encoded = Encoding.JSON,
    out: Out = "",
    as_json: Json = False,
) -> None:
    """Send made-up visits, reproducible by a seed.

    Pages follow a Zipf distribution; addresses are those reserved for documentation. With --out, messages without
    content (tombstones) are left out: a line cannot show them.
    """
    started = time.monotonic()
    _refuse_two_documents(out, as_json=as_json)
    if out and encoding is Encoding.AVRO:
        raise OptionsContradict("--out writes JSON lines, which cannot hold Avro: leave out --out or --format avro.")
    spec = generator.GeneratorSpec(
        count=count,
        hours=hours,
        until_ms=_until_ms(until),
        seed=seed,
        duplicates=duplicates,
        malformed=malformed,
        late=late,
        late_hours=late_hours,
        event_ids=event_ids,
        users=users,
    )
    kinds: Counter[str] = Counter()
    without_content = 0
    destination = _written(out) if out else _topic(encoding)
    with _bar("generated visits", count, MofNCompleteColumn()) as advance, destination as sink:
        for number, message in enumerate(generator.generate(spec)):
            if out and not message.value:
                without_content += 1
                continue
            sink(message.key, message.value)
            kinds[message.kind if message.valid else "malformed"] += 1
            if number % _STEP == 0:
                advance(number)
    if not out:
        _warn_too_old(spec.since_ms)
    details = (
        quantity(kinds[generator.DUPLICATE], "duplicate"),
        f"{kinds['malformed']:,} malformed on purpose",
        f"{without_content:,} without content left out" if without_content else "",
    )
    counts = {
        "duplicates": kinds[generator.DUPLICATE],
        "malformed": kinds["malformed"],
        "without_content": without_content,
    }
    _close(_Summary(kinds.total(), out, started, details, counts), as_json=as_json)


@app.command()
def from_access_log(  # the options of the command
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Access log, compressed or not; `-` reads standard input.")
    ],
    *,
    log_format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help=f"{', '.join(Format)}. Default: recognised from the first lines.",
        ),
    ] = None,
    base_url: Annotated[
        str,
        typer.Option(help="Scheme and host of the site, like https://www.example.com, where the log does not name it."),
    ] = "",
    scheme: Annotated[
        str, typer.Option(help="http or https, for hosts that the log names. Default: as logged, or by the port.")
    ] = "",
    shift_to_now: Annotated[
        bool, typer.Option("--shift-to-now", help="Move all times by whole hours, the last one into the past hour.")
    ] = False,
    out: Out = "",
    as_json: Json = False,
) -> None:
    """Send the requests of a web server's access log as clicks.

    Reads the logs of Apache, nginx, IIS, Caddy, Traefik, AWS load balancers and CloudFront; docs/sources.md describes
    the formats. Logs know no users: a user is an address with a user agent. The country comes from the address,
    browser, operating system and device from the user agent; both need the optional extra "access-log" of
    dataco-clickstream. Sending the same file twice sends the same clicks.
    """
    started = time.monotonic()
    lookups, report, encode = Enrichment(), LogReport(), msgspec.json.Encoder().encode
    site = Site(base_url, scheme)
    _refuse_two_documents(out, as_json=as_json)
    _refuse_overwriting(file, out)
    shift_ms = _shift_ms(file, log_format) if shift_to_now else 0
    earliest_ms = None
    with _log(file, log_format) as (lines, found_format), _written(out) if out else _topic() as sink:
        for click in clicks(lines, found_format, lookups, site=site, report=report, name=file, shift_ms=shift_ms):
            sink(str(click["user_id"]).encode(), encode(click))
            timestamp = int(click["timestamp"])
            earliest_ms = timestamp if earliest_ms is None else min(earliest_ms, timestamp)
    if report.lines and not report.clicks:
        raise ClickFileError(
            f"{file}, read in the format {found_format}, holds no request that is a click.\n{_skipped_lines(report)}"
        )
    if earliest_ms is not None and not out:
        _warn_too_old(earliest_ms)
    if report.skipped:
        note(_skipped_lines(report))
    shifted = f"times shifted by {shift_ms // HOUR_MS:,} h" if shift_ms else ""
    skipped = f"{quantity(report.skipped.total(), 'line')} skipped" if report.skipped else ""
    details = (f"read as {found_format}", shifted, skipped)
    facts = {"format": found_format, "shifted_hours": shift_ms // HOUR_MS, "skipped": dict(report.skipped)}
    _close(_Summary(report.clicks, out, started, details, facts), as_json=as_json)


def _refuse_two_documents(out: str, *, as_json: bool) -> None:
    if as_json and out == STANDARD_STREAM:
        raise OptionsContradict("--json and `--out -` would both write to standard output: write the clicks to a file.")


def _refuse_overwriting(file: str, out: str) -> None:
    if STANDARD_STREAM not in (file, out) and out and Path(out).resolve() == Path(file).resolve():
        raise ClickFileError(f"--out {out} is the log itself: write the clicks to another file.")


def _destination(out: str) -> str:
    return f"written to {out}" if out else f"sent to topic {settings().clicks_topic}"


def _skipped_lines(report: LogReport) -> str:
    """The skipped lines by reason, most frequent first, each with its first example."""
    return "\n".join(
        f"Skipped {quantity(count, 'line')} {reason}; the first is line {example.number:,}: {example.line}"
        for reason, count in report.skipped.most_common()
        for example in [report.examples[reason]]
    )


@contextmanager
def _log(file: str, log_format: Format | None) -> Iterator[tuple[Iterator[bytes], Format]]:
    """The lines of a log, decompressed, and its format."""
    with _opened(file) as stream, _bar(file, _size(file), DownloadColumn()) as advance:
        try:
            plain = decompressed(stream, file)
        except OSError as error:
            raise _unreadable(file, error) from error
        lines = undamaged(_lines(plain, file, lambda _: advance(_position(stream))), file)
        first = list(itertools.islice(lines, LINES_LOOKED_AT))
        if log_format is None and any(line.strip() for line in first):
            log_format = formats.recognise([line.rstrip(b"\r\n") for line in first], file)
        yield itertools.chain(first, lines), log_format or Format.COMBINED


def _position(stream: BinaryIO) -> int:
    """Bytes read of a file so far; 0 for a stream that cannot seek."""
    return stream.tell() if stream.seekable() else 0


def _shift_ms(file: str, log_format: Format | None) -> int:
    if file == STANDARD_STREAM or (Path(file).exists() and not Path(file).is_file()):
        raise ClickFileError(
            f"--shift-to-now reads the log twice, but {file} is no regular file: save it to one first."
        )
    with _log(file, log_format) as (lines, found_format):
        return hours_to_now(lines, found_format, now_ms())


def _until_ms(until: str) -> int:
    """The time before which the clicks are spread; a day: its end."""
    now = now_ms()
    if not until:
        return now
    start_ms, end_ms = typed("--until", until)
    until_ms = end_ms if end_ms - start_ms > HOUR_MS else start_ms
    if until_ms > now:
        raise TimeUnclear(f"--until {until[:60]!r} is in the future: the platform rejects such clicks.")
    return until_ms


def _warn_too_old(earliest_ms: int) -> None:
    """Says so when clicks were sent that the platform will reject for their age."""
    first_hour = settings().partitions_start
    if earliest_ms < settings().partitions_start_ms:
        oldest = datetime.fromtimestamp(earliest_ms // 1000, tz=UTC)
        note(
            f"The oldest click is of {oldest:%Y-%m-%d %H:%M} UTC; those before "
            f"{variable('partitions_start')}={first_hour} will be rejected.",
            logging.WARNING,
        )


def _key(decoder: "msgspec.json.Decoder[_Keyed]", payload: bytes) -> bytes | None:
    """The user id of a line; None when it has none that can be read: the message then goes to any partition."""
    try:
        return decoder.decode(payload).user_id.encode() or None
    except (msgspec.MsgspecError, UnicodeError):
        return None


@contextmanager
def _topic(encoding: Encoding = Encoding.JSON) -> Iterator[Sink]:
    from dataco_assets.clients.kafka.producer import click_producer  # loading it would cost every --help
    from dataco_assets.sources.avro import AvroEncoder

    with click_producer(settings()) as producer:
        if encoding is Encoding.AVRO:
            encode = AvroEncoder().encode
            yield lambda key, value: producer.send(key, encode(value))
        else:
            yield producer.send
        producer.flush()


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == STANDARD_STREAM:
        yield sys.stdin.buffer
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115  # closed below; only opening is to be explained
    except OSError as error:
        raise _unreadable(file, error) from error
    with stream:
        yield stream


def _unreadable(file: str, error: OSError) -> ClickFileError:
    return ClickFileError(f"The file {file} cannot be read: {error.strerror}.")


@contextmanager
def _written(file: str) -> Iterator[Sink]:
    """Writes lines to standard output, or to a file that appears only when all of them have been written."""
    path = Path(file)
    # A pipe or device has to be written to directly.
    partial = path if path.exists() and not path.is_file() else path.with_name(f"{path.name}.part")
    try:
        if file == STANDARD_STREAM:
            yield _line_writer(sys.stdout.buffer)
            sys.stdout.buffer.flush()
            return
        with partial.open("wb") as stream:
            yield _line_writer(stream)
        if partial != path:
            partial.replace(path)
    except OSError as error:
        raise ClickFileError(f"The file {file} cannot be written: {error.strerror}.") from error
    finally:
        if partial != path:
            partial.unlink(missing_ok=True)


def _line_writer(stream: BinaryIO) -> Sink:
    def write(_: bytes | None, value: bytes | None) -> None:
        stream.write(value or b"")
        stream.write(b"\n")

    return write


def _lines(stream: BinaryIO, name: str, advance: Advance) -> Iterator[bytes]:
    """The lines of a file with their line ends; `advance` receives the number of bytes read."""
    done = 0

    def line_or_end() -> bytes:
        try:
            return stream.readline(LONGEST_LINE_BYTES + 1)
        except OSError as error:
            if error.errno is None:  # damaged compressed data
                raise
            raise _unreadable(name, error) from error

    for number, line in enumerate(iter(line_or_end, b""), start=1):
        if len(line) > LONGEST_LINE_BYTES:
            raise ClickFileError(f"Line {number:,} of {name} is longer than {LONGEST_LINE_BYTES:,} bytes: is it text?")
        yield line
        done += len(line)
        if number % _STEP == 0:
            advance(done)


def _size(file: str) -> int | None:
    return None if file == STANDARD_STREAM else Path(file).stat().st_size or None


@contextmanager
def _bar(what: str, total: int | None, amount: DownloadColumn | MofNCompleteColumn) -> Iterator[Advance]:
    """A progress bar on a terminal's standard error; nothing elsewhere."""
    console = stderr_console()
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), amount, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


def _close(summary: _Summary, *, as_json: bool) -> None:
    seconds = time.monotonic() - summary.started
    if as_json:
        topic = None if summary.out else settings().clicks_topic
        document = {"clicks": summary.clicks, "topic": topic, "file": summary.out or None, **summary.facts}
        print_json({**document, "seconds": round(seconds, 1)})
        return
    given = ", ".join(detail for detail in summary.details if detail)
    what = f"{quantity(summary.clicks, 'click')} {_destination(summary.out)}"
    say = note if summary.out == STANDARD_STREAM else typer.echo
    say(f"{what}{f' ({given})' if given else ''} in {seconds:.1f} s")
