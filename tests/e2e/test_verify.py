#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What is asked before mail is taken: domains by DNS, recipients at the server behind us."""

import time

from mailring_e2e import (SERVFAIL, STALL, TIMEOUT, Case, Client, DROP, Postfix, main, sample, send_message)

KNOWN = {'ann@inner.test', 'bob@inner.test', *(f'known{n}@inner.test' for n in range(200))}


def knows(event):
    return None if event.address in KNOWN else f'550 5.1.6 {event.address} has moved'


def rcpts(hop):
    return [line for connection in list(hop.connections) for line in connection.commands if line.startswith('RCPT')]


class Callouts(Case):
    def start(self, hop, domain=None, **callout):
        self.hop = hop
        self.server = self.start_server({
            ('domain', 'inner.test'): {'to': f'smtp://127.0.0.1:{hop.port}', 'callout': 'yes', **(domain or {})},
            ('route', '*'): {'to': 'discard', 'timeout': {'connect': '1s', 'idle': '10s'}},
            'verify': {'callout': {'timeout': '3s', **callout}}})
        return self.server

    def asked(self, address=None):
        """How often the server behind us was asked, its probes left out."""
        return len([line for line in rcpts(self.hop)
                    if 'no-such-' not in line and (address is None or f'<{address}>' in line)])

    def rcpt(self, address, codes):
        with Client(self.server.port) as client:
            client.command('MAIL FROM:<a@client.test>', 250)
            reply = client.command(f'RCPT TO:<{address}>', codes)
            client.quit()
        return reply

    def test_in_the_session(self):
        """Unknown recipients are refused in the session, with the words of who knows; known ones get their mail."""
        server = self.start(self.next_hop({'rcpt': knows}))
        with Client(server.port) as client:
            client.command('MAIL FROM:<a@client.test>', 250)
            reply = client.command('RCPT TO:<eve@inner.test>', 550)
            self.assertIn('5.1.6', str(reply))
            self.assertIn('eve@inner.test has moved', str(reply))
            client.command('RCPT TO:<ann@inner.test>', 250)
            client.command('DATA', 354)
            client.send(sample('one') + b'.\r\n')
            client.expect(250)
            client.quit()
        self.wait_for(lambda: self.hop.messages, 'mail')
        self.assertEqual(self.hop.messages[0].recipients, ['ann@inner.test'])
        server.wait_drained()
        self.assertEqual(len(self.hop.messages), 1)
        self.assertEqual(server.status()['bounces_sent'], 0)
        self.assertEqual(self.hop.orphans, [])

    def test_cached(self):
        """Each address is asked about once, until the server starts anew."""
        server = self.start(self.next_hop({'rcpt': knows}))
        for _ in range(5):
            self.rcpt('ann@inner.test', 250)
            self.rcpt('ANN@Inner.Test', 250)
            self.rcpt('eve@inner.test', 550)
        self.assertEqual(self.asked(), 2)
        status = server.status()
        self.assertEqual((status['verify_recipients'], status['verify_recipients_cached']), (15, 13))
        self.assertEqual(status['verify_recipients_refused'], 5)
        self.assertLessEqual(len(self.hop.connections), 2)
        server.stop()
        server.start()
        self.rcpt('eve@inner.test', 550)
        self.assertEqual(self.asked('eve@inner.test'), 2)

    def test_negative_runs_out(self):
        new = []
        self.start(self.next_hop({'rcpt': lambda event: None if event.address in new else '550 5.1.1 no'}),
                   negative='1s')
        self.rcpt('new@inner.test', 550)
        new.append('new@inner.test')
        self.wait_for(lambda: '250' in str(self.rcpt('new@inner.test', (250, 550))), 'a new mailbox is known')

    def test_reload_forgets(self):
        server = self.start(self.next_hop({'rcpt': knows}))
        self.rcpt('eve@inner.test', 550)
        other = self.next_hop({'rcpt': lambda event: None if event.address.startswith('eve') else '550 5.1.1 no'})
        server.configure({('domain', 'inner.test'): {'to': f'smtp://127.0.0.1:{other.port}', 'callout': 'yes'}})
        server.process.send_signal(1)
        server.wait_log('reloaded')
        self.rcpt('eve@inner.test', 250)
        self.rcpt('ann@inner.test', 550)

    def test_down(self):
        """Nobody there: the client comes again, or with defer_unknown = no the mail is taken."""
        hop = self.next_hop({'rcpt': knows})
        self.start(hop)
        self.rcpt('ann@inner.test', 250)
        hop.refuse()
        hop.drop_all()
        began = time.monotonic()
        for _ in range(20):
            self.rcpt('bob@inner.test', 450)
        self.assertLess(time.monotonic() - began, 6, 'each waits for the server that is down')
        self.rcpt('ann@inner.test', 250)      # what is remembered holds
        hop.listen()
        self.wait_for(lambda: '250' in str(self.rcpt('bob@inner.test', (250, 450))), 'back', timeout=40, interval=0.5)

    def test_down_is_no_reason(self):
        hop = self.next_hop({'rcpt': knows})
        self.start(hop, defer_unknown='no')
        hop.refuse()
        with Client(self.server.port) as client:
            client.message('a@client.test', 'eve@inner.test', sample('taken'))
            client.quit()
        hop.listen()
        self.server.wait_log('event=bounced .*eve@inner.test', timeout=60)

    def test_silence(self):
        """A server that does not answer costs the client no more than `timeout`."""
        for stage in 'connect', 'mail', 'rcpt':
            with self.subTest(stage):
                server = self.start(self.next_hop({stage: STALL}), timeout='1s')
                began = time.monotonic()
                self.rcpt('ann@inner.test', 450)
                self.assertLess(time.monotonic() - began, 5)
                server.stop()

    def test_failures(self):
        """An error that does not speak of the recipient is none of his."""
        for answers in ({'connect': '554 5.7.1 go away'}, {'mail': '550 5.7.1 not you'}, {'rcpt': '451 4.3.0 later'},
                        {'rcpt': DROP}, {'ehlo': DROP}, {'rcpt': 'garbage'}):
            with self.subTest(answers):
                server = self.start(self.next_hop(answers))
                self.rcpt('ann@inner.test', 450)
                server.stop()

    def test_takes_anybody(self):
        """One that says yes to an address we made up is not asked any more."""
        server = self.start(self.next_hop())
        self.rcpt('ann@inner.test', 250)
        server.wait_log('event=callout-probe .*domain=inner.test')
        before = len(rcpts(self.hop))
        for n in range(30):
            self.rcpt(f'u{n}@inner.test', 250)
        self.assertEqual(len(rcpts(self.hop)), before)
        self.assertEqual(server.status()['verify_catch_all'], 30)

    def test_pipelined(self):
        """A hundred recipients in one go, some unknown, each asked about once; the next hop is met on few connections."""
        server = self.start(self.next_hop({'rcpt': knows}))
        names = [f'known{n}@inner.test' if n % 10 else f'guess{n}@inner.test' for n in range(100)]
        with Client(server.port) as client:
            client.send(b'MAIL FROM:<a@client.test>\r\n' + b''.join(f'RCPT TO:<{n}>\r\n'.encode() for n in names)
                        + b'DATA\r\n')
            client.expect(250)
            for name in names:
                client.expect(550 if name.startswith('guess') else 250, name)
            client.expect(354)
            client.send(sample('many') + b'.\r\n')
            client.expect(250)
            client.quit()
        server.wait_drained()
        self.assertEqual(sorted(r for m in self.hop.messages for r in m.recipients),
                         sorted(n for n in names if n.startswith('known')))
        # Each once for the question, the known ones once more with the mail.
        self.assertEqual(self.asked(), 190)

    def test_dictionary(self):
        """Who guesses names gets no answers any more, and the server behind us no questions."""
        server = self.start(self.next_hop({'rcpt': knows}))
        codes = []
        for n in range(120):
            codes.append(self.rcpt(f'guess{n}@inner.test', (550, 450)).code)
        self.assertEqual(codes[:50], [550] * 50)
        self.assertEqual(codes[-20:], [450] * 20)
        self.assertLess(self.asked(), 60)
        self.assertGreater(server.status()['verify_recipients_limited'], 50)

    def test_aliases(self):
        """What is asked about is what an alias stands for."""
        aliases = self.directory / 'aliases'
        aliases.write_text('friend: ann@inner.test\ngone: eve@inner.test\nteam: ann, eve\n')
        self.start(self.next_hop({'rcpt': knows}), {'aliases': str(aliases)})
        self.rcpt('friend@inner.test', 250)
        self.rcpt('gone@inner.test', 550)
        self.assertEqual(self.asked('friend@inner.test'), 0)
        self.assertEqual((self.asked('ann@inner.test'), self.asked('eve@inner.test')), (1, 1))
        self.rcpt('team@inner.test', 250)

    def test_client_gives_up(self):
        """Clients that go while they wait leave nothing behind."""
        server = self.start(self.next_hop({'rcpt': STALL}), timeout='2s')
        for n in range(20):
            with Client(server.port) as client:
                client.command('MAIL FROM:<a@client.test>', 250)
                client.send(f'RCPT TO:<u{n}@inner.test>\r\n'.encode())
                if n % 2:
                    client.reset()
        self.wait_for(lambda: server.status()['sessions'] == 0, 'sessions gone')

    def test_stop_while_waiting(self):
        server = self.start(self.next_hop({'rcpt': STALL}), timeout='60s')
        with Client(server.port) as client:
            client.command('MAIL FROM:<a@client.test>', 250)
            client.send(b'RCPT TO:<ann@inner.test>\r\n')
            self.wait_for(lambda: rcpts(self.hop), 'asked')
            server.process.send_signal(15)
            server.expected_end = True
            client.expect((450, 421))
            client.close()
        self.assertEqual(server.process.wait(20), 0)

    def test_postfix_behind(self):
        """Postfix as the inner server: what it says of recipients is what the client hears."""
        sink = self.next_hop()
        postfix = Postfix(self.directory / 'postfix', sink.port, {
            'relay_domains': 'inner.test', 'relay_recipient_maps': 'inline:{ann@inner.test=ok}',
            'smtpd_recipient_restrictions': 'reject_unlisted_recipient, permit_mynetworks, reject'})
        self.addCleanup(postfix.stop)
        postfix.start()
        server = self.start(postfix)
        server.configure({('route', '*'): {'to': f'smtp://127.0.0.1:{sink.port}'}})
        reply = self.rcpt('eve@inner.test', 550)
        self.assertIn('User unknown', str(reply))
        send_message(server.port, 'a@client.test', 'ann@inner.test', sample('through'))
        self.wait_for(lambda: sink.messages, lambda: f'mail through Postfix {postfix.log()}')
        self.assertEqual(sink.messages[0].recipients, ['ann@inner.test'])
        self.assertEqual(server.status()['verify_recipients_refused'], 1)


