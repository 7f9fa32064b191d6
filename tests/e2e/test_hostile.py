# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients that mean harm, or know no better. Each gets its answer, memory stays bounded, others are served."""

import random
import re
import selectors
import socket
import time

from mailring_e2e import Case, Client, Closed, Prober, main, sample, send_message, split_trace

HEAD = b'From: <ann@client.test>\r\nSubject: x\r\n\r\n'
MIB = 2**20


class Hostile(Case):
    LIMITS = {}

    def setUp(self):
        super().setUp()
        self.server = self.start_server({
            'limits': {'connections_per_client': 5000, **self.LIMITS},
            ('domain', 'hole.test'): {'to': 'discard'}})
        send_message(self.server.port, 'a@client.test', 'x@hole.test', sample('warm'))
        self.memory_before = self.server.memory('VmHWM')

    def bounded(self, most, what='memory'):
        self.assert_memory(self.server.memory('VmHWM') - self.memory_before, most, what)

    def raw(self, **options):
        client = Client(self.server.port, greet=False, **options)
        self.addCleanup(client.close)
        client.expect(220)
        return client

    def client(self, **options):
        client = Client(self.server.port, **options)
        self.addCleanup(client.close)
        return client

    def read_all(self, client, seconds=20.0):
        """All codes until the server closes."""
        client.socket.settimeout(seconds)
        return [int(code) for code in re.findall(rb'(?m)^(\d\d\d)[ \r]', client.closed())]


class Smuggling(Hostile):
    """Only CRLF.CRLF ends a message (RFC 5321 4.1.1.4)."""

    ENDS = [b'\n.\n', b'\r\n.\n', b'\n.\r\n', b'\r.\r', b'\r\n.\r', b'\r.\r\n', b'\n.\r', b'\r.\n', b'\r\n.\0\r\n',
            b'\n\n.\r\n', b'\r\n\x00.\r\n', b'\r\n.\r\r\n', b'\r\r\n.\n', b'\r\n.\n\r\n']
    INSIDE = b'MAIL FROM:<evil@client.test>\r\nRCPT TO:<evil@local.test>\r\nDATA\r\nsmuggled\r\n.\r\n'

    def attack(self, port, end):
        """The replies to one message that holds another behind this wrong end."""
        with Client(port) as client:
            client.envelope('ann@client.test', 'victim@local.test')
            client.command('DATA', 354)
            client.send(HEAD + b'text' + end + self.INSIDE + b'NOOP\r\n')
            replies = [client.reply()]
            try:
                replies.append(client.reply())
                client.socket.settimeout(0.2)
                try:
                    replies.append(client.reply())
                except TimeoutError:
                    pass
            except Closed:
                pass
            return [reply.code for reply in replies]

    def test_rejected(self):
        for end in self.ENDS:
            with self.subTest(repr(end)):
                codes = self.attack(self.server.port, end)
                wanted = range(200, 600) if b'\0' in end else range(500, 600)
                self.assertIn(codes[0], wanted)
                self.assertIn(codes[1:], ([250], []), 'what follows the end is one NOOP')
        self.server.wait_drained()
        self.assertEqual(len(self.server.maildir('evil')), 0)
        for message in self.server.maildir('victim').messages():
            self.assertIn(b'\0', message)

    def test_normalized(self):
        """bare_newline = normalize makes each a line end, but no end of the message."""
        server = self.start_server()
        server.stop()
        listener = dict(server.settings['listener', 'mx'], bare_newline='normalize')
        server.configure({('listener', 'mx'): listener})
        server.start()
        taken = 0
        for end in self.ENDS:
            with self.subTest(repr(end)):
                codes = self.attack(server.port, end)
                self.assertEqual(codes[1:], [250])
                taken += codes[0] == 250
        for message in server.wait_mail('victim', taken) if taken else []:
            self.assertNotIn(b'\n', message.replace(b'\r\n', b''))
            self.assertNotIn(b'\r', message.replace(b'\r\n', b''))
            self.assertIn(b'evil@local.test', message)
        self.assertGreater(taken, 5)
        self.assertEqual(len(server.maildir('evil')), 0)

    def test_bare_newlines_in_text(self):
        for text in (b'a\nb', b'a\rb', b'\n', b'\r', b'a\r\r\nb', b'a\n\rb'):
            with self.subTest(repr(text)), Client(self.server.port) as client:
                client.message('a@client.test', 'x@local.test', HEAD + text + b'\r\n', range(500, 600))
                client.message('a@client.test', 'x@hole.test', HEAD)
                client.quit()
        self.server.wait_drained()
        self.assertEqual(len(self.server.maildir('x')), 0)

    def test_commands(self):
        """A bare CR or LF ends no command either."""
        for line in (b'NOOP\nNOOP\r\n', b'NOOP\rNOOP\r\n', b'RSET\nMAIL FROM:<a@b>\nRCPT TO:<c@d>\r\n',
                     b'NO\0OP\r\n', b'NOOP\r\r\n'):
            with self.subTest(repr(line)), Client(self.server.port) as client:
                client.send(line + b'RSET\r\n')
                client.expect(range(500, 506) if line != b'NOOP\r\r\n' else (250, 500, 501))
                client.expect(250)
                client.quit()


