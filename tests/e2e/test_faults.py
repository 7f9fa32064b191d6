# SPDX-License-Identifier: GPL-2.0-or-later
"""A next hop that does everything wrong. Each recipient gets its right outcome, once, in time; nobody spins."""

import time

from mailring_e2e import (DROP, RESET, STALL, Case, Client, Dsn, Endless, Pieces, main, sample,
                          send_message, split_trace, times)

SHORT = {'connect': '2s', 'response': '1s', 'data': '2s', 'idle': '5s'}
BINARY = bytes(range(0, 256)) * 3 + b'\r\n'


def route(hop, **more):
    return {'to': f'smtp://127.0.0.1:{hop.port}', 'timeout': SHORT, **more}


class Faults(Case):
    """Every scenario has a next hop and a sender of its own; all of them run at once."""

    RETRY = {'intervals': ['1s'], 'expire': '60s', 'jitter': 0}
    NO_RETRY = {'intervals': ['1h'], 'expire': '5d', 'jitter': 0}

    def play(self, scenarios, retry=None, bodies=None, **more):
        """Starts one server with a route a scenario, sends each its message. {name: answers}."""
        self.hops = {}
        settings = {'relay_from': ['127.0.0.0/8'], 'retry': retry or self.RETRY}
        for name, answers in scenarios.items():
            options = answers.pop('options', {})
            self.hops[name] = self.next_hop(answers, **options)
            settings['route', f'{name}.test'] = route(self.hops[name], **more)
        self.server = self.start_server(settings)
        self.sent = {name: (bodies or {}).get(name) or sample(name) for name in scenarios}
        self.started = time.monotonic()
        with Client(self.server.port) as client:
            for name in scenarios:
                client.message(f'from-{name}@local.test', f'to@{name}.test', self.sent[name])
            client.quit()

    def calm(self, name, connections):
        """Nobody spins: so many connections at most, and no commands in a circle."""
        hop = self.hops[name]
        self.assertLessEqual(len(hop.connections), connections, f'{name}: connections')
        for connection in hop.connections:
            self.assertLessEqual(len(connection.commands), 12, f'{name}: {connection.commands[:20]}')

    def delivered(self, name, connections=5, timeout=30.0):
        """Arrived once and unchanged, and nothing was bounced."""
        hop = self.hops[name]
        self.wait_for(lambda: hop.messages, lambda: f'{name}: delivered (after '
                      f'{len(hop.connections)} connections)\n{self.server.tail(20)}', timeout)
        self.assertEqual(len(hop.messages), 1, name)
        message = hop.messages[0]
        self.assertEqual((message.sender, message.recipients),
                         (f'from-{name}@local.test', [f'to@{name}.test']))
        split_trace(message.octets, self.sent[name])
        self.calm(name, connections)
        self.assertEqual(len(self.server.maildir(f'from-{name}')), 0, f'{name}: bounced too')
        return message

    def bounced(self, name, words, status=None, connections=2, timeout=20.0):
        """Came back to its sender with these words of the remote; never arrived."""
        hop = self.hops[name]
        octets, = self.server.wait_mail(f'from-{name}', timeout=timeout)
        self.assertTrue(octets.lower().startswith(b'return-path: <>\r\n'), octets[:100])
        dsn = Dsn(octets)
        self.assertEqual(list(dsn.recipients), [f'to@{name}.test'], name)
        fields = dsn.recipients[f'to@{name}.test']
        self.assertEqual(fields['action'], 'failed')
        self.assertTrue(fields['status'].startswith('5.' if status is None else status), fields)
        for word in [words] if isinstance(words, str) else words:
            self.assertIn(word, fields.get('diagnostic-code', ''), name)
        self.assertIn(b'Subject: ' + name.encode(), dsn.returned, 'what is returned')
        self.assertEqual(dsn.message['To'].addresses[0].addr_spec, f'from-{name}@local.test')
        self.assertEqual(hop.messages, [], name)
        self.calm(name, connections)
        return dsn

    def settle(self):
        """In the end nothing is queued, and waiting costs next to no CPU."""
        self.server.wait_drained(30)
        before, started = self.server.cpu_seconds(), time.monotonic()
        self.wait_for(lambda: time.monotonic() - started > 0.5, 'half a second')
        self.assertLess(self.server.cpu_seconds() - before, 0.25, 'CPU of an idle server')


