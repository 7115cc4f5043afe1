"""Tests what is read from the rejected topic, what is sent back, and with which headers, without Kafka."""

import json
import uuid
from collections.abc import Sequence

import pytest
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from dataco_assets.clicks.event import Reason, Rejection
from dataco_assets.clients.kafka.producer import Header
from dataco_assets.clients.schema_registry import SchemaRegistry
from dataco_assets.clients.writer_schemas import KnownSchemas
from dataco_assets.rejected.contents import Contents, ContentsBuilder, Entry, Filter, RecordGone
from dataco_assets.rejected.judging import Judge
from dataco_assets.rejected.records import (
    HEADERS,
    LARGEST_RECORD_BYTES,
    MARK_HEADERS,
    REPLAY_HEADERS,
    Fate,
    Mark,
    RejectedClick,
    RejectedRecord,
    is_record_id,
    read_record,
    send_mark,
    send_rejected,
)
from dataco_assets.rejected.replay import concerns_users, plan_replay, replay_headers
from dataco_assets.sources.avro import AvroEncoder
from dataco_assets_tests.unit.recording_producer import RecordingProducer
from dataco_assets_tests.unit.test_contract import CLICK

TIME = 1_767_225_600_123
Headers = list[Header]


class LenientJudge(Judge):
    """Takes the value `good` for a click."""

    def verdict(self, value: bytes | None, header: bytes | None) -> Rejection | None:  # noqa: ARG002  # as the real one
        return None if value == b"good" else Rejection(Reason.MALFORMED_JSON, "still")


class Topic(RecordingProducer):
    """The rejected topic."""

    def __init__(self) -> None:
        super().__init__(first_record_time_ms=TIME + 1_000)

    def reject(
        self,
        offset: int,
        value: bytes | None = b"{",
        *,
        key: bytes | None = None,
        headers: Headers | None = None,
        time_ms: int = TIME,
        reason: Reason = Reason.MALFORMED_JSON,
    ) -> None:
        message = Message(
            topic="clicks",
            partition=1,
            offset=offset,
            key=key,
            value=value,
            headers=[*(headers or [])],
            timestamp=(1, time_ms),
        )
        send_rejected(self, RejectedClick(message, Rejection(reason, "not JSON")), limit_bytes=LARGEST_RECORD_BYTES)

    def mark(self, offset: int, attempt: int = 1, *, fate: Fate = Fate.REPLAYED, time_ms: int = TIME) -> None:
        send_mark(self, Mark(f"clicks/1/{offset}", time_ms, fate, TIME + 500, attempt))

    def contents(self) -> Contents:
        builder = ContentsBuilder(LenientJudge(KnownSchemas(None), earliest_ms=0))
        for message in self.messages:
            builder.take(message)
        return builder.contents()


@pytest.fixture
def topic() -> Topic:
    return Topic()


def ids(entries: Sequence[Entry]) -> list[str]:
    return [entry.record_id for entry in entries]


def test_a_record_is_read_back_as_it_was_written(topic: Topic) -> None:
    own: Headers = [("trace", b"\x00\xff"), ("b", b""), ("none", None), ("trace", b"2")]
    topic.reject(4711, b"abc", key=b"k\xff", headers=own)
    assert read_record(topic.messages[0]) == RejectedRecord(
        record_id="clicks/1/4711",
        record_time_ms=TIME,
        reason="malformed_json",
        detail="not JSON",
        key=b"k\xff",
        headers=tuple(own),
        partition=0,
        offset=0,
        rejected_at_ms=TIME + 1_000,
        value_bytes=3,
    )


def test_a_tombstone_differs_from_an_empty_value(topic: Topic) -> None:
    topic.reject(1, None)
    topic.reject(2, b"")
    sizes = [entry.record.value_bytes for entry in topic.contents().entries]
    assert sizes == [None, 0]


def test_a_mark_is_read_back_as_it_was_written(topic: Topic) -> None:
    topic.mark(3, 2)
    topic.mark(3, 0, fate=Fate.ERASED)
    assert [read_record(message) for message in topic.messages] == [
        Mark("clicks/1/3", TIME, Fate.REPLAYED, TIME + 500, 2),
        Mark("clicks/1/3", TIME, Fate.ERASED, TIME + 500, 0),
    ]
    assert {name for message in topic.messages for name, _ in message.headers() or []} == set(MARK_HEADERS)
    assert all(message.value() == b"" for message in topic.messages), "a null would delete, were the topic compacted"


