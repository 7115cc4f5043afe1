"""Tests that parked work is reported to a webhook and by mail, with real HTTP and SMTP servers."""

import time
import traceback
from collections.abc import Iterator, Sequence

import dagster as dg
import pytest
from pydantic import SecretStr

from dataco_assets.clients.webhook import WebhookFailed, post
from dataco_assets.ledgers.parked import INGEST, Parked, ParkedWork, Receiver
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.sensors import parked_work_sensor
from dataco_assets.settings import Settings
from dataco_assets_tests.mail_servers import Mailbox, receiving_mail
from dataco_assets_tests.webhooks import SECRET, receiving
from dataco_assets_tests.webhooks import Receiver as Webhook


@pytest.fixture
def receiver() -> Iterator[Webhook]:
    with receiving() as made:
        yield made


def test_a_message_arrives_as_json(receiver: Webhook) -> None:
    post(receiver.url, {"text": "Grüße"})
    assert receiver.got == [{"text": "Grüße"}]


def test_a_busy_webhook_is_tried_again(receiver: Webhook) -> None:
    receiver.statuses = [503, 429]
    post(receiver.url, {"n": 1})
    assert receiver.got == [{"n": 1}]


@pytest.mark.parametrize("statuses", [[404], [302], [500] * 9])
def test_a_refusal_is_an_error_that_does_not_show_the_address(receiver: Webhook, statuses: Sequence[int]) -> None:
    receiver.statuses = list(statuses)
    with pytest.raises(WebhookFailed) as caught:
        post(receiver.url, {})
    assert "127.0.0.1" in str(caught.value)
    assert "DATACO_WEBHOOK_URL" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))
    assert not receiver.got


def test_a_webhook_that_is_away_or_stalls_ends_in_an_error_in_time(
    receiver: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    for host, why in (("127.0.0.1:1", "NewConnectionError"), ("nohost.invalid", "NameResolutionError")):
        with pytest.raises(WebhookFailed, match=rf"{host.partition(':')[0]} did not.*{why}.*DATACO_WEBHOOK_URL"):
            post(f"http://{host}/{SECRET}", {})
    monkeypatch.setattr("dataco_assets.clients.webhook._SECONDS", 0.2)
    receiver.delay_seconds = 1.0
    started = time.monotonic()
    with pytest.raises(WebhookFailed) as caught:
        post(receiver.url, {})
    assert time.monotonic() - started < 5
    assert "s3cr3t" not in str(caught.value)


# The sensor


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, Parked]:
    """Parked work in memory; integration/test_dagster_runs.py has it in HBase."""
    entries: dict[str, Parked] = {}

    def mark_reported(_: object, some: Sequence[Parked], receiver: Receiver) -> None:
        for entry in some:
            entries[entry.name] = entries[entry.name].known_to(receiver, as_active=entry.is_active)

    monkeypatch.setattr(ParkedWork, "all", lambda _: dict(entries))
    monkeypatch.setattr(ParkedWork, "mark_reported", mark_reported)
    return entries


def evaluate(url: str, mailbox: Mailbox | None = None) -> str:
    mail = mailbox.settings() if mailbox else {}
    settings = Settings.load().model_copy(update={"webhook_url": SecretStr(url), "hbase_thrift_port": 1, **mail})
    resources = {"settings": settings, "hbase": HBaseResource(settings=settings)}
    with dg.build_sensor_context(resources=resources) as context:
        result = parked_work_sensor(context)
    assert isinstance(result, dg.SkipReason)
    return str(result.skip_message)


def entry(name: str, run: str = "r1", since: float = 1_767_225_600.0) -> Parked:
    return Parked(name, "TooManyRejected", "61% of 4,000 messages.", run, since, "c")


def test_each_failure_is_reported_once_and_so_is_its_end(receiver: Webhook, work: dict[str, Parked]) -> None:
    work |= {INGEST: entry(INGEST), "2026-01-01-03:00": entry("2026-01-01-03:00", "r2")}
    work["2026-01-01-04:00"] = entry("2026-01-01-04:00", "r2")
    for _ in range(3):
        evaluate(receiver.url)
    assert [(each["event"], each["what"]) for each in receiver.got] == [
        ("parked", ["2026-01-01-03:00", "2026-01-01-04:00"]),
        ("parked", ["ingest"]),
    ]
    ingest = receiver.got[1]
    assert (ingest["error"], ingest["run_id"], ingest["parked_at"]) == (
        "TooManyRejected",
        "r1",
        "2026-01-01T00:00:00+00:00",
    )
    assert "`dataco resume ingest`" in ingest["text"]

    work[INGEST] = work[INGEST].ended("a person, with `dataco resume`", 1_767_225_700.0)
    for _ in range(3):
        evaluate(receiver.url)
    assert [(each["event"], each["what"]) for each in receiver.got[2:]] == [("resumed", ["ingest"])]
    assert receiver.got[2]["resumed_at"] == "2026-01-01T00:01:40+00:00"