class Temporary(Faults):
    """The fault happens twice, then all is well: delivered exactly once, after two retries."""

    def twice(self, stage, actions, at_least=0.8, **more):
        scenarios = {f'{stage}-{word}': {stage: times(2, action), **more}
                     for word, action in actions.items()}
        self.play(scenarios, bodies={f'{stage}-big': sample('big', ('x' * 70 + '\r\n') * 60000)})
        for name in scenarios:
            with self.subTest(name):
                message = self.delivered(name)
                self.assertGreaterEqual(message.when - self.started, at_least, 'a retry too early')
        self.settle()

    def test_connect(self):
        self.twice('connect', {
            'drop': DROP, 'reset': RESET, 'stall': STALL, '421': '421 4.3.2 busy',
            '450': '450 4.3.2 busy', 'words': b'hello, who is there?\r\n', 'binary': BINARY,
            'lines': Endless(b'220-and\r\n' * 100), 'no-line': Endless(b'2' * 1000),
            'half': [b'220 ne', DROP], 'early': [b'220 hi\r\n421 4.3.2 but go\r\n', DROP]})

    def test_ehlo(self):
        self.twice('ehlo', {
            'drop': DROP, 'reset': RESET, 'stall': STALL, '421': ['421 4.3.2 busy', DROP],
            'binary': BINARY, 'lines': Endless(b'250-X\r\n' * 100), 'half': [b'250-PIPEL', DROP]})

    def test_mail(self):
        self.twice('mail', {
            'drop': DROP, 'reset': RESET, 'stall': STALL, '451': '451 4.3.0 not now',
            '421': ['421 4.3.2 closing', DROP], 'binary': BINARY, '999': '999 what',
            '354': '354 what', 'half': [b'25', DROP]})

    def test_rcpt(self):
        self.twice('rcpt', {
            'drop': DROP, 'reset': RESET, 'stall': STALL, '450': '450 4.2.1 mailbox busy',
            '452': '452 4.5.3 too many', '421': ['421 4.3.2 closing', DROP], 'binary': BINARY,
            'one-digit': '2 ok'})

    def test_data(self):
        self.twice('data', {
            'drop': DROP, 'reset': RESET, 'stall': STALL, '451': '451 4.3.0 not now',
            '421': ['421 4.3.2 closing', DROP], 'binary': BINARY, '250': '250 2.0.0 what?'})

    def test_body(self):
        self.twice('body', {
            'drop': DROP, 'reset': RESET, 'stall': STALL, 'big': STALL,
            '421': ['421 4.3.2 closing', DROP], '451-early': ['451 4.3.0 disk full', DROP]})

    def test_dot(self):
        """After the final dot nobody knows: the message comes again, and is accepted once."""
        self.twice('dot', {
            'drop': DROP, 'reset': RESET, 'stall': STALL, '451': '451 4.3.0 not now',
            '421': ['421 4.3.2 closing', DROP], 'binary': BINARY, 'half': [b'250 2.0.0 tak', DROP],
            'lines': Endless(b'250-taken\r\n' * 100)})
        for name, hop in self.hops.items():
            for message in hop.unanswered:
                split_trace(message.octets, self.sent[name])

    def test_354_for_nobody_450(self):
        """All recipients deferred, DATA answered 354 all the same: end it, then try again later."""
        self.twice('rcpt', {'nobody': '450 4.2.1 not now'}, data='354 go on')
        for orphan in self.hops['rcpt-nobody'].orphans:
            self.assertEqual(orphan.octets, b'')


