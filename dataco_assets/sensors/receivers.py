"""Who is told what people have to know, and how: a webhook, people by mail."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from dataco_assets.errors import DatacoError
from dataco_assets.ledgers.parked import Receiver
from dataco_assets.settings import Settings

_MESSAGES_AT_ONCE: Final = 3
_SECONDS: Final = 10.0
"""No further message is sent to a receiver that has taken so long. With 10 s for the last one, two receivers that stall
need 40 s of the 60 s that Dagster allows an evaluation."""

Message = Mapping[str, Any]
"""What is sent, as JSON to a webhook; `event` and `what` make the subject of a mail, `text` is for people."""

_SAID: Final = {"parked": "is parked", "resumed": "is resumed", "failed": "fails", "recovered": "succeeds again"}
"""What the subject of a mail says of an event."""

NOBODY: Final = "Nothing is reported: neither DATACO_WEBHOOK_URL nor DATACO_SMTP_HOST is set."

_News = TypeVar("_News")


def receivers(settings: Settings) -> list[Receiver]:
    """Those that the settings name."""
    given = {Receiver.WEBHOOK: settings.webhook_url.get_secret_value(), Receiver.MAIL: settings.smtp_host}
    return [receiver for receiver in Receiver if given[receiver]]


def deliver(
    settings: Settings,
    receiver: Receiver,
    news: Iterable[_News],
    message: Callable[[_News], Message],
    mark: Callable[[_News], None],
) -> str:
    """Sends a receiver its news, one after the other, and stops at the first that it does not take.

    Args:
        settings: Where the receiver is.
        receiver: Who.
        news: What it does not know yet.
        message: The message about one of them.
        mark: Notes that the receiver has one of them.

    Returns:
        What to say of it: how many messages were sent, and why the rest was not.

    Raises:
        DatacoError: from `mark`.
    """
    send, sent = _sender(settings, receiver), 0
    for each in _within_limits(news):
        try:
            send(message(each))
        except DatacoError as error:
            return f"{receiver.capitalize()}: {sent} sent; the rest is tried again at the next evaluation. {error}"
        mark(each)
        sent += 1
    return f"{receiver.capitalize()}: {sent} sent." if sent else ""


def summary(told: Sequence[str]) -> str:
    """What an evaluation says in the end, from what `deliver` said for each receiver."""
    return " ".join(filter(None, told)) or "There is nothing to report."


def _within_limits(news: Iterable[_News]) -> Iterator[_News]:
    deadline = time.monotonic() + _SECONDS
    for number, each in enumerate(news):
        if number == _MESSAGES_AT_ONCE or time.monotonic() > deadline:
            return
        yield each


def _sender(settings: Settings, receiver: Receiver) -> Callable[[Message], None]:
    if receiver is Receiver.WEBHOOK:
        from dataco_assets.clients.webhook import post

        url = settings.webhook_url.get_secret_value()
        return lambda message: post(url, message)
    from dataco_assets.clients.mail import MailServer

    server = MailServer.of(settings)
    return lambda message: server.send(subject(message), body(message)) if server else None


def subject(message: Message) -> str:
    """The subject of a mail, such as `DataCo clicks: ingest is parked`."""
    first, *others = message["what"]
    more = f" (and {len(others):,} more)" if others else ""
    return f"DataCo {message['topic']}: {first}{more} {_SAID[message['event']]}"


def body(message: Message) -> str:
    """The text of a mail: what is for people, then every member by its name."""
    members = (
        f"{name}: {', '.join(value) if isinstance(value, list) else value}"
        for name, value in message.items()
        if name != "text" and value is not None
    )
    return "\n".join([message["text"], "", *members, ""])
