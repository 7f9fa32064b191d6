# SPDX-License-Identifier: GPL-2.0-or-later
"""Postfix, Exim and OpenSMTPD as our next hops, and OpenSMTPD as our client: octets unchanged, and what the sender
said about notices (RFC 3461) passed on to who knows what it means."""

from mailring_e2e import Case, Client, Exim, OpenSmtpd, Postfix, main, sample, stuff

HEAD = b'From: <ann@client.test>\r\nTo: <bob@sink.test>\r\nSubject: x\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n' \
       b'Message-ID: <1@client.test>\r\n'
MESSAGES = {
    'plain': HEAD + b'\r\nhello\r\n',
    'dots': HEAD + b'\r\n.\r\n..\r\n.x\r\n...\r\n',
    'eight bits': HEAD + b'\r\n' + bytes(range(160, 256)) + b'\r\n',
    'folded': HEAD + b'X-Long: ' + b'word ' * 15 + b'\r\n\t' + b'more ' * 15 + b'\r\n\r\nx\r\n',
    'large': HEAD + b'\r\n' + (b'y' * 76 + b'\r\n') * 20000,
}
SAID = {'mail': 'RET=HDRS ENVID=QQ+2B314', 'rcpt': 'NOTIFY=SUCCESS,DELAY ORCPT=rfc822;bob+2Bx@first.test'}
EXTENSIONS = ('PIPELINING', '8BITMIME', 'SIZE 104857600', 'ENHANCEDSTATUSCODES', 'DSN')


def speak(client, sender, recipient, octets, mail='', rcpt=''):
    """A transaction in lock step: not everybody pipelines."""
    client.command(f'MAIL FROM:<{sender}> {mail}'.rstrip(), 250)
    client.command(f'RCPT TO:<{recipient}> {rcpt}'.rstrip(), 250)
    client.command('DATA', 354)
    client.send(stuff(octets) + b'.\r\n')
    client.expect(250)


class NextHops(Case):
    def others(self, kind, relay_to):
        folder = self.directory / f'{kind.__name__}'
        if kind is Exim:
            # Debian's Exim offers DSN to those who are named; 8-bit text and long lines pass as they are.
            other = Exim(folder, relay_to, main='dsn_advertise_hosts = *')
        else:
            other = kind(folder, relay_to)
        self.addCleanup(other.stop)
        return other.start()

    def relay(self, port):
        return self.start_server({'relay_from': ['127.0.0.0/8'], ('route', '*'): {'to': f'smtp://127.0.0.1:{port}'}})

    def arrive(self, hop, recipient, what, other=None):
        self.wait_for(lambda: hop.for_recipient(recipient),
                      lambda: f'{what}\n{other.log()[-1500:] if hasattr(other, "log") else ""}', 30)
        message, = hop.for_recipient(recipient)
        return message

    def unchanged(self, received, sent):
        self.assertTrue(received.endswith(sent), f'altered: {received[:300]!r}…{received[-200:]!r}')
        prefix = received[:-len(sent)].decode('ascii')
        names = [row.split(':')[0] for row in prefix.split('\r\n') if row and row[0] not in ' \t']
        self.assertLessEqual(set(names), {'Received', 'Return-Path', 'Delivered-To'}, prefix)
        self.assertEqual(names.count('Received'), 2, prefix)

    def play(self, first_port, hop, other):
        with Client(first_port, timeout=60) as client:
            for n, octets in enumerate(MESSAGES.values()):
                speak(client, 'ann@client.test', f'm{n}@sink.test', octets)
            client.quit()
        for n, (name, octets) in enumerate(MESSAGES.items()):
            with self.subTest(name):
                message = self.arrive(hop, f'm{n}@sink.test', name, other)
                self.assertEqual(message.sender, 'ann@client.test')
                self.unchanged(message.octets, octets)

    def test_opensmtpd_is_our_next_hop(self):
        hop = self.next_hop()
        other = self.others(OpenSmtpd, hop.port)
        server = self.relay(other.port)
        self.play(server.port, hop, other)
        server.wait_drained()

    def test_we_are_the_next_hop_of_opensmtpd(self):
        hop = self.next_hop()
        server = self.relay(hop.port)
        other = self.others(OpenSmtpd, server.port)
        self.play(other.port, hop, other)

    def test_exim_is_our_next_hop(self):
        hop = self.next_hop()
        other = self.others(Exim, hop.port)
        server = self.relay(other.port)
        self.play(server.port, hop, other)
        server.wait_drained()

    def said(self, hop, recipient):
        """What the last hop was told with the message for this recipient."""
        commands = [line for connection in hop.connections for line in connection.commands]
        rcpt = next(line for line in commands if line.upper().startswith(f'RCPT TO:<{recipient}>'.upper()))
        mail = next(line for line in reversed(commands[:commands.index(rcpt)]) if line.upper().startswith('MAIL'))
        return mail.upper(), rcpt.upper()

    def check_said(self, hop, recipient):
        mail, rcpt = self.said(hop, recipient)
        self.assertIn(' RET=HDRS', mail)
        self.assertIn(' ENVID=QQ+2B314', mail)
        self.assertIn('SUCCESS', rcpt)
        self.assertIn('DELAY', rcpt)
        self.assertNotIn('FAILURE', rcpt)
        self.assertIn(' ORCPT=RFC822;BOB+2BX@FIRST.TEST', rcpt)

    def test_dsn(self):
        """From us to another server that offers DSN, and from there on."""
        for kind in (Postfix, Exim, OpenSmtpd):
            with self.subTest(kind.__name__):
                hop = self.next_hop(extensions=EXTENSIONS)
                other = self.others(kind, hop.port)
                server = self.relay(other.port)
                with Client(server.port) as client:
                    self.assertIn('DSN', client.extensions)
                    speak(client, 'ann@client.test', 'bob@sink.test', sample('dsn'), **SAID)
                    client.quit()
                self.arrive(hop, 'bob@sink.test', kind.__name__, other)
                self.check_said(hop, 'bob@sink.test')
                server.wait_drained()
                server.stop()
                other.stop()

    def test_dsn_through_us(self):
        """From another server to us, and from us on."""
        for kind in (Postfix, Exim, OpenSmtpd):
            with self.subTest(kind.__name__):
                hop = self.next_hop(extensions=EXTENSIONS)
                server = self.relay(hop.port)
                other = self.others(kind, server.port)
                with Client(other.port) as client:
                    speak(client, 'ann@client.test', 'bob@sink.test', sample('dsn'), **SAID)
                    client.quit()
                self.arrive(hop, 'bob@sink.test', kind.__name__, other)
                self.check_said(hop, 'bob@sink.test')
                other.stop()
                server.stop()

    def test_who_does_not_offer_it_is_told_nothing(self):
        hop = self.next_hop()
        server = self.relay(hop.port)
        with Client(server.port) as client:
            speak(client, 'ann@client.test', 'bob@sink.test', sample('dsn'), **SAID)
            client.quit()
        self.arrive(hop, 'bob@sink.test', 'plain')
        self.assertEqual(self.said(hop, 'bob@sink.test')[1], 'RCPT TO:<BOB@SINK.TEST>')
        for word in ('RET=', 'ENVID='):
            self.assertNotIn(word, self.said(hop, 'bob@sink.test')[0])


if __name__ == '__main__':
    main()