class Odd(Faults):
    """Strange but right, or wrong where it does no harm: delivered at the first attempt."""

    def test_odd(self):
        self.play({
            'ehlo-500': {'ehlo': '500 5.5.1 what'},
            'ehlo-502': {'ehlo': '502 5.5.1 HELO please'},
            'no-extensions': {'options': {'extensions': ()}},
            'lower-case': {'ehlo': '250-next.test\r\n250-pipelining\r\n250 8bitmime'},
            'chunking': {'options': {'extensions': ('PIPELINING', 'CHUNKING', '8BITMIME', 'SIZE')}},
            'pieces': {stage: Pieces(text) for stage, text in (
                ('connect', '220 next.test'), ('mail', '250 2.1.0 ok'), ('rcpt', '250 2.1.5 ok'),
                ('data', '354 go on'), ('dot', '250 2.0.0 taken'))},
            'long-greeting': {'connect': b''.join(b'220-%03d\r\n' % n for n in range(20)) + b'220 x\r\n'},
            'bare-codes': {'connect': '220', 'mail': '250', 'rcpt': '250', 'data': '354', 'dot': '250'},
            '251': {'rcpt': '251 2.1.5 will forward'},
            'many-extensions': {'options': {'extensions': tuple(f'X-{n} a b' for n in range(60))}},
            'quit-drop': {'quit': DROP},
            'quit-stall': {'quit': STALL},
            'quit-lines': {'quit': Endless(b'221-bye\r\n' * 100)},
        })
        for name in self.hops:
            with self.subTest(name):
                self.delivered(name, connections=2, timeout=10)
        self.settle()

    def test_bare_lf_replies(self):
        """Replies that end in LF: taken or retried, delivered once or bounced, never both."""
        self.play({'lf': {'connect': b'220 next.test\n', 'ehlo': b'250 next.test\n',
                          'mail': b'250 ok\n', 'rcpt': b'250 ok\n', 'data': b'354 go\n',
                          'dot': b'250 ok\n'}},
                  retry={'intervals': ['1s'], 'expire': '3s', 'jitter': 0})
        self.wait_for(lambda: self.hops['lf'].messages or len(self.server.maildir('from-lf')),
                      'an outcome')
        self.settle()
        self.assertEqual(len(self.hops['lf'].messages) + len(self.server.maildir('from-lf')), 1)

    def test_eight_bit_without_8bitmime(self):
        """Unchanged or bounced, never altered without need and never lost."""
        body = sample('eight', 'Grüße\r\n')
        self.play({'eight': {'options': {'extensions': ('PIPELINING',)}}}, bodies={'eight': body})
        hop = self.hops['eight']
        self.wait_for(lambda: hop.messages or len(self.server.maildir('from-eight')), 'an outcome')
        if hop.messages:
            split_trace(hop.messages[0].octets, body)


