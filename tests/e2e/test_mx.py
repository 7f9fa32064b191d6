# SPDX-License-Identifier: GPL-2.0-or-later
"""Delivery by MX records, against a scripted name server; next hops listen at port 25 of loopback addresses."""

import time
import unittest

from mailring_e2e import (GARBAGE, NXDOMAIN, REFUSED, SERVFAIL, TIMEOUT, TRUNCATE, Case, Client, Dsn, NextHop, main,
                          loopback_address, sample, send_message, split_trace, times)


class Mx(Case):
    def mx_hop(self, answers=None):
        for _ in range(20):
            try:
                hop = NextHop(answers, address=loopback_address(), port=25)
            except PermissionError:
                raise unittest.SkipTest('port 25 may not be bound here') from None
            except OSError:
                continue
            self.addCleanup(hop.close)
            return hop
        raise AssertionError('no free loopback address')

    def start(self, zone, **settings):
        self.dns = self.dns_server(zone)
        self.server = self.start_server({
            'relay_from': ['127.0.0.0/8'],
            'dns': {'servers': [f'127.0.0.1:{self.dns.port}'], 'timeout': '1s'},
            'verify': {'recipient_domain': 'no'},  # what the DNS says is for delivery to find out here
            'retry': {'intervals': ['1s'], 'expire': '60s', 'jitter': 0},
            ('route', '*'): {'to': 'mx', 'timeout': {'connect': '1s', 'response': '2s', 'idle': '300ms'}},
            **settings})

    def send(self, recipient, name='mx'):
        send_message(self.server.port, 'from@local.test', recipient, sample(name))

    def arrived(self, hop, count=1, timeout=15):
        self.wait_for(lambda: len(hop.messages) >= count, lambda: f'{count} at {hop.address}\n'
                      f'{self.server.tail(20)}\n{self.dns.queries[-10:]}', timeout)
        self.assertEqual(len(hop.messages), count)

    def bounce(self, recipient, timeout=15):
        octets, = self.server.wait_mail('from', timeout=timeout)
        dsn = Dsn(octets)
        self.assertEqual(list(dsn.recipients), [recipient])
        return dsn.recipients[recipient]


class Preference(Mx):
    def test_order(self):
        """The lowest number first; the next one at once when it is down, refuses to talk or stalls."""
        best, second, third = self.mx_hop(), self.mx_hop(), self.mx_hop()
        hosts = {name: {'A': [hop.address]} for name, hop in
                 (('best.test', best), ('second.test', second), ('third.test', third))}
        self.start({'a.test': {'MX': [(30, 'third.test'), (10, 'best.test'), (20, 'second.test')]}, **hosts},
                   retry={'intervals': ['30s'], 'expire': '1h', 'jitter': 0})
        self.send('x@a.test')
        self.arrived(best)
        split_trace(best.messages[0].octets, sample('mx'))
        self.wait_for(lambda: best.open_connections == 0, 'idle connection closed')
        best.refuse()
        self.send('y@a.test')
        self.arrived(second)
        self.wait_for(lambda: second.open_connections == 0, 'idle connection closed')
        second.answers['connect'] = '421 4.3.2 busy'
        self.send('z@a.test')
        self.arrived(third)
        self.assertEqual((len(best.messages), len(second.messages)), (1, 1))

    def test_temporary_refusal_of_a_recipient(self):
        """450 to RCPT by the best host: the others or a retry, but delivered once."""
        best, second = self.mx_hop({'rcpt': times(1, '450 4.2.1 greylisted')}), self.mx_hop()
        self.start({'a.test': {'MX': [(10, 'best.test'), (20, 'second.test')]},
                    'best.test': {'A': [best.address]}, 'second.test': {'A': [second.address]}})
        self.send('x@a.test')
        self.wait_for(lambda: best.messages or second.messages, 'delivered')
        self.server.wait_drained()
        self.assertEqual(len(best.messages) + len(second.messages), 1)

    def test_equal_ones_share(self):
        """Equal preference: both get some of forty messages."""
        first, second = self.mx_hop(), self.mx_hop()
        zone = {'one.test': {'A': [first.address]}, 'two.test': {'A': [second.address]}}
        zone |= {f'd{n}.test': {'MX': [(10, 'one.test'), (10, 'two.test')]} for n in range(40)}
        self.start(zone)
        for n in range(40):
            send_message(self.server.port, 'from@local.test', f'x@d{n}.test', sample(f'share{n}'))
            self.wait_for(lambda: len(first.messages) + len(second.messages) == n + 1, f'message {n}')
            self.wait_for(lambda: not first.open_connections + second.open_connections, 'idle closed')
        self.assertGreater(len(first.messages), 3)
        self.assertGreater(len(second.messages), 3)

    def test_several_addresses(self):
        """A host with a dead address and a living one."""
        hop = self.mx_hop()
        dead = loopback_address()
        self.start({'a.test': {'MX': [(10, 'both.test')]}, 'both.test': {'A': [dead, hop.address]}},
                   retry={'intervals': ['30s'], 'expire': '1h', 'jitter': 0})
        self.send('x@a.test')
        self.arrived(hop)

    def test_one_site_for_many_domains(self):
        """Domains with the same MX share connections."""
        hop = self.mx_hop()
        zone = {'shared.test': {'A': [hop.address]}}
        zone |= {f'd{n}.test': {'MX': [(10, 'shared.test')]} for n in range(30)}
        self.start(zone)
        recipients = [f'x@d{n}.test' for n in range(30)]
        send_message(self.server.port, 'from@local.test', recipients, sample('shared'))
        self.wait_for(lambda: sum(len(m.recipients) for m in hop.messages) == 30, 'all thirty')
        self.assertLessEqual(len(hop.connections), 20)