def test_no_click_can_pass_for_a_mark_or_be_marked_by_its_headers(topic: Topic) -> None:
    forged: Headers = [(name, b"1") for name in [*MARK_HEADERS, *REPLAY_HEADERS, *HEADERS]]
    topic.reject(1, b"good", headers=forged)
    (entry,) = topic.contents().entries
    assert entry.replays == 0
    assert entry.record.record_time_ms == TIME
    assert ids(plan_replay([entry], again=False, unfit_too=False).sent) == ["clicks/1/1"]


@given(
    key=st.none() | st.binary(max_size=40) | st.from_regex(rb"[a-z/0-9]{1,20}", fullmatch=True),
    headers=st.lists(
        st.tuples(
            st.sampled_from([*HEADERS, *MARK_HEADERS, *REPLAY_HEADERS, "x"]),
            st.binary(max_size=30) | st.from_regex(rb"-?[0-9]{1,30}", fullmatch=True),
        ),
        max_size=12,
    ),
    value=st.none() | st.binary(max_size=20),
)
def test_nothing_in_the_topic_breaks_reading_it(key: bytes | None, headers: Headers, value: bytes | None) -> None:
    topic = Topic()
    topic.send(key, value, headers=headers)
    contents = topic.contents()
    for entry in contents.entries:
        assert contents.find(entry.record_id) is entry
        assert entry.next_attempt >= 1
        contents.origins(entry.record)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("clicks/0/0", True),
        ("a.b_c-D/12/9223372036854775807", True),
        ("clicks/0", False),
        ("clicks/0/01", False),
        ("clicks/-1/0", False),
        ("clicks/0/0\n", False),
        ("clicks/0/٣", False),
        ("cl icks/0/1", False),
        ("", False),
    ],
)
def test_ids(text: str, verdict: bool) -> None:
    assert is_record_id(text) is verdict


def test_records_of_others_are_counted_and_left_out(topic: Topic) -> None:
    topic.send(None, b"x")
    topic.send(b"clicks/1/1", b"x")
    topic.send(b"clicks/1/1", b"", headers=[("dataco.record_time", b"1")])
    topic.reject(5)
    contents = topic.contents()
    assert ids(contents.entries) == ["clicks/1/5"]
    assert contents.foreign == 3


def test_a_record_written_again_by_a_retried_run_is_one_and_the_newest_counts(topic: Topic) -> None:
    topic.reject(5)
    topic.reject(6)
    topic.reject(5)
    contents = topic.contents()
    assert {entry.record_id: entry.record.offset for entry in contents.entries} == {"clicks/1/5": 2, "clicks/1/6": 1}


def test_a_record_written_again_after_its_replay_stays_replayed(topic: Topic) -> None:
    topic.reject(5, b"good")
    topic.mark(5)
    topic.reject(5, b"good")
    (entry,) = topic.contents().entries
    assert (entry.replays, entry.replayed_at_ms) == (1, TIME + 500)


def test_marks_do_not_pass_over_to_another_click_with_the_same_offset(topic: Topic) -> None:
    # The topic of the clicks was deleted and created again.
    topic.reject(5, b"good")
    topic.mark(5)
    topic.reject(5, b"good", time_ms=TIME + 9)
    contents = topic.contents()
    assert [(entry.record.record_time_ms, entry.replays) for entry in contents.entries] == [(TIME, 1), (TIME + 9, 0)]
    assert contents.find("clicks/1/5").record.record_time_ms == TIME + 9


def test_entries_are_in_the_order_they_were_rejected_in(topic: Topic) -> None:
    topic.reject(2, time_ms=TIME + 2)
    topic.reject(3, time_ms=TIME)
    topic.reject(1, time_ms=TIME + 1)
    assert ids(topic.contents().entries) == ["clicks/1/2", "clicks/1/3", "clicks/1/1"]
    topic.messages.reverse()
    assert ids(topic.contents().entries) == ["clicks/1/2", "clicks/1/3", "clicks/1/1"]


def test_records_read_backwards_amount_to_the_same(topic: Topic) -> None:
    topic.reject(1, b"{1")
    topic.reject(2, b"good")
    topic.mark(1)
    topic.reject(1, b"{1", reason=Reason.INVALID_URL)
    topic.mark(2, fate=Fate.ERASED)
    topic.reject(3, headers=[("dataco.replay_of", b"clicks/1/1"), ("dataco.replay_attempt", b"1")])
    forwards = topic.contents()
    topic.messages.reverse()
    assert topic.contents() == forwards