class Permanent(Faults):
    def test_refused(self):
        """5yz at each stage: one attempt, one bounce with the remote's words."""
        words = {'mail': '550 5.7.1 your kind is not welcome', 'rcpt': '550 5.1.1 nobody of that name',
                 'data': '554 5.7.1 no data today', 'dot': '554 5.6.0 such contents we do not take'}
        scenarios = {f'{stage}-no': {stage: text} for stage, text in words.items()}
        scenarios |= {
            'rcpt-lines': {'rcpt': '550-5.1.1 the first line\r\n550-5.1.1 a second line\r\n'
                                   '550 5.1.1 and the last'},
            'rcpt-plain': {'rcpt': '553 no enhanced code here'},
            'rcpt-long': {'rcpt': '550 5.1.1 ' + 'long ' * 90},
            'rcpt-binary': {'rcpt': b'550 5.1.1 caf\xe9 \x01\x02 --boundary\r\n'},
            'nobody': {'rcpt': '550 5.1.1 not here', 'data': '354 go on'},
            'nobody-taken': {'rcpt': '550 5.1.1 not here', 'data': '354 go on', 'dot': '250 2.0.0 ok'},
            'mail-503': {'mail': '550 5.1.8 bad sender', 'rcpt': '503 5.5.1 MAIL first',
                         'data': '503 5.5.1 RCPT first'},
            'size': {'options': {'extensions': ('PIPELINING', 'SIZE 100')},
                     'mail': '552 5.3.4 too big'},
        }
        self.play(scenarios)
        for stage, text in words.items():
            with self.subTest(stage):
                dsn = self.bounced(f'{stage}-no', text[10:], text[4:9])
                self.assertIn('next.test', str(dsn.recipients) + dsn.text) \
                    if 'remote-mta' not in dsn.recipients[f'to@{stage}-no.test'] else None
        for name, what in (('rcpt-lines', ['the first line', 'and the last']),
                           ('rcpt-plain', 'no enhanced code here'), ('rcpt-long', 'long long'),
                           ('rcpt-binary', '550 5.1.1 caf'), ('nobody', 'not here'),
                           ('nobody-taken', 'not here'), ('mail-503', 'bad sender'),
                           ('size', '')):
            with self.subTest(name):
                self.bounced(name, what)
        for name in ('nobody', 'nobody-taken'):
            for orphan in self.hops[name].orphans:
                self.assertEqual(orphan.octets, b'', f'{name}: a body for nobody')
        self.settle()
        status = self.server.status()
        self.assertEqual(status['bounced'], len(scenarios))

    def test_greeting_554(self):
        """No service here (RFC 5321 3.1): bounced at once or at expiry, once."""
        self.play({'no-service': {'connect': ['554 5.3.2 no SMTP here', DROP]}},
                  retry={'intervals': ['1s'], 'expire': '3s', 'jitter': 0})
        self.bounced('no-service', 'no SMTP here', '', connections=6)
        self.settle()

    def test_expires(self):
        """Temporary for ever: bounced after `expire` with the last words, few attempts before."""
        self.play({'later': {'rcpt': '451 4.7.1 come back later'},
                   'silent': {'connect': STALL},
                   'drops': {'dot': DROP},
                   'gone': {}},
                  retry={'intervals': ['1s'], 'expire': '4s', 'jitter': 0},
                  messages_per_connection=1)    # an attempt a connection, however many fit into the time
        # `gone` refuses connections from before its first retry on; give it its message late.
        self.delivered('gone')
        self.hops['gone'].refuse()
        self.hops['gone'].drop_all()
        self.hops['gone'].messages.clear()
        send_message(self.server.port, 'from-gone@local.test', 'to@gone.test', sample('gone'))
        for name, words in (('later', 'come back later'), ('silent', ''), ('drops', ''), ('gone', '')):
            with self.subTest(name):
                dsn = self.bounced(name, words, '', connections=9)
                self.assertRegex(dsn.recipients[f'to@{name}.test']['status'], r'^[45]\.')
        self.assertGreaterEqual(len(self.hops['later'].connections)
                                + sum(c.verbs.count('RSET') for c in self.hops['later'].connections), 2)
        self.settle()

    def test_null_sender(self):
        """A bounce that cannot be delivered is not bounced, and does not stay."""
        hop = self.next_hop({'rcpt': '550 5.1.1 nobody'})
        server = self.server = self.start_server({
            'relay_from': ['127.0.0.0/8'], ('route', '*'): route(hop)})
        send_message(server.port, '', 'to@away.test', sample('orphan'))
        self.wait_for(lambda: server.status()['bounced'] == 1, 'an end')
        self.settle()
        self.assertEqual(server.status()['accepted'], 1)
        self.assertEqual(len(hop.connections), 1)
        self.assertFalse(list(server.mail.rglob('*')) if server.mail.exists() else [])

    def test_bounce_of_a_bounce(self):
        """The sender's own host refuses the bounce: two attempts in all, then it is over."""
        hop = self.next_hop({'rcpt': '550 5.1.1 nobody'})
        server = self.server = self.start_server({
            'relay_from': ['127.0.0.0/8'], ('route', '*'): route(hop)})
        send_message(server.port, 'ann@away.test', 'bob@away.test', sample('twice'))
        self.wait_for(lambda: sum(k.verbs.count('RCPT') for k in hop.connections) == 2,
                      'the message and its bounce')
        self.settle()
        senders = [c.split(' ')[1] for k in hop.connections for c in k.commands
                   if c.upper().startswith('MAIL')]
        self.assertEqual(senders, ['FROM:<ann@away.test>', 'FROM:<>'])

    def test_reject_destination(self):
        """reject:text refuses in the session, or bounces with the text."""
        server = self.server = self.start_server({
            ('domain', 'closed.test'): {'to': 'reject:we have moved'}})
        with Client(server.port) as client:
            client.command('MAIL FROM:<from-closed@local.test>', 250)
            reply = client.command('RCPT TO:<bob@closed.test>', (250, 550, 553, 554))
            if reply.code == 250:
                client.command('DATA', 354)
                client.send(sample('closed') + b'.\r\n')
                client.expect((250, 550, 554))
                dsn = Dsn(server.wait_mail('from-closed')[0])
                self.assertIn('we have moved', dsn.recipients['bob@closed.test']['diagnostic-code'])
            else:
                self.assertIn('we have moved', reply.text)

    def test_discard(self):
        server = self.server = self.start_server({('domain', 'hole.test'): {'to': 'discard'}})
        send_message(server.port, 'ann@client.test', 'x@hole.test', sample('hole'))
        self.settle()
        self.assertEqual(server.status()['delivered'], 1)


