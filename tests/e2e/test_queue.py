# SPDX-License-Identifier: GPL-2.0-or-later
"""The operator and his queue: thousands of messages that cannot leave, selected, summed up, held, released,
returned, deleted, exported and imported, while the server works and over its restarts."""

import collections
import json
import os
import re
import signal
import socket
import subprocess
import threading

from mailring_e2e import MAILRING, Case, Client, Dsn, main, numbered, sample, send_message

COUNT = 1200
DOMAINS = ('one.test', 'two.test', 'three.test', 'sub.three.test', 'four.test')
SENDERS = ('ann@client.test', 'Bob@Client.test', 'news@list.test', '')
IMPORT_SLOTS = 16


def sender_of(n):
    return SENDERS[n % len(SENDERS)]


def recipients_of(n):
    """Every tenth has two, in two domains."""
    first = f'r{n}@{DOMAINS[n % len(DOMAINS)]}'
    return [first, f'extra{n}@five.test'] if n % 10 == 0 else [first]


def domain_of(address):
    return address.rpartition('@')[2].lower()


def age_body(n):
    return 'x' * 70 + '\r\n' if n % 7 else ('y' * 70 + '\r\n') * 300


class QueueCase(Case):
    """A server whose next hop answers 451 until told otherwise."""

    def start_queue(self, name=None, settings=None, **options):
        return self.start_server({
            'relay_from': ['127.0.0.0/8'], 'shards': 2, 'state': self.directory / f'state-{name}',
            'retry': {'intervals': ['1h'], 'expire': '5d', 'jitter': 0},
            ('route', 'four.test'): {'to': f'smtp://127.0.0.1:{self.hop.port}'},
            ('route', '*'): {'to': f'smtp://127.0.0.1:{self.hop.port}'}, **(settings or {})}, name=name, **options)

    def setUp(self):
        super().setUp()
        self.hop = self.next_hop({'rcpt': '451 4.7.1 come back when the disk is "new" \x1b[2J'})
        self.server = self.start_queue('first')

    def fill(self, server, count=COUNT):
        with Client(server.port) as client:
            for n in range(count):
                if n % 500 == 499:
                    client.quit()
                    client.__init__(server.port)
                client.message(sender_of(n), recipients_of(n), sample(f'q{n}', age_body(n)))
            client.quit()
        self.wait_for(lambda: all(r['attempts'] or m['state'] == 'parked' for m in server.queue()
                                  for r in m['recipients']), 'all tried or parked', 60)

    def ids(self, *words, server=None):
        return {m['id'] for m in (server or self.server).queue(*words)}

    def count(self, server, *words):
        return json.loads(server.run('queue', *words, '--json').stdout)['messages']