def test_a_search_ends_once_the_click_and_those_it_was_sent_back_from_are_read(topic: Topic) -> None:
    topic.reject(1)
    topic.reject(2, headers=[("dataco.replay_of", b"clicks/1/1"), ("dataco.replay_attempt", b"1")])
    topic.reject(3, headers=[("dataco.replay_of", b"clicks/1/2"), ("dataco.replay_attempt", b"2")])
    topic.reject(4)
    builder = ContentsBuilder(LenientJudge(KnownSchemas(None), earliest_ms=0))
    lacking: list[tuple[bool, bool]] = []
    for message in reversed(topic.messages):
        builder.take(message)
        lacking.append((builder.lacks(["clicks/1/3"]), builder.lacks(["clicks/1/4"])))
    assert lacking == [(True, False), (True, False), (True, False), (False, False)]
    assert builder.lacks(["clicks/1/3", "clicks/1/5"])


def test_what_was_erased_is_not_there_any_more(topic: Topic) -> None:
    topic.reject(5)
    topic.mark(5, 0, fate=Fate.ERASED)
    topic.reject(5)
    topic.reject(6)
    contents = topic.contents()
    assert ids(contents.entries) == ["clicks/1/6"]
    assert contents.erased == {"clicks/1/5"}
    with pytest.raises(RecordGone, match="was erased"):
        contents.find("clicks/1/5")
    with pytest.raises(RecordGone, match="no rejected click clicks/1/7"):
        contents.find("clicks/1/7")


def test_choice_by_reason_and_half_open_time(topic: Topic) -> None:
    topic.reject(1)
    topic.reject(2, reason=Reason.INVALID_URL)
    topic.reject(3, reason=Reason.TOMBSTONE)
    entries = topic.contents().entries
    second, third = (entry.record.rejected_at_ms for entry in entries[1:])
    assert ids(Filter().apply(entries)) == ["clicks/1/1", "clicks/1/2", "clicks/1/3"]
    assert ids(Filter(since_ms=second).apply(entries)) == ["clicks/1/2", "clicks/1/3"]
    assert ids(Filter(until_ms=second).apply(entries)) == ["clicks/1/1"]
    assert ids(Filter(since_ms=0).apply(entries)) == ["clicks/1/1", "clicks/1/2", "clicks/1/3"]
    assert ids(Filter(until_ms=0).apply(entries)) == []
    assert ids(Filter(frozenset({"invalid_url", "tombstone"}), until_ms=third).apply(entries)) == ["clicks/1/2"]


def test_plan_leaves_out_what_was_sent_back_and_what_would_be_rejected_again(topic: Topic) -> None:
    topic.reject(1, b"good")
    topic.reject(2, b"bad")
    topic.reject(3, b"good")
    topic.mark(3)
    topic.reject(4, b"bad")
    topic.mark(4)
    entries = topic.contents().entries

    plan = plan_replay(entries, again=False, unfit_too=False)
    assert ids(plan.sent) == ["clicks/1/1"]
    assert ids(plan.unfit) == ["clicks/1/2"]
    assert ids(plan.replayed) == ["clicks/1/3", "clicks/1/4"]
    assert ids(plan_replay(entries, again=True, unfit_too=False).sent) == ["clicks/1/1", "clicks/1/3"]
    assert ids(plan_replay(entries, again=False, unfit_too=True).sent) == ["clicks/1/1", "clicks/1/2"]
    assert ids(plan_replay(entries, again=True, unfit_too=True).sent) == ids(entries)


def test_a_click_goes_back_with_its_own_headers_and_where_it_comes_from(topic: Topic) -> None:
    own: Headers = [("trace", b"\xff"), ("dataco.replay_of", b"forged"), ("trace", b"2")]
    topic.reject(5, headers=own)
    assert replay_headers(topic.contents().entries[0], 42) == [
        ("trace", b"\xff"),
        ("trace", b"2"),
        ("dataco.replay_of", b"clicks/1/5"),
        ("dataco.replayed_at", b"42"),
        ("dataco.replay_attempt", b"1"),
    ]
    assert set(dict(replay_headers(topic.contents().entries[0], 42))) - {"trace"} == set(REPLAY_HEADERS)


def test_a_click_rejected_again_and_again_shows_its_chain_and_counts_its_attempts(topic: Topic) -> None:
    topic.reject(1)
    first = topic.contents().find("clicks/1/1")
    topic.reject(10, headers=replay_headers(first, 42))
    topic.mark(1, first.next_attempt)
    second = topic.contents().find("clicks/1/10")
    assert (second.replays, second.next_attempt) == (0, 2)
    topic.reject(20, headers=replay_headers(second, 43))
    topic.mark(10, second.next_attempt)

    contents = topic.contents()
    third = contents.find("clicks/1/20")
    assert contents.origins(third.record) == ["clicks/1/10", "clicks/1/1"]
    assert third.next_attempt == 3
    assert contents.rejected_again(contents.find("clicks/1/1").record) == ["clicks/1/10"]
    assert [contents.find(f"clicks/1/{n}").replays for n in (1, 10, 20)] == [1, 1, 0]
    assert contents.find("clicks/1/10").next_attempt == 3


