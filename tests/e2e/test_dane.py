# SPDX-License-Identifier: GPL-2.0-or-later
"""DANE (RFC 7672) through a real signed zone and a real validating resolver: NSD, ldns and unbound. Next hops listen at
port 25 of loopback addresses."""

import unittest

from mailring_e2e import (BOGUS, EXPIRED, UNSIGNED, Case, NextHop, SignedDns, loopback_address, main, sample,
                          send_message)


class Dane(Case):
    def hop_at_25(self, pair=None, **options):
        for _ in range(20):
            try:
                hop = NextHop(address=loopback_address(), port=25, tls=pair and pair.server_context(), **options)
            except PermissionError:
                raise unittest.SkipTest('port 25 may not be bound here') from None
            except OSError:
                continue
            self.addCleanup(hop.close)
            return hop
        raise AssertionError('no free loopback address')

    def zone(self, name, hop, tlsa=(), host=None):
        host = host or f'mx.{name}'
        return {name: {name: {'MX': [(10, host)]}, host: {'A': [hop.address]},
                       f'_25._tcp.{host}': {'TLSA': list(tlsa)}} if tlsa else
                {name: {'MX': [(10, host)]}, host: {'A': [hop.address]}}}

    def start(self, zones, how=None, **settings):
        self.dns = SignedDns(self.directory / 'dns', zones, how)
        self.addCleanup(self.dns.close)
        self.server = self.start_server({
            'relay_from': ['127.0.0.0/8'],
            'dns': {'servers': [f'127.0.0.1:{self.dns.port}'], 'timeout': '5s'},
            'verify': {'recipient_domain': 'no'},  # what the DNS says is for delivery to find out here
            'retry': {'intervals': ['1s'], 'expire': '60s', 'jitter': 0},
            'mta_sts': 'no',
            'tls': {'ca': self.authority.certificate},
            ('route', '*'): {'to': 'mx', 'timeout': {'connect': '2s', 'response': '5s', 'idle': '100ms'}, **settings}})

    def send(self, recipient):
        send_message(self.server.port, 'from@local.test', recipient, sample('dane'))

    def arrived(self, hop, tls):
        self.wait_for(lambda: hop.messages, lambda: f'{self.server.tail(20)}\n{self.dns.log()}', 20)
        self.assertEqual(hop.messages[0].connection.tls != '', tls)

    def waits(self, hop, *words):
        """Nothing arrives, the message is queued, and the reason names these."""
        def reason():
            queue = self.server.queue()
            return str(queue) if queue and all(word.lower() in str(queue).lower() for word in words) else ''
        self.wait_for(reason, lambda: f'{words} in {self.server.queue()}\n{self.server.tail(20)}', 20)
        self.assertFalse(hop.messages)

    def test_valid(self):
        """3 1 1 for a certificate that no CA knows, with the wrong name, long expired: DANE-EE asks for the key alone."""
        pair = self.authority.issue('other.test', self_signed=True, expired=True)
        hop = self.hop_at_25(pair)
        self.start(self.zone('good.test', hop, [pair.tlsa(3, 1, 1)]))
        self.send('a@good.test')
        self.arrived(hop, tls=True)
        self.assertEqual(hop.sni[0], 'mx.good.test')

    def test_each_form(self):
        """Usages 2 and 3, selectors 0 and 1, matching 0, 1 and 2."""
        ee, ta = self.authority.issue('x.test'), self.authority.issue('mx.ta.test', with_root=True)
        zones, hops = {}, []
        for usage, pair, of in ((3, ee, 0), (2, ta, 1)):
            for selector in (0, 1):
                for matching in (0, 1, 2):
                    name = f'f{usage}{selector}{matching}.test'
                    hop = self.hop_at_25(pair)
                    hops.append((name, hop))
                    zones |= self.zone(name, hop, [pair.tlsa(usage, selector, matching, of=of)],
                                       host=f'mx.{name}' if usage == 3 else None)
                    if usage == 2:      # the name counts: one certificate for each
                        own = self.authority.issue(f'mx.{name}', with_root=True)
                        hop.tls = own.server_context(sni_callback=hop.tls.sni_callback)
        self.start(zones, tls='dane')
        for name, hop in hops:
            with self.subTest(name):
                self.send(f'a@{name}')
                self.arrived(hop, tls=True)

    def test_mismatch(self):
        """Another key than the record's: mail waits, whatever a CA says of the certificate."""
        good, other = self.authority.issue('mx.bad.test'), self.authority.issue('mx.bad.test')
        hop = self.hop_at_25(good)
        self.start(self.zone('bad.test', hop, [other.tlsa()]))
        self.send('a@bad.test')
        self.waits(hop, 'TLSA')

    def test_trust_anchor_needs_the_name(self):
        pair = self.authority.issue('elsewhere.test', with_root=True)
        hop = self.hop_at_25(pair)
        self.start(self.zone('ta.test', hop, [pair.tlsa(2, 0, 1, of=1)]))
        self.send('a@ta.test')
        self.waits(hop)

    def test_no_starttls(self):
        """Records, but STARTTLS is not offered (or was stripped): mail waits."""
        pair = self.authority.issue('mx.strip.test')
        hop = self.hop_at_25()
        self.start(self.zone('strip.test', hop, [pair.tlsa()]))
        self.send('a@strip.test')
        self.waits(hop, 'STARTTLS')

    def test_bogus_records(self):
        """Records that were altered: SERVFAIL, mail waits (RFC 7672 2.1.2)."""
        pair = self.authority.issue('mx.bogus.test')
        hop = self.hop_at_25(pair)
        self.start(self.zone('bogus.test', hop, [pair.tlsa()]), {'bogus.test': BOGUS})
        self.send('a@bogus.test')
        self.waits(hop)

    def test_expired_zone(self):
        pair = self.authority.issue('mx.old.test')
        hop = self.hop_at_25(pair)
        self.start(self.zone('old.test', hop, [pair.tlsa()]), {'old.test': EXPIRED})
        self.send('a@old.test')
        self.waits(hop)

    def test_unsigned(self):
        """Records that nobody signed say nothing: opportunistic TLS; and with tls = dane, mail waits."""
        pair, other = self.authority.issue('x.test'), self.authority.issue('x.test')
        hop = self.hop_at_25(pair)
        self.start(self.zone('plain.test', hop, [other.tlsa()]), {'plain.test': UNSIGNED})
        self.send('a@plain.test')
        self.arrived(hop, tls=True)

    def test_unsigned_and_demanded(self):
        pair = self.authority.issue('x.test')
        hop = self.hop_at_25(pair)
        self.start(self.zone('plain.test', hop, [pair.tlsa()]), {'plain.test': UNSIGNED}, tls='dane')
        self.send('a@plain.test')
        self.waits(hop)

    def test_no_records(self):
        """A signed zone without records: opportunistic, even in the clear."""
        hop = self.hop_at_25()
        self.start(self.zone('none.test', hop))
        self.send('a@none.test')
        self.arrived(hop, tls=False)

    def test_unusable_records(self):
        """Only usages 0 and 1 (RFC 7672 2.1.1, 3.1.3): encrypted, by whatever certificate."""
        pair, other = self.authority.issue('x.test'), self.authority.issue('x.test')
        hop = self.hop_at_25(pair)
        self.start(self.zone('pkix.test', hop, [other.tlsa(1, 1, 1), other.tlsa(0, 0, 1)]))
        self.send('a@pkix.test')
        self.arrived(hop, tls=True)

    def test_rollover(self):
        """One of two records matches."""
        old, new = self.authority.issue('x.test'), self.authority.issue('x.test')
        hop = self.hop_at_25(new)
        self.start(self.zone('roll.test', hop, [old.tlsa(), new.tlsa()]))
        self.send('a@roll.test')
        self.arrived(hop, tls=True)

    def test_the_resolver_is_not_trusted(self):
        """dnssec = no: the AD bit says nothing."""
        pair, other = self.authority.issue('x.test'), self.authority.issue('x.test')
        hop = self.hop_at_25(pair)
        zones = self.zone('good.test', hop, [other.tlsa()])
        self.dns = SignedDns(self.directory / 'dns', zones)
        self.addCleanup(self.dns.close)
        self.server = self.start_server({
            'relay_from': ['127.0.0.0/8'], 'mta_sts': 'no',
            'dns': {'servers': [f'127.0.0.1:{self.dns.port}'], 'dnssec': 'no'}, ('route', '*'): {'to': 'mx'}})
        self.send('a@good.test')
        self.arrived(hop, tls=True)


if __name__ == '__main__':
    main()
