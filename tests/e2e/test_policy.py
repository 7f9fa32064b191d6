# SPDX-License-Identifier: GPL-2.0-or-later
"""What is accepted: no open relay, recipients that exist, postmaster; addresses and their syntax."""

import json
import unittest

from mailring_e2e import VECTORS, Case, Client, free_port, main, sample, send_message, split_trace


class Relaying(Case):
    FOREIGN = ('bob@foreign.test', 'BOB@FOREIGN.TEST', 'bob@sub.local.test', 'bob@local.test.foreign.test',
               'bob%foreign.test@foreign.test', '"bob@local.test"@foreign.test', 'bob@[192.0.2.1]',
               '@local.test:bob@foreign.test', 'bob@xlocal.test')

    def refused(self, port, recipients=FOREIGN, source=None):
        with Client(port, source=source) as client:
            client.command('MAIL FROM:<ann@client.test>', 250)
            for recipient in recipients:
                reply = client.command(f'RCPT TO:<{recipient}>', (550, 554))
                self.assertIn(reply.enhanced, ('5.7.1', '5.7.0', '5.1.2', ''), recipient)
            client.command('DATA', (503, 554))
            client.quit()

    def test_no_open_relay(self):
        """By default nobody relays, from loopback neither."""
        server = self.start_server({('route', '*'): {'to': 'discard'}})
        self.refused(server.port)
        with Client(server.port) as client:
            client.command('MAIL FROM:<ann@local.test>', 250)     # our own as the sender is no licence
            client.command('RCPT TO:<bob@foreign.test>', (550, 554))
            client.quit()

    def test_source_routes_and_percent(self):
        """@relay:user@domain is user@domain (RFC 5321 appendix C); % and ! mean nothing."""
        server = self.start_server({('route', '*'): {'to': 'discard'}})
        with Client(server.port) as client:
            client.command('MAIL FROM:<ann@client.test>', 250)
            client.command('RCPT TO:<@away.test,@local.test:bob@foreign.test>', range(500, 560))
            client.command('RCPT TO:<@away.test:routed@local.test>', (250, 550, 501, 553))
            client.command('RCPT TO:<bob%foreign.test@local.test>', (250, 550, 553))
            client.command('RCPT TO:<foreign.test!bob@local.test>', (250, 550, 553))
            client.command('RSET', 250)
            client.quit()

    def test_relay_from(self):
        hop = self.next_hop()
        server = self.start_server({
            'relay_from': ['127.0.0.2', '127.5.0.0/16'],
            ('route', '*'): {'to': f'smtp://127.0.0.1:{hop.port}'}})
        self.refused(server.port)
        self.refused(server.port, source='127.0.0.3')
        for n, source in enumerate(('127.0.0.2', '127.5.7.9')):
            send_message(server.port, 'ann@client.test', f'bob{n}@foreign.test', sample(f'relay{n}'),
                         source=source)
            self.wait_for(lambda: hop.for_recipient(f'bob{n}@foreign.test'), 'relayed')
            split_trace(hop.messages[n].octets, sample(f'relay{n}'))
        # Everybody may write to our own domain.
        send_message(server.port, 'ann@client.test', 'box@local.test', sample('own'))
        server.wait_mail('box')

    def test_relay_role(self):
        """A listener of role relay serves relay_from alone, for our own domains too."""
        port, relay = free_port(), free_port()
        server = self.start_server({
            'relay_from': ['127.0.0.2'],
            ('listener', 'mx'): {'address': [f'127.0.0.1:{port}'], 'role': 'mx'},
            ('listener', 'relay'): {'address': [f'127.0.0.1:{relay}'], 'role': 'relay'},
            ('route', '*'): {'to': 'discard'}})
        with Client(relay, greet=False) as client:
            reply = client.reply()
            for line in ('EHLO x', 'MAIL FROM:<a@client.test>', 'RCPT TO:<box@local.test>'):
                if reply.code >= 500:
                    break
                client.send(line.encode() + b'\r\n')
                reply = client.reply()
            self.assertIn(reply.code, (550, 554, 553))
        send_message(relay, 'a@client.test', ['bob@foreign.test', 'box@local.test'], sample('in'),
                     source='127.0.0.2')
        server.wait_mail('box')
        server.wait_drained()
        self.assertEqual(server.status()['delivered'], 2)

    def test_routes(self):
        """The most specific route is taken."""
        hops = {name: self.next_hop() for name in ('exact', 'wild', 'deep', 'any')}
        to = {name: {'to': f'smtp://127.0.0.1:{hop.port}'} for name, hop in hops.items()}
        self.start_server({
            'relay_from': ['127.0.0.0/8'], ('route', 'a.test'): to['exact'],
            ('route', '*.a.test'): to['wild'], ('route', '*.b.a.test'): to['deep'],
            ('route', '*'): to['any']})
        wanted = {'x@a.test': 'exact', 'y@A.Test': 'exact', 'x@c.a.test': 'wild', 'x@d.c.a.test': 'wild',
                  'x@b.a.test': 'wild', 'x@c.b.a.test': 'deep', 'x@xa.test': 'any', 'x@test': 'any'}
        send_message(self.servers[0].port, 'a@client.test', list(wanted), sample('routes'))
        self.wait_for(lambda: sum(len(m.recipients) for h in hops.values() for m in h.messages)
                      >= len(wanted), 'all')
        got = {r: name for name, hop in hops.items() for m in hop.messages for r in m.recipients}
        self.assertEqual({k.lower(): v for k, v in got.items()}, {k.lower(): v for k, v in wanted.items()})


