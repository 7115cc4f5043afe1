"""Tests `dataco clicks …` with a fake producer: what is sent, printed and refused."""

import bz2
import gzip
import json
import lzma
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from backports import zstd
from typer.testing import CliRunner, Result

from dataco_assets.cli import clicks as command
from dataco_assets.cli.clicks import ClickFileError, app
from dataco_assets.cli.times import TimeUnclear
from dataco_assets.errors import DatacoError
from dataco_assets.settings import settings
from dataco_assets.sources.access_logs.clicks import SiteError
from dataco_assets.sources.access_logs.formats import UnknownFormat
from dataco_assets.sources.generator import GeneratorSpec, generate
from dataco_assets_tests.extras import require_access_log


class RememberingProducer:
    """A fake Kafka producer, which refuses the messages that a test names."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes | None, bytes | None]] = []
        self.flushed = 0
        self.refuse_after: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send(self, key: bytes | None, value: bytes | None, timestamp_ms: int | None = None) -> None:
        assert timestamp_ms is None
        if self.refuse_after == len(self.messages):
            raise DatacoError("Kafka does not answer")
        self.messages.append((key, value))

    def flush(self) -> None:
        self.flushed = len(self.messages)


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> Iterator[RememberingProducer]:
    fake = RememberingProducer()
    monkeypatch.setattr("dataco_assets.clients.kafka.producer.click_producer", lambda _: fake)
    monkeypatch.setenv("DATACO_CLICKS_TOPIC", "clicks-of-a-test")
    monkeypatch.setenv("DATACO_PARTITIONS_START", "2015-01-01-00:00")
    settings.cache_clear()
    yield fake
    settings.cache_clear()


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


def run_well(*arguments: str, stdin: bytes | None = None) -> Result:
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result


LINES = b'{"user_id":"\xc3\xa9va","x": 1}\n\n  \nnot json\n{"user_id":7}\r\n{"user_id":""}\n{"user_id":"last"}'
SENT = [
    ("éva".encode(), b'{"user_id":"\xc3\xa9va","x": 1}'),
    (None, b"not json"),
    (None, b'{"user_id":7}\r'),
    (None, b'{"user_id":""}'),
    (b"last", b'{"user_id":"last"}'),
]


def test_send_keeps_bytes_and_keys_by_user(producer: RememberingProducer, tmp_path: Path) -> None:
    file = tmp_path / "clicks.jsonl"
    file.write_bytes(LINES)
    result = run_well("send", str(file))
    assert producer.messages == SENT
    assert producer.flushed == 5
    assert result.stdout.startswith("5 clicks sent to topic clicks-of-a-test in ")


def test_send_reads_standard_input(producer: RememberingProducer) -> None:
    run_well("send", "-", stdin=LINES)
    assert producer.messages == SENT


@pytest.mark.parametrize("name", ["send", "from-access-log"])
def test_a_missing_file_is_named(name: str, producer: RememberingProducer, tmp_path: Path) -> None:
    result = run(name, str(tmp_path / "nowhere.log"))
    assert isinstance(result.exception, ClickFileError)
    assert "nowhere.log cannot be read: No such file" in str(result.exception)
    assert producer.messages == []


def test_a_file_without_line_ends_is_refused(
    producer: RememberingProducer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "LONGEST_LINE_BYTES", 100)
    file = tmp_path / "blob"
    file.write_bytes(b"x" * 99 + b"\n" + b"y" * 101)
    result = run("send", str(file))
    assert isinstance(result.exception, ClickFileError)
    assert "Line 2 of" in str(result.exception)
    assert producer.flushed == 0


def test_a_refused_message_ends_the_command(producer: RememberingProducer) -> None:
    producer.refuse_after = 2
    result = run("send", "-", stdin=LINES)
    assert str(result.exception) == "Kafka does not answer"
    assert "sent to topic" not in result.output


UNTIL = ("--until", "2026-01-31T12:00:00Z")
UNTIL_MS = 1_769_860_800_000


def test_generate_sends_the_generators_stream(producer: RememberingProducer) -> None:
    options = ("--count", "2000", "--hours", "3", "--seed", "5", "--duplicates", "0.1", "--malformed", "0.02")
    result = run_well("generate", *options, *UNTIL)
    spec = GeneratorSpec(
        count=2_000, hours=3, until_ms=UNTIL_MS, seed=5, duplicates=0.1, malformed=0.02, late=0.05, late_hours=2.0
    )
    assert producer.messages == [(sent.key, sent.value) for sent in generate(spec)]
    told = "2,000 clicks sent to topic clicks-of-a-test (200 duplicates, 40 malformed on purpose) in "
    assert result.stdout.startswith(told)
    document = json.loads(run_well("generate", *options, *UNTIL, "--json").stdout)
    assert document.pop("seconds") >= 0
    assert document == {
        "clicks": 2_000,
        "topic": "clicks-of-a-test",
        "file": None,
        "duplicates": 200,
        "malformed": 40,
        "without_content": 0,
    }


def test_generate_ends_now_unless_told_otherwise(producer: RememberingProducer) -> None:
    before = time.time_ns() // 1_000_000
    run_well("generate", "--count", "300", "--malformed", "0", "--hours", "1")
    stamps = [json.loads(value or b"")["timestamp"] for _, value in producer.messages]
    numbers = [stamp for stamp in stamps if isinstance(stamp, int)]
    assert before - 3_600_000 <= min(numbers)
    assert max(numbers) <= time.time_ns() // 1_000_000


def test_generate_writes_lines_that_send_would_send(producer: RememberingProducer, tmp_path: Path) -> None:
    file = tmp_path / "made.jsonl"
    options = ("--count", "500", "--malformed", "0.2", *UNTIL)
    told = run_well("generate", *options, "--out", str(file)).stdout
    assert producer.messages == []
    assert "written to" in told
    assert "6 without content left out" in told
    run_well("generate", *options)
    made = [value for _, value in producer.messages if value]
    producer.messages.clear()
    run_well("send", str(file))
    assert [value for _, value in producer.messages] == made


def test_generate_to_standard_output_keeps_it_clean(producer: RememberingProducer) -> None:
    result = run_well("generate", "--count", "50", "--malformed", "0", "--out", "-", *UNTIL)
    lines = result.stdout.splitlines()
    assert len(lines) == 50
    assert all(json.loads(line)["user_id"] for line in lines)
    assert "50 clicks written to -" in result.stderr
    assert producer.messages == []


@pytest.mark.parametrize("until", ["tomorrow", "2026-02-30", "2999-01-01T00:00:00Z"])
def test_generate_refuses_odd_ends(until: str, producer: RememberingProducer) -> None:
    result = run("generate", "--until", until)
    assert isinstance(result.exception, TimeUnclear)
    assert until in str(result.exception)
    assert producer.messages == []


def test_out_into_a_missing_folder_is_a_clear_error(producer: RememberingProducer, tmp_path: Path) -> None:
    result = run("generate", "--out", str(tmp_path / "no" / "file"))
    assert isinstance(result.exception, ClickFileError)
    assert "cannot be written: No such file" in str(result.exception)
    assert producer.messages == []


SITE = ("--base-url", "https://www.example.com")
LOG = (
    b'192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 5 "-" "curl/8"\n'
    b'192.0.2.1 - - [17/May/2015:10:06:03 +0000] "-" 408 0 "-" "-"\n'
    b'192.0.2.1 - - [17/May/2015:10:07:03 +0000] "GET /b HTTP/1.1" 200 5 "-" "curl/8"\n'
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    require_access_log()
    file = tmp_path / "access.log"
    file.write_bytes(LOG)
    return file


def decoded(producer: RememberingProducer) -> list[dict[str, Any]]:
    return [json.loads(value or b"") for _, value in producer.messages]


def test_from_access_log(producer: RememberingProducer, log: Path) -> None:
    result = run_well("from-access-log", str(log), "--base-url", "https://www.example.com")
    assert [click["url"] for click in decoded(producer)] == ["https://www.example.com/a", "https://www.example.com/b"]
    assert [key for key, _ in producer.messages] == [click["user_id"].encode() for click in decoded(producer)]
    assert result.stdout.startswith("2 clicks sent to topic clicks-of-a-test (read as combined, 1 line skipped) in ")
    assert result.stderr == (
        "Skipped 1 line without a request line; the first is line 2: "
        '192.0.2.1 - - [17/May/2015:10:06:03 +0000] "-" 408 0 "-" "-"\n'
    )
    first = list(producer.messages)
    again = run_well("from-access-log", str(log), "--base-url", "https://www.example.com", "--json")
    assert producer.messages == first * 2
    document = json.loads(again.stdout)
    assert (document["clicks"], document["format"], document["shifted_hours"]) == (2, "combined", 0)
    assert document["skipped"] == {"without a request line": 1}


def test_from_access_log_shifted(producer: RememberingProducer, log: Path) -> None:
    result = run_well("from-access-log", str(log), "--shift-to-now", *SITE)
    first, last = (click["timestamp"] for click in decoded(producer))
    now_ms = time.time_ns() // 1_000_000
    assert last - first == 120_000
    assert now_ms - 3_600_000 - 60_000 < last <= now_ms
    assert "times shifted by" in result.stdout


def test_too_old_clicks_are_announced(
    producer: RememberingProducer, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATACO_PARTITIONS_START", "2026-01-01-00:00")
    settings.cache_clear()
    result = run_well("from-access-log", str(log), *SITE)
    assert "DATACO_PARTITIONS_START=2026-01-01-00:00 will be rejected" in result.stderr
    assert len(producer.messages) == 2


def test_a_file_that_is_no_log_is_an_error(producer: RememberingProducer, log: Path) -> None:
    log.write_bytes(LINES)
    result = run("from-access-log", str(log))
    assert isinstance(result.exception, UnknownFormat)
    assert f"{log} is not in a log format" in str(result.exception)
    assert producer.messages == []


def test_a_log_without_a_click_is_an_error_that_shows_what_was_skipped(
    producer: RememberingProducer, log: Path
) -> None:
    log.write_bytes(LOG.splitlines()[1])
    result = run("from-access-log", str(log), *SITE)
    assert isinstance(result.exception, ClickFileError)
    assert "read in the format combined, holds no request that is a click" in str(result.exception)
    assert "Skipped 1 line without a request line; the first is line 1: 192.0.2.1" in str(result.exception)
    assert producer.messages == []


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress, zstd.compress])
def test_a_compressed_log_is_the_same_clicks(
    compress: Callable[[bytes], bytes], producer: RememberingProducer, log: Path
) -> None:
    run_well("from-access-log", str(log), *SITE)
    plain = list(producer.messages)
    producer.messages.clear()
    log.write_bytes(compress(b"\xef\xbb\xbf" + LOG))
    run_well("from-access-log", str(log), *SITE)
    assert producer.messages == plain
    producer.messages.clear()
    run_well("from-access-log", "-", *SITE, stdin=log.read_bytes())
    assert producer.messages == plain


def test_a_log_that_does_not_name_its_site_needs_a_base_url(producer: RememberingProducer, log: Path) -> None:
    result = run("from-access-log", str(log))
    assert isinstance(result.exception, SiteError)
    assert f"Line 1 of {log}" in str(result.exception)
    assert "--base-url" in str(result.exception)
    assert producer.messages == []
    log.write_bytes(b"".join(b"www.example.com:443 " + line for line in LOG.splitlines(keepends=True)))
    run_well("from-access-log", str(log))
    assert [click["url"] for click in decoded(producer)] == ["https://www.example.com/a", "https://www.example.com/b"]


def test_a_log_that_begins_with_two_addresses_is_refused_until_the_format_is_named(
    producer: RememberingProducer, log: Path
) -> None:
    log.write_bytes(b"".join(b"192.0.2.80 " + line for line in LOG.splitlines(keepends=True)))
    result = run("from-access-log", str(log), "--scheme", "https")
    assert isinstance(result.exception, UnknownFormat)
    assert f"The lines of {log} begin with two addresses" in str(result.exception)
    assert "--format vhost_combined" in str(result.exception)
    assert producer.messages == []
    run_well("from-access-log", str(log), "--scheme", "https", "--format", "vhost_combined")
    assert {click["ip_address"] for click in decoded(producer)} == {"192.0.2.1"}
    assert [click["url"] for click in decoded(producer)] == ["https://192.0.2.80/a", "https://192.0.2.80/b"]


def test_the_help_names_the_optional_extra() -> None:
    assert 'optional extra "access-log"' in " ".join(run_well("from-access-log", "--help").output.split())


def test_a_format_is_not_guessed_when_it_is_named(producer: RememberingProducer, log: Path) -> None:
    result = run("from-access-log", str(log), "--format", "alb")
    assert "read in the format alb, holds no request" in str(result.exception)
    result = run("from-access-log", str(log), "--format", "nginx")
    assert result.exit_code == 2
    assert "cloudfront" in result.output
    assert producer.messages == []


def test_from_access_log_writes_lines_that_send_would_send(producer: RememberingProducer, log: Path) -> None:
    out = log.with_name("clicks.jsonl")
    result = run_well("from-access-log", str(log), *SITE, "--out", str(out))
    assert f"2 clicks written to {out}" in result.stdout
    assert producer.messages == []
    run_well("send", str(out))
    written = list(producer.messages)
    producer.messages.clear()
    run_well("from-access-log", str(log), *SITE)
    assert producer.messages == written
    piped = run_well("from-access-log", str(log), *SITE, "--out", "-")
    assert piped.stdout_bytes == out.read_bytes()
    assert "2 clicks written to -" in piped.stderr


def test_the_log_itself_is_never_written_to(producer: RememberingProducer, log: Path) -> None:
    result = run("from-access-log", str(log), *SITE, "--out", str(log.parent / "." / log.name))
    assert "is the log itself" in str(result.exception)
    assert log.read_bytes() == LOG
    assert producer.messages == []


@pytest.mark.parametrize("before", [None, b"of yesterday"])
def test_a_file_that_is_broken_off_is_not_left_behind(
    before: bytes | None, producer: RememberingProducer, log: Path
) -> None:
    out = log.with_name("clicks.jsonl")
    if before is not None:
        out.write_bytes(before)
    log.write_bytes(gzip.compress(LOG * 1_000)[:-20])
    result = run("from-access-log", str(log), *SITE, "--out", str(out))
    assert "is cut off" in str(result.exception)
    assert sorted(file.name for file in log.parent.iterdir()) == ["access.log"] + ["clicks.jsonl"] * (
        before is not None
    )
    assert before is None or out.read_bytes() == before
    assert producer.messages == []


@pytest.mark.parametrize("command_line", [("generate", "--count", "3"), ("from-access-log", "access.log")])
def test_a_full_disk_is_named(command_line: tuple[str, ...], producer: RememberingProducer, log: Path) -> None:
    site = SITE if command_line[0] == "from-access-log" else ()
    arguments = [str(log) if argument == log.name else argument for argument in command_line]
    result = run(*arguments, *site, "--out", "/dev/full")
    assert str(result.exception) == "The file /dev/full cannot be written: No space left on device."
    assert producer.messages == []


@pytest.mark.usefixtures("log")
def test_shifting_needs_a_file_that_can_be_read_twice(producer: RememberingProducer) -> None:
    result = run("from-access-log", "-", *SITE, "--shift-to-now", stdin=LOG)
    assert "reads the log twice" in str(result.exception)
    assert producer.messages == []


def test_an_empty_log_is_no_click(producer: RememberingProducer, log: Path) -> None:
    log.write_bytes(b"")
    assert run_well("from-access-log", str(log)).stdout.startswith("0 clicks sent")
    assert producer.messages == []
