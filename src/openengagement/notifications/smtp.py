"""Send one mail through a server."""

import smtplib
from email.message import EmailMessage
from typing import Final

import httpx

from openengagement.notifications.message import Result
from openengagement.setting_kinds import MailServer

_STEP_S: Final = 5.0  # for each step of the dialogue


def send_mail(server: MailServer, mail: EmailMessage) -> Result:
    """Make one attempt. Call it in a thread."""
    try:
        with _connect(server) as session:
            refused = session.send_message(mail)
    except smtplib.SMTPResponseException as error:
        return Result(f"SMTP {error.smtp_code}")
    except (smtplib.SMTPException, OSError) as error:
        return Result(type(error).__name__)
    return Result("refused receivers" if refused else "sent", is_delivered=True)


def _connect(server: MailServer) -> smtplib.SMTP:
    """Connect and authenticate. Only a server on this machine may be without TLS."""
    tls = httpx.create_ssl_context()
    if server.tls:
        session: smtplib.SMTP = smtplib.SMTP_SSL(
            server.host, server.port, timeout=_STEP_S, context=tls
        )
    else:
        session = smtplib.SMTP(server.host, server.port, timeout=_STEP_S)
    try:
        session.ehlo()
        if not server.tls and (not server.is_local or session.has_extn("starttls")):
            session.starttls(context=tls)
        if server.user:
            session.login(server.user, server.password)
    except BaseException:
        session.close()
        raise
    return session