class Recipients(Case):
    def test_recipients_file(self):
        listed = self.directory / 'recipients'
        listed.write_text('# who is here\nann\nBob@local.test\n\ncarl+lists@local.test\n')
        server = self.start_server({
            ('domain', 'local.test'): {'to': f'maildir:{self.directory}/server0/mail/%d/%u',
                                       'recipients': listed, 'subaddress': '+'}})
        with Client(server.port) as client:
            client.command('MAIL FROM:<x@client.test>', 250)
            for user in ('ann', 'ANN', 'bob', 'ann+news', 'carl+lists', 'postmaster', 'Postmaster'):
                client.command(f'RCPT TO:<{user}@local.test>', 250)
            for user in ('dora', 'an', 'annn', 'carl', 'carl+other', '+news', 'dora+ann'):
                reply = client.command(f'RCPT TO:<{user}@local.test>', 550)
                self.assertEqual(reply.enhanced, '5.1.1')
            client.quit()

    def test_postmaster_without_domain(self):
        """RCPT TO:<postmaster> is always taken (RFC 5321 4.5.1), and arrives."""
        listed = self.directory / 'recipients'
        listed.write_text('ann\n')
        server = self.start_server({
            'hostname': 'local.test',
            ('domain', 'local.test'): {'to': f'maildir:{self.directory}/server0/mail/%d/%u',
                                       'recipients': listed}})
        with Client(server.port) as client:
            client.message('x@client.test', 'Postmaster', sample('bare'))
            client.quit()
        self.wait_for(lambda: list(server.mail.rglob('new/*')), 'in some mailbox')

    def test_subaddress(self):
        server = self.start_server({
            ('domain', 'local.test'): {'to': f'maildir:{self.directory}/server0/mail/%d/%u',
                                       'subaddress': '+'}})
        send_message(server.port, 'x@client.test', 'ann+news@local.test', sample('sub'))
        server.wait_mail('ann')

    def test_case_of_domains(self):
        server = self.start_server()
        send_message(server.port, 'x@client.test', 'box@LOCAL.Test', sample('case'))
        server.wait_mail('box')

    def test_the_same_recipient_twice(self):
        server = self.start_server()
        send_message(server.port, 'x@client.test', ['box@local.test'] * 3, sample('twice'))
        server.wait_drained()
        self.assertIn(len(server.maildir('box')), (1, 3))


