# SPDX-License-Identifier: GPL-2.0-or-later
"""What becomes of mail when the DNS fails, in each way in which it can: delivered, deferred with the reason, or bounced at
once. In a network of the test's own, so that port 25 is free."""

import time

from mailring_e2e import (EMPTY, GARBAGE, HALF, LOOP, NXDOMAIN, OTHER_NAME, OTHER_QUESTION, REFERRAL, REFUSED, SERVFAIL,
                          TIMEOUT, TRUNCATE, WRONG_ID, Client, DnsServer, Dsn, Outbound, main, namespace, sample, send_message)

# No answer, or none that means anything: perhaps there is one later.
NO_ANSWER = {word.lower().replace('_', '-'): word for word in (
    SERVFAIL, REFUSED, TIMEOUT, GARBAGE, REFERRAL, WRONG_ID, OTHER_NAME, OTHER_QUESTION, LOOP, HALF)}


def setUpModule():
    namespace.enter_network()


class NoAnswer(Outbound):
    """Mail waits, nothing is bounced; once there is an answer it goes out."""

    def fail_and_mend(self, zone_of, reason, **dns):
        """`zone_of(word, bad)`: records of a domain; all faults at once, each for a domain of its own."""
        hop = self.hop()
        state = {'bad': True}
        zone = {'good.test': {'A': [hop.address]}}
        for name, word in NO_ANSWER.items():
            zone |= zone_of(name, lambda good, word=word: lambda *_: word if state['bad'] else good)
        self.start(zone, **dns)
        for name in NO_ANSWER:
            self.send(f'x@{name}.test')
        for name in NO_ANSWER:
            self.waits(f'x@{name}.test', reason.format(name))
        asked = len(self.dns.queries)
        state['bad'] = False
        self.wait_for(lambda: len(hop.messages) >= len(NO_ANSWER), lambda: f'delivered: {self.server.queue()}', 40)
        self.assertEqual(sorted(m.recipients[0] for m in hop.messages), sorted(f'x@{name}.test' for name in NO_ANSWER))
        self.server.wait_drained()
        self.assertEqual(len(self.server.maildir('from')), 0)
        self.assertLess(asked, 20 * len(NO_ANSWER), 'questions without end')

    def test_of_the_domain(self):
        def zone_of(name, faulty):
            return {f'{name}.test': faulty({'MX': [(10, 'good.test')]})}
        self.fail_and_mend(zone_of, 'Cannot look up the MX records of {}.test now')

    def test_of_the_host(self):
        def zone_of(name, faulty):
            return {f'{name}.test': {'MX': [(10, f'host.{name}.test')]},
                    f'host.{name}.test': faulty({'CNAME': 'good.test'})}
        self.fail_and_mend(zone_of, 'Cannot look up the address of host.{}.test now')

    def test_of_one_host_of_two(self):
        """The other one is used at once."""
        hop = self.hop()
        zone = {'good.test': {'A': [hop.address]}}
        for name, word in NO_ANSWER.items():
            zone |= {f'{name}.test': {'MX': [(10, f'host.{name}.test'), (20, 'good.test')]}, f'host.{name}.test': word}
        self.start(zone)
        for name in NO_ANSWER:
            self.send(f'x@{name}.test')
        self.wait_for(lambda: len(hop.messages) >= len(NO_ANSWER), lambda: f'delivered: {self.server.queue()}', 30)
        self.server.wait_drained()

    def test_of_one_family(self):
        """An address of the other is enough; without one, the mail waits."""
        hop = self.hop()
        zone = {}
        for name, word in NO_ANSWER.items():
            zone |= {f'{name}.test': {'A': [hop.address], 'AAAA': word}, f'no-{name}.test': {'A': word, 'AAAA': []}}
        self.start(zone)
        for name in NO_ANSWER:
            self.send([f'x@{name}.test', f'x@no-{name}.test'])
        self.wait_for(lambda: len(hop.messages) >= len(NO_ANSWER), lambda: f'delivered: {self.server.queue()}', 30)
        for name in NO_ANSWER:
            self.waits(f'x@no-{name}.test', f'Cannot look up the address of no-{name}.test now')

    def test_truncated_and_no_tcp(self):
        self.start({'a.test': {'MX': [(10, 'good.test')], TRUNCATE: True}}, tcp=False)
        self.send('x@a.test')
        self.waits('x@a.test', 'Cannot look up the MX records of a.test now')

    def test_a_lame_server_beside_a_good_one(self):
        """One that does not answer what it was asked is passed over."""
        hop = self.hop()
        for word in (SERVFAIL, REFUSED, TIMEOUT, WRONG_ID, OTHER_QUESTION):
            with self.subTest(word):
                lame = self.dns_server({'a.test': word, 'good.test': word})
                good = self.dns_server({'a.test': {'MX': [(10, 'good.test')]}, 'good.test': {'A': [hop.address]}})
                before = len(hop.messages)
                self.start({}, {'dns': {'servers': [f'127.0.0.1:{lame.port}', f'127.0.0.1:{good.port}'],
                                        'timeout': '500ms'}})
                self.send('x@a.test')
                self.arrived(hop, before + 1)
                self.server.stop()


