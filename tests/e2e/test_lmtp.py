# SPDX-License-Identifier: GPL-2.0-or-later
"""Mail for a mail store: Dovecot, by LMTP, over TCP and over a socket; read back by IMAP."""

import os

from mailring_e2e import Case, Dsn, MailStore, main, sample, send_message

USERS = {'bob@store.test': None, 'eve@store.test': None, 'full@store.test': 2000}
HEAD = b'From: <ann@client.test>\r\nTo: <bob@store.test>\r\nSubject: x\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n' \
       b'Message-ID: <1@client.test>\r\n'
MESSAGES = {
    'plain': HEAD + b'\r\nhello\r\n',
    'empty': HEAD + b'\r\n',
    'dots': HEAD + b'\r\n.\r\n..\r\n.x\r\n...\r\n',
    'eight bits': HEAD + b'\r\n' + bytes(range(128, 256)) + b'\r\n',
    'large': HEAD + b'\r\n' + (b'y' * 76 + b'\r\n') * 30000,
}


class Lmtp(Case):
    def store(self, **options):
        store = MailStore(self.directory / 'store', USERS, **options)
        self.addCleanup(store.stop)
        return store.start()

    def server(self, store, to, settings=None):
        return self.start_server({('domain', 'store.test'): {'to': to, 'subaddress': '+'},
                                  'relay_from': ['127.0.0.0/8'], **(settings or {})})

    def ways(self, store):
        return {'tcp': f'lmtp://127.0.0.1:{store.port}', 'socket': f'lmtp+unix:{store.socket}'}

    def unchanged(self, received, sent):
        self.assertTrue(received.endswith(sent), f'altered: {received[:300]!r}…{received[-100:]!r}')
        prefix = received[:-len(sent)].decode('ascii')
        names = [row.split(':')[0] for row in prefix.split('\r\n') if row and row[0] not in ' \t']
        self.assertLessEqual(set(names), {'Received', 'Return-Path', 'Delivered-To'}, prefix)
        self.assertEqual(names.count('Received'), 2, prefix)
        self.assertIn('Return-Path: <ann@client.test>', prefix)

    def test_octets(self):
        """What comes out by IMAP is what went in."""
        store = self.store()
        for user, (way, to) in zip(('bob@store.test', 'eve@store.test'), self.ways(store).items()):
            with self.subTest(way):
                server = self.server(store, to)
                for octets in MESSAGES.values():
                    send_message(server.port, 'ann@client.test', [user], octets)
                    server.wait_drained()
                received = store.wait_messages(user, len(MESSAGES))
                for octets, message in zip(MESSAGES.values(), received):
                    self.unchanged(message, octets)
                server.wait_log(r'event=delivered .*remote=("?)' + (r'lmtp\+unix:' if way == 'socket' else '127'))
                server.stop()

    def test_an_outcome_for_each(self):
        """One has his mail, one is unknown, one is over his quota: one message, three outcomes."""
        store = self.store()
        for n, (way, to) in enumerate(self.ways(store).items()):
            with self.subTest(way):
                server = self.server(store, to)
                octets = sample('three', 'x' * 3000 + '\r\n', 'ann@local.test')
                send_message(server.port, 'ann@local.test',
                             ['bob@store.test', 'nobody@store.test', 'full@store.test'], octets)
                server.wait_drained()
                self.assertTrue(store.wait_messages('bob@store.test', n + 1)[n].endswith(octets))
                self.assertEqual(store.messages('full@store.test'), [])
                failed = {}
                for bounce in server.maildir('ann').messages():
                    failed |= Dsn(bounce).recipients
                self.assertEqual(set(failed), {'nobody@store.test', 'full@store.test'})
                self.assertEqual(failed['nobody@store.test']['status'], '5.1.1')
                self.assertIn("User doesn't exist", failed['nobody@store.test']['diagnostic-code'])
                self.assertEqual(failed['full@store.test']['status'], '5.2.2')
                self.assertIn('uota', failed['full@store.test']['diagnostic-code'])
                self.assertEqual(failed['full@store.test'].get('remote-mta'),
                                 None if way == 'socket' else 'dns; [127.0.0.1]')
                server.stop()

    def test_subaddress_and_case(self):
        """They are the store's: the address arrives as it was said."""
        store = self.store()
        server = self.server(store, self.ways(store)['socket'])
        octets = sample('news')
        send_message(server.port, 'ann@client.test', ['bob+NewsLetters@store.test'], octets)
        message, = store.wait_messages('bob@store.test', folder='NewsLetters')
        self.assertTrue(message.endswith(octets))
        self.assertEqual(store.messages('bob@store.test'), [])

    def test_stopped_and_started(self):
        """Meanwhile the mail waits, and says why."""
        store = self.store()
        server = self.server(store, self.ways(store)['socket'], {
            ('domain', 'tcp.test'): {'to': self.ways(store)['tcp']}})
        send_message(server.port, 'ann@client.test', ['bob@store.test'], sample('before'))
        store.wait_messages('bob@store.test')
        store.stop()
        for n in range(5):
            send_message(server.port, 'ann@client.test', ['bob@store.test'], sample(f'meanwhile{n}'))
        send_message(server.port, 'ann@client.test', ['bob@tcp.test'], sample('tcp'))
        server.wait_log(rf'event=deferred .*connect to lmtp\+unix:{store.socket}: (No such file|Connection refused)')
        server.wait_log(rf'event=deferred .*connect to 127.0.0.1\[127.0.0.1\]:{store.port}: Connection refused')
        self.assertEqual(server.status()['queue'], 6)
        store.start()
        found = store.wait_messages('bob@store.test', 6, timeout=60)
        for n in range(5):
            self.assertEqual(sum(f'meanwhile{n}'.encode() in message for message in found), 1)
        # tcp.test is no domain of the store: it says so to the first try after its start.
        server.wait_log(r"event=bounced .*to=(\")?bob@tcp.test.*User doesn't exist", 60)
        server.wait_drained()

    def test_not_allowed(self):
        """A socket that we may not open: the mail waits, the reason names it."""
        store = self.store()
        server = self.make_server({'user': 'nobody', ('domain', 'store.test'): {'to': self.ways(store)['socket']}})
        os.chown(server.directory, 65534, -1)
        store.socket.chmod(0o600)
        server.start()
        send_message(server.port, 'ann@client.test', ['bob@store.test'], sample('locked'))
        server.wait_log(rf'event=deferred .*connect to lmtp\+unix:{store.socket}: Permission denied')
        store.socket.chmod(0o666)
        store.wait_messages('bob@store.test', timeout=60)

    def test_tls(self):
        """STARTTLS over TCP: where it is offered; verified, where the route says so."""
        pair = self.authority.issue('localhost')
        store = self.store(pair=pair)
        for n, tls in enumerate(('auto', 'verify')):
            with self.subTest(tls):
                server = self.server(store, f'lmtp://localhost:{store.port}', {
                    'tls': {'ca': self.authority.certificate}, 'dns': {'servers': ['127.0.0.1:9']},
                    ('route', 'store.test'): {'tls': tls}})
                send_message(server.port, 'ann@client.test', ['bob@store.test'], sample('secret'))
                store.wait_messages('bob@store.test', n + 1)
                server.wait_log(r'event=delivered .*tls=TLSv1\.3 .*verified=' + ('ca' if tls == 'verify' else 'no'))
                server.stop()

    def test_fallback(self):
        """The first store is not there, the second is."""
        store = self.store()
        server = self.server(store, [f'lmtp+unix:{self.directory}/none', self.ways(store)['tcp']])
        send_message(server.port, 'ann@client.test', ['bob@store.test'], sample('second'))
        store.wait_messages('bob@store.test')
        server.wait_drained()

    def test_many(self):
        """500 messages for two, over few connections; each arrives once."""
        store = self.store()
        server = self.server(store, self.ways(store)['socket'])
        for n in range(500):
            send_message(server.port, 'ann@client.test', ['bob@store.test', 'eve@store.test'], sample(f'many{n}.'))
        server.wait_drained(120)
        for user in ('bob@store.test', 'eve@store.test'):
            found = store.wait_messages(user, 500)
            for n in range(500):
                self.assertEqual(sum(b'Subject: many%d.\r\n' % n in message for message in found), 1)
        self.assertLessEqual(server.status()['connections'], 30)


if __name__ == '__main__':
    main()