class Garbage(Hostile):
    def test_binary(self):
        rng = random.Random(1)
        with Prober(self.server):
            for n in range(30):
                client = self.raw()
                try:
                    client.send(rng.randbytes(rng.choice((10, 1000, 100000))) + b'\r\n' * (n % 30))
                    client.socket.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
                codes = self.read_all(client)
                self.assertTrue(all(400 <= code < 600 for code in codes), codes)
        self.bounded(8 * MIB)

    def test_other_protocols(self):
        hello = bytes.fromhex('1603010075010000710303') + bytes(90) + b'\r\n'
        for words in (hello, b'GET / HTTP/1.1\r\nHost: mx.test\r\n\r\n', b'SSH-2.0-x\r\n',
                      b'PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n', b'{"a":1}\r\n'):
            client = self.raw()
            client.send(words)
            self.assertGreaterEqual(client.reply().code, 400)
        self.bounded(4 * MIB)

    def test_endless_line(self):
        with Prober(self.server):
            for head in (b'', b'EHLO ', b'MAIL FROM:<'):
                client = self.raw(timeout=10)
                sent = 0
                try:
                    while sent < 20 * MIB:
                        client.send(head + b'x' * 65536)
                        head = b''
                        sent += 65536
                    client.send(b'\r\nQUIT\r\n')
                except OSError:
                    pass                                # closed on us: fine
                codes = self.read_all(client)
                self.assertTrue(all(code in (500, 501, 421, 221) for code in codes), codes)
                self.assertLessEqual(codes.count(500) + codes.count(501), 1)
        self.bounded(8 * MIB)

    def test_long_commands(self):
        """512 octets must be taken (RFC 5321 4.5.3.1.4), and twice that with extensions; an over-long
        one is one error, and the session goes on."""
        client = self.client()
        client.command('NOOP ' + 'x' * 505, (250, 500, 501))
        for size in (2000, 5000, 70000):
            client.command('NOOP ' + 'x' * size, (250, 500, 501))
            client.command('NOOP', 250)
        long = 'l' * 64 + '@' + '.'.join(['d' * 60] * 3)
        client.command(f'MAIL FROM:<{long}> SIZE=100 BODY=8BITMIME', 250)
        client.command('RCPT TO:<x@hole.test>', 250)
        client.quit()

    def test_nuls(self):
        client = self.client()
        for line in (b'\0', b'NOOP\0', b'MAIL FROM:<a\0b@client.test>', b'\0' * 100):
            self.assertIn(client.command(line, range(500, 506)).code, range(500, 506))
        client.command('NOOP', 250)
        reply = client.message('a@client.test', 'nul@local.test', HEAD + b'a\0b\r\n', range(200, 600))
        client.quit()
        if reply.code == 250:
            split_trace(self.server.wait_mail('nul')[0], HEAD + b'a\0b\r\n')

    def test_wrong_order(self):
        with Client(self.server.port, greet=False) as client:
            client.expect(220)
            client.command('MAIL FROM:<a@client.test>', (250, 503))
        client = self.client()
        client.command('DATA', 503)
        client.command('RCPT TO:<x@hole.test>', 503)
        client.command('MAIL FROM:<a@client.test>', 250)
        client.command('DATA', (503, 554))
        client.command('MAIL FROM:<b@client.test>', 503)
        client.command('RCPT TO:<x@hole.test>', 250)
        client.ehlo()                                   # forgets the transaction (RFC 5321 4.1.4)
        client.command('DATA', (503, 554))
        for line in ('MAIL', 'MAIL FROM', 'MAIL FROM:', 'MAIL FROM:<', 'MAIL FROM:<a@b@c>',
                     'RCPT TO:<>', 'VRFY', 'BDAT x'):
            client.command(line, range(250, 600))
        client.command('NOOP', 250)

    def test_ten_thousand_recipients(self):
        with Prober(self.server), Client(self.server.port, timeout=60) as client:
            client.command('MAIL FROM:<a@client.test>', 250)
            client.send(b''.join(b'RCPT TO:<r%d@hole.test>\r\n' % n for n in range(10000)))
            codes = [client.reply().code for _ in range(10000)]
            self.assertEqual(codes, [250] * 1000 + [452] * 9000)
            client.command('DATA', 354)
            client.send(sample('thousand') + b'.\r\n')
            client.expect(250)
            client.quit()
        self.server.wait_drained()
        self.bounded(16 * MIB)

    def test_endless_header(self):
        """A header, and a line, that never end: 552 at the limit, in bounded memory."""
        for piece in (b'X-Long: ' + b'y' * 900 + b'\r\n', b'z' * 910):
            with Prober(self.server), Client(self.server.port, timeout=60) as client:
                client.envelope('a@client.test', 'x@hole.test')
                client.command('DATA', 354)
                try:
                    for _ in range(60):
                        client.send(piece * 1024)
                    client.send(b'\r\n.\r\n')
                    client.expect((552, 550, 554, 500))
                    client.command('NOOP', 250)
                except (ConnectionResetError, BrokenPipeError, Closed):
                    pass                                # it may also hang up
        self.bounded(16 * MIB)

    def test_mail_loop(self):
        """More Received fields than limits.hops: refused (RFC 5321 6.3)."""
        field = b'Received: from a.test by b.test; Thu, 1 Jan 2026 00:00:00 +0000\r\n'
        with Client(self.server.port) as client:
            client.message('a@client.test', 'x@local.test', field * 150 + HEAD, 554)
            client.message('a@client.test', 'x@local.test', field * 20 + HEAD, 250)
            client.quit()

    def test_pipelining_flood(self):
        """50,000 commands that lead nowhere: each is answered until the server has enough of it."""
        for line in (b'NOOP\r\n', b'RSET\r\n', b'EHLO x\r\n', b'MAIL FROM:<a@client.test>\r\nRSET\r\n'):
            with self.subTest(repr(line)), Prober(self.server):
                rows = self.flood(self.client(timeout=60), line * 50000)
                codes = [int(row[:3]) for row in rows if row[3:4] == b' ']
                self.assertLessEqual(set(codes), {250, 421})
                self.assertNotIn(421, codes[:-1])
                self.assertGreaterEqual(len(codes), 50)
                if codes[-1] != 421:
                    self.assertEqual(len(codes), 50000 * line.count(b'\n'))
        self.bounded(8 * MIB)

    def flood(self, client, octets):
        """Sends and reads at the same time, until all is answered or the server closes; the lines."""
        client.socket.setblocking(False)
        out, got = memoryview(octets + b'QUIT\r\n'), b''
        deadline = time.monotonic() + 30
        with selectors.DefaultSelector() as selector:
            selector.register(client.socket, selectors.EVENT_READ | selectors.EVENT_WRITE)
            while time.monotonic() < deadline:
                for _, events in selector.select(1):
                    try:
                        if events & selectors.EVENT_WRITE:
                            out = out[client.socket.send(out[:65536]):]
                            if not out:
                                selector.modify(client.socket, selectors.EVENT_READ)
                        if events & selectors.EVENT_READ:
                            more = client.socket.recv(262144)
                            if not more:
                                return [row for row in got.split(b'\r\n') if row and row[:3] != b'221']
                            got += more
                    except (ConnectionError, BlockingIOError):
                        if events & selectors.EVENT_READ:
                            continue
                        selector.modify(client.socket, selectors.EVENT_READ)
        self.fail(f'neither answered nor closed after {got.count(b"250 ")} answers')

    def test_pipelined_whole_sessions(self):
        """Fifty messages and QUIT in one send, before any answer."""
        client = self.raw(timeout=30)
        one = (b'MAIL FROM:<a@client.test>\r\nRCPT TO:<flood@local.test>\r\nDATA\r\n' + sample('flood')
               + b'.\r\n')
        client.send(b'EHLO client.test\r\n' + one * 50 + b'QUIT\r\n')
        codes = self.read_all(client)
        self.assertEqual(codes, [250] + [250, 250, 354, 250] * 50 + [221])
        for message in self.server.wait_mail('flood', 50):
            split_trace(message, sample('flood'))