class Syntax(Case):
    """MAIL and RCPT, their parameters, and the public collection of addresses."""

    def setUp(self):
        super().setUp()
        self.server = self.start_server({('route', '*'): {'to': 'discard'}, 'relay_from': ['127.0.0.0/8'],
                                         'limits': {'errors': 1000, 'messages_per_connection': 10000}})

    def test_parameters(self):
        with Client(self.server.port) as client:
            for line, codes in (
                    ('MAIL FROM:<> BODY=8BITMIME', 250), ('mail from:<a@b.test>', 250),
                    ('MAIL FROM:<a@b.test> SIZE=1000 BODY=7BIT', 250),
                    ('MAIL FROM:<a@b.test> size=1000', 250),
                    ('MAIL FROM:<a@b.test> SIZE=x', range(501, 556)),
                    ('MAIL FROM:<a@b.test> SIZE=99999999999999999999999', range(501, 556)),
                    ('MAIL FROM:<a@b.test> NO-SUCH=1', (555, 501, 504)),
                    ('MAIL FROM:a@b.test', (250, 501, 553)),
                    ('MAIL FROM: <a@b.test>', (250, 501)),
                    ('MAIL FROM:<a@b.test', (501, 553)), ('MAIL FROM:a@b.test>', (501, 553)),
                    ('MAIL FROM:<a@b.test>x', (501, 553, 555)), ('MAIL', (501, 500)),
                    ('MAIL TO:<a@b.test>', 501)):
                with self.subTest(line):
                    client.command(line, codes)
                    client.command('RSET', 250)
            client.command('MAIL FROM:<a@b.test>', 250)
            client.command('RCPT TO:<c@d.test> NO-SUCH=1', (555, 501, 504))
            client.command('RCPT TO:<c@d.test>', 250)
            client.quit()

    def test_replies(self):
        """Enhanced codes where offered; HELP, VRFY and NOOP; the name in the greeting."""
        with Client(self.server.port, greet=False) as client:
            greeting = client.expect(220)
            self.assertTrue(greeting.lines[0].startswith('mx.test'))
            ehlo = client.ehlo()
            self.assertEqual(ehlo.lines[0].split(' ')[0], 'mx.test')
            for name in ('PIPELINING', '8BITMIME', 'SIZE', 'ENHANCEDSTATUSCODES'):
                self.assertIn(name, client.extensions)
            client.command('VRFY ann', (252, 502, 550))
            client.command('EXPN list', (252, 502, 550))
            client.command('HELP', (211, 214, 502))
            client.command('NOOP with words', 250)
            for line, codes in (('MAIL FROM:<a@b.test>', 250), ('RCPT TO:<c@d.test>', 250), ('RSET', 250),
                                ('WHAT', 500), ('RCPT TO:<x@y.test>', 503)):
                reply = client.command(line, codes)
                self.assertTrue(reply.enhanced.startswith(str(reply.code)[0] + '.'), reply)
            client.quit()

    def addresses(self):
        path = VECTORS / 'address' / 'isemail.json'
        if not path.exists():
            raise unittest.SkipTest(f'no public vectors: {VECTORS.name}/address is not there')
        # Control characters stand there as their pictures, U+2400 and following.
        pictures = {0x2400 + n: n for n in range(32)} | {0x2421: 127}
        return [{**test, 'address': test['address'].translate(pictures)}
                for test in json.loads(path.read_text())['tests'] if test['category']]

    def test_address_collection(self):
        """165 addresses: valid ones are taken, broken ones refused, each line has one answer."""
        tests = self.addresses()
        self.assertGreater(len(tests), 150)
        wrong = []
        for test in tests:
            with Client(self.server.port) as client:
                address = test['address'].encode('utf-8', 'surrogateescape')
                category = test['category']
                if b'\r' in address or b'\n' in address or b'\0' in address:
                    continue
                for line in (b'MAIL FROM:<%s>' % address, b'RCPT TO:<%s>' % address):
                    if line.startswith(b'RCPT'):
                        client.command('MAIL FROM:<a@b.test>', 250)
                    client.send(line + b'\r\nNOOP\r\n')
                    code = client.reply().code
                    client.expect(250)
                    client.command('RSET', 250)
                    if not address and line.startswith(b'MAIL'):
                        continue                                  # the null sender
                    good = category in ('ISEMAIL_VALID_CATEGORY', 'ISEMAIL_RFC5321', 'ISEMAIL_DNSWARN')
                    if good and code in (500, 501):
                        wrong.append((line, code, test['diagnosis']))
                    if category == 'ISEMAIL_ERR' and not 500 <= code < 560:
                        wrong.append((line, code, test['diagnosis']))
                client.quit()
        self.assertEqual(wrong, [], f'{len(wrong)} answers')


if __name__ == '__main__':
    main()
