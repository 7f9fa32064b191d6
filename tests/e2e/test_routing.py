# SPDX-License-Identifier: GPL-2.0-or-later
"""Where mail goes: by recipient and by sender, fallback lists, backup MX, and never back to ourselves. In a network of
the test's own, so that port 25 is free."""

import socket
import subprocess
import time
import unittest

from mailring_e2e import DROP, SERVFAIL, Dsn, Outbound, main, namespace

OWN, OWN6 = '10.9.8.7', 'fd00::9'       # of this machine, beside loopback


def setUpModule():
    namespace.enter_network()
    for address in (f'{OWN}/32', f'{OWN6}/128'):
        done = subprocess.run(['ip', 'addr', 'add', address, 'dev', 'lo'], capture_output=True, text=True)
        if done.returncode != 0:
            raise unittest.SkipTest(f'ip addr add: {done.stderr.strip()}')


class Silence:
    """An address where nobody answers, not even to say that nobody is there: the queue of a listener is full."""

    def __init__(self, address):
        self.address = address
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((address, 25))
        self._listener.listen(0)
        self._waiting = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex((address, 25))
            self._waiting.append(client)

    def close(self):
        for sock in (self._listener, *self._waiting):
            sock.close()


class Routing(Outbound):
    silences = 0

    def start(self, zone, settings=None, **options):
        super().start(zone, settings, relay_from=[f'{OWN}/32'], **options)

    def silence(self, count):
        """So many addresses."""
        Routing.silences += 1
        silent = [Silence(f'127.6.{Routing.silences}.{n + 1}') for n in range(count)]
        for one in silent:
            self.addCleanup(one.close)
        return [one.address for one in silent]


class BySender(Routing):
    def test_smarthosts(self):
        """The address before the domain before anything else; notices have a way of their own."""
        news, ann, notices, others = self.hop(), self.hop(), self.hop(), self.hop()

        def to(hop, *senders):
            return {'to': f'smtp://{hop.address}', **({'from': senders} if senders else {})}
        self.start({}, {
            ('route', '*'): to(others),
            ('route', '*', 'news'): to(news, 'news.test', 'other.test'),
            ('route', '*', 'ann'): to(ann, 'ann@news.test'),
            ('route', '*', 'notices'): to(notices, '<>')})

        expected = {news: ['bob@news.test', 'BOB@News.Test', 'x@other.test'], ann: ['ann@news.test', 'Ann@news.test'],
                    notices: [''], others: ['bob@sub.news.test', 'x@local.test']}
        for hop, senders in expected.items():
            for sender in senders:
                self.send('to@far.test', sender)
        for hop, senders in expected.items():
            self.arrived(hop, len(senders))
            self.assertEqual(sorted(m.sender for m in hop.messages), sorted(senders))

    def test_the_recipient_decides_first(self):
        one, two = self.hop(), self.hop()
        self.start({}, {
            ('route', '*', 'a'): {'from': 'news.test', 'to': f'smtp://{one.address}'},
            ('route', 'in.test'): {'to': f'smtp://{two.address}'}})
        self.send(['x@in.test', 'x@out.test'], 'bob@news.test')
        self.assertEqual(self.arrived(one).recipients, ['x@out.test'])
        self.assertEqual(self.arrived(two).recipients, ['x@in.test'])

    def test_a_bounce_goes_the_way_of_notices(self):
        notices, refusing = self.hop(), self.hop({'rcpt': '550 5.1.1 no such user'})
        self.start({}, {
            ('route', '*', 'notices'): {'from': '<>', 'to': f'smtp://{notices.address}'},
            ('route', '*', 'news'): {'from': 'news.test', 'to': f'smtp://{refusing.address}'}})
        self.send('x@out.test', 'bob@news.test')
        message = self.arrived(notices)
        self.assertEqual((message.sender, message.recipients), ('', ['bob@news.test']))