class Deaf(Hostile):
    def test_clients_that_never_read(self):
        """The window closes; the server holds little; when they go it is as before."""
        before = self.server.descriptors()
        clients = [self.client() for _ in range(50)]
        line = b'EHLO x\r\n' * 4096
        blocked = 0
        with Prober(self.server):
            for client in clients:
                client.socket.setblocking(False)
            started, sent = time.monotonic(), dict.fromkeys(clients, 0)
            moving = set(clients)
            while moving and time.monotonic() - started < 15:
                for client in list(moving):
                    try:
                        sent[client] += client.socket.send(line)
                    except BlockingIOError:
                        if sent.get(client, 0) == getattr(client, 'last', -1):
                            moving.discard(client)
                            blocked += 1
                        client.last = sent[client]
                    except OSError:
                        moving.discard(client)
                time.sleep(0.1)
            self.assertFalse(moving, 'the server reads on although nobody reads its answers')
        self.bounded(16 * MIB, f'{blocked} clients that do not read')
        for client in clients:
            client.reset()
        self.wait_for(lambda: self.server.descriptors() <= before + 2, 'their connections are closed')

    def test_deaf_after_data(self):
        """Nobody reads the answer to the end of data: the message counts all the same, or not, but
        is whole."""
        for n in range(20):
            client = self.client()
            client.envelope('a@client.test', 'deaf@local.test')
            client.command('DATA', 354)
            client.send(sample('deaf') + b'.\r\n')
            client.reset()
        self.server.wait_drained()
        for message in self.server.maildir('deaf').messages():
            split_trace(message, sample('deaf'))