class Fallback(Mx):
    def test_without_mx(self):
        """No MX: the domain's own address (RFC 5321 5.1), by A and by AAAA."""
        hop = self.mx_hop()
        self.start({'a.test': {'A': [hop.address]}})
        self.send('x@a.test')
        self.arrived(hop)

    def test_aaaa(self):
        try:
            hop = NextHop(address='127.0.0.1', port=0)
            hop.close()
            import socket
            probe = socket.socket(socket.AF_INET6)
            probe.bind(('::1', 25))
            probe.listen(8)
        except OSError:
            raise unittest.SkipTest('port 25 of ::1 may not be bound here') from None
        self.addCleanup(probe.close)
        probe.settimeout(15)
        self.start({'a.test': {'MX': [(10, 'six.test')]}, 'six.test': {'AAAA': ['::1']}})
        self.send('x@a.test')
        connection, _ = probe.accept()
        connection.close()

    def test_unreachable_ipv6_first(self):
        """An AAAA that leads nowhere does not keep mail from the A."""
        hop = self.mx_hop()
        self.start({'a.test': {'MX': [(10, 'both.test')]},
                    'both.test': {'A': [hop.address], 'AAAA': ['2001:db8::1']}},
                   retry={'intervals': ['30s'], 'expire': '1h', 'jitter': 0})
        self.send('x@a.test')
        self.arrived(hop)

    def test_cname(self):
        hop = self.mx_hop()
        self.start({'alias.test': {'CNAME': 'real.test'}, 'real.test': {'MX': [(10, 'mx.real.test')]},
                    'mx.real.test': {'A': [hop.address]}})
        self.send('x@alias.test')
        self.arrived(hop)

    def test_address_literal(self):
        """user@[127.x.y.z] goes there without a question, or is refused at once."""
        hop = self.mx_hop()
        self.start({})
        with Client(self.server.port) as client:
            client.command('MAIL FROM:<from@local.test>', 250)
            if client.command(f'RCPT TO:<x@[{hop.address}]>', (250, 550, 553)).code == 250:
                client.command('DATA', 354)
                client.send(sample('literal') + b'.\r\n')
                client.expect(250)
                self.arrived(hop)
        self.assertEqual(self.dns.queries, [])

    def test_truncated(self):
        """TC: asked again by TCP."""
        hop = self.mx_hop()
        many = [(10, 'mx.test-host.test')] + [(20 + n, f'x{n}.' + 'l' * 50 + '.test') for n in range(30)]
        self.start({'a.test': {'MX': many, TRUNCATE: True},
                    'mx.test-host.test': {'A': [hop.address]}})
        self.send('x@a.test')
        self.arrived(hop)
        self.assertTrue(any(via == 'tcp' for _, _, via, _ in self.dns.queries))


