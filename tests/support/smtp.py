"""A mail server for the tests, over aiosmtpd. It prints its port, and then each mail as a line of JSON.

A recipient's name says what becomes of a mail: `later` is turned away twice with a passing code, `gone` for good, both with
words that quote the address, as servers like to.
"""

import argparse
import asyncio
import json
import ssl

from aiosmtpd.smtp import SMTP, AuthResult


class Keeper:
    """Prints what arrives."""

    def __init__(self):
        self.turned_away = {}

    async def handle_RCPT(self, server, session, envelope, address, options):
        name = address.split("@")[0]
        tries = self.turned_away.get(address, 0)
        self.turned_away[address] = tries + 1
        if name == "gone":
            return f"550 5.1.1 <{address}>: there is nobody of this name"
        if name == "later" and tries < 2:
            return f"451 4.7.1 <{address}>: come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": server.transport.get_extra_info("ssl_object") is not None,
            "authenticated": session.authenticated,
            "content": envelope.content.decode(),
        }
        print(json.dumps(mail), flush=True)
        return "250 OK"


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", choices=["none", "starttls", "smtps"], default="none")
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--login", nargs=2, metavar=("NAME", "PASSWORD"))
    options = parser.parse_args()

    context = None
    if options.tls != "none":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.certificate, options.key)

    def authenticate(server, session, envelope, mechanism, data):
        given = [data.login.decode(), data.password.decode()]
        return AuthResult(success=given == options.login, handled=False, auth_data=data)

    keeper = Keeper()

    def connection():
        return SMTP(
            keeper,
            hostname="localhost",
            tls_context=context if options.tls == "starttls" else None,
            require_starttls=options.tls == "starttls",
            authenticator=authenticate if options.login else None,
            auth_required=options.login is not None,
            # Of TLS from the first byte it knows nothing.
            auth_require_tls=options.tls == "starttls",
        )

    loop = asyncio.get_running_loop()
    direct = context if options.tls == "smtps" else None
    server = await loop.create_server(connection, "127.0.0.1", options.port, ssl=direct)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
