"""Tests sending mail, with a real SMTP server: encryption, log-in, refusals, and a server that stalls or is away."""

import logging
import time
import traceback
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from dataco_assets.clients.mail import MailFailed, MailServer
from dataco_assets.settings import Settings, SettingsError, SmtpTls
from dataco_assets_tests.mail_servers import PASSWORD, USER, Mailbox, receiving_mail


def server(mailbox: Mailbox, **changes: Any) -> MailServer:
    made = MailServer.of(Settings.load().model_copy(update={**mailbox.settings(), **changes}))
    assert made is not None
    return made


def refusal(mailbox: Mailbox, **changes: Any) -> str:
    """What the failure says when a message is sent; no form of it shows the password."""
    with pytest.raises(MailFailed) as caught:
        server(mailbox, **changes).send("A subject", "A text")
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    assert "127.0.0.1" in str(caught.value) or changes.get("smtp_host", "-") in str(caught.value)
    assert "DATACO_SMTP_*" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("tls", [SmtpTls.STARTTLS, SmtpTls.TLS])
def test_a_message_arrives_encrypted_after_a_log_in(tls: SmtpTls, tmp_path: Path) -> None:
    with receiving_mail(tls, tmp_path) as mailbox:
        server(mailbox).send("Grüße", "Zwei\nZeilen über Köln")
        (mail,) = mailbox.got
        assert mail["Subject"] == "Grüße"
        assert mail.get_content() == "Zwei\nZeilen über Köln\n"
        assert (mail["From"], mail["To"]) == ("dataco@example.com", "ann@example.com, ben@example.com")
        assert mailbox.recipients == [["ann@example.com", "ben@example.com"]]
        assert mailbox.users == [USER]

        assert "535" in refusal(mailbox, smtp_password=SecretStr("wrong"))
        assert "CERTIFICATE_VERIFY_FAILED" in refusal(mailbox, smtp_ca_file="")
        assert len(mailbox.got) == 1


def test_a_server_without_encryption_gets_nothing() -> None:
    with receiving_mail() as mailbox:
        assert "STARTTLS" in refusal(mailbox, smtp_tls=SmtpTls.STARTTLS)
        assert not mailbox.got


def test_a_message_that_was_not_taken_is_the_same_when_it_is_sent_again() -> None:
    with receiving_mail() as mailbox:
        mailbox.answers = ["451 greylisted"]
        assert "451 greylisted" in refusal(mailbox)
        for _ in range(2):
            server(mailbox).send("A subject", "A text")
        server(mailbox).send("A subject", "Another text")
    first, again, other = (mail["Message-ID"] for mail in mailbox.got)
    assert first == again != other


def test_what_somebody_else_wrote_is_shown_and_never_interpreted() -> None:
    with receiving_mail() as mailbox:
        server(mailbox).send("A\nBcc: eve@example.com", f"\ud800 \x1b[2J\n.\n{'long ' * 1_000}")
        (mail,) = mailbox.got
    assert mail["Subject"] == "A\\nBcc: eve@example.com"
    assert mail["Bcc"] is None
    assert mail.get_content().startswith("\\ud800 \\x1b[2J\n.\nlong long")
    assert mailbox.recipients == [["ann@example.com", "ben@example.com"]]


def test_a_refused_recipient_keeps_the_message_from_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    with receiving_mail() as mailbox:
        mailbox.refused = {"ann@example.com"}
        with caplog.at_level(logging.WARNING):
            server(mailbox).send("A subject", "A text")
        assert mailbox.recipients == [["ben@example.com"]]
        assert "refuses the recipient ann@example.com: 550 no such user" in caplog.text
        mailbox.refused.add("ben@example.com")
        assert "ann@example.com: 550 no such user; ben@example.com: 550" in refusal(mailbox)


def test_a_server_that_is_away_or_stalls_ends_in_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving_mail() as mailbox:
        assert "ConnectionRefusedError" in refusal(mailbox, smtp_port=1)
        assert "gaierror" in refusal(mailbox, smtp_host="nohost.invalid")
        monkeypatch.setattr("dataco_assets.clients.mail._SECONDS", 0.2)
        mailbox.delay_seconds = 1.0
        started = time.monotonic()
        assert "timed out" in refusal(mailbox)
        assert time.monotonic() - started < 5


def test_a_server_that_stalls_once_it_has_taken_the_message_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataco_assets.clients.mail._SECONDS", 0.3)
    with receiving_mail() as mailbox:
        mailbox.farewell_seconds = 1.0
        server(mailbox).send("A subject", "A text")
        assert len(mailbox.got) == 1


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"HOST": "mail.example"}, "DATACO_SMTP_FROM and DATACO_SMTP_TO must be, too"),
        ({"USERNAME": "u", "TLS": "none"}, "the password would be sent unencrypted"),
        ({"TLS": "maybe"}, "Input should be 'starttls', 'tls' or 'none'"),
        ({"FROM": "Ann <ann@example.com>"}, "must be an address like"),
        ({"TO": "ann@example.com; ben@example.com"}, "comma-separated"),
        ({"TO": "ann@example.com\nBcc: eve@example.com"}, "comma-separated"),
        ({"CA_FILE": "/no/such"}, "cannot be read"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    given: dict[str, str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"DATACO_SMTP_{name}", value)
    with pytest.raises(SettingsError, match=why):
        Settings.load()


def test_recipients_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATACO_SMTP_TO", "ann@example.com ,ben@example.com")
    assert Settings.load().smtp_recipients == ("ann@example.com", "ben@example.com")
    assert MailServer.of(Settings.load()) is None