class Slow(Hostile):
    def test_an_octet_now_and_then(self):
        """500 that send an octet a second; others are served, and in the end so are they."""
        clients = [self.client(source=f'127.0.1.{n % 250 + 1}') for n in range(500)]
        dribble = b'MAIL FROM:<slow@client.test>\r\n'
        with Prober(self.server):
            for second in range(4):
                started = time.monotonic()
                for client in clients:
                    client.send(dribble[second:second + 1])
                self.wait_for(lambda: time.monotonic() - started >= 1, 'a second', interval=0.1)
        self.bounded(8 * MIB)
        for client in clients:
            client.send(dribble[4:] + b'RCPT TO:<slow@hole.test>\r\nDATA\r\n')
        for client in clients:
            client.expect(250)
            client.expect(250)
            client.expect(354)
            client.send(sample('slow') + b'.\r\n')
        for client in clients:
            client.expect(250)
            client.close()
        self.server.wait_drained()

    def test_thousands_idle(self):
        """3000 that do nothing: little memory, others are served, and all is given back."""
        before = self.server.descriptors()
        clients = [self.client(source=f'127.0.2.{n % 250 + 1}') for n in range(3000)]
        self.bounded(12 * MIB, '3000 idle sessions')
        with Prober(self.server):
            for client in clients[::30]:
                client.command('NOOP', 250)
        for client in clients:
            client.close()
        self.wait_for(lambda: self.server.descriptors() <= before + 2, 'their connections are closed')

    def test_come_and_go(self):
        """2000 connections that leave at once, some with RST, some in the middle of a message."""
        before = self.server.descriptors()
        with Prober(self.server):
            for n in range(2000):
                client = Client(self.server.port, greet=n % 4 > 1, source=f'127.0.3.{n % 250 + 1}')
                if n % 4 == 3:
                    client.envelope('a@client.test', 'half@local.test')
                    client.command('DATA', 354)
                    client.send(b'half a mess')
                client.reset() if n % 2 else client.close()
        self.wait_for(lambda: self.server.descriptors() <= before + 2, 'all closed')
        self.server.wait_drained()
        self.assertEqual(len(self.server.maildir('half')), 0)
        self.bounded(8 * MIB)

    def test_half_closed(self):
        """A client that closes its sending side still reads its answers."""
        client = self.raw()
        client.send(b'EHLO c.test\r\nMAIL FROM:<a@client.test>\r\nRCPT TO:<fin@local.test>\r\nDATA\r\n'
                    + sample('fin') + b'.\r\nQUIT\r\n')
        client.socket.shutdown(socket.SHUT_WR)
        self.assertEqual(self.read_all(client), [250, 250, 250, 354, 250, 221])
        self.server.wait_mail('fin')

    def test_cut_off_message(self):
        """The connection ends before the final dot: nothing is delivered."""
        for end in (b'', b'\r\n', b'\r\n.', b'\r\n.\r'):
            client = self.client()
            client.envelope('a@client.test', 'cut@local.test')
            client.command('DATA', 354)
            client.send(HEAD + b'text' + end)
            client.socket.shutdown(socket.SHUT_WR)
            self.assertNotIn(250, self.read_all(client))
        self.server.wait_drained()
        self.assertEqual(len(self.server.maildir('cut')), 0)


