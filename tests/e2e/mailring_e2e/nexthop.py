# SPDX-License-Identifier: GPL-2.0-or-later
"""A scripted SMTP server to be delivered to.

    hop = NextHop({'rcpt': times(2, '450 4.2.1 not now'), 'dot': lambda event: DROP})

Stages: connect, ehlo, starttls, helo, auth, mail, rcpt, data, bdat, body (some of the body has come), dot (all of it), rset, noop,
quit. What happens at a stage is None (the proper reply), text (without the CRLF at its end), octets (sent as they
are), DROP, RESET, STALL, Endless(octets), Pieces(text), a list of these in
turn, or a function of the Event that returns one of them. The reply's first digit decides what it
means: a recipient answered with 2 is accepted, a body after 3 is read, a message is taken with 2.

With `tls` (an ssl.SSLContext) STARTTLS is offered, or with implicit=True spoken from the start. `Connection.tls` is
then the version, `.sni` what was asked for (set by a sni_callback of ours), `.resumed`. A stage `handshake` may DROP
or RESET instead, or send octets. With `users` ({name: password}) AUTH is offered, by `mechanisms`: PLAIN, LOGIN,
SCRAM-SHA-1, SCRAM-SHA-256, and with `users` as {name: token} XOAUTH2 and OAUTHBEARER. An impostor knows no password and
says 235 to whatever comes.
"""

import base64
import hashlib
import hmac
import re
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field


class _Word:
    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return self.name


DROP = _Word('DROP')      # close the connection
RESET = _Word('RESET')    # close it with RST
STALL = _Word('STALL')    # say nothing until the other side or the test gives up


@dataclass
class Endless:
    """These octets again and again, for as long as they are taken."""
    octets: bytes


@dataclass
class Pieces:
    """A reply in pieces of one octet."""
    text: str


def times(count, action, then=None):
    """The first `count` times `action`, then `then`; counted over all connections."""
    left = [count]
    lock = threading.Lock()

    def answer(_event):
        with lock:
            left[0] -= 1
            return action if left[0] >= 0 else then
    return answer


@dataclass
class Message:
    """A message that was taken, and its envelope: addresses as in the commands, without brackets."""
    sender: str
    recipients: list
    octets: bytes
    parameters: str
    when: float
    connection: 'Connection'


@dataclass
class Connection:
    number: int
    peer: tuple
    opened: float
    closed: float = 0.0
    commands: list = field(default_factory=list)
    messages: int = 0
    tls: str = ''             # "TLSv1.3"; '' in the clear
    resumed: bool = False
    user: str = ''            # who logged in
    mechanism: str = ''       # and how

    @property
    def verbs(self):
        return [command.split(' ')[0].upper() for command in self.commands]


@dataclass
class Event:
    stage: str
    line: str
    connection: Connection
    sender: str
    recipients: list

    @property
    def address(self):
        """Of MAIL or RCPT."""
        match = re.search(r'<([^>]*)>', self.line)
        return match.group(1) if match else ''


class _Gone(Exception):
    pass


class NextHop:
    """Listens from the start until close(). `messages`: taken; `unanswered`: received whole, but what
    was answered was not a proper reply; `orphans`: bodies that came although no recipient stood."""

    def __init__(self, answers=None, *, address='127.0.0.1', port=0,
                 extensions=('PIPELINING', '8BITMIME', 'SIZE 104857600', 'ENHANCEDSTATUSCODES'),
                 tls=None, implicit=False, users=None, mechanisms=('PLAIN', 'LOGIN'), impostor=False):
        self.mechanisms = mechanisms
        self.impostor = impostor
        self.tls = tls
        self.implicit = implicit
        self.users = users
        self.sni = []               # names that clients asked for, in the order of the handshakes
        self.failed_handshakes = []
        if tls:
            tls.sni_callback = lambda _socket, name, _context: self.sni.append(name)
        self.answers = dict(answers or {})
        self.extensions = extensions
        self.messages = []
        self.unanswered = []
        self.orphans = []
        self.connections = []
        self.errors = []
        self.address = address
        self.port = port
        self._lock = threading.Lock()
        self._open = set()
        self._threads = []
        self._closing = threading.Event()
        self._listener = None
        self.listen()

    def listen(self):
        """Also again after refuse()."""
        listener = socket.socket(socket.AF_INET6 if ':' in self.address else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.address, self.port))
        listener.listen(1024)
        self.port = listener.getsockname()[1]
        self._listener = listener
        thread = threading.Thread(target=self._accept, args=(listener,), daemon=True)
        thread.start()
        self._threads.append(thread)

    def refuse(self):
        """From now on connections are refused; open ones stay."""
        listener, self._listener = self._listener, None
        if listener:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def drop_all(self):
        """Closes the open connections."""
        with self._lock:
            peers = list(self._open)
        for peer in peers:
            peer.shutdown()

    def close(self):
        self._closing.set()
        self.refuse()
        self.drop_all()
        for thread in self._threads:
            thread.join(5)
        if self.errors:
            raise AssertionError('the script of the next hop failed') from self.errors[0]

    @property
    def open_connections(self):
        return len(self._open)

    def for_recipient(self, address):
        """Messages taken for this recipient."""
        return [m for m in list(self.messages) if address in m.recipients]

    def _accept(self, listener):
        while True:
            try:
                sock, peer = listener.accept()
            except OSError:
                return
            with self._lock:
                connection = Connection(len(self.connections) + 1, peer, time.monotonic())
                self.connections.append(connection)
                session = _Session(self, sock, connection)
                self._open.add(session)
            thread = threading.Thread(target=session.run, daemon=True)
            thread.start()
            self._threads.append(thread)


