# SPDX-License-Identifier: GPL-2.0-or-later
"""TLS towards next hops, on the wire: each `tls` of a route against each way to spoil it. Mail goes as the route says, or
waits and says why; never in the clear where it must not."""

import ssl
import warnings
from types import SimpleNamespace

from mailring_e2e import DROP, RESET, SECURE, Case, DnsServer, NextHop, main, sample, send_message

MODES = 'none', 'opportunistic', 'encrypt', 'verify', 'dane'
HOSTS = {mode: 'mx.dane.test' if mode == 'dane' else 'mx.plain.test' for mode in MODES}

# What is spoilt: certificate, answers of the hop; and for each mode: P in the clear, t under TLS, c by a CA, d by DANE,
# W: waits.
TRICKS = {
    'good': ('good', {}, 'Pttcd'),
    'self-signed': ('self_signed', {}, 'PttWW'),
    'expired': ('expired', {}, 'PttWW'),
    'wrong-name': ('wrong_name', {}, 'PttWW'),
    'stripped': (None, {}, 'PPWWW'),                                     # STARTTLS is not in the answer to EHLO
    'no-ehlo': ('good', {'ehlo': '502 5.5.1 what?'}, 'PPWWW'),
    '454': ('good', {'starttls': '454 4.7.0 not now'}, 'PPWWW'),
    '502': ('good', {'starttls': '502 5.5.1 no'}, 'PPWWW'),
    'drop': ('good', {'starttls': DROP}, 'PPWWW'),
    'injected': ('good', {'starttls': '220 go\r\n250-next.test\r\n250 AUTH PLAIN'}, 'PPWWW'),
    'garbage': ('good', {'handshake': b'HTTP/1.0 400 no\r\n\r\n'}, 'PPWWW'),
    'closed': ('good', {'handshake': DROP}, 'PPWWW'),
    'reset': ('good', {'handshake': RESET}, 'PPWWW'),
}
VERIFIED = {'t': 'no', 'c': 'ca', 'd': 'dane'}