class Certain(Outbound):
    """What is said for certain is final, and said to the sender at once."""

    def test_bounced_at_once(self):
        hop = self.hop()
        domains = {
            'none.test': (NXDOMAIN, '5.1.2'),
            'null.test': ({'MX': [(0, '.')], 'A': [hop.address]}, '5.1.10'),
            'bare.test': ({'TXT': ['nothing']}, '5.4.4'),
            'empty.test': (EMPTY, '5.4.4'),
            'no-hosts.test': ({'MX': [(10, 'none1.test'), (20, 'none2.test')], 'A': [hop.address]}, '5.4.4'),
            'unusable.test': ({'MX': [(10, 'zero.test')]}, '5.4.4'),
            'nameless.test': ({'MX': [(10, '.'), (20, '.')]}, '5.1.2'),
            'alias-to-none.test': ({'CNAME': 'none.test'}, '5.1.2'),
        }
        self.start({'zero.test': {'A': ['0.0.0.0'], 'AAAA': ['::']},
                    **{name: value for name, (value, _) in domains.items() if value != NXDOMAIN}})
        for name in domains:
            send_message(self.server.port, f'{name}@local.test', f'x@{name}', sample(name))
        for name, (_, status) in domains.items():
            with self.subTest(name):
                octets, = self.server.wait_mail(name)
                self.assertEqual(Dsn(octets).recipients[f'x@{name}']['status'], status)
        self.server.wait_drained()
        self.assertEqual(hop.connections, [])
        for name in domains:
            self.assertLessEqual(self.dns.count(name, 'MX'), 1)

    def test_delivered_all_the_same(self):
        hop, other = self.hop(), self.hop()
        domains = {
            'itself.test': {'MX': [(10, 'itself.test')], 'A': [hop.address]},
            'literal.test': {'MX': [(10, hop.address)]},
            'one-nameless.test': {'MX': [(0, '.'), (10, 'good.test')]},
            'empty-mx.test': {'MX': EMPTY, 'A': [hop.address]},
            'alias.test': {'CNAME': 'real.test'},
            'long-alias.test': {'CNAME': 'c1.test'},
            'alias-host.test': {'MX': [(10, 'called-good.test')]},
            'odd-type.test': {'MX': [(10, 'good.test')], 'TXT': ['x' * 3000]},
            'twice.test': {'MX': [(10, 'good.test'), (20, 'good.test'), (30, 'good.test')]},
        }
        chain = {f'c{n}.test': {'CNAME': f'c{n + 1}.test'} for n in range(1, 8)}
        self.start({'good.test': {'A': [hop.address]}, 'called-good.test': {'CNAME': 'good.test'},
                    'real.test': {'MX': [(10, 'good.test')]}, 'other.test': {'A': [other.address]},
                    **chain, 'c8.test': {'MX': [(10, 'good.test')]}, **domains})
        for name in domains:
            self.send(f'x@{name}')
        self.wait_for(lambda: sum(len(m.recipients) for m in hop.messages) >= len(domains),
                      lambda: f'delivered: {self.server.queue()}\n{self.server.tail(20)}')
        self.assertEqual(sorted(m.recipients[0] for m in hop.messages), sorted(f'x@{name}' for name in domains))


class InTheSession(Outbound):
    """With `verify` the client is told at once; what is not certain is for later."""

    def test_verified(self):
        zone = {f'{name}.test': word for name, word in NO_ANSWER.items()}
        self.start({**zone, 'null.test': {'MX': [(0, '.')]}, 'bare.test': {'TXT': ['nothing']},
                    'good.test': {'MX': [(10, 'anything.test')]}}, {'verify': {'recipient_domain': 'yes'}})
        with Client(self.server.port) as client:
            client.command('MAIL FROM:<from@local.test>', 250)
            for name, code in {**dict.fromkeys(NO_ANSWER, 450), 'none': 550, 'null': 556, 'bare': 550, 'good': 250}.items():
                with self.subTest(name):
                    client.command(f'RCPT TO:<x@{name}.test>', code)