@pytest.mark.parametrize("links", [{1: 1}, {1: 2, 2: 1}, {1: 2, 2: 3, 3: 2}])
def test_forged_chains_end(topic: Topic, links: dict[int, int]) -> None:
    for child, parent in links.items():
        topic.reject(child, headers=[("dataco.replay_of", f"clicks/1/{parent}".encode())])
    contents = topic.contents()
    origins = contents.origins(contents.find("clicks/1/1").record)
    assert len(origins) == len(set(origins)) <= len(links)


def record_of(key: bytes | None, headers: Sequence[Header] = ()) -> RejectedRecord:
    return RejectedRecord("clicks/1/1", TIME, "malformed_json", "", key, tuple(headers), 0, 0, TIME, None)


def concern(value: bytes | None, key: bytes | None, user_ids: Sequence[str]) -> bool:
    judge = Judge(KnownSchemas(None, registry_needed=False), earliest_ms=0)
    return concerns_users(value, record_of(key), user_ids, judge)


@pytest.mark.parametrize(
    ("value", "key", "expected"),
    [
        (json.dumps({"user_id": "ü7"}).encode(), None, True),
        ('{"user_id":"ü7"}'.encode(), None, True),
        ('{"user_id":"other","x":"ü7"}'.encode(), None, False),
        (b"anything", "ü7".encode(), True),
        (None, "ü7".encode(), True),
        (None, None, False),
        ('{"user_id":"ü7", broken'.encode(), None, True),
        (rb'{"user_id":"\u00fc7", broken', None, True),
        ('{"user_id":"ü71", broken'.encode(), None, False),
        (b"\xff\xfe", None, False),
    ],
)
def test_whose_click_it_is(value: bytes | None, key: bytes | None, expected: bool) -> None:
    assert concern(value, key, ["x", "ü7"]) is expected


def test_a_number_as_user_id_is_that_users_too() -> None:
    assert concern(b'{"user_id":17}', None, ["17"])


def contract_click(user_id: str) -> bytes:
    encoded = AvroEncoder().encode(json.dumps({**CLICK, "user_id": user_id}).encode())
    assert encoded is not None
    assert encoded.startswith(b"\xc3\x01")
    return encoded


UUID_ID = "6ab6d0f0-7b7e-4f0e-9f55-0c7a3b1d2e4f"


@pytest.mark.parametrize("framing", ["readable", "unknown schema", "damaged", "schema in a header", "registry is away"])
def test_whose_click_in_avro_it_is_also_when_it_cannot_be_read(framing: str) -> None:
    for user in ("ü7", "x" * 200):
        value, headers, schemas = contract_click(user), (), KnownSchemas(None, registry_needed=False)
        if framing == "unknown schema":
            value = b"\xc3\x01" + bytes(8) + value[10:]
        elif framing == "damaged":
            value = value[:-1]
        elif framing == "schema in a header":
            value, headers = value[10:], (("__value_schema_id", b"\x01" + bytes(16)),)
        elif framing == "registry is away":
            value = bytes(5) + value[10:]
            schemas = KnownSchemas(SchemaRegistry("http://127.0.0.1:1", retry_seconds=0))
        judge = Judge(schemas, earliest_ms=0)
        assert concerns_users(value, record_of(None, headers), [user], judge)
        assert not concerns_users(value, record_of(None, headers), ["other", user + "1", user[:-1]], judge)


def test_a_uuid_of_16_bytes_is_found_in_avro_that_cannot_be_read() -> None:
    value = bytes(5) + uuid.UUID(UUID_ID).bytes + b"rest"
    assert concern(value, None, [UUID_ID])
    assert not concern(value, None, [UUID_ID.replace("6", "7")])


def test_repaired_bytes_do_not_take_the_header_of_a_schema_along(topic: Topic) -> None:
    topic.reject(1, headers=[("__value_schema_id", b"\x00\x00\x00\x00\x01"), ("trace", b"1")])
    (entry,) = topic.contents().entries
    assert [name for name, _ in replay_headers(entry, 1)][:2] == ["__value_schema_id", "trace"]
    assert [name for name, _ in replay_headers(entry, 1, repaired=True)][:1] == ["trace"]