class ByRecipient(Routing):
    def test_single_destinations(self):
        """Some of a domain's recipients live elsewhere; one body goes there for all of them."""
        one, two = self.hop(), self.hop()
        table = self.directory / 'destinations'
        table.write_text(f'ann smtp://{one.address}\nbob@inner.test smtp://{one.address}\neve discard\n')
        self.start({}, {('domain', 'inner.test'): {'to': f'smtp://{two.address}', 'destinations': table,
                                                   'subaddress': '+'}})
        self.send(['ann@inner.test', 'zoe@inner.test', 'Bob+x@inner.test', '"bob"@inner.test', 'eve@inner.test'])
        self.assertEqual(sorted(self.arrived(one).recipients), ['"bob"@inner.test', 'Bob+x@inner.test', 'ann@inner.test'])
        self.assertEqual(self.arrived(two).recipients, ['zoe@inner.test'])
        self.server.wait_drained()

    def test_fallback_list(self):
        """The first that can be reached, each time anew."""
        first, second = self.hop(), self.hop()
        self.start({}, {('route', '*'): {'to': [f'smtp://{first.address}', f'smtp://{second.address}'],
                                         'timeout': {'idle': '100ms'}}},)
        self.send('a@far.test')
        self.arrived(first)
        first.refuse()
        self.wait_for(lambda: first.open_connections == 0, 'idle connection closed')
        self.send('b@far.test')
        self.arrived(second)
        first.listen()
        self.wait_for(lambda: self.server.status()['queue'] == 0, 'drained')
        self.assertEqual([m.recipients for m in first.messages + second.messages], [['a@far.test'], ['b@far.test']])

    def test_fallback_list_not_for_refusals(self):
        """Who has answered 550 has answered: nobody else is asked."""
        first, second = self.hop({'rcpt': '550 5.7.1 not you'}), self.hop()
        self.start({}, {('route', '*'): {'to': [f'smtp://{first.address}', f'smtp://{second.address}']}})
        self.send('a@far.test')
        self.bounced('a@far.test')
        self.assertEqual(second.connections, [])


class BackupMx(Routing):
    """`to = "mx"` for a domain of ours."""

    def zone(self, primary, **more):
        return {'backup.test': {'MX': [(10, 'primary.test'), (20, 'mx.test'), (30, 'third.test')]},
                'primary.test': {'A': [primary.address]}, 'mx.test': {'A': ['127.0.0.1']},
                'third.test': {'A': [self.hop().address]}, **more}

    def start(self, zone, **options):
        super().start(zone, {('domain', 'backup.test'): {'to': 'mx'}, 'relay_from': None}, **options)

    def test_holds_mail_while_the_primary_is_down(self):
        primary = self.hop()
        primary.refuse()
        zone = self.zone(primary)
        third = zone['third.test']['A'][0]
        self.start(zone)
        self.send('x@backup.test')
        self.waits('x@backup.test', 'refused')
        primary.listen()
        self.assertEqual(self.arrived(primary, timeout=30).recipients, ['x@backup.test'])
        self.server.wait_drained()
        self.assertNotIn(third, self.server.log())

    def test_holds_mail_while_the_primary_is_unknown(self):
        """Its address cannot be looked up: not a reason to go to those behind us."""
        primary = self.hop()
        state = {'bad': True}
        address = {'A': [primary.address]}
        self.start(self.zone(primary, **{'primary.test': lambda *_: SERVFAIL if state['bad'] else address}))
        self.send('x@backup.test')
        self.waits('x@backup.test', 'Cannot look up the address of primary.test now')
        state['bad'] = False
        self.arrived(primary, timeout=30)

    def test_primary_refuses_a_recipient(self):
        primary = self.hop({'rcpt': lambda event: '550 5.1.1 no such user' if 'eve' in event.address else None})
        self.start(self.zone(primary))
        self.send(['ann@backup.test', 'eve@backup.test'])
        self.assertEqual(self.bounced('eve@backup.test')['status'], '5.1.1')
        self.assertEqual(self.arrived(primary).recipients, ['ann@backup.test'])

    def test_we_are_the_best(self):
        """A mistake in the DNS or in ours: told at once, and no circle."""
        for name, mx in (('name', 'mx.test'), ('address', 'other.test'), ('alias', 'alias.test')):
            with self.subTest(name):
                self.start({'backup.test': {'MX': [(10, mx), (20, 'second.test')]},
                            'mx.test': {'A': ['192.0.2.1']}, 'other.test': {'AAAA': [OWN6]},
                            'alias.test': {'CNAME': 'mx.test'}, 'second.test': {'A': [self.hop().address]}},
                           listen=['[::]:25'] if name == 'address' else [])
                self.send('x@backup.test')
                fields = self.bounced('x@backup.test')
                self.assertEqual(fields['status'], '5.4.6')
                self.assertIn('loops back', self.server.log())
                self.assertEqual(self.server.status()['accepted'], 1)
                self.server.stop()