class Outbound(Case):
    def certificates(self):
        names = 'mx.plain.test', 'mx.dane.test'
        return {'good': self.authority.issue(*names),
                'self_signed': self.authority.issue(*names, self_signed=True),
                'expired': self.authority.issue(*names, expired=True),
                'wrong_name': self.authority.issue('mx.other.test')}

    def start(self, routes, zone=None, **settings):
        """A route for each (domain, host, hop, settings)."""
        zone = {'mx.plain.test': {'A': ['127.0.0.1']}, 'mx.dane.test': {'A': ['127.0.0.1'], SECURE: True},
                **(zone or {})}
        self.dns = DnsServer(zone)
        self.addCleanup(self.dns.close)
        self.server = self.start_server({
            'relay_from': ['127.0.0.0/8'],
            'dns': {'servers': [f'127.0.0.1:{self.dns.port}'], 'timeout': '5s'},
            'retry': {'intervals': ['1s'], 'expire': '60s', 'jitter': 0},
            'mta_sts': 'no',
            'tls': {'ca': self.authority.certificate},
            **{('route', domain): {'to': f'smtp://{host}:{hop.port}',
                                   'timeout': {'connect': '3s', 'response': '5s', 'idle': '100ms'}, **more}
               for domain, host, hop, more in routes}, **settings})

    def hop(self, pair, answers=None, **options):
        context = options.pop('context', None) or (pair and pair.server_context())
        hop = NextHop(answers, tls=context, **options)
        self.addCleanup(hop.close)
        return hop

    def send(self, domain):
        send_message(self.server.port, 'from@local.test', f'a@{domain}', sample(domain))

    def arrived(self, hop, count=1, what=''):
        self.wait_for(lambda: len(hop.messages) >= count, lambda: f'{what}\n{self.server.tail(20)}', 20)
        return hop.messages[count - 1]

    def reason(self, domain):
        for message in self.server.queue():
            text = str(message)
            if f'@{domain}' in text and 'TLS' in text:
                return text
        return ''

    def delivered_line(self, domain):
        return next(line for line in self.server.log_lines()
                    if 'event=delivered' in line and f'a@{domain}' in line)

    def test_modes_and_tricks(self):
        pairs, cases, zone = self.certificates(), [], {}
        for trick, (kind, answers, outcomes) in TRICKS.items():
            for mode, outcome in zip(MODES, outcomes):
                hop = self.hop(kind and pairs[kind], dict(answers))
                domain = f'{trick}.{mode}.test'
                zone[f'_{hop.port}._tcp.mx.dane.test'] = {'TLSA': [pairs['good'].tlsa()], SECURE: True}
                cases.append(SimpleNamespace(domain=domain, mode=mode, hop=hop, outcome=outcome))
        self.start([(case.domain, HOSTS[case.mode], case.hop, {'tls': case.mode}) for case in cases], zone)
        for case in cases:
            self.send(case.domain)
        for case in cases:
            if case.outcome == 'W':
                continue
            message = self.arrived(case.hop, what=case.domain)
            self.assertEqual(message.connection.tls != '', case.outcome != 'P', case.domain)
            if case.outcome != 'P':
                self.assertEqual(case.hop.sni[-1], HOSTS[case.mode])
        for case in cases:
            if case.outcome == 'W':
                self.wait_for(lambda: self.reason(case.domain), lambda: f'{case.domain}: {self.server.tail(20)}', 20)
                self.assertIn('TLS is required', self.reason(case.domain))
                self.assertEqual((case.domain, case.hop.messages, case.hop.unanswered), (case.domain, [], []))
                said = [verb for c in case.hop.connections if not c.tls for verb in c.verbs]
                self.assertFalse({'MAIL', 'RCPT', 'DATA'} & set(said), f'{case.domain} {said}')
            else:
                self.wait_for(lambda: f'a@{case.domain}' in self.server.log(), 'a line in the log')
                line = self.delivered_line(case.domain)
                if case.outcome == 'P':
                    self.assertNotIn(' tls=', line)
                else:
                    self.assertRegex(line, rf' tls=TLSv1.3 cipher=TLS_\w+ verified={VERIFIED[case.outcome]}')
        status = self.server.status()
        self.assertEqual(status['out_tls_dane'], 1)
        self.assertEqual(status['out_tls_ca'], 1)
        self.assertGreaterEqual(status['out_tls_refused'], sum(case.outcome == 'W' for case in cases))
        self.server.run('queue', 'delete', '--state=waiting', code=None)

    def test_mail_that_waited_goes(self):
        """As soon as the peer does as it should."""
        pairs, fixed = self.certificates(), []
        hop = self.hop(pairs['good'], {'starttls': lambda _event: None if fixed else '454 4.7.0 not now'})
        self.start([('wait.test', 'mx.plain.test', hop, {'tls': 'verify'})])
        self.send('wait.test')
        self.wait_for(lambda: self.reason('wait.test'), lambda: self.server.tail(20))
        self.assertIn('454', self.reason('wait.test'))
        fixed.append(True)
        self.assertNotEqual(self.arrived(hop).connection.tls, '')
        self.assertEqual(len(hop.messages), 1)

    def test_broken_tls_is_remembered(self):
        """After one failure the next messages go in the clear without another try."""
        hop = self.hop(self.certificates()['good'], {'handshake': b'garbage\r\n'})
        self.start([('old.test', 'mx.plain.test', hop, {})])
        for count in (1, 2, 3):
            self.send('old.test')
            self.assertEqual(self.arrived(hop, count).connection.tls, '')
        self.assertEqual(sum('STARTTLS' in c.verbs for c in hop.connections), 1)
        self.assertEqual(self.server.status()['out_tls_failed'], 1)

    def test_sessions_are_resumed(self):
        hop = self.hop(self.certificates()['good'])
        self.start([('again.test', 'mx.plain.test', hop, {'tls': 'verify'})])
        for count in (1, 2, 3):
            self.send('again.test')
            self.arrived(hop, count)
            self.wait_for(lambda: hop.open_connections == 0, 'the idle connection to end')
        self.assertEqual([c.resumed for c in hop.connections], [False, True, True])
        self.assertEqual(self.server.status()['out_tls_resumed'], 2)

    def test_versions(self):
        """TLS 1.2 is spoken; older versions are not, which is as good as no TLS."""
        pair, hops = self.certificates()['good'], {}
        for name, version in (('12', ssl.TLSVersion.TLSv1_2), ('11', ssl.TLSVersion.TLSv1_1)):
            context = pair.server_context()
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')      # versions that are deprecated: that is the point
                context.minimum_version = ssl.TLSVersion.TLSv1
                context.maximum_version = version
            context.set_ciphers('ALL:@SECLEVEL=0')
            hops[name] = self.hop(None, context=context)
        self.start([('v12.test', 'mx.plain.test', hops['12'], {'tls': 'encrypt'}),
                    ('v11.test', 'mx.plain.test', hops['11'], {})])
        self.send('v12.test')
        self.send('v11.test')
        self.assertEqual(self.arrived(hops['12']).connection.tls, 'TLSv1.2')
        self.assertEqual(self.arrived(hops['11']).connection.tls, '')

    def test_from_the_first_byte(self):
        pairs = self.certificates()
        good, bad = self.hop(pairs['good'], implicit=True), self.hop(pairs['expired'], implicit=True)
        deaf = self.hop(None)
        self.start([(f'{name}.test', 'mx.plain.test', hop, {'tls': 'verify' if hop is not deaf else 'opportunistic',
                                                            'tls_implicit': 'yes'})
                    for name, hop in (('good', good), ('bad', bad), ('deaf', deaf))])
        for name in ('good', 'bad', 'deaf'):
            self.send(f'{name}.test')
        self.assertNotEqual(self.arrived(good).connection.tls, '')
        for name in ('bad', 'deaf'):
            self.wait_for(lambda: self.reason(f'{name}.test'), lambda: self.server.tail(20))
        self.assertFalse(bad.messages or deaf.messages)

    def test_cut_off_at_the_dot(self):
        """Without a reply and without close_notify: it is sent again, under TLS again."""
        cut = []
        hop = self.hop(self.certificates()['good'],
                       {'dot': lambda _event: cut.append(1) or (RESET if len(cut) == 1 else None)})
        self.start([('cut.test', 'mx.plain.test', hop, {'tls': 'encrypt'})])
        self.send('cut.test')
        self.assertNotEqual(self.arrived(hop).connection.tls, '')
        self.assertEqual((len(hop.unanswered), len(hop.messages)), (1, 1))

    def test_large_bodies(self):
        hop = self.hop(self.certificates()['good'])
        self.start([('large.test', 'mx.plain.test', hop, {'tls': 'verify'})])
        body = sample('large', ('x' * 70 + '\r\n.dots\r\n') * 60_000)
        send_message(self.server.port, 'from@local.test', 'a@large.test', body)
        self.assertTrue(self.arrived(hop).octets.endswith(body))


if __name__ == '__main__':
    main()
