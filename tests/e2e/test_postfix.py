# SPDX-License-Identifier: GPL-2.0-or-later
"""Postfix as our next hop, and we as Postfix's: octets unchanged both ways, and outcomes understood."""

from mailring_e2e import Case, Client, Dsn, Postfix, crlf, free_port, main, sample, send_message

HEAD = b'From: <ann@client.test>\r\nTo: <bob@sink.test>\r\nSubject: x\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n' \
       b'Message-ID: <1@client.test>\r\n'
MESSAGES = {
    'plain': HEAD + b'\r\nhello\r\n',
    'empty': HEAD + b'\r\n',
    'dots': HEAD + b'\r\n.\r\n..\r\n.x\r\n...\r\n',
    'eight bits': HEAD + b'\r\n' + bytes(range(128, 256)) + b'\r\n',
    'lines of 998': HEAD + b'\r\n' + (b'x' * 998 + b'\r\n') * 10,
    'folded': HEAD + b'X-Long: ' + b'word ' * 15 + b'\r\n\t' + b'more ' * 15 + b'\r\n\r\nx\r\n',
    'white space': HEAD + b'\r\n a \r\n\t\r\n\r\n\r\n',
    'large': HEAD + b'\r\n' + (b'y' * 76 + b'\r\n') * 30000,
}


class WithPostfix(Case):
    def postfix(self, relay_to, settings=None):
        postfix = Postfix(self.directory / 'postfix', relay_to, settings)
        self.addCleanup(postfix.stop)
        return postfix.start()

    def unchanged(self, received, sent):
        """Like split_trace; the trace may hold one field of Postfix and one of ours."""
        self.assertTrue(received.endswith(sent), f'altered: {received[:200]!r}…{received[-200:]!r}')
        prefix = received[:-len(sent)].decode('ascii')
        names = [row.split(':')[0] for row in prefix.split('\r\n') if row and row[0] not in ' \t']
        self.assertLessEqual(set(names), {'Received', 'Return-Path', 'Delivered-To'}, prefix)
        self.assertEqual(names.count('Received'), 2, prefix)

    def play(self, first_port, hop):
        with Client(first_port, timeout=60) as client:
            for n, octets in enumerate(MESSAGES.values()):
                client.command('MAIL FROM:<ann@client.test> BODY=8BITMIME', 250)
                client.command(f'RCPT TO:<m{n}@sink.test>', 250)
                client.command('DATA', 354)
                client.send(octets.replace(b'\r\n.', b'\r\n..') + b'.\r\n')
                client.expect(250)
            client.quit()
        for n, (name, octets) in enumerate(MESSAGES.items()):
            with self.subTest(name):
                self.wait_for(lambda: hop.for_recipient(f'm{n}@sink.test'),
                              lambda: f'{name}\n{self.postfix_log()}', 30)
                message, = hop.for_recipient(f'm{n}@sink.test')
                self.assertEqual(message.sender, 'ann@client.test')
                self.unchanged(message.octets, octets)

    def postfix_log(self):
        path = self.directory / 'postfix' / 'log'
        return path.read_text()[-2000:] if path.exists() else ''

    def test_postfix_is_our_next_hop(self):
        hop = self.next_hop()
        postfix = self.postfix(hop.port)
        server = self.start_server({'relay_from': ['127.0.0.0/8'],
                                    ('route', '*'): {'to': f'smtp://127.0.0.1:{postfix.port}'}})
        self.play(server.port, hop)
        server.wait_drained()

    def test_we_are_the_next_hop_of_postfix(self):
        hop = self.next_hop()
        server = self.start_server({'relay_from': ['127.0.0.0/8'],
                                    ('route', '*'): {'to': f'smtp://127.0.0.1:{hop.port}'}})
        postfix = self.postfix(server.port)
        self.play(postfix.port, hop)
        self.wait_for(lambda: not postfix.queued(), 'the queue of Postfix empty')

    def test_many_through_both(self):
        """500 messages, 20 sessions at the most, each arrives once."""
        hop = self.next_hop()
        postfix = self.postfix(hop.port)
        server = self.start_server({'relay_from': ['127.0.0.0/8'],
                                    ('route', '*'): {'to': f'smtp://127.0.0.1:{postfix.port}'}})
        with Client(server.port) as client:
            for n in range(500):
                client.message('ann@client.test', f'm{n}@sink.test', sample(f'many{n}'))
            client.quit()
        self.wait_for(lambda: len(hop.messages) >= 500, lambda: f'{len(hop.messages)} of 500', 60)
        server.wait_drained()
        self.assertEqual(sorted(m.recipients[0] for m in hop.messages),
                         sorted(f'm{n}@sink.test' for n in range(500)))

    def test_postfix_refuses(self):
        """Its 5xx becomes our bounce, its 4xx a retry."""
        hop = self.next_hop()
        postfix = self.postfix(hop.port, {
            'smtpd_recipient_restrictions':
                'check_recipient_access inline:{{bad@sink.test = 550 5.1.1 go away}'
                ' {later@sink.test = 450 4.2.0 not now}}, permit_mynetworks, reject'})
        server = self.start_server({'relay_from': ['127.0.0.0/8'],
                                    ('route', '*'): {'to': f'smtp://127.0.0.1:{postfix.port}'},
                                    'retry': {'intervals': ['1s'], 'expire': '4s', 'jitter': 0}})
        send_message(server.port, 'from@local.test', ['good@sink.test', 'bad@sink.test', 'later@sink.test'],
                     sample('three'))
        self.wait_for(lambda: hop.for_recipient('good@sink.test'), 'the good one')
        self.wait_for(lambda: len(server.maildir('from')) == 2, 'two bounces', 20)
        failed = {}
        for octets in server.maildir('from').messages():
            failed |= Dsn(octets).recipients
        self.assertIn('go away', failed['bad@sink.test']['diagnostic-code'])
        self.assertIn('not now', failed['later@sink.test']['diagnostic-code'])

    def test_we_refuse_postfix(self):
        """Our 550 becomes a bounce of Postfix; it comes to us and is delivered."""
        server = self.start_server()
        postfix = self.postfix(server.port)
        send_message(postfix.port, 'from@local.test', 'x@foreign.test', crlf(b'Subject: refused\n\nx\n'))
        bounce, = server.wait_mail('from', timeout=30)
        self.assertIn(b'5.7.1', bounce)

    def test_we_are_down_for_a_while(self):
        """Postfix keeps what we cannot take now."""
        port = free_port()
        postfix = self.postfix(port)
        send_message(postfix.port, 'ann@client.test', 'box@local.test', sample('wait'))
        server = self.make_server()
        server.configure({('listener', 'mx'): {'address': [f'127.0.0.1:{port}'], 'role': 'mx'}})
        server.port = port
        server.start()
        server.wait_mail('box', timeout=30)


if __name__ == '__main__':
    main()