class Filters(QueueCase):
    def test_each_filter_against_the_whole_list(self):
        self.fill(self.server)
        queue = self.server.queue()
        self.assertEqual(len(queue), COUNT)
        self.assertEqual(len({m['id'] for m in queue}), COUNT)

        def waiting(message):
            return [r['address'] for r in message['recipients'] if r['state'] in ('waiting', 'held')]

        def to(match):
            return lambda m: any(match(address) for address in waiting(m))

        largest = sorted(m['size'] for m in queue)
        size = largest[len(largest) // 2]
        table = {
            '--sender=ann@client.test': lambda m: m['sender'] == 'ann@client.test',
            '--sender=BOB@client.TEST': lambda m: m['sender'] == 'Bob@Client.test',
            '--sender=@list.test': lambda m: domain_of(m['sender']) == 'list.test',
            '--sender=client.test': lambda m: domain_of(m['sender']) == 'client.test',
            '--sender=<>': lambda m: m['sender'] == '',
            '--sender=nobody@client.test': lambda m: False,
            '--domain=three.test': to(lambda a: domain_of(a) == 'three.test'),
            '--domain=five.test': to(lambda a: domain_of(a) == 'five.test'),
            '--domain=*.three.test': to(lambda a: domain_of(a).endswith('.three.test')),
            '--recipient=r17@THREE.test': to(lambda a: a == 'r17@three.test'),
            '--recipient=r1*@t*': to(lambda a: re.fullmatch(r'r1.*@t.*', a)),
            '--recipient=*extra*': to(lambda a: 'extra' in a),
            '--route=four.test': to(lambda a: domain_of(a) == 'four.test'),
            '--route=*': to(lambda a: domain_of(a) != 'four.test'),
            '--reason=DISK is "new"': lambda m: 'disk is "new"' in m['reason'],
            '--reason=another': lambda m: False,
            '--older=1d': lambda m: False,
            '--younger=1d': lambda m: True,
            f'--larger={size}': lambda m: m['size'] > size,
            f'--smaller={size}': lambda m: m['size'] < size,
            '--state=held': lambda m: m['state'] == 'held',
            '--state=waiting,parked,ready,active': lambda m: True,
        }
        for words, match in table.items():
            with self.subTest(words):
                self.assertEqual(self.ids(words), {m['id'] for m in queue if match(m)})
        both = self.ids('--sender=client.test', '--domain=one.test', f'--larger={size}')
        self.assertEqual(both, {m['id'] for m in queue if table['--sender=client.test'](m)
                                and 'one.test' in [domain_of(a) for a in waiting(m)] and m['size'] > size})
        self.assertEqual(len(self.ids('--limit=7')), 7)
        some = sorted(m['id'] for m in queue)[::50]
        self.assertEqual(self.ids(*some), set(some))
        self.assertEqual({m['id'] for m in json.loads(
            self.server.run('queue', 'delete', '--domain=two.test', '--dry-run', '--json').stdout)},
            self.ids('--domain=two.test'))
        self.assertEqual(len(self.server.queue()), COUNT, 'a dry run does nothing')
        self.summaries(queue)
        self.server.stop()
        self.server.start()
        self.assertEqual(self.ids('--sender=client.test'),
                         {m['id'] for m in queue if table['--sender=client.test'](m)}, 'after a restart')
        self.summaries(queue)

    def summaries(self, queue):
        def expect(by, names):
            counted, recipients, octets = (collections.Counter() for _ in range(3))
            for message in queue:
                for name, number in collections.Counter(names(message)).items():
                    counted[name] += 1
                    recipients[name] += number
                    octets[name] += message['size']
            answer = json.loads(self.server.run('queue', 'summary', f'--by={by}', '--json').stdout)
            self.assertEqual({r[by]: r['messages'] for r in answer['rows']}, counted, by)
            self.assertEqual({r[by]: r['recipients'] for r in answer['rows']}, recipients, by)
            self.assertEqual({r[by]: r['bytes'] for r in answer['rows']}, octets, by)
            self.assertEqual(answer['messages'], len(queue))
            order = [r['messages'] for r in answer['rows']]
            self.assertEqual(order, sorted(order, reverse=True))

        expect('domain', lambda m: [domain_of(r['address']) for r in m['recipients']])
        expect('route', lambda m: ['four.test' if domain_of(r['address']) == 'four.test' else '*'
                                   for r in m['recipients']])
        expect('sender', lambda m: [m['sender'].lower() or '<>'] * len(m['recipients']))
        expect('sender-domain', lambda m: [domain_of(m['sender']) or '<>'] * len(m['recipients']))
        part = json.loads(self.server.run('queue', 'summary', '--sender=list.test', '--json').stdout)
        self.assertEqual(part['messages'], sum(m['sender'] == 'news@list.test' for m in queue))
        top = json.loads(self.server.run('queue', 'summary', '--limit=2', '--json').stdout)
        self.assertEqual(len(top['rows']), 2)
        self.assertEqual(top['groups'], 6)
        text = self.server.run('queue', 'summary').stdout
        self.assertIn('five.test', text)
        self.assertRegex(text, rf'\b{len(queue)}\b.*in all')

    def test_nothing_of_others_reaches_the_terminal(self):
        with Client(self.server.port) as client:
            client.message('ann@client.test', ['x@one.test'], sample('x'))
            client.quit()
        self.wait_for(lambda: [m for m in self.server.queue() if m['reason']], 'tried')
        for command in (('queue',), ('queue', 'show', '--younger=1h'), ('queue', 'summary', '--by=reason'),
                        ('queue', 'list', '--json'), ('queue', 'delete', '\x1b[2J\n'),
                        ('queue', 'list', '--reason=\x1b[2J'), ('explain', 'x\x1b@one.test')):
            done = self.server.run(*command, code=None)
            self.assertNotRegex(done.stdout + done.stderr, r'[\x00-\x09\x0b-\x1f\x7f]', command)

    def test_usage(self):
        for words in (('dance',), ('list', '--colour=red'), ('delete',), ('delete', '--limit=3'), ('retry', 'x'),
                      ('delete', '--older=soon'), ('delete', 'all', '--domain=a.test'), ('set', 'all'),
                      ('hold', '--future'), ('release', '--rule=x'), ('list', '--domain')):
            done = self.server.run('queue', *words, code=64)
            self.assertIn('mailring', done.stderr)
            self.assertEqual(done.stdout, '')
        self.assertIn('--deliver-by', self.server.run('queue', 'help').stdout)
        self.assertEqual(self.server.run('queue').stdout, self.server.run('queue', 'list').stdout)


class Actions(QueueCase):
    def test_delete_concerns_those_that_are_named(self):
        """Of a message to several domains only the recipients of that domain go."""
        self.fill(self.server, 200)
        queue = self.server.queue()
        hit = [m for m in queue if any(domain_of(r['address']) == 'five.test' for r in m['recipients'])]
        self.assertEqual(self.count(self.server, 'delete', '--domain=five.test'), len(hit))
        self.assertEqual(self.ids(), {m['id'] for m in queue}, 'their other recipients are left')
        self.assertEqual(self.ids('--domain=five.test'), set())
        self.assertEqual(self.count(self.server, 'delete', '--sender=ann@client.test', '--larger=1K'),
                         len([m for m in queue if m['sender'] == 'ann@client.test' and m['size'] > 1024]))
        left = self.ids()
        self.server.kill()
        self.server.start()
        self.assertEqual(self.ids(), left)
        self.assertEqual(self.ids('--domain=five.test'), set())
        self.hop.answers.clear()
        self.server.run('queue', 'retry', 'all')
        self.server.wait_drained(60)
        got = [r for m in self.hop.messages for r in m.recipients]
        self.assertEqual(len(got), len(set(got)))
        self.assertEqual(len(got), len(left))
        self.assertFalse([r for r in got if domain_of(r) == 'five.test'])

    def test_hold_and_release(self):
        self.fill(self.server, 100)
        held = self.ids('--domain=one.test')
        self.assertEqual(self.count(self.server, 'hold', '--domain=one.test', '--reason=wait for \x07 Monday'),
                         len(held))
        self.hop.answers.clear()
        self.server.run('queue', 'retry', 'all')
        self.wait_for(lambda: self.server.status()['queue'] == len(held), 'the others leave', 30)
        self.assertEqual(self.ids('--state=held'), held)
        self.assertEqual(self.ids('--reason=wait for'), held)
        self.server.kill()
        self.server.start()
        self.assertEqual(self.ids('--state=held'), held, 'over a crash')
        self.assertEqual({m['reason'] for m in self.server.queue()}, {'held by the operator: wait for ? Monday'})
        self.assertEqual(self.count(self.server, 'release', '--state=held'), len(held))
        self.server.wait_drained(30)
        one = next(iter(held))
        self.assertIn('no such message', self.server.run('queue', 'show', one, code=69).stderr)
        self.assertIn('log', self.server.run('explain', one, code=69).stderr)

    def test_hold_until(self):
        send_message(self.server.port, 'ann@client.test', 'x@one.test', sample('x'))
        self.wait_for(lambda: [m for m in self.server.queue() if m['reason']], 'tried')
        self.hop.answers.clear()
        self.server.run('queue', 'hold', 'all', '--until=2s')
        self.assertEqual([m['state'] for m in self.server.queue()], ['held'])
        self.server.wait_drained(20)

    def test_rules(self):
        """A rule catches mail to come, over a restart; its end lets everything go."""
        self.hop.answers.clear()
        rule = json.loads(self.server.run('queue', 'hold', '--future', '--domain=One.test',
                                          '--reason=their disk is full', '--json').stdout)['rule']
        self.server.run('queue', 'hold', '--future', '--sender=<>', '--until=1h')
        listed = json.loads(self.server.run('queue', 'holds', '--json').stdout)
        self.assertEqual([(r['rule'], r['reason']) for r in listed], [(rule, 'their disk is full'), (rule + 1, '')])
        for n in range(20):
            send_message(self.server.port, '' if n % 4 == 0 else 'ann@client.test',
                         f'x{n}@{"one" if n % 2 else "two"}.test', sample(f'x{n}'))
        self.wait_for(lambda: len(self.hop.messages) == 5, 'who is not held')
        self.wait_for(lambda: len(self.ids('--state=held')) == 15, 'who is')
        self.server.kill()
        self.server.start()
        self.wait_for(lambda: len(self.ids('--state=held')) == 15, 'held again')
        self.assertEqual(json.loads(self.server.run('queue', 'holds', '--json').stdout), listed)
        message = self.server.queue('--domain=one.test')[0]
        shown = json.loads(self.server.run('explain', message['id'], '--json').stdout)['message']
        self.assertEqual(shown['rule'], rule)
        self.assertIn('their disk is full', self.server.run('explain', message['id']).stdout)
        self.server.run('queue', 'release', f'--rule={rule}')
        self.wait_for(lambda: len(self.hop.messages) == 15, 'the first rule ended')
        self.assertEqual(len(self.ids('--state=held')), 5)
        self.server.run('queue', 'release', f'--rule={rule}', code=69)
        self.server.run('queue', 'release', '--rule=all')
        self.server.wait_drained()
        self.assertEqual(self.server.run('queue', 'holds').stdout, '')
        self.assertEqual(len(self.hop.messages), 20)

    def test_damaged_rules(self):
        self.server.run('queue', 'hold', '--future', '--domain=one.test')
        self.server.stop()
        path = self.directory / 'state-first' / 'holds'
        text = path.read_text()
        path.write_text('1 colour never red \n' + text + '77 dom')
        self.server.start()
        self.server.wait_log('event=holds-damaged')
        self.assertEqual(len(json.loads(self.server.run('queue', 'holds', '--json').stdout)), 1)
        self.server.run('queue', 'hold', '--future', '--domain=two.test')
        self.assertIn('colour', (path.parent / 'holds.damaged').read_text())

    def test_bounce(self):
        with Client(self.server.port) as client:
            client.message('box@local.test', ['x@one.test', 'y@one.test'], sample('returned'))
            client.message('box@local.test', ['x@two.test', 'y@one.test'], sample('mixed'))
            client.quit()
        self.wait_for(lambda: len([m for m in self.server.queue() if m['reason']]) == 2, 'tried')
        answer = json.loads(self.server.run('queue', 'bounce', '--domain=one.test', '--text=they are gone',
                                            '--json').stdout)
        self.assertEqual(answer, {'messages': 1, 'left': 1}, 'the mixed one is left alone')
        dsn = Dsn(self.server.wait_mail('box')[0])
        self.assertEqual(set(dsn.recipients), {'x@one.test', 'y@one.test'})
        self.assertIn('they are gone', dsn.recipients['x@one.test']['diagnostic-code'])
        self.assertEqual([len(m['recipients']) for m in self.server.queue()], [2])

    def test_set(self):
        send_message(self.server.port, 'box@local.test', 'x@one.test', sample('x'))
        self.wait_for(lambda: [m for m in self.server.queue() if m['reason']], 'tried')
        self.server.run('queue', 'set', 'all', '--priority=7', '--deliver-by=2s')
        self.assertEqual(self.server.queue()[0]['priority'], 7)
        self.assertTrue(Dsn(self.server.wait_mail('box', timeout=30)[0]).recipients['x@one.test'])

    def test_while_mail_flows(self):
        """Deleting, holding and listing while mail comes in and leaves: every message has one fate."""
        self.fill(self.server, 300)
        self.hop.answers = {'rcpt': lambda e: None if 'flow' in e.address else '451 4.7.1 no'}
        over = threading.Event()
        sent = []

        def flow():
            n = 0
            while not over.is_set() and n < 3000:
                send_message(self.server.port, 'flow@client.test', f'flow{n}@six.test', sample(f'flow{n}'))
                sent.append(f'flow{n}@six.test')
                n += 1

        thread = threading.Thread(target=flow)
        thread.start()
        try:
            deleted = 0
            for domain in DOMAINS:
                self.server.run('queue', 'hold', f'--domain={domain}')
                self.server.queue()
                deleted += self.count(self.server, 'delete', f'--domain={domain}', '--state=held')
                json.loads(self.server.run('queue', 'summary', '--json').stdout)
        finally:
            over.set()
            thread.join()
        self.assertEqual(self.count(self.server, 'delete', '--domain=five.test') , 30)
        self.server.run('queue', 'retry', 'all')
        self.server.wait_drained(60)
        got = [r for m in self.hop.messages for r in m.recipients]
        self.assertEqual(sorted(got), sorted(sent))
        self.assertEqual(deleted, 300)


class Explain(QueueCase):
    def test_addresses(self):
        text = self.server.run('explain', 'box@local.test').stdout
        self.assertIn('maildir:', text)
        answer = json.loads(self.server.run('explain', 'x@four.test', '--sender=ann@client.test', '--json').stdout)
        self.assertIn('four.test', json.dumps(answer))
        for words in ((), ('x',), ('a@b.test', 'c@d.test'), ('a@b.test', '--colour=red')):
            self.server.run('explain', *words, code=64 if words != ('x',) else 69)

    def test_a_message(self):
        with Client(self.server.port) as client:
            client.message('ann@client.test', ['x@one.test', 'y@four.test'], sample('x'))
            client.quit()
        self.wait_for(lambda: [m for m in self.server.queue() if m['reason']], 'tried')
        identity = self.server.queue()[0]['id']
        text = self.server.run('explain', identity).stdout
        for word in ('come back when the disk', 'x@one.test', 'given-up=', 'route "four.test"', 'attempts=1'):
            self.assertIn(word, text)
        answer = json.loads(self.server.run('explain', identity, '--json').stdout)
        self.assertEqual(answer['message']['id'], identity)
        self.assertEqual(len(answer['ways']), 2)
        self.assertTrue(all(r['given_up'] for r in answer['message']['recipients']))


class Transfer(QueueCase):
    def transfer(self, server, data, *words, code=0):
        done = subprocess.run([MAILRING, 'queue', 'import', *words, '-c', server.config], input=data,
                              capture_output=True, timeout=120)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return (done.stdout + done.stderr).decode()

    def export(self, server, *words):
        done = subprocess.run([MAILRING, 'queue', 'export', *words, '-c', server.config], capture_output=True,
                              timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def delivered(self):
        return collections.Counter(r for m in self.hop.messages for r in m.recipients)

    def test_move(self):
        """Everything arrives once, with its octets, arrival and attempts; a large body too."""
        self.fill(self.server, 600)
        large = numbered('large', 6 << 20)
        send_message(self.server.port, 'ann@client.test', 'large@one.test', large)
        self.wait_for(lambda: all(r['attempts'] or m['state'] == 'parked' for m in self.server.queue()
                                  for r in m['recipients']), 'tried')
        before = {(m['sender'], m['recipients'][0]['address']): m for m in self.server.queue()}
        data = self.export(self.server, '--younger=1d')
        self.assertEqual(len(self.ids('--state=held', '--reason=exported')), 601)
        second = self.start_queue('second')
        self.assertIn('601 messages imported', self.transfer(second, data))
        after = {(m['sender'], m['recipients'][0]['address']): m for m in second.queue()}
        self.assertEqual(set(after), set(before))
        for key, message in after.items():
            self.assertEqual(message['arrived'], before[key]['arrived'])
            self.assertEqual(message['size'], before[key]['size'])
            for new, old in zip(message['recipients'], before[key]['recipients']):
                self.assertEqual(new['address'], old['address'])
                self.assertGreaterEqual(new['attempts'], old['attempts'])
        counts = json.loads(second.run('queue', 'summary', '--json').stdout)['rows']
        self.assertEqual({r['domain']: r['recipients'] for r in counts},
                         collections.Counter(domain_of(r['address']) for m in before.values()
                                             for r in m['recipients']))
        second.kill()
        second.start()
        self.assertEqual(len(second.queue()), 601, 'they were stable when they were counted')
        self.hop.answers.clear()
        second.run('queue', 'retry', 'all')
        second.wait_drained(60)
        self.assertEqual(set(self.delivered().values()), {1})
        self.assertEqual(sum(self.delivered().values()), 660 + 1)
        self.assertTrue(self.hop.for_recipient('large@one.test')[0].octets.endswith(large))
        self.assertEqual(self.count(self.server, 'delete', '--reason=exported'), 601)
        self.assertEqual(self.server.status()['queue'], 0)

    def test_damage_and_going_on(self):
        self.fill(self.server, 60)
        data = self.export(self.server, 'all', '--copy')
        self.assertEqual(self.ids('--state=held'), set(), 'copies leave them alone')
        second = self.start_queue('second', {('route', '*'): {'to': f'smtp://127.0.0.1:{self.hop.port}'}})
        at = data.index(b'message 41 ')
        damaged = data[:at] + data[at:].replace(b'Subject:', b'Subjekt:', 1)
        text = self.transfer(second, damaged, code=65)
        self.assertIn('record 41: the checksum is wrong', text)
        self.assertIn('40 messages imported', text)
        self.assertEqual(len(second.queue()), 40)
        self.assertIn('--skip=1-40', text)
        self.assertIn('20 messages imported, 40 left out', self.transfer(second, data, '--skip=1-40'))
        self.assertEqual(len(second.queue()), 60)
        senders = sorted((m['sender'], m['recipients'][0]['address']) for m in second.queue())
        self.assertEqual(senders, sorted((m['sender'], m['recipients'][0]['address']) for m in self.server.queue()))
        third = self.start_queue('third')
        self.assertIn('cut off', self.transfer(third, data[:at + 50], code=65))
        self.assertEqual(len(third.queue()), 40)
        self.assertIn('record 41', self.transfer(third, damaged, '--skip=1-40', code=65))
        self.assertIn('19 messages imported, 41 left out', self.transfer(third, damaged, '--skip=1-41', '--hold'))
        self.assertEqual(len(self.ids('--state=held', server=third)), 19)
        for junk in (b'', b'x', b'\0' * 100000, b'mailring-export 2\n', b'mailring-export 1\nmessage 1 x 3\n',
                     b'mailring-export 1\nmessage 1 99999999999 3\n', b'mailring-export 1\nmessage 1 2 3\n{}\nabc\n',
                     b'mailring-export 1\nend 1 1'):
            self.assertIn('0 messages imported', self.transfer(third, junk, code=65))
        self.assertEqual(len(third.queue()), 59)

    def test_evil_envelopes(self):
        """What an import says is not believed."""
        send_message(self.server.port, 'ann@client.test', 'x@one.test', sample('x'))
        self.wait_for(lambda: [m for m in self.server.queue() if m['reason']], 'tried')
        data = self.export(self.server, 'all', '--copy')
        _, head, rest = data.split(b'\n', 2)
        length, body_length = map(int, head.split()[2:])
        envelope = json.loads(rest[:length])
        body = rest[length + 1:length + 1 + body_length]
        self.assertIn('1 message imported', self.transfer(self.server, self.frame(envelope, body)))
        for change in ({'sender': 'a>\r\nRCPT TO:<b@c.test'}, {'sender': 5}, {'recipients': []}, {'recipients': 7},
                       {'recipients': [{'address': 'x y@z.test'}]}, {'arrived': -1}, {'arrived': 'now'},
                       {'envid': 'a b'}, {'recipients': [{'address': 'x@one.test', 'orcpt': 'rfc822;x\r\n'}]},
                       {'recipients': [{'address': 'x@one.test', 'state': 'delivered'}]},
                       {'recipients': [{'address': 'x@one.test', 'notify': ['always']}]}, {'priority': 99},
                       {'notification': True}):
            self.assertIn('record 1: ', self.transfer(self.server, self.frame({**envelope, **change}, body), code=65))
        for evil in (b'a\nb\r\n', b'a\rb\r\n', b'\n', b'a\r'):
            self.assertIn('alone', self.transfer(self.server, self.frame(envelope, evil), code=65))
        self.hop.answers.clear()
        for good in (b'', b'.\r\n', b'..\r\nx', b'a\r\n.\r\nb\r\n'):
            self.transfer(self.server, self.frame({**envelope, 'facts': 'a\r\n\x1b[2J'}, good))
        self.server.run('queue', 'retry', 'all')
        self.server.wait_drained()
        bodies = sorted(m.octets.partition(b'\r\n\r\n')[0] if b'Subject' in m.octets else m.octets
                        for m in self.hop.messages)
        self.assertEqual(len(bodies), 6)
        self.assertTrue({b'.\r\n', b'a\r\n.\r\nb\r\n'} <= set(bodies), bodies)

    @staticmethod
    def frame(envelope, body):
        text = json.dumps(envelope).encode()
        return (b'mailring-export 1\nmessage 1 %d %d\n%s\n%s\ncrc32c %08x\nend 1 0\n'
                % (len(text), len(body), text, body, crc32c(text + body)))

    def test_killed_in_the_middle(self):
        """A client, and then a server, that goes away during an import: no half messages, and what is told to be
        taken is there."""
        self.fill(self.server, 200)
        data = self.export(self.server, 'all', '--copy')
        second = self.start_queue('second')
        for cut in (1000, len(data) // 3, len(data) // 2):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(second.control))
                client.sendall(b'queue import\n' + data[:cut])
                answer = b''
                while not re.search(rb'progress \d+\n', answer) and cut > 5000:
                    answer += client.recv(4096)
        second.wait_log(r'event=import-over.*event=import-over.*event=import-over'.replace('.*', r'[\s\S]*'))
        for message in second.queue():
            self.assertEqual(message['size'], self.size_of(message))
        second.run('queue', 'delete', 'all')
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(second.control))
            client.sendall(b'queue import\n' + data[:len(data) * 3 // 4])
            answer = b''
            while not re.search(rb'progress \d+\n', answer):
                answer += client.recv(4096)
            second.kill()
        told = int(re.findall(rb'progress (\d+)\n', answer)[-1])
        second.start()
        self.assertGreaterEqual(len(second.queue()), told)
        for message in second.queue():
            self.assertEqual(message['size'], self.size_of(message))

    def size_of(self, message):
        if not hasattr(self, 'sizes'):
            self.sizes = {(m['sender'], m['recipients'][0]['address']): m['size'] for m in self.server.queue()}
        return self.sizes[message['sender'], message['recipients'][0]['address']]

    def test_export_reader_goes(self):
        """Who stops reading in the middle harms nobody; a stop does not wait for him."""
        self.fill(self.server, 150)
        for _ in range(3):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(self.server.control))
                client.sendall(b'queue export all --copy\n')
                client.recv(1000)
        clients = []
        for _ in range(5):
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(self.server.control))
            client.sendall(b'queue export all --copy\n')
            client.recv(100)
            clients.append(client)
        self.assertEqual(len(self.server.queue()), 150)
        self.server.stop()
        for client in clients:
            client.close()

    def test_not_to_a_terminal(self):
        leader, follower = os.openpty()
        done = subprocess.run([MAILRING, 'queue', 'export', 'all', '-c', self.server.config], stdout=follower,
                              stderr=subprocess.PIPE, timeout=20)
        self.assertEqual(done.returncode, 64)
        os.close(leader)
        os.close(follower)


class Clients(QueueCase):
    def test_a_hundred_at_a_time(self):
        self.fill(self.server, 100)
        asking = [subprocess.Popen([MAILRING, 'queue', *words, '-c', self.server.config], stdout=subprocess.PIPE)
                  for words in (('list', '--json'), ('summary', '--json'), ('list', '--domain=one.test', '--json'),
                                ('hold', '--sender=list.test', '--json')) for _ in range(25)]
        for process in asking:
            out, _ = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0)
            json.loads(out)

    def test_who_reads_slowly_holds_up_nobody(self):
        self.fill(self.server, 400)
        slow = []
        for _ in range(20):
            client = socket.socket(socket.AF_UNIX)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(str(self.server.control))
            client.sendall(b'queue list json\n')
            slow.append(client)
        send_message(self.server.port, '', 'box@local.test', sample('box'))
        self.server.wait_mail('box')
        self.assertEqual(len(self.server.queue()), 400)
        for client in slow[:10]:
            client.close()
        for client in slow[10:]:
            answer = b''
            while piece := client.recv(65536):
                answer += piece
            client.close()
            listed = json.loads(answer.partition(b'\n')[2])
            self.assertEqual(len([m for m in listed if m['recipients'][0]['address'] != 'box@local.test']), 400)

    def test_an_answer_that_breaks_off_is_told(self):
        self.fill(self.server, 400)
        process = subprocess.Popen([MAILRING, 'queue', 'list', '-c', self.server.config], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        process.stdout.read(100)
        process.send_signal(signal.SIGSTOP)
        self.server.kill()
        process.send_signal(signal.SIGCONT)
        _, errors = process.communicate(timeout=20)
        if process.returncode == 0:
            self.skipTest('all of it was on its way already')
        self.assertIn(b'broke off', errors)


def crc32c(octets):
    crc = 0xffffffff
    for octet in octets:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


if __name__ == '__main__':
    main()