class _Session:
    def __init__(self, hop, sock, connection):
        self.hop = hop
        self.socket = sock
        self.connection = connection
        self.buffer = bytearray()
        self.forget()

    def forget(self):
        self.sender = None
        self.parameters = ''
        self.recipients = []
        self.chunks = bytearray()

    def shutdown(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def run(self):
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.serve()
        except (_Gone, OSError):
            pass
        except Exception as error:          # of the script: seen by close()
            self.hop.errors.append(error)
        finally:
            self.socket.close()
            self.connection.closed = time.monotonic()
            with self.hop._lock:
                self.hop._open.discard(self)

    def fill(self):
        more = self.socket.recv(262144)
        if not more:
            raise _Gone
        self.buffer += more

    def line(self):
        while True:
            end = self.buffer.find(b'\r\n')
            if end >= 0:
                line = bytes(self.buffer[:end])
                del self.buffer[:end + 2]
                return line
            self.fill()

    def answer(self, stage, line, default):
        """Does what the script says at this stage; returns the code's first digit, 0 for none."""
        action = self.hop.answers.get(stage)
        if callable(action):
            action = action(Event(stage, line, self.connection, self.sender, list(self.recipients)))
        actions = action if isinstance(action, list) else [action]
        digit = 0
        for step in actions:
            if step is None:
                step = default
            if step is DROP:
                raise _Gone
            if step is RESET:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                raise _Gone
            if step is STALL:
                while True:
                    self.fill()
            if isinstance(step, Endless):
                while not self.hop._closing.is_set():
                    self.socket.sendall(step.octets)
                raise _Gone
            if isinstance(step, Pieces):
                for octet in step.text.encode() + b'\r\n':
                    self.socket.sendall(bytes((octet,)))
                    time.sleep(0.001)
                digit = int(step.text[0])
            elif step:
                octets = step if isinstance(step, bytes) else step.encode() + b'\r\n'
                self.socket.sendall(octets)
                digit = octets[0] - 48 if octets[:1].isdigit() else 0
        return digit

    def handshake(self):
        self.answer('handshake', '', '')
        try:
            self.socket = self.hop.tls.wrap_socket(self.socket, server_side=True)
        except (OSError, ssl.SSLError) as error:
            self.hop.failed_handshakes.append(error)
            raise _Gone from None
        self.connection.tls = self.socket.version()
        self.connection.resumed = bool(self.socket.session_reused)

    def serve(self):
        if self.hop.implicit:
            self.handshake()
        self.answer('connect', '', '220 next.test ESMTP')
        while True:
            line = self.line().decode('utf-8', 'replace')
            self.connection.commands.append(line)
            verb = line.split(' ')[0].upper()
            handler = getattr(self, 'on_' + verb.lower(), None)
            if handler is None:
                self.answer('unknown', line, '500 5.5.1 what?')
            elif handler(line):
                return

    def on_ehlo(self, line):
        rows = ['next.test', *self.hop.extensions]
        if self.hop.tls and not self.connection.tls:
            rows.append('STARTTLS')
        if self.hop.users is not None:
            rows.append('AUTH ' + ' '.join(self.hop.mechanisms))
        self.forget()
        self.answer('ehlo', line, '\r\n'.join(
            f'250{" " if i == len(rows) - 1 else "-"}{row}' for i, row in enumerate(rows)))

    def on_starttls(self, line):
        if not self.hop.tls or self.connection.tls:
            self.answer('starttls', line, '502 5.5.1 no')
        elif self.answer('starttls', line, '220 2.0.0 go ahead') == 2:
            if self.buffer:
                self.hop.errors.append(AssertionError(f'plaintext behind STARTTLS: {bytes(self.buffer)!r}'))
            self.forget()
            self.handshake()

    def challenge(self, text):
        self.socket.sendall(b'334 ' + base64.b64encode(text) + b'\r\n')
        return base64.b64decode(self.line())

    def auth_plain(self, first):
        _, user, password = first(b'').decode().split('\0')
        return user, self.hop.users.get(user) == password

    def auth_login(self, first):
        user = first(b'Username:').decode()
        return user, self.hop.users.get(user) == self.challenge(b'Password:').decode()

    def auth_token(self, first):
        head, *fields = first(b'').decode().rstrip('\x01').split('\x01')
        user = re.search(r'(?:user=|a=)([^,]*)', head).group(1)
        token = next(text[len('auth=Bearer '):] for text in fields if text.startswith('auth=Bearer '))
        good = self.hop.users.get(user) == token
        if not good:
            self.challenge(b'{"status":"401"}')
        return user, good

    auth_xoauth2 = auth_oauthbearer = auth_token

    def auth_scram(self, first, name):
        """RFC 5802 from the other side, by what Python brings."""
        def mac(key, text):
            return hmac.new(key, text, name).digest()
        bare = first(b'').partition(b',,')[2].decode()
        fields = dict(text.split('=', 1) for text in bare.split(','))
        user = fields['n'].replace('=2C', ',').replace('=3D', '=')
        begin = f'r={fields["r"]}fromserver,s={base64.b64encode(b"salt of ours").decode()},i=4096'
        final = self.challenge(begin.encode()).decode()
        without, _, proof = final.rpartition(',p=')
        salted = hashlib.pbkdf2_hmac(name, self.hop.users.get(user, '?').encode(), b'salt of ours', 4096)
        message = ','.join((bare, begin, without)).encode()
        key = mac(salted, b'Client Key')
        signature = mac(hashlib.new(name, key).digest(), message)
        good = base64.b64decode(proof) == bytes(a ^ b for a, b in zip(key, signature))
        if good:
            self.challenge(b'v=' + base64.b64encode(mac(mac(salted, b'Server Key'), message)))
        return user, good

    def auth_scram_sha_1(self, first):
        return self.auth_scram(first, 'sha1')

    def auth_scram_sha_256(self, first):
        return self.auth_scram(first, 'sha256')

    def on_auth(self, line):
        words = line.split()
        self.connection.mechanism = words[1].upper()
        if self.hop.impostor:
            self.answer('auth', line, '235 2.7.0 welcome')
            return

        def first(challenge):
            return base64.b64decode(words[2]) if len(words) > 2 else self.challenge(challenge)
        user, good = getattr(self, 'auth_' + words[1].lower().replace('-', '_'))(first)
        if self.answer('auth', line, '235 2.7.0 welcome' if good else '535 5.7.8 wrong') == 2:
            self.connection.user = user

    def on_helo(self, line):
        self.forget()
        self.answer('helo', line, '250 next.test')

    def on_mail(self, line):
        if self.answer('mail', line, '250 2.1.0 ok' if self.sender is None else '503 5.5.1 again?') == 2:
            self.sender = self.path(line)
            self.parameters = line.partition('>')[2].strip()

    def on_rcpt(self, line):
        if self.answer('rcpt', line, '250 2.1.5 ok' if self.sender is not None
                       else '503 5.5.1 MAIL first') == 2:
            self.recipients.append(self.path(line))

    @staticmethod
    def path(line):
        match = re.search(r'<((?:"(?:[^"\\]|\\.)*"|[^>"])*)>', line)
        return match.group(1) if match else f'no path: {line}'

    def on_data(self, line):
        if self.answer('data', line, '354 go on' if self.recipients else '554 5.5.1 no recipients') != 3:
            return
        looked = asked = 0
        while True:
            if not asked and len(self.buffer) > 2:
                asked = 1
                self.answer('body', line, '')
            if self.buffer.startswith(b'.\r\n'):
                end = 0
                break
            end = self.buffer.find(b'\r\n.\r\n', looked)
            if end >= 0:
                end += 2
                break
            looked = max(0, len(self.buffer) - 4)
            self.fill()
        body = bytes(self.buffer[:end])
        del self.buffer[:end + 3]
        if body.startswith(b'..'):
            body = body[1:]
        self.taken(line, body.replace(b'\r\n..', b'\r\n.'))

    def on_bdat(self, line):
        words = line.split()
        left = int(words[1])
        while left:
            if not self.buffer:
                self.fill()
            piece = self.buffer[:left]
            self.chunks += piece
            del self.buffer[:len(piece)]
            left -= len(piece)
        if words[-1].upper() == 'LAST':
            self.taken(line, bytes(self.chunks))
        elif self.answer('bdat', line, '250 2.0.0 go on') != 2:
            self.forget()

    def taken(self, line, octets):
        message = Message(self.sender, self.recipients, octets, self.parameters, 0.0,
                          self.connection)
        if not self.recipients:
            self.hop.orphans.append(message)
        digit = -1
        try:
            digit = self.answer('dot', line, '250 2.0.0 taken' if self.recipients
                                else '554 5.5.1 no recipients')
        finally:
            message.when = time.monotonic()
            if digit == 2 and message.recipients:
                self.connection.messages += 1
                self.hop.messages.append(message)
            elif digit <= 0:
                self.hop.unanswered.append(message)
        self.forget()

    def on_rset(self, line):
        self.forget()
        self.answer('rset', line, '250 2.0.0 ok')

    def on_noop(self, line):
        self.answer('noop', line, '250 2.0.0 ok')

    def on_quit(self, line):
        self.answer('quit', line, '221 2.0.0 bye')
        return True