class Limits(Hostile):
    LIMITS = {'connections_per_client': 5, 'errors': 10, 'messages_per_connection': 3,
              'recipients': 100, 'connections': 40}

    def test_connections_per_client(self):
        first = [self.client() for _ in range(5)]
        sixth = Client(self.server.port, greet=False)
        self.addCleanup(sixth.close)
        sixth.expect(421)
        self.assertEqual(sixth.closed(), b'')
        other = self.client(source='127.0.0.9')
        other.command('NOOP', 250)
        for client in first:
            client.command('NOOP', 250)
        first[0].quit()

        def again():
            with Client(self.server.port, greet=False) as client:
                return client.reply().code == 220
        self.wait_for(again, 'room for another')

    def test_connections(self):
        clients = []
        codes = []
        for n in range(60):
            client = Client(self.server.port, greet=False, source=f'127.0.4.{n + 1}')
            self.addCleanup(client.close)
            clients.append(client)
            codes.append(client.reply().code)
        self.assertEqual(sorted(set(codes)), [220, 421])
        self.assertLessEqual(codes.count(220), 40)
        self.assertGreaterEqual(codes.count(220), 39)
        for client in clients:
            client.close()
        self.wait_for(lambda: self.greeting() == 220, 'served again')

    def greeting(self):
        with Client(self.server.port, greet=False) as client:
            return client.reply().code

    def test_errors(self):
        client = self.client()
        codes = []
        for _ in range(12):
            client.send(b'WHAT\r\n')
            codes.append(client.reply().code)
            if codes[-1] == 421:
                break
        self.assertEqual(codes[-1], 421, codes)
        self.assertIn(codes.count(500), (9, 10))
        self.assertEqual(client.closed(), b'')

    def test_errors_pipelined(self):
        client = self.client()
        client.send(b'WHAT\r\n' * 1000)
        codes = self.read_all(client)
        self.assertLessEqual(codes.count(500), 10)
        self.assertLessEqual(codes.count(421), 1)
        self.bounded(4 * MIB)

    def test_harvesting(self):
        """Unknown domains, one after the other: refusals are errors too."""
        client = self.client()
        client.command('MAIL FROM:<a@client.test>', 250)
        client.send(b''.join(b'RCPT TO:<u%d@foreign.test>\r\n' % n for n in range(100)))
        codes = self.read_all(client)
        self.assertLessEqual(len([c for c in codes if c >= 500]), 10)

    def test_messages_per_connection(self):
        client = self.client()
        for n in range(3):
            client.message('a@client.test', 'x@hole.test', sample(f'm{n}'))
        client.command('MAIL FROM:<a@client.test>', 421)
        self.assertEqual(client.closed(), b'')

    def test_recipients(self):
        client = self.client()
        client.command('MAIL FROM:<a@client.test>', 250)
        for n in range(100):
            client.command(f'RCPT TO:<r{n}@hole.test>', 250)
        reply = client.command('RCPT TO:<one-more@hole.test>', 452)
        self.assertIn(reply.enhanced, ('4.5.3', ''))
        client.command('DATA', 354)
        client.send(sample('hundred') + b'.\r\n')
        client.expect(250)