def test_what_was_not_accepted_is_sent_again_and_nobody_sees_the_address(
    receiver: Webhook, work: dict[str, Parked]
) -> None:
    work[INGEST] = entry(INGEST)
    receiver.statuses = [403]
    reason = evaluate(receiver.url)
    assert "answered 403" in reason
    assert "s3cr3t" not in reason
    assert not receiver.got
    evaluate(receiver.url)
    assert len(receiver.got) == 1


def test_a_receiver_that_is_away_keeps_nothing_from_the_other_and_nobody_is_told_twice(
    receiver: Webhook, work: dict[str, Parked]
) -> None:
    work[INGEST] = entry(INGEST)
    with receiving_mail() as mailbox:
        receiver.statuses = [403, 403]
        for _ in range(2):
            said = evaluate(receiver.url, mailbox)
            assert "Webhook: 0 sent" in said
            assert "answered 403" in said
        assert not receiver.got
        assert [mail["Subject"] for mail in mailbox.got] == ["DataCo clicks: ingest is parked"]

        evaluate(receiver.url, mailbox)
        assert [each["event"] for each in receiver.got] == ["parked"]
        assert len(mailbox.got) == 1

        work[INGEST] = work[INGEST].ended("a person, with `dataco resume`", 1_767_225_700.0)
        mailbox.answers = ["451 come back later"] * 2
        for _ in range(2):
            assert "451 come back later" in evaluate(receiver.url, mailbox)
        assert [each["event"] for each in receiver.got] == ["parked", "resumed"]
        assert len(mailbox.got) == 1
        evaluate(receiver.url, mailbox)
        evaluate(receiver.url, mailbox)
    assert [each["event"] for each in receiver.got] == ["parked", "resumed"]
    parked, resumed = mailbox.got
    assert resumed["Subject"] == "DataCo clicks: ingest is resumed"
    assert "`dataco resume ingest`" in parked.get_content()
    assert "run_id: r1\n" in parked.get_content()
    assert "resumed_at: 2026-01-01T00:01:40+00:00\n" in resumed.get_content()


def test_an_evaluation_ends_in_time_when_both_receivers_stall(
    receiver: Webhook, work: dict[str, Parked], monkeypatch: pytest.MonkeyPatch
) -> None:
    work |= {name: entry(name, f"run of {name}") for name in ("a", "b", "c")}
    monkeypatch.setattr("dataco_assets.clients.webhook._SECONDS", 0.2)
    monkeypatch.setattr("dataco_assets.clients.mail._SECONDS", 0.2)
    receiver.delay_seconds = 1.0
    with receiving_mail() as mailbox:
        mailbox.delay_seconds = 1.0
        started = time.monotonic()
        said = evaluate(receiver.url, mailbox)
        assert time.monotonic() - started < 5
    assert "Webhook: 0 sent" in said
    assert "Mail: 0 sent" in said


def test_many_failures_are_told_a_few_at_a_time(receiver: Webhook, work: dict[str, Parked]) -> None:
    work |= {name: entry(name, f"run of {name}", since=1_767_225_600.0 + n) for n, name in enumerate("abcde")}
    with receiving_mail() as mailbox:
        assert evaluate(receiver.url, mailbox) == "Webhook: 3 sent. Mail: 3 sent."
        assert evaluate(receiver.url, mailbox) == "Webhook: 2 sent. Mail: 2 sent."
        assert evaluate(receiver.url, mailbox) == "There is nothing to report."
    assert [each["what"] for each in receiver.got] == [["a"], ["b"], ["c"], ["d"], ["e"]]
    assert [mail["Subject"][-11:] for mail in mailbox.got] == [f"{name} is parked" for name in "abcde"]


def test_without_an_address_nothing_is_reported(work: dict[str, Parked]) -> None:
    work[INGEST] = entry(INGEST)
    assert "neither DATACO_WEBHOOK_URL nor DATACO_SMTP_HOST is set" in evaluate("")
    assert not work[INGEST].is_reported


def test_what_ended_before_it_was_reported_is_not_reported(receiver: Webhook, work: dict[str, Parked]) -> None:
    work[INGEST] = entry(INGEST).ended("a run succeeded", 1_767_225_700.0)
    assert evaluate(receiver.url) == "There is nothing to report."


def test_the_address_is_a_secret_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataco_assets.settings import SettingsError

    monkeypatch.setenv("DATACO_WEBHOOK_URL", f"ftp://hooks.example/{SECRET}")
    with pytest.raises(SettingsError, match=r"DATACO_WEBHOOK_URL=\*\*\*: must be an address") as caught:
        Settings.load()
    assert "s3cr3t" not in str(caught.value)
    monkeypatch.setenv("DATACO_WEBHOOK_URL", f"https://hooks.example/{SECRET}")
    assert "s3cr3t" not in Settings.load().model_dump_json() + repr(Settings.load())