class Size(Outbound):
    def test_hundreds_of_hosts(self):
        """60 KB over TCP; the best of them stands last."""
        hop = self.hop()
        names = [f'{n}.' + '.'.join('h' * 60 for _ in range(3)) + '.test' for n in range(290)]
        self.start({'a.test': {'MX': [(100 + n, name) for n, name in enumerate(names)] + [(5, 'best.test')]},
                    'best.test': {'A': [hop.address]}})
        self.send('x@a.test')
        self.arrived(hop)
        self.assertEqual([via for name, kind, via, _ in self.dns.queries if (name, kind) == ('a.test', 'MX')], ['udp', 'tcp'])
        self.assertLess(len(self.dns.queries), 200)

    def test_hundreds_of_addresses(self):
        """None of them answers: a bounded number is tried, and the mail waits."""
        self.start({'a.test': {'A': [f'127.9.{n // 250}.{n % 250 + 1}' for n in range(2000)]}})
        self.send('x@a.test')
        self.waits('x@a.test', 'a.test[127.9.')
        self.assertLessEqual(self.server.status()['connections_failed'], 2 * 64)

    def test_long_texts_and_names(self):
        """The longest names that there are."""
        hop = self.hop()
        longest = '.'.join(('a' * 63, 'b' * 63, 'c' * 63, 'd' * 56 + '.test'))
        self.assertEqual(len(longest), 253)
        self.start({longest: {'MX': [(10, 'x' + longest[1:])]}, 'x' + longest[1:]: {'A': [hop.address]},
                    'a.test': {'MX': [(10, longest)]}})
        self.send('x@a.test')       # its MX host has no address, for certain
        self.bounced('x@a.test')
        self.assertEqual(hop.connections, [])


class Time(Outbound):
    def test_changing_answers(self):
        """Each question is answered with another host; mail goes where the last answer says."""
        hops = [self.hop() for _ in range(3)]
        for hop in hops[:2]:
            hop.refuse()
        zone = {f'h{n}.test': {'A': [hop.address]} for n, hop in enumerate(hops)}
        self.start({'a.test': lambda name, kind, count: {kind: [(10, f'h{min(count - 1, 2)}.test')]} if kind == 'MX'
                    else {}, **zone}, ttl=1)
        self.send('x@a.test')
        self.arrived(hops[2], timeout=40)
        self.assertEqual(self.dns.count('a.test', 'MX'), 3)

    def test_changing_addresses(self):
        hops = [self.hop() for _ in range(2)]
        hops[0].refuse()
        self.start({'a.test': {'MX': [(10, 'h.test')]},
                    'h.test': lambda name, kind, count: {'A': [hops[min(count - 1, 1)].address]}}, ttl=1)
        self.send('x@a.test')
        self.arrived(hops[1], timeout=40)

    def test_negative_answers_are_remembered(self):
        """For as long as the SOA says."""
        self.start({}, negative_ttl=3600)
        for n in range(5):
            send_message(self.server.port, f'b{n}@local.test', f'x{n}@none.test', sample(f'n{n}'))
            self.server.wait_mail(f'b{n}')
        self.assertEqual(self.dns.count('none.test'), 1)

    def test_failures_are_remembered_for_a_moment(self):
        """A burst of mail to a broken domain asks once; later it is asked again."""
        hop = self.hop()
        state = {'bad': True}
        self.start({'a.test': lambda *_: SERVFAIL if state['bad'] else {'MX': [(10, 'good.test')]},
                    'good.test': {'A': [hop.address]}}, {'retry': {'intervals': ['100ms'], 'expire': '60s', 'jitter': 0}})
        for n in range(50):
            self.send(f'x{n}@a.test', name=f'n{n}')
        self.wait_for(lambda: self.server.status()['deferred'] >= 50, 'all deferred')
        asked, began = self.dns.count('a.test'), time.monotonic()
        self.assertLessEqual(asked, 2)     # each try of c-ares counts
        state['bad'] = False
        self.wait_for(lambda: sum(len(m.recipients) for m in hop.messages) >= 50, 'all delivered', 30)
        self.assertLess(time.monotonic() - began, 20)
        self.server.wait_drained()

    def test_a_server_that_comes_back(self):
        """Nobody at the name server's port, then somebody."""
        hop = self.hop()
        self.start({})
        port = self.dns.port
        self.dns.close()
        self.send('x@a.test')
        self.waits('x@a.test', 'Cannot look up the MX records of a.test now')
        self.dns = DnsServer({'a.test': {'MX': [(10, 'good.test')]}, 'good.test': {'A': [hop.address]}}, port=port)
        self.addCleanup(self.dns.close)
        self.arrived(hop, timeout=30)


if __name__ == '__main__':
    main()