class Timeouts(Hostile):
    LIMITS = {'timeout': {'greeting': '1s', 'command': '2s', 'data': '2s'}}

    def expect_timeout(self, client, least, most):
        """421 between so many seconds, and the end of the connection with it."""
        started = time.monotonic()
        client.socket.settimeout(most + 5)
        client.expect(421)
        took = time.monotonic() - started
        self.assertGreaterEqual(took, least)
        self.assertLessEqual(took, most)
        self.assertEqual(client.closed(), b'')
        self.assertLess(time.monotonic() - started, took + 2, 'from 421 to the end')

    def test_greeting(self):
        self.expect_timeout(self.raw(), 0.8, 3)

    def test_command(self):
        self.expect_timeout(self.client(), 1.6, 5)

    def test_data(self):
        client = self.client()
        client.envelope('a@client.test', 'late@local.test')
        client.command('DATA', 354)
        client.send(b'half a line')
        self.expect_timeout(client, 1.6, 5)
        self.server.wait_drained()
        self.assertEqual(len(self.server.maildir('late')), 0)

    def test_dribbled_greeting(self):
        """Single octets do not stretch the time to say EHLO."""
        client = self.raw()
        started = time.monotonic()
        client.socket.settimeout(0.2)
        while time.monotonic() - started < 6:
            client.send(b'E')
            try:
                self.assertEqual(client.reply().code, 421)
                break
            except TimeoutError:
                continue
        self.assertLess(time.monotonic() - started, 4)

    def test_slow_body_is_no_timeout(self):
        """Data that moves is not late."""
        client = self.client()
        client.envelope('a@client.test', 'moving@local.test')
        client.command('DATA', 354)
        for piece in (b'From: <a@client.test>\r\n', b'Subject: x\r\n\r\n', b'a\r\n', b'b\r\n', b'c\r\n'):
            client.send(piece)
            later = time.monotonic() + 0.7
            self.wait_for(lambda: time.monotonic() >= later, 'the next piece')
        client.send(b'.\r\n')
        client.expect(250)
        self.server.wait_mail('moving')

    def test_many_at_once(self):
        """A thousand that time out together."""
        before = self.server.descriptors()
        clients = [Client(self.server.port, greet=False, source=f'127.0.5.{n % 250 + 1}')
                   for n in range(1000)]
        with Prober(self.server):
            self.wait_for(lambda: self.server.descriptors() <= before + 20, 'all closed', 15)
        for client in clients:
            client.close()


if __name__ == '__main__':
    main()