class Recipients(Faults):
    def test_each_has_its_own_outcome(self):
        first = times(1, '450 4.2.1 c is busy')
        hop = self.next_hop({'rcpt': lambda event: {
            'b': '550 5.1.1 b is unknown', 'd': '550 5.2.2 d is full'}.get(
                event.address.split('@')[0], first(event) if event.address[0] == 'c' else None)})
        server = self.server = self.start_server({
            'relay_from': ['127.0.0.0/8'], 'retry': self.RETRY, ('route', 'next.test'): route(hop)})
        send_message(server.port, 'from@local.test', [f'{u}@next.test' for u in 'abcde'] + ['f@local.test'],
                     sample('each'))
        self.wait_for(lambda: hop.for_recipient('c@next.test'), 'the deferred one')
        server.wait_mail('f')
        self.settle()
        self.assertEqual(sorted(r for m in hop.messages for r in m.recipients),
                         ['a@next.test', 'c@next.test', 'e@next.test'])
        for message in hop.messages:
            split_trace(message.octets, sample('each'))
        failed = {}
        for octets in server.maildir('from').messages():
            for address, fields in Dsn(octets).recipients.items():
                self.assertNotIn(address, failed)
                failed[address] = fields
        self.assertEqual(sorted(failed), ['b@next.test', 'd@next.test'])
        self.assertIn('b is unknown', failed['b@next.test']['diagnostic-code'])
        self.assertIn('d is full', failed['d@next.test']['diagnostic-code'])
        self.assertEqual(failed['d@next.test']['status'], '5.2.2')
        status = server.status()
        self.assertEqual((status['delivered'], status['queue']), (3 + 1 + len(server.maildir('from')), 0))

    def test_at_most_five_a_transaction(self):
        """452 after five recipients: the others follow in transactions of their own."""
        hop = self.next_hop({'rcpt': lambda event: '452 4.5.3 too many recipients'
                             if len(event.recipients) >= 5 else None})
        server = self.server = self.start_server({
            'relay_from': ['127.0.0.0/8'], 'retry': self.NO_RETRY, ('route', 'next.test'): route(hop)})
        recipients = [f'r{n}@next.test' for n in range(20)]
        send_message(server.port, 'from@local.test', recipients, sample('five'))
        self.wait_for(lambda: sum(len(m.recipients) for m in hop.messages) >= 20, 'all twenty', 20)
        self.settle()
        self.assertEqual(sorted(r for m in hop.messages for r in m.recipients), sorted(recipients))
        self.assertEqual([len(m.recipients) for m in hop.messages], [5] * 4)
        self.assertEqual(len(hop.connections), 1)

    def test_one_sender_is_deferred(self):
        """450 to one sender's MAIL: the mail of others goes on, over the same connection."""
        hop = self.next_hop({'mail': lambda event: '450 4.7.1 not from you, now'
                             if event.address == 'late@local.test' else None})
        server = self.server = self.start_server({
            'relay_from': ['127.0.0.0/8'], 'retry': self.NO_RETRY,
            ('route', 'next.test'): route(hop, connections=1)})
        for n in range(9):
            sender = 'late@local.test' if n % 3 == 0 else 'ann@local.test'
            send_message(server.port, sender, [f'r{n}@next.test'], sample(f'n{n}'))
        self.wait_for(lambda: len(hop.messages) == 6 and server.status()['deferred'] == 3, 'six taken, three deferred')
        self.assertEqual(len(hop.connections), 1)
        attempts = {r['attempts'] for m in server.queue() for r in m['recipients']}
        self.assertEqual(attempts, {1})

    def test_three_messages_a_connection(self):
        """421 to the fourth MAIL of each connection: nobody's mail has to wait for that."""
        taken = {}

        def mail(event):
            connection = id(event.connection)
            taken[connection] = taken.get(connection, 0) + 1
            return ['421 4.7.0 enough for now', DROP] if taken[connection] > 3 else None
        hop = self.next_hop({'mail': mail})
        server = self.server = self.start_server({
            'relay_from': ['127.0.0.0/8'], 'retry': self.NO_RETRY,
            ('route', 'next.test'): route(hop, connections=1)})
        with Client(server.port) as client:
            for n in range(12):
                client.message('ann@local.test', f'r{n}@next.test', sample(f'n{n}'))
            client.quit()
        self.wait_for(lambda: len(hop.messages) == 12, 'all twelve')
        self.settle()
        self.assertEqual(server.status()['deferred'], 0)

    def test_limits_of_the_route(self):
        """connections, messages_per_connection and recipients_per_message are kept."""
        most = [0]
        held = times(40, None)

        def data(event):
            most[0] = max(most[0], hop.open_connections)
            return held(event)
        hop = self.next_hop({'data': data})
        server = self.server = self.start_server({
            'relay_from': ['127.0.0.0/8'],
            ('route', 'next.test'): route(hop, connections=2, messages_per_connection=10,
                                          recipients_per_message=7)})
        with Client(server.port) as client:
            for n in range(60):
                client.message('from@local.test', f'x{n}@next.test', sample(f'limit{n}'))
            client.message('from@local.test', [f'y{n}@next.test' for n in range(30)], sample('thirty'))
            client.quit()
        self.wait_for(lambda: sum(len(m.recipients) for m in hop.messages) >= 90, 'all', 30)
        self.settle()
        self.assertEqual(sum(len(m.recipients) for m in hop.messages), 90)
        self.assertLessEqual(most[0], 2)
        self.assertLessEqual(max(c.messages for c in hop.connections), 10)
        self.assertLessEqual(max(len(m.recipients) for m in hop.messages), 7)
        self.assertGreaterEqual(len(hop.connections), 6)