class Failure(Mx):
    def test_no_such_domain(self):
        self.start({})
        self.send('x@nowhere.test')
        fields = self.bounce('x@nowhere.test')
        self.assertIn(fields['status'], ('5.1.2', '5.4.4', '5.1.10'))
        self.server.wait_drained()

    def test_neither_mx_nor_address(self):
        self.start({'empty.test': {'TXT': ['nothing here']}})
        self.send('x@empty.test')
        self.assertTrue(self.bounce('x@empty.test')['status'].startswith('5.'))

    def test_null_mx(self):
        """MX 0 "." (RFC 7505): bounced at once, its address is not tried."""
        hop = self.mx_hop()
        self.start({'null.test': {'MX': [(0, '.')], 'A': [hop.address]}})
        self.send('x@null.test')
        self.assertEqual(self.bounce('x@null.test')['status'], '5.1.10')
        self.assertEqual(hop.connections, [])

    def test_mx_host_unknown(self):
        """The only MX host has no address: in the end it comes back; the domain's own A is not used."""
        hop = self.mx_hop()
        self.start({'a.test': {'MX': [(10, 'missing.test')], 'A': [hop.address]}},
                   retry={'intervals': ['1s'], 'expire': '3s', 'jitter': 0})
        self.send('x@a.test')
        self.bounce('x@a.test')
        self.assertEqual(hop.connections, [])

    def temporary(self, fault, **settings):
        """Twice this answer, then the right one: delivered after that."""
        hop = self.mx_hop()
        state = {'bad': True}

        def answer(name, kind, count):
            if kind != 'MX':
                return {'MX': []} if kind != 'A' else {'A': []}
            return fault if state['bad'] else {'MX': [(10, 'good.test')]}
        self.start({'a.test': answer, 'good.test': {'A': [hop.address]}}, **settings)
        self.send('x@a.test')
        self.wait_for(lambda: self.server.status()['deferred'] >= 1, lambda: f'deferred {self.server.tail()}')
        self.wait_for(lambda: self.dns.count('a.test', 'MX') >= 2, 'asked again')
        self.assertEqual(len(self.server.maildir('from')), 0, 'no bounce for a temporary failure')
        state['bad'] = False
        self.arrived(hop, timeout=30)
        self.server.wait_drained()
        self.assertEqual(len(self.server.maildir('from')), 0)
        self.assertLess(len(self.dns.queries), 80, 'questions without end')

    def test_servfail(self):
        self.temporary(SERVFAIL)

    def test_refused(self):
        self.temporary(REFUSED)

    def test_timeout(self):
        self.temporary(TIMEOUT)

    def test_garbage(self):
        self.temporary(GARBAGE)

    def test_host_servfail(self):
        """The MX host's address cannot be found now: no bounce."""
        hop = self.mx_hop()
        state = {'bad': True}
        self.start({'a.test': {'MX': [(10, 'host.test')]},
                    'host.test': lambda name, kind, count: SERVFAIL if state['bad'] else
                    {'A': [hop.address]}})
        self.send('x@a.test')
        self.wait_for(lambda: self.server.status()['deferred'] >= 1, 'deferred')
        self.assertEqual(len(self.server.maildir('from')), 0)
        state['bad'] = False
        self.arrived(hop, timeout=30)

    def test_servfail_expires(self):
        self.start({'a.test': SERVFAIL}, retry={'intervals': ['1s'], 'expire': '3s', 'jitter': 0})
        self.send('x@a.test')
        self.bounce('x@a.test')
        self.server.wait_drained()

    def test_no_name_server(self):
        """Nobody answers questions at all: mail waits, the server serves."""
        self.start({})
        self.dns.close()
        self.send('x@a.test')
        self.wait_for(lambda: self.server.status()['deferred'] >= 1, 'deferred', 30)
        send_message(self.server.port, 'from@local.test', 'box@local.test', sample('box'))
        self.server.wait_mail('box')
        self.assertEqual(self.server.status()['queue'], 1)

    def test_second_name_server(self):
        hop = self.mx_hop()
        silent = self.dns_server({'a.test': TIMEOUT, 'm.test': TIMEOUT})
        self.dns = self.dns_server({'a.test': {'MX': [(10, 'm.test')]}, 'm.test': {'A': [hop.address]}})
        self.start({}, dns={'servers': [f'127.0.0.1:{silent.port}', f'127.0.0.1:{self.dns.port}'],
                            'timeout': '500ms'},
                   retry={'intervals': ['1s'], 'expire': '1h', 'jitter': 0})
        self.send('x@a.test')
        self.arrived(hop, timeout=20)

    def test_ourselves_as_mx(self):
        """The best MX is us, for a domain that is not ours: bounced or deferred, but no loop."""
        self.start({'loop.test': {'MX': [(10, 'mx.test')]}, 'mx.test': {'A': ['127.0.0.1']}},
                   retry={'intervals': ['1s'], 'expire': '2s', 'jitter': 0})
        self.send('x@loop.test')
        self.bounce('x@loop.test')
        self.assertLess(self.server.status()['accepted'], 10)

    def test_many_domains_at_once(self):
        """A thousand domains, a third of them broken: everything else arrives."""
        hop = self.mx_hop()
        zone = {'m.test': {'A': [hop.address]}}
        for n in range(1000):
            zone[f'd{n}.test'] = (SERVFAIL if n % 6 == 0 else TIMEOUT if n % 6 == 3 else NXDOMAIN
                                  if n % 7 == 1 else {'MX': [(10, 'm.test')]})
        good = [f'x@d{n}.test' for n in range(1000) if isinstance(zone[f'd{n}.test'], dict)]
        self.start(zone)
        started = time.monotonic()
        for n in range(0, 1000, 100):
            send_message(self.server.port, '', [f'x@d{k}.test' for k in range(n, n + 100)],
                         sample(f'many{n}'))
        self.wait_for(lambda: sum(len(m.recipients) for m in hop.messages) >= len(good),
                      lambda: f'{len(good)} served; {sum(len(m.recipients) for m in hop.messages)} were', 40)
        self.assertLess(time.monotonic() - started, 40)
        self.assertEqual(sorted(r for m in hop.messages for r in m.recipients), sorted(good))


if __name__ == '__main__':
    main()
