"""The receiving end of mail: a real SMTP server (aiosmtpd) with configurable answers."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pydantic import SecretStr

from dataco_assets.settings import SmtpTls, variable
from dataco_assets_tests.certificates import Authority
from local_stack import ports

USER, PASSWORD = "dataco", "s3cr3t-of-mail"  # made-up ones


@dataclass
class Mailbox:
    """The mail that a server received, and its answers to it: the given ones in turn, then 250."""

    port: int = 0
    tls: SmtpTls = SmtpTls.NONE
    ca_file: str = ""
    answers: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    got: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    delay_seconds: float = 0.0
    farewell_seconds: float = 0.0

    def settings(self) -> dict[str, Any]:
        """The settings of mail through this server."""
        return {
            "smtp_host": "127.0.0.1",
            "smtp_port": self.port,
            "smtp_tls": self.tls,
            "smtp_ca_file": self.ca_file,
            "smtp_username": "" if self.tls is SmtpTls.NONE else USER,
            "smtp_password": SecretStr("" if self.tls is SmtpTls.NONE else PASSWORD),
            "smtp_from": "dataco@example.com",
            "smtp_to": "ann@example.com, ben@example.com",
        }

    def environment(self) -> dict[str, str]:
        """The same as variables of another process."""
        return {
            variable(name): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in self.settings().items()
        }


class _Handler:
    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self._mailbox.refused:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's name
        mailbox = self._mailbox
        await asyncio.sleep(mailbox.delay_seconds)
        answer = mailbox.answers.pop(0) if mailbox.answers else "250 OK"
        if answer.startswith("250"):
            content = cast("bytes", envelope.content).replace(b"\r\n", b"\n")
            mailbox.got.append(cast("EmailMessage", message_from_bytes(content, policy=policy.default)))
            mailbox.recipients.append(list(envelope.rcpt_tos))
            mailbox.users.append(str(session.auth_data))
        return answer

    async def handle_QUIT(self, _server: SMTP, _session: Session, _envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's name
        await asyncio.sleep(self._mailbox.farewell_seconds)
        return "221 Bye"


def _authenticate(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: object) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=False, auth_data=USER if right else None)


@contextmanager
def receiving_mail(tls: SmtpTls = SmtpTls.NONE, folder: Path | None = None) -> Iterator[Mailbox]:
    """A mail server until the block ends; with encryption, it demands a log-in.

    Args:
        tls: How connections are encrypted.
        folder: Where the files of its certificate are put; needed with encryption.
    """
    mailbox, options = Mailbox(tls=tls), dict[str, Any]()
    if folder is not None:
        authority = Authority.make("Authority of mail")
        mailbox.ca_file = str(authority.write(folder))
        context = _context(authority, folder)
        options = {"auth_required": True, "authenticator": _authenticate}
        if tls is SmtpTls.TLS:
            options |= {"ssl_context": context, "auth_require_tls": False}  # it takes only STARTTLS for encryption
        else:
            options |= {"tls_context": context, "require_starttls": True}
    mailbox.port = ports.choose(["mail"])[
        "mail"
    ]  # the server tries its port before it knows one of the system's choice
    server = Controller(_Handler(mailbox), hostname=ports.LOOPBACK, port=mailbox.port, **options)
    server.start()
    try:
        yield mailbox
    finally:
        server.stop()


def _context(authority: Authority, folder: Path) -> ssl.SSLContext:
    key, certificate = authority.issue("127.0.0.1")
    file = folder / "mail-server.pem"
    file.write_bytes(key + certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return context