class Sites(Faults):
    def test_connections_are_reused(self):
        hop = self.next_hop()
        server = self.server = self.start_server({
            'relay_from': ['127.0.0.0/8'], ('route', 'next.test'): route(hop)})
        with Client(server.port) as client:
            for n in range(50):
                client.message('from@local.test', 'x@next.test', sample(f'again{n}'))
            client.quit()
        self.wait_for(lambda: len(hop.messages) == 50, 'fifty')
        self.assertLess(len(hop.connections), 30)
        self.wait_for(lambda: hop.open_connections == 0, 'idle connections closed', 15)
        self.assertEqual({c.verbs[-1] for c in hop.connections}, {'QUIT'})

    def test_dead_pooled_connections(self):
        """A kept connection that died costs no retry interval: the message goes by a new one."""
        hop = self.next_hop()
        server = self.server = self.start_server({
            'relay_from': ['127.0.0.0/8'], ('route', 'next.test'): route(hop),
            'retry': {'intervals': ['30s'], 'expire': '1h', 'jitter': 0}})
        for n in range(10):
            send_message(server.port, 'from@local.test', f'x{n}@next.test', sample(f'dead{n}'))
            self.wait_for(lambda: hop.for_recipient(f'x{n}@next.test'), f'message {n}', 10)
            hop.drop_all()
        self.assertEqual(len(hop.messages), 10)
        self.settle()

    def test_421_between_messages(self):
        """The next hop takes one message a connection and says 421 to more."""
        hop = self.next_hop({'mail': lambda event: ['421 4.7.0 one is enough', DROP]
                             if event.connection.messages else None})
        server = self.server = self.start_server({
            'relay_from': ['127.0.0.0/8'], ('route', 'next.test'): route(hop)})
        with Client(server.port) as client:
            for n in range(10):
                client.message('from@local.test', f'x{n}@next.test', sample(f'one{n}'))
            client.quit()
        self.wait_for(lambda: len(hop.messages) >= 10, lambda: f'{len(hop.messages)} of ten', 30)
        self.settle()
        self.assertEqual(len(hop.messages), 10)
        self.assertLessEqual(len(hop.connections), 60)

    def test_down_and_up_again(self):
        """200 messages for a host that is down: few connections a second; all arrive when it is up."""
        hop = self.next_hop()
        hop.refuse()
        other = self.next_hop({'connect': [RESET]})
        server = self.server = self.start_server({
            'relay_from': ['127.0.0.0/8'], ('route', 'next.test'): route(hop),
            ('route', 'reset.test'): route(other)})
        with Client(server.port) as client:
            for n in range(200):
                client.message('from@local.test', [f'x{n}@next.test', f'x{n}@reset.test'], sample(f'down{n}'))
            client.quit()
        self.wait_for(lambda: server.status()['deferred'] >= 200, 'all deferred', 20)
        started = time.monotonic()
        before = len(other.connections)
        self.wait_for(lambda: time.monotonic() - started > 4, 'four seconds', 5, 0.1)
        self.assertLessEqual(len(other.connections) - before, 200, 'connections in four seconds')
        other.answers.clear()
        hop.listen()
        for n in (hop, other):
            self.wait_for(lambda: len(n.messages) >= 200,
                          lambda: f'all arrived; {len(n.messages)} did\n{server.tail(20)}', 40)
        self.settle()
        self.assertEqual(len({m.recipients[0] for m in hop.messages}), 200)
        self.assertEqual(len(hop.messages), 200)
        self.assertEqual(len(other.messages), 200)

    def test_a_stalled_site_holds_up_nobody(self):
        stalled = self.next_hop({'dot': STALL})
        good = self.next_hop()
        slow = dict(SHORT, response='30s', data='30s')
        server = self.server = self.start_server({
            'relay_from': ['127.0.0.0/8'],
            ('route', 'stalled.test'): route(stalled, timeout=slow),
            ('route', 'good.test'): route(good)})
        with Client(server.port) as client:
            for n in range(100):
                client.message('from@local.test', f'x{n}@stalled.test', sample(f'stalled{n}'))
            for n in range(20):
                client.message('from@local.test', f'x{n}@good.test', sample(f'good{n}'))
                client.message('from@local.test', 'box@local.test', sample(f'box{n}'))
            client.quit()
        self.wait_for(lambda: len(good.messages) == 20, 'the good ones', 5)
        server.wait_mail('box', 20, timeout=5)
        self.assertEqual(server.status()['queue'], 100)

    def test_second_destination(self):
        """A route with two hosts: when the first is down the second is taken at once."""
        first, second = self.next_hop(), self.next_hop()
        first.refuse()
        server = self.server = self.start_server({
            'relay_from': ['127.0.0.0/8'],
            'retry': {'intervals': ['30s'], 'expire': '1h', 'jitter': 0},
            ('route', 'two.test'): {'to': [f'smtp://127.0.0.1:{first.port}',
                                           f'smtp://127.0.0.1:{second.port}'], 'timeout': SHORT}})
        send_message(server.port, 'from@local.test', 'x@two.test', sample('second'))
        self.wait_for(lambda: second.messages, 'at the second host', 10)
        first.listen()
        self.settle()


