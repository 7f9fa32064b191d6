# SPDX-License-Identifier: GPL-2.0-or-later
"""DANE with Postfix both ways. Postfix asks the resolver in /etc/resolv.conf at port 53: all this runs in namespaces of
its own, where that is ours."""

import os
import tempfile
import unittest
from pathlib import Path

from mailring_e2e import Case, Postfix, SignedDns, main, namespace, sample, send_message

_no_namespace = ''


def enter():
    """Once, before there is any thread."""
    global _no_namespace
    if os.getuid() != 0:
        _no_namespace = 'needs root'
        return
    resolver = Path(tempfile.mkdtemp(prefix='mailring-e2e-')) / 'resolv.conf'
    resolver.write_text('nameserver 127.0.0.1\noptions trust-ad edns0\n')
    try:
        namespace.enter_network()
        namespace.enter_mounts([(resolver, '/etc/resolv.conf')])
    except (OSError, unittest.SkipTest) as error:
        _no_namespace = str(error)


class WithPostfix(Case):
    def setUp(self):
        if _no_namespace:
            self.skipTest(_no_namespace)
        super().setUp()

    def signed(self, zones, how=None):
        self.dns = SignedDns(self.directory / 'dns', zones, how, port=53)
        self.addCleanup(self.dns.close)

    def postfix(self, *arguments, **options):
        postfix = Postfix(self.directory / 'postfix', *arguments, **options)
        self.addCleanup(postfix.stop)
        return postfix.start()

    @staticmethod
    def zone(address, tlsa):
        return {'good.test': {'good.test': {'MX': [(10, 'mx.good.test')]}, 'mx.good.test': {'A': [address]},
                              '_25._tcp.mx.good.test': {'TLSA': tlsa}}}

    def deliver_to_postfix(self, record_of):
        pair = self.authority.issue('unrelated.test', self_signed=True)
        other = self.authority.issue('unrelated.test', self_signed=True)
        hop = self.next_hop()
        self.signed(self.zone('127.0.0.7', [{'same': pair, 'other': other}[record_of].tlsa()]))
        self.postfix(hop.port, {
            'smtpd_tls_security_level': 'may', 'smtpd_tls_cert_file': pair.certificate, 'smtpd_tls_key_file': pair.key,
            'smtpd_tls_received_header': 'yes'}, address='127.0.0.7', port=25)
        self.server = self.start_server({'relay_from': ['127.0.0.0/8'], 'mta_sts': 'no',
                                         'dns': {'servers': ['127.0.0.1:53']}, ('route', '*'): {'to': 'mx'}})
        send_message(self.server.port, 'from@local.test', 'a@good.test', sample('dane'))
        return hop

    def test_to_postfix(self):
        hop = self.deliver_to_postfix('same')
        self.wait_for(lambda: hop.messages, lambda: self.server.tail(20), 20)
        self.assertIn(b'TLSv1.3', hop.messages[0].octets)
        self.server.wait_log(r'verified=dane|security=dane')

    def test_to_postfix_that_does_not_match(self):
        hop = self.deliver_to_postfix('other')
        self.wait_for(lambda: 'TLSA' in str(self.server.queue()), lambda: self.server.tail(20), 20)
        self.assertFalse(hop.messages)

    def deliver_from_postfix(self, record_of):
        pair = self.authority.issue('unrelated.test', self_signed=True)
        other = self.authority.issue('unrelated.test', self_signed=True)
        self.signed(self.zone('127.0.0.8', [{'same': pair, 'other': other}[record_of].tlsa()]))
        self.server = self.make_server()
        self.server.configure({
            ('listener', 'mx'): {'address': [f'127.0.0.1:{self.server.port}', '127.0.0.8:25'], 'role': 'mx'},
            ('domain', 'good.test'): {'to': f'maildir:{self.server.mail}/%d/%u'},
            'tls': {'certificate': [pair.certificate], 'key': [pair.key]}})
        self.server.start()
        postfix = self.postfix(None, {
            'smtp_dns_support_level': 'dnssec', 'smtp_tls_security_level': 'dane', 'smtp_tls_loglevel': '1',
            'disable_dns_lookups': 'no', 'smtp_host_lookup': 'dns'})
        send_message(postfix.port, 'from@client.test', 'a@good.test', sample('dane'))
        return postfix

    def test_from_postfix(self):
        postfix = self.deliver_from_postfix('same')
        self.wait_for(lambda: len(self.server.maildir('a', 'good.test')) == 1, lambda: postfix.log()[-3000:], 30)
        self.wait_for(lambda: 'Verified TLS connection' in postfix.log(), lambda: postfix.log()[-3000:])

    def test_from_postfix_that_expects_another(self):
        """That it is Postfix that refuses shows that the test above means something."""
        postfix = self.deliver_from_postfix('other')
        self.wait_for(lambda: 'Server certificate not' in postfix.log() or 'not verified' in postfix.log(),
                      lambda: postfix.log()[-3000:], 30)
        self.assertEqual(len(self.server.maildir('a', 'good.test')), 0)


if __name__ == '__main__':
    enter()
    main()
