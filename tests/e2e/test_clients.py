# SPDX-License-Identifier: GPL-2.0-or-later
"""Mail from the clients people use into a Maildir, and octets: what arrives is what was sent."""

import smtplib
import socket
import subprocess

from mailring_e2e import Case, Client, main, sample, send_message, split_trace, stuff

HEAD = b'From: <ann@client.test>\r\nSubject: octets\r\n\r\n'


class Clients(Case):
    def setUp(self):
        super().setUp()
        self.server = self.start_server()

    def check_received(self, user, sent, sender):
        received, = self.server.wait_mail(user)
        fields = split_trace(received, sent)
        self.assertTrue(any(f.lower() == b'return-path: <%s>\r\n' % sender.encode() for f in fields),
                        fields)
        self.assertEqual(self.server.maildir(user).leftovers(), [])

    def test_swaks(self):
        text = b'From: <ann@client.test>\nSubject: swaks\n\nfirst\n.\n..two dots\nlast\n'
        path = self.directory / 'message'
        path.write_bytes(text)
        done = subprocess.run(
            ['swaks', '--server', f'127.0.0.1:{self.server.port}', '--helo', 'client.test',
             '--from', 'ann@client.test', '--to', 'swaks@local.test', '--data', f'@{path}'],
            capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        received, = self.server.wait_mail('swaks')
        # swaks ends what it sends with an empty line of its own in some versions.
        sent = text.replace(b'\n', b'\r\n')
        split_trace(received, sent + b'\r\n' if received.endswith(b'\r\n\r\n') else sent)

    def test_swaks_refused(self):
        done = subprocess.run(
            ['swaks', '--server', f'127.0.0.1:{self.server.port}', '--from', 'ann@client.test',
             '--to', 'someone@elsewhere.test'], capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 24, done.stdout)    # no recipient was taken
        self.assertRegex(done.stdout, r'<\*\* 55[04] 5\.7\.1 ')

    def test_curl(self):
        sent = sample('curl', 'one\r\n.two\r\n.\r\n')
        path = self.directory / 'message'
        path.write_bytes(sent)
        done = subprocess.run(
            ['curl', '-sS', f'smtp://127.0.0.1:{self.server.port}/client.test', '--mail-from',
             'ann@client.test', '--mail-rcpt', 'curl@local.test', '--upload-file', path],
            capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.check_received('curl', sent, 'ann@client.test')

    def test_smtplib(self):
        sent = sample('smtplib', 'Grüße\r\n.\r\n..\r\n')
        users = [f'user{n}@local.test' for n in range(5)]
        with smtplib.SMTP('127.0.0.1', self.server.port, timeout=20) as client:
            refused = client.sendmail('ann@client.test', users, sent, ['BODY=8BITMIME'])
            self.assertEqual(refused, {})
            self.assertTrue(client.has_extn('pipelining'))
            self.assertTrue(client.has_extn('8bitmime'))
            self.assertTrue(client.has_extn('size'))
        for user in users:
            self.check_received(user.split('@')[0], sent, 'ann@client.test')

    def test_several_messages_in_a_session(self):
        with Client(self.server.port) as client:
            for n in range(50):
                client.message('ann@client.test', f'box{n % 5}@local.test', sample(f'many{n}'))
            client.quit()
        for n in range(5):
            messages = self.server.wait_mail(f'box{n}', 10)
            for k in range(n, 50, 5):
                self.assertEqual(sum(m.endswith(sample(f'many{k}')) for m in messages), 1)

    def test_null_sender(self):
        sent = sample('null')
        send_message(self.server.port, '', 'null@local.test', sent)
        self.check_received('null', sent, '')

    def test_helo_only(self):
        with Client(self.server.port, greet=False) as client:
            client.expect(220)
            reply = client.command('HELO client.test', 250)
            self.assertEqual(len(reply.lines), 1)
            client.message('ann@client.test', 'helo@local.test', sample('helo'))
            client.quit()
        self.check_received('helo', sample('helo'), 'ann@client.test')

    def test_many_mailboxes(self):
        users = [f'm{n}@local.test' for n in range(200)]
        send_message(self.server.port, 'ann@client.test', users, sample('fan'))
        for user in users:
            self.check_received(user.split('@')[0], sample('fan'), 'ann@client.test')

    def test_received_field(self):
        send_message(self.server.port, 'ann@client.test', 'trace@local.test', sample('trace'))
        received, = self.server.wait_mail('trace')
        trace = [f for f in split_trace(received, sample('trace')) if f.startswith(b'Received:')]
        self.assertEqual(len(trace), 1)
        self.assertRegex(trace[0], rb'(?s)^Received: from client\.test \(.*\[?127\.0\.0\.1\]?.*\)\s'
                         rb'.*by mx\.test .*with ESMTP\b.*;\s+'
                         rb'\w{3}, [ \d]\d? \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}')
        self.assertLessEqual(max(map(len, trace[0].split(b'\r\n'))), 998)


class Octets(Case):
    """Awkward contents, to a Maildir and through to a next hop."""

    BODIES = {
        'empty body': HEAD,
        'nothing at all': b'',
        'only a body': b'\r\nno header\r\n',
        'only a header': b'From: <ann@client.test>\r\n',
        'a line of its own': b'no colon here\r\n',
        'eight bits': HEAD + bytes(range(128, 256)) + b'\r\n',
        'all but CR, LF, NUL': HEAD + bytes(set(range(1, 256)) - {10, 13}) + b'\r\n',
        'dots': HEAD + b'.\r\n..\r\n...\r\n.a\r\n. \r\na.\r\n.\r\n',
        'a dot first': b'.From: <ann@client.test>\r\n.\r\n.\r\n',
        'empty lines at the end': HEAD + b'x\r\n\r\n\r\n\r\n',
        'white space': HEAD + b'a \r\n\t\r\n  b\t \r\n',
        'lines of 998': HEAD + (b'x' * 998 + b'\r\n') * 5 + b'.' + b'y' * 997 + b'\r\n',
        'looks like trace': b'Received: from a by b; Thu, 1 Jan 2026 00:00:00 +0000\r\n'
                            b'Return-Path: <forged@client.test>\r\n' + HEAD,
        'looks like an mbox': HEAD + b'From here on\r\n>From there\r\n',
        'folded': b'Subject: a\r\n b\r\n\tc\r\nFrom: <ann@client.test>\r\n\r\nx\r\n',
        '64 KiB': HEAD + b'0123456789abcdef' * 3 * 16 + b'\r\n' + (b'k' * 62 + b'\r\n') * 1024,
        '1 MiB with dots': HEAD + (b'.' * 60 + b'\r\n\r\n') * 16384,
    }

    def setUp(self):
        super().setUp()
        self.hop = self.next_hop()
        self.server = self.start_server({
            'relay_from': ['127.0.0.0/8'],
            ('route', 'sink.test'): {'to': f'smtp://127.0.0.1:{self.hop.port}'}})

    def test_bodies(self):
        with Client(self.server.port) as client:
            for n, body in enumerate(self.BODIES.values()):
                client.message(f's{n}@client.test', [f'b{n}@local.test', f'b{n}@sink.test'], body)
            client.quit()
        for n, (name, body) in enumerate(self.BODIES.items()):
            with self.subTest(name):
                received, = self.server.wait_mail(f'b{n}')
                split_trace(received, body)
                at_hop = self.wait_for(lambda: self.hop.for_recipient(f'b{n}@sink.test'), name)
                self.assertEqual(len(at_hop), 1)
                self.assertEqual(at_hop[0].sender, f's{n}@client.test')
                split_trace(at_hop[0].octets, body)

    def test_every_split(self):
        """The same session cut in two at every octet: the same replies, the same message."""
        session = (b'EHLO client.test\r\nMAIL FROM:<a@client.test>\r\nRCPT TO:<split@local.test>\r\n'
                   b'DATA\r\n' + stuff(b'S: x\r\n\r\n.\r\n..a\r\n') + b'.\r\nQUIT\r\n')
        answers = set()
        for cut in range(1, len(session)):
            with Client(self.server.port, greet=False) as client:
                client.expect(220)
                client.send(session[:cut])
                client.send(session[cut:])
                codes = [client.reply().code for _ in range(6)]
                self.assertEqual(client.closed(), b'', cut)
                answers.add(tuple(codes))
        self.assertEqual(answers, {(250, 250, 250, 354, 250, 221)})
        for message in self.server.wait_mail('split', len(session) - 1):
            split_trace(message, b'S: x\r\n\r\n.\r\n..a\r\n')

    def test_octet_by_octet(self):
        session = (b'EHLO client.test\r\nMAIL FROM:<a@client.test>\r\nRCPT TO:<slow@local.test>\r\n'
                   b'DATA\r\n' + sample('slow') + b'.\r\nQUIT\r\n')
        with Client(self.server.port, greet=False) as client:
            client.expect(220)
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for octet in session:
                client.send(bytes((octet,)))
            self.assertEqual([client.reply().code for _ in range(6)], [250, 250, 250, 354, 250, 221])
        received, = self.server.wait_mail('slow')
        split_trace(received, sample('slow'))

    def test_lines_over_998(self):
        """Refused or unchanged, never cut."""
        body = HEAD + b'z' * 5000 + b'\r\n'
        with Client(self.server.port) as client:
            reply = client.message('ann@client.test', 'long@local.test', body, (250, 500, 550, 554))
            client.quit()
        if reply.code == 250:
            received, = self.server.wait_mail('long')
            split_trace(received, body)

    def test_chunking(self):
        """BDAT (RFC 3030), if it is offered."""
        with Client(self.server.port) as client:
            if 'CHUNKING' not in client.extensions:
                self.skipTest('CHUNKING is not offered')
            body = HEAD + b'.\r\n.dot\r\nend\r\n'
            for cuts in ((len(body),), (1, len(body) - 1), (0, len(body), 0), (1,) * len(body)):
                client.envelope('ann@client.test', ['bdat@local.test', 'bdat@sink.test'])
                at, pipeline = 0, b''
                for n, size in enumerate(cuts):
                    last = b' LAST' if n == len(cuts) - 1 else b''
                    pipeline += b'BDAT %d%s\r\n' % (size, last) + body[at:at + size]
                    at += size
                client.send(pipeline)
                for _ in cuts:
                    client.expect(250)
            client.quit()
        for message in self.server.wait_mail('bdat', 4):
            split_trace(message, body)
        self.wait_for(lambda: len(self.hop.messages) == 4, 'four at the next hop')
        for message in self.hop.messages:
            split_trace(message.octets, body)

    def test_thousand_recipients(self):
        """At the default limit: one message, each recipient served once."""
        recipients = [f'r{n}@sink.test' for n in range(1000)]
        with Client(self.server.port) as client:
            client.message('ann@client.test', recipients, sample('thousand'))
            client.quit()
        self.wait_for(lambda: sum(len(m.recipients) for m in self.hop.messages) >= 1000,
                      'thousand recipients served')
        served = [r for m in self.hop.messages for r in m.recipients]
        self.assertEqual(sorted(served), sorted(recipients))
        for message in self.hop.messages:
            split_trace(message.octets, sample('thousand'))
        self.server.wait_drained()


class Large(Case):
    def setUp(self):
        super().setUp()
        self.hop = self.next_hop()
        self.server = self.start_server({
            'relay_from': ['127.0.0.0/8'],
            ('route', 'sink.test'): {'to': f'smtp://127.0.0.1:{self.hop.port}'}})

    def test_fifty_megabytes(self):
        """A message at the limit, in and out, with memory bounded by a window, not by its size."""
        block = bytes(range(33, 127)) * 10 + b'.\r\n.' + b'x' * 70 + b'\r\n'
        body = HEAD + block * ((50 * 2**20 - len(HEAD)) // len(block))
        send_message(self.server.port, 'ann@client.test', 'warm@local.test', sample('warm'))
        self.server.wait_mail('warm')
        before = self.server.memory('VmHWM')
        send_message(self.server.port, 'ann@client.test', ['large@local.test', 'large@sink.test'],
                     body, timeout=120)
        received, = self.server.wait_mail('large', timeout=60)
        split_trace(received, body)
        self.wait_for(lambda: self.hop.messages, 'at the next hop', 60)
        split_trace(self.hop.messages[0].octets, body)
        self.server.wait_drained()
        self.assert_memory(self.server.memory('VmHWM') - before, 24 * 2**20, 'for 50 MB')

    def test_too_large(self):
        with Client(self.server.port) as client:
            limit = int(client.extensions['SIZE'])
            self.assertEqual(limit, 50 * 2**20)
            client.command(f'MAIL FROM:<a@client.test> SIZE={limit + 1}', 552)
            client.command(f'MAIL FROM:<a@client.test> SIZE={limit}', 250)
            client.command('RSET', 250)

    def test_too_large_undeclared(self):
        server = self.start_server({'limits': {'message_size': '1M'}})
        line = b'x' * 998 + b'\r\n'
        with Client(server.port) as client:
            client.envelope('a@client.test', 'big@local.test')
            client.command('DATA', 354)
            client.send(HEAD + line * 1100 + b'.\r\n')
            self.assertIn(client.expect(552).enhanced, ('5.3.4', '5.2.3', ''))
            client.message('a@client.test', 'big@local.test', HEAD + line * 1000)
            client.quit()
        split_trace(server.wait_mail('big')[0], HEAD + line * 1000)

    def test_large_ones_at_once(self):
        """Ten at once take no more memory than their windows."""
        body = HEAD + (b'y' * 998 + b'\r\n') * 8192
        before = self.server.memory('VmHWM')
        clients = [Client(self.server.port, timeout=60) for _ in range(10)]
        for client in clients:
            self.addCleanup(client.close)
            client.envelope('a@client.test', 'ten@local.test')
            client.command('DATA', 354)
        for start in range(0, len(body), 2**18):
            for client in clients:
                client.send(body[start:start + 2**18])
        for client in clients:
            client.send(b'.\r\n')
        for client in clients:
            client.expect(250)
            client.quit()
        for message in self.server.wait_mail('ten', 10, timeout=60):
            split_trace(message, body)
        self.assert_memory(self.server.memory('VmHWM') - before, 40 * 2**20, 'for ten of 8 MiB')


if __name__ == '__main__':
    main()