class Domains(Case):
    ZONE = {
        'good.test': {'MX': [(10, 'mx.good.test')]}, 'mx.good.test': {'A': ['127.0.0.1']},
        'address.test': {'A': ['127.0.0.1']},
        'six.test': {'AAAA': ['::1']},
        'text.test': {'TXT': ['no mail here']},
        'null.test': {'MX': [(0, '.')]},
        'alias.test': {'CNAME': 'good.test'},
        'broken.test': SERVFAIL,
        'silent.test': TIMEOUT,
    }

    def start(self, zone=None, **verify):
        self.dns = self.dns_server(dict(zone or self.ZONE))
        self.server = self.start_server({
            'relay_from': ['127.0.0.2'],
            'dns': {'servers': [f'127.0.0.1:{self.dns.port}'], 'timeout': '1s'},
            'verify': verify,
            ('route', 'fixed.test'): {'to': 'smtp://127.0.0.1:1'},
            ('route', '*'): {'to': 'mx'}})
        return self.server

    def test_recipients(self):
        self.start()
        with Client(self.server.port, source='127.0.0.2') as client:
            client.command('MAIL FROM:<a@none.test>', 250)
            for domain, code, enhanced in (
                    ('good.test', 250, ''), ('GOOD.Test', 250, ''), ('address.test', 250, ''), ('six.test', 250, ''),
                    ('alias.test', 250, ''), ('local.test', 250, ''), ('fixed.test', 250, ''),
                    ('none.test', 550, '5.1.2'), ('text.test', 550, '5.1.2'), ('null.test', 556, '5.1.10'),
                    ('broken.test', 450, '4.4.3'), ('silent.test', 450, '4.4.3')):
                reply = client.command(f'RCPT TO:<x@{domain}>', code)
                self.assertIn(enhanced, str(reply))
            client.command('RSET', 250)
            client.quit()
        status = self.server.status()
        self.assertEqual((status['verify_domains_refused'], status['verify_domains_deferred']), (3, 2))

    def test_off(self):
        self.start(recipient_domain='no')
        with Client(self.server.port, source='127.0.0.2') as client:
            client.command('MAIL FROM:<a@none.test>', 250)
            client.command('RCPT TO:<x@none.test>', 250)
            client.quit()
        self.assertEqual(self.dns.queries, [])

    def test_senders(self):
        """Those of strangers; not of neighbours, and not the null sender."""
        self.start(sender_domain='yes')
        for sender, code, enhanced in (
                ('a@good.test', 250, ''), ('a@address.test', 250, ''), ('', 250, ''), ('a@local.test', 250, ''),
                ('a@[127.0.0.1]', 250, ''), ('a@none.test', 553, '5.1.8'), ('a@text.test', 553, '5.1.8'),
                ('a@null.test', 550, '5.7.27'), ('a@broken.test', 451, '4.1.8'), ('a@silent.test', 451, '4.1.8')):
            with Client(self.server.port) as client:
                reply = client.command(f'MAIL FROM:<{sender}>', code)
                self.assertIn(enhanced, str(reply))
                client.command('RCPT TO:<box@local.test>', 250 if code == 250 else 503)
                client.command('MAIL FROM:<a@good.test>', 503 if code == 250 else 250)
                client.quit()
        with Client(self.server.port, source='127.0.0.2') as client:
            client.command('MAIL FROM:<a@none.test>', 250)
            client.quit()
        self.assertEqual(self.server.status()['refused_senders'], 5)

    def test_pipelined(self):
        """A hundred recipients whose name servers are silent wait for one timeout; of one domain for one answer."""
        self.start()
        began = time.monotonic()
        with Client(self.server.port, source='127.0.0.2') as client:
            client.send(b'MAIL FROM:<a@client.test>\r\n'
                        + b''.join(b'RCPT TO:<u%d@silent.test>\r\n' % n for n in range(100))
                        + b''.join(b'RCPT TO:<u%d@good.test>\r\n' % n for n in range(100)) + b'RSET\r\n')
            client.expect(250)
            for code in [450] * 100 + [250] * 100 + [250]:
                client.expect(code)
            client.quit()
        self.assertLess(time.monotonic() - began, 4)
        self.assertEqual(self.dns.count('good.test', 'MX'), 1)

    def test_many_clients_one_question(self):
        asked = []

        def slow(name, kind, count):
            asked.append(kind)
            time.sleep(0.2)
            return {'MX': [(10, 'mx.good.test')]}
        self.start({**self.ZONE, 'slow.test': slow})
        clients = [Client(self.server.port, source='127.0.0.2') for _ in range(30)]
        for client in clients:
            client.send(b'MAIL FROM:<a@client.test>\r\nRCPT TO:<x@slow.test>\r\n')
        for client in clients:
            client.expect(250)
            client.expect(250)
            client.close()
        self.assertEqual(len(asked), 1)

    def test_dns_gone(self):
        """No name server at all: mail for others waits at their own, ours is taken."""
        self.start()
        self.dns.close()
        began = time.monotonic()
        with Client(self.server.port, source='127.0.0.2') as client:
            client.command('MAIL FROM:<a@client.test>', 250)
            client.command('RCPT TO:<x@good.test>', 450)
            client.command('RCPT TO:<box@local.test>', 250)
            client.quit()
        self.assertLess(time.monotonic() - began, 5)


if __name__ == '__main__':
    main()
