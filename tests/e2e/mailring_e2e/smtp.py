# SPDX-License-Identifier: GPL-2.0-or-later
"""An SMTP client for octet-exact scripts, and what messages need on their way."""

import base64
import re
import socket
import ssl
import struct

TRACE_FIELDS = (b'return-path', b'delivered-to', b'x-original-to', b'received')


def any_certificate():
    """A context that verifies nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Closed(ConnectionError):
    """The server closed the connection; `octets` is what came before."""

    def __init__(self, octets=b''):
        super().__init__(f'closed by the server after {octets[-200:]!r}')
        self.octets = octets


class Reply:
    """One reply: `code`, `lines` (texts without codes), `enhanced` ("5.1.1" or '')."""

    def __init__(self, octets):
        self.octets = octets
        rows = octets.split(b'\r\n')[:-1]
        self.code = int(rows[0][:3])
        self.lines = [row[4:].decode('utf-8', 'replace') for row in rows]
        if any(not re.fullmatch(rb'%d[- ][^\r\n]*|%d' % (self.code, self.code), row) for row in rows):
            raise AssertionError(f'malformed reply {octets!r}')
        match = re.match(r'[245]\.\d{1,3}\.\d{1,3}\b', self.lines[0])
        self.enhanced = match.group() if match else ''

    @property
    def text(self):
        return '\n'.join(self.lines)

    def __repr__(self):
        return f'<{self.octets.decode("utf-8", "replace").strip()}>'


class Client:
    """Sends octets, expects replies. `greet` says EHLO after the greeting."""

    def __init__(self, port, host='127.0.0.1', *, source=None, timeout=20.0, greet=True, tls=None,
                 name=None):
        """tls: an ssl.SSLContext, for TLS from the first byte; name: for SNI and verification."""
        self.socket = socket.create_connection(
            (host, port), timeout, source_address=(source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b''
        self.extensions = {}
        if tls:
            self.wrap(tls, name)
        if greet:
            self.expect(220)
            self.ehlo()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Closes with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.socket.close()

    def send(self, octets):
        self.socket.sendall(octets)

    def reply(self):
        """The next whole reply. Raises Closed, or TimeoutError."""
        octets = b''
        while True:
            end = self.buffer.find(b'\n')
            if end < 0:
                more = self.socket.recv(65536)
                if not more:
                    raise Closed(octets + self.buffer)
                self.buffer += more
                continue
            line, self.buffer = self.buffer[:end + 1], self.buffer[end + 1:]
            octets += line
            if not re.match(rb'[2-5]\d\d[ \r-]', line) or not line.endswith(b'\r\n'):
                raise AssertionError(f'not a reply line: {line!r}')
            if line[3:4] != b'-':
                return Reply(octets)

    def expect(self, codes, what=''):
        """The next reply, which must have one of these codes (a number or several)."""
        reply = self.reply()
        allowed = codes if isinstance(codes, (tuple, list, set, range)) else (codes,)
        if reply.code not in allowed:
            raise AssertionError(f'{what or "reply"}: expected {codes}, got {reply}')
        return reply

    def command(self, line, codes=range(200, 400)):
        """One command line (text or octets without CRLF) and its reply."""
        octets = line if isinstance(line, bytes) else line.encode()
        self.send(octets + b'\r\n')
        return self.expect(codes, repr(line[:100]))

    def wrap(self, context=None, name=None, session=None):
        """TLS over the connection. Without a context: any certificate."""
        self.socket = (context or any_certificate()).wrap_socket(
            self.socket, server_hostname=name, session=session)

    def starttls(self, context=None, name=None, session=None):
        self.command('STARTTLS', 220)
        if self.buffer:
            raise AssertionError(f'behind the 220: {self.buffer!r}')
        self.wrap(context, name, session)
        return self.ehlo()

    def login(self, user, password, codes=235):
        """AUTH PLAIN."""
        octets = f'\0{user}\0{password}'.encode()
        return self.command('AUTH PLAIN ' + base64.b64encode(octets).decode(), codes)

    def ehlo(self, name='client.test'):
        reply = self.command(f'EHLO {name}', 250)
        self.extensions = {}
        for line in reply.lines[1:]:
            word, _, rest = line.partition(' ')
            self.extensions[word.upper()] = rest
        return reply

    def envelope(self, sender, recipients):
        """MAIL and RCPT in one go; all must be taken."""
        recipients = [recipients] if isinstance(recipients, str) else recipients
        self.send(b''.join([b'MAIL FROM:<%s>\r\n' % sender.encode()]
                           + [b'RCPT TO:<%s>\r\n' % r.encode() for r in recipients]))
        self.expect(250, 'MAIL')
        for recipient in recipients:
            self.expect(250, f'RCPT {recipient}')

    def message(self, sender, recipients, octets, codes=250):
        """A whole transaction; `octets` is the message with CRLF at its end, without stuffing."""
        self.envelope(sender, recipients)
        self.command('DATA', 354)
        self.send(stuff(octets) + b'.\r\n')
        return self.expect(codes, 'end of data')

    def closed(self):
        """Reads on until the server closes (or resets); returns what came."""
        octets, self.buffer = self.buffer, b''
        try:
            while True:
                more = self.socket.recv(65536)
                if not more:
                    return octets
                octets += more
        except ConnectionError:
            return octets

    def quit(self):
        self.command('QUIT', 221)
        rest = self.closed()
        if rest:
            raise AssertionError(f'after QUIT: {rest!r}')
        self.close()


def send_message(port, sender, recipients, octets, **options):
    """One session, one message; the reply to the end of data."""
    with Client(port, **options) as client:
        reply = client.message(sender, recipients, octets)
        client.quit()
        return reply


def stuff(octets):
    """Dot-stuffing (RFC 5321 4.5.2)."""
    if octets.startswith(b'.'):
        octets = b'.' + octets
    return octets.replace(b'\r\n.', b'\r\n..')


def crlf(octets):
    """Bare LF to CRLF, and a CRLF at the end: what a client does with a file."""
    octets = re.sub(rb'(?<!\r)\n', b'\r\n', octets)
    return octets if octets.endswith(b'\r\n') else octets + b'\r\n'


def split_trace(received, sent):
    """What stands before the message as sent, as a list of fields; fails unless these are trace
    fields and what follows them is `sent`, octet for octet."""
    if not received.endswith(sent):
        cut = next((i for i in range(min(len(sent), len(received)))
                    if sent[-1 - i] != received[-1 - i]), min(len(sent), len(received)))
        raise AssertionError(
            f'altered: {len(sent)} octets sent, {len(received)} received; counted from the end they'
            f' differ at {cut}: sent …{sent[max(0, len(sent) - cut - 60):][:120]!r},'
            f' received …{received[max(0, len(received) - cut - 60):][:120]!r}')
    prefix = received[:len(received) - len(sent)]
    fields = re.findall(rb'[^\r\n]+\r\n(?:[ \t][^\r\n]*\r\n)*', prefix)
    if b''.join(fields) != prefix:
        raise AssertionError(f'not header fields before the message: {prefix!r}')
    for field in fields:
        if field.split(b':')[0].lower() not in TRACE_FIELDS:
            raise AssertionError(f'not a trace field: {field!r}')
    if not any(field.lower().startswith(b'received:') for field in fields):
        raise AssertionError('no Received field was added')
    return fields


def sample(subject, body='hello\r\n', sender='ann@client.test'):
    """A small proper message."""
    return (f'From: <{sender}>\r\nSubject: {subject}\r\n'
            f'Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n'
            f'Message-ID: <{subject}@client.test>\r\n\r\n{body}').encode()