class Ourselves(Routing):
    def test_mx_with_our_address(self):
        """An address of this machine, where a listener is at all of them."""
        better = self.hop()
        self.start({
            'loop.test': {'MX': [(10, 'we.test'), (20, 'behind.test')]}, 'we.test': {'AAAA': [OWN6]},
            'local-loop.test': {'MX': [(10, 'lo.test')]}, 'lo.test': {'AAAA': ['::1']},
            'second.test': {'MX': [(10, 'better.test'), (20, 'we.test'), (30, 'behind.test')]},
            'better.test': {'A': [better.address]}, 'behind.test': {'A': [self.hop().address]}}, listen=['[::]:25'])
        for domain in ('loop.test', 'local-loop.test'):
            self.send(f'x@{domain}', sender=f'{domain}@local.test')
            octets, = self.server.wait_mail(domain)
            self.assertEqual(Dsn(octets).recipients[f'x@{domain}']['status'], '5.4.6')
        self.send('x@second.test')
        self.arrived(better)
        self.assertEqual(self.server.status()['accepted'], 3)

    def test_smarthost_that_is_us(self):
        """Waits, with the reason, until somebody mends it."""
        hop = self.hop()
        self.start({'we.test': {'A': [OWN]}},
                   {('route', 'far.test'): {'to': 'smtp://we.test'},
                    ('route', 'near.test'): {'to': ['smtp://we.test', f'smtp://{hop.address}']}}, listen=[f'{OWN}:25'])
        self.send('x@far.test')
        self.waits('x@far.test', 'we.test is this server itself')
        self.send('x@near.test')
        self.arrived(hop)
        self.assertEqual(self.server.status()['accepted'], 2)


class ManyAddresses(Routing):
    def test_dead_ones(self):
        """Eight addresses swallow everything, one answers: found within seconds, and remembered."""
        live = self.hop()
        dead = self.silence(8)
        zone = {'a.test': {'MX': [(10, 'many.test'), (20, 'last.test')]}, 'many.test': {'A': dead},
                'last.test': {'A': [live.address]}}
        self.start(zone)
        began = time.monotonic()
        self.send('x@a.test')
        self.arrived(live)
        self.assertLess(time.monotonic() - began, 8)
        self.wait_for(lambda: live.open_connections == 0, 'idle connection closed')
        began = time.monotonic()
        self.send('y@a.test')
        self.arrived(live, 2)
        self.assertLess(time.monotonic() - began, 1.4)

    def test_all_dead(self):
        """It waits, and the reason names one of them; the server does other work meanwhile."""
        self.start({'a.test': {'MX': [(10, 'many.test')]},
                    'many.test': {'A': self.silence(4)}},
                   {('route', '*'): {'to': 'mx', 'timeout': {'connect': '1s'}}})
        self.send('x@a.test')
        self.waits('x@a.test', 'many.test[127.6.')
        self.send('box@local.test')
        self.server.wait_mail('box')

    def test_hosts_that_break_off(self):
        """One refuses, one hangs up at once, one greets with 4yz, one is the null address; the fifth takes it."""
        refusing, hanging, busy, good = self.hop(), self.hop({'connect': DROP}), self.hop({'connect': '421 4.3.2 no'}), self.hop()
        refusing.refuse()
        hops = (refusing.address, hanging.address, busy.address, '0.0.0.0', good.address)
        self.start({'a.test': {'MX': [(10 * n, f'h{n}.test') for n in range(5)]},
                    **{f'h{n}.test': {'A': [address]} for n, address in enumerate(hops)}})
        self.send('x@a.test')
        self.arrived(good)
        self.assertEqual(len(hanging.connections), 1)


class Family(Routing):
    def test_family(self):
        four = self.hop()
        six = self.next_hop(address='::1', port=25)
        zone = {'both.test': {'A': [four.address], 'AAAA': ['::1']}, 'four.test': {'A': [four.address]}}
        self.start(zone, {
            ('route', 'a.test'): {'to': 'smtp://both.test', 'family': 'ipv4'},
            ('route', 'b.test'): {'to': 'smtp://both.test', 'family': 'ipv6'},
            ('route', 'c.test'): {'to': 'smtp://four.test', 'family': 'ipv6'},
            ('route', 'd.test'): {'to': 'smtp://both.test', 'family': 'prefer-ipv6'}})
        self.send('x@a.test')
        self.arrived(four)
        self.send('x@b.test')
        self.wait_for(lambda: len(six.messages) == 1, lambda: self.server.tail(10))
        self.send('x@d.test')
        self.wait_for(lambda: len(six.messages) == 2, lambda: self.server.tail(10))
        self.send('x@c.test')
        self.waits('x@c.test', 'No IPv6 address for the host four.test, and no other is allowed')
        six.refuse()
        six.drop_all()
        self.send('y@d.test')
        self.arrived(four, 2)


if __name__ == '__main__':
    main()