class Mailboxes(Faults):
    def test_unusable_mailbox(self):
        """A file where the mailbox's folder should be: deferred; delivered when that is mended."""
        server = self.server = self.start_server()
        (server.mail / 'local.test').mkdir(parents=True)
        blocker = server.mail / 'local.test' / 'box'
        blocker.write_text('in the way')
        send_message(server.port, 'ann@client.test', ['box@local.test', 'other@local.test'], sample('box'))
        server.wait_mail('other')
        self.wait_for(lambda: server.status()['deferred'] >= 1, 'deferred')
        self.assertEqual(blocker.read_text(), 'in the way')
        blocker.unlink()
        split_trace(server.wait_mail('box')[0], sample('box'))
        self.settle()
        self.assertEqual(len(server.maildir('other')), 1)

    def test_hostile_local_parts(self):
        """No local part leaves the folder of its domain."""
        server = self.server = self.start_server()
        accepted = 0
        with Client(server.port) as client:
            for local in ('../../escape', '..', '.', 'a/b', '/etc/x', '"../up"', '"a/../../b"', '%u', '%d%u',
                          'x' * 64, '"new"', 'tmp/x', '-rf', '$(id)', '"a b"'):
                client.command('MAIL FROM:<from@local.test>', 250)
                reply = client.command(f'RCPT TO:<{local}@local.test>', (250, 501, 550, 553))
                if reply.code == 250:
                    client.command('DATA', 354)
                    client.send(sample('hostile') + b'.\r\n')
                    accepted += client.expect((250, 550, 553, 554)).code == 250
                else:
                    client.command('RSET', 250)
            client.quit()
        self.settle()
        known = {server.config, server.log_path, server.control}
        for path in self.directory.rglob('*'):
            if path.is_file() and path not in known and server.spool not in path.parents:
                self.assertRegex(str(path.relative_to(server.directory)),
                                 r'^mail/local\.test/[^/]+/(new|cur)/[^/]+$')
        delivered = [p for p in server.mail.rglob('new/*') if p.is_file()]
        self.assertEqual(len(delivered), accepted, 'each accepted one delivered or bounced')


if __name__ == '__main__':
    main()
