"""Sending mail to people through an SMTP server, with Python's own client."""

import hashlib
import logging
import smtplib
import socket
import ssl
from contextlib import closing, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from typing import TYPE_CHECKING, Self

from dataco_assets.errors import DatacoError, ErrorKind
from dataco_assets.settings import Settings, SmtpTls
from dataco_assets.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECONDS = 5.0
"""How long the server may take to connect, and for each of its answers."""
_SHOWN = 300
_log = logging.getLogger(__name__)


class MailFailed(DatacoError):
    """The mail server took a message for nobody."""

    kind = ErrorKind.PASSING


@dataclass(frozen=True)
class MailServer:
    """An SMTP server, and from and to whom mail is sent through it.

    Attributes:
        host: Its host.
        port: Its port.
        tls: How the connection is encrypted.
        ca_file: PEM file with the authority that signed its certificate; empty: one that Python knows.
        username: Who logs in; empty: nobody.
        password: Password of that user.
        sender: Address of the sender.
        recipients: Addresses of those who receive it.
    """

    host: str
    port: int
    tls: SmtpTls
    ca_file: str
    username: str
    password: str
    sender: str
    recipients: "Sequence[str]"

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """The server of the settings; None: mail is not sent."""
        if not settings.smtp_host:
            return None
        return cls(
            settings.smtp_host,
            settings.smtp_port,
            settings.smtp_tls,
            settings.smtp_ca_file,
            settings.smtp_username,
            settings.smtp_password.get_secret_value(),
            settings.smtp_from,
            settings.smtp_recipients,
        )

    def send(self, subject: str, text: str) -> None:
        """Sends one message to all recipients; the same message sent again has the same Message-ID.

        A recipient that the server refuses does not keep the message from the others; a warning names it.

        Args:
            subject: One line.
            text: The message; like the subject, shown and never interpreted, whoever wrote parts of it.

        Raises:
            MailFailed: the server does not answer in time, refuses the log-in, or takes the message for nobody.
        """
        message = self._message(subject, text)
        try:
            with closing(self._connected()) as server:
                if self.tls is SmtpTls.STARTTLS:
                    server.starttls(context=self._context())
                if self.username:
                    server.login(self.username, self.password)
                refused = server.send_message(message, self.sender, self.recipients)
                with suppress(smtplib.SMTPException, OSError):  # it has taken the message, however it says goodbye
                    server.quit()
        except (smtplib.SMTPException, OSError) as error:
            # Not chained: an error of the log-in may quote what was sent.
            raise MailFailed(
                f"The mail server at {self.host}:{self.port} did not take the message ({_words(error)}). Its settings "
                "are DATACO_SMTP_*."
            ) from None
        for recipient, (code, answer) in refused.items():
            _log.warning(
                "The mail server at %s refuses the recipient %s: %d %s", self.host, recipient, code, _text(answer)
            )

    def _connected(self) -> smtplib.SMTP:
        # By default the client asks the name service for this machine's name, which may take longer than all else.
        here = socket.gethostname()
        if self.tls is SmtpTls.TLS:
            return smtplib.SMTP_SSL(self.host, self.port, here, timeout=_SECONDS, context=self._context())
        return smtplib.SMTP(self.host, self.port, here, timeout=_SECONDS)

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file or None)

    def _message(self, subject: str, text: str) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self.sender
        message["To"] = ", ".join(self.recipients)
        message["Subject"] = printable(subject)
        message["Date"] = formatdate()
        lines = [printable(line) for line in text.split("\n")]
        digest = hashlib.sha256("\n".join([printable(subject), *lines]).encode()).hexdigest()[:32]
        message["Message-ID"] = f"<{digest}.dataco@{self.sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content("\n".join(lines))
        return message


def _words(error: smtplib.SMTPException | OSError) -> str:
    """What went wrong, for a person; never what was sent."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "; ".join(f"{who}: {code} {_text(answer)}" for who, (code, answer) in error.recipients.items())
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{type(error).__name__}: {error.smtp_code} {_text(error.smtp_error)}"
    return f"{type(error).__name__}: {printable(str(error), _SHOWN)}"


def _text(answer: bytes | str) -> str:
    return printable(answer.decode(errors="replace") if isinstance(answer, bytes) else answer, _SHOWN)
