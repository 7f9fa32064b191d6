# SPDX-License-Identifier: GPL-2.0-or-later
"""MTA-STS (RFC 8461) and TLS reports (RFC 8460) with a policy host, a name server and next hops of our own."""

import email
import email.policy
import gzip
import json
import os
import re
import time
import unittest

from mailring_e2e import STALL, Case, NextHop, loopback_address, main, sample, send_message
from mailring_e2e.https import HttpsServer, Page, Redirect

POLICY = 'version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: 86400\r\n'


class Sts(Case):
    def setUp(self):
        super().setUp()
        self.web = HttpsServer(loopback_address())
        self.addCleanup(self.web.close)
        self.zone = {}
        self.dns = self.dns_server(self.zone, ttl=1)
        os.environ['MAILRING_HTTPS_PORT'] = str(self.web.port)
        self.addCleanup(os.environ.pop, 'MAILRING_HTTPS_PORT')

    def hop(self, name, **options):
        for _ in range(20):
            try:
                hop = NextHop(address=loopback_address(), port=25, **options)
            except PermissionError:
                raise unittest.SkipTest('port 25 may not be bound here') from None
            except OSError:
                continue
            self.addCleanup(hop.close)
            self.zone[name] = {'A': [hop.address]}
            return hop
        raise AssertionError('no free loopback address')

    def good_hop(self, name):
        """A host with a certificate for its name from our authority."""
        return self.hop(name, tls=self.authority.issue(name).server_context())

    def announce(self, domain, number, answer, pair=None):
        host = f'mta-sts.{domain}'
        self.zone[f'_mta-sts.{domain}'] = {'TXT': [f'v=STSv1; id={number};']}
        self.zone[host] = {'A': [self.web.address]}
        self.web.serve(host, pair or self.authority.issue(host), answer)

    def policy(self, domain, number=1, mode='enforce', mx=None):
        self.announce(domain, number, Page(POLICY.format(mode=mode, mx=mx or f'mx.{domain}')))

    def mx(self, domain, host=None):
        self.zone[domain] = {'MX': [(10, host or f'mx.{domain}')]}

    def start(self, **settings):
        self.server = self.start_server({
            'relay_from': ['127.0.0.0/8'],
            'dns': {'servers': [f'127.0.0.1:{self.dns.port}'], 'timeout': '2s'},
            'tls': {'ca': self.authority.certificate},
            'retry': {'intervals': ['1s'], 'expire': '120s', 'jitter': 0},
            ('route', '*'): {'to': 'mx', 'timeout': {'connect': '2s', 'response': '5s', 'idle': '200ms'}},
            **settings})

    def send(self, recipient, name='sts'):
        send_message(self.server.port, 'from@local.test', recipient, sample(name))

    def arrived(self, hop, count=1, timeout=20, tls=True):
        self.wait_for(lambda: len(hop.messages) >= count, lambda: f'{count} at {hop.address}\n'
                      f'{self.server.tail(20)}\n{self.dns.queries[-10:]}', timeout)
        self.assertEqual(len(hop.messages), count)
        self.assertEqual(bool(hop.messages[-1].connection.tls), tls, self.server.tail())

    def waits(self, *hops, seconds=2.5):
        """Nothing gets through, and the mail is still there."""
        self.wait_for(lambda: self.server.status()['deferred'] >= 1, lambda: f'deferred {self.server.tail()}', 20)
        time.sleep(seconds)
        for hop in hops:
            self.assertEqual(hop.messages, [], self.server.tail())
        self.assertEqual(self.server.status()['queue'], 1)


class Policies(Sts):
    def test_enforce(self):
        """Fetched once; mail goes to the host that it names, verified."""
        hop = self.good_hop('mx.a.test')
        self.mx('a.test')
        self.policy('a.test')
        self.start()
        self.send('x@a.test')
        self.arrived(hop)
        self.send('y@a.test')
        self.arrived(hop, 2)
        self.assertEqual(self.web.requests, [('mta-sts.a.test', '/.well-known/mta-sts.txt')])
        status = self.server.status()
        self.assertEqual((status['sts_policies'], status['sts_fetches'], status['sts_fetch_failures']), (1, 1, 0))
        file = self.server.spool / 'state' / 'sts' / 'a.test'
        self.wait_for(file.exists, 'kept on disk')
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        self.assertEqual(file.parent.stat().st_mode & 0o777, 0o700)

    def test_wrong_certificate(self):
        """A next hop whose certificate is for another name gets nothing."""
        hop = self.hop('mx.a.test', tls=self.authority.issue('other.test').server_context())
        self.mx('a.test')
        self.policy('a.test')
        self.start()
        self.send('x@a.test')
        self.waits(hop)

    def test_stripped_starttls(self):
        hop = self.hop('mx.a.test')
        self.mx('a.test')
        self.policy('a.test')
        self.start()
        self.send('x@a.test')
        self.waits(hop)

    def test_testing(self):
        """Mode testing: counted, delivered."""
        hop = self.hop('mx.a.test')
        self.mx('a.test')
        self.policy('a.test', mode='testing')
        self.start()
        self.send('x@a.test')
        self.arrived(hop, tls=False)
        self.wait_for(lambda: self.server.status()['tls_failures'] >= 1, 'counted')

    def test_other_host(self):
        """The MX is moved by somebody who can write DNS answers but has no HTTPS: mail waits. Then the owner
        changes his policy: it goes."""
        hop = self.good_hop('mx2.a.test')
        self.mx('a.test', 'mx2.a.test')
        self.policy('a.test', mx='mx1.a.test')
        self.start()
        self.send('x@a.test')
        self.waits(hop)
        self.policy('a.test', number=2, mx='*.a.test')
        self.arrived(hop, timeout=30)

    def test_withdrawn(self):
        hop = self.hop('mx.a.test')
        self.mx('a.test')
        self.policy('a.test')
        self.start()
        self.send('x@a.test')
        self.waits(hop)
        self.policy('a.test', number=2, mode='none')
        self.arrived(hop, timeout=30, tls=False)
        self.assertEqual(self.server.status()['sts_withdrawn'], 1)

    def test_restart(self):
        """Known from the disk when neither DNS nor HTTPS say a word any more."""
        hop = self.good_hop('mx.a.test')
        self.mx('a.test')
        self.policy('a.test')
        self.start()
        self.send('x@a.test')
        self.arrived(hop)
        self.server.stop()
        plain = self.hop('mx.a.test')
        del self.zone['_mta-sts.a.test'], self.zone['mta-sts.a.test']
        self.server.start()
        self.assertEqual(self.server.status()['sts_policies'], 1)
        self.send('y@a.test')
        self.waits(plain)
        self.assertEqual(len(self.web.requests), 1)

    def test_switched_off(self):
        hop = self.hop('mx.a.test')
        self.mx('a.test')
        self.policy('a.test')
        self.start(mta_sts='no')
        self.send('x@a.test')
        self.arrived(hop, tls=False)
        self.assertEqual(self.web.requests, [])

    def test_stop_while_fetching(self):
        """The policy host says nothing: mail waits for the policy, the server stops in time all the same."""
        hop = self.hop('mx.a.test')
        self.mx('a.test')
        self.announce('a.test', 1, STALL)
        self.start()
        self.send('x@a.test')
        self.wait_for(lambda: self.web.requests, 'asked')
        time.sleep(1)
        self.assertEqual(hop.messages, [])
        started = time.monotonic()
        self.server.stop()
        self.assertLess(time.monotonic() - started, 8)
        self.assertEqual(hop.messages, [])


class Faults(Sts):
    """No policy comes: mail goes as without one, and it is said why."""

    def no_policy(self, error, answer=None, pair=None):
        hop = self.hop('mx.a.test')
        self.mx('a.test')
        self.announce('a.test', 1, answer or Page(POLICY.format(mode='enforce', mx='mx.a.test')), pair)
        self.start()
        self.send('x@a.test')
        self.arrived(hop, tls=False)
        self.assertRegex(self.server.wait_log('sts-fetch-failed.*').group(), error)
        self.assertEqual(self.server.status()['sts_policies'], 0)

    def other_authority(self):
        return type(self.authority)(self.directory / 'other-ca', 'other CA')

    def test_unknown_authority(self):
        self.no_policy('(?i)certificate|verif', pair=self.other_authority().issue('mta-sts.a.test'))

    def test_self_signed(self):
        self.no_policy('(?i)certificate|verif', pair=self.authority.issue('mta-sts.a.test', self_signed=True))

    def test_other_name(self):
        self.no_policy('(?i)certificate|name', pair=self.authority.issue('a.test'))

    def test_expired(self):
        self.no_policy('(?i)certificate|expired', pair=self.authority.issue('mta-sts.a.test', expired=True))

    def test_redirect(self):
        """Not followed, wherever it leads (3.3)."""
        host = 'www.a.test'
        self.zone[host] = {'A': [self.web.address]}
        self.web.serve(host, self.authority.issue(host), Page(POLICY.format(mode='enforce', mx='mx.a.test')))
        self.no_policy('302', Redirect(f'https://{host}:{self.web.port}/.well-known/mta-sts.txt'))
        self.assertEqual(len(self.web.requests), 1)

    def test_not_found(self):
        self.no_policy('404', Page(POLICY.format(mode='enforce', mx='mx.a.test'), 404))

    def test_server_error(self):
        self.no_policy('500', Page('', 500))

    def test_too_large(self):
        self.no_policy('too large', Page(POLICY.format(mode='enforce', mx='mx.a.test') + 'x: y\n' * 20000))

    def test_other_type(self):
        self.no_policy('text/plain', Page(POLICY.format(mode='enforce', mx='mx.a.test'), type='text/html'))

    def test_type_with_parameter(self):
        hop = self.good_hop('mx.a.test')
        self.mx('a.test')
        self.announce('a.test', 1, Page(POLICY.format(mode='enforce', mx='mx.a.test'), type='Text/Plain; charset=utf-8'))
        self.start()
        self.send('x@a.test')
        self.arrived(hop)
        self.assertEqual(self.server.status()['sts_policies'], 1)

    def test_no_policy_in_it(self):
        self.no_policy('key: value', Page('<html>hello</html>'))

    def test_no_address(self):
        hop = self.hop('mx.a.test')
        self.mx('a.test')
        self.zone['_mta-sts.a.test'] = {'TXT': ['v=STSv1; id=1']}
        self.start()
        self.send('x@a.test')
        self.arrived(hop, tls=False)
        self.server.wait_log('no address')

    def test_nobody_there(self):
        hop = self.hop('mx.a.test')
        self.mx('a.test')
        self.policy('a.test')
        self.zone['mta-sts.a.test'] = {'A': [loopback_address()]}
        self.start()
        self.send('x@a.test')
        self.arrived(hop, tls=False)
        self.server.wait_log('sts-fetch-failed')


class Reports(Sts):
    def read_report(self, octets):
        """The JSON of a report mail, after what RFC 8460 5.3 asks of its form."""
        message = email.message_from_bytes(octets, policy=email.policy.default)
        self.assertEqual(message.get_content_type(), 'multipart/report')
        self.assertEqual(message.get_param('report-type'), 'tlsrpt')
        self.assertEqual(message['TLS-Required'], 'No')
        self.assertEqual(message['TLS-Report-Submitter'], 'mx.test')
        words, attachment = message.iter_parts()
        self.assertEqual(words.get_content_type(), 'text/plain')
        self.assertEqual(attachment.get_content_type(), 'application/tlsrpt+gzip')
        self.assertEqual(attachment.get_content_disposition(), 'attachment')
        report = self.check_report(attachment.get_content())
        domain = message['TLS-Report-Domain']
        self.assertRegex(message['Subject'],
                         rf'^Report Domain: {re.escape(domain)} Submitter: mx\.test Report-ID: <[^<> ]+@[^<> ]+>$')
        self.assertIn(f'<{report["report-id"]}>', message['Subject'])
        name = attachment.get_filename().split('!')
        self.assertEqual(name[:2], ['mx.test', domain])
        self.assertRegex(name[2], r'^\d+$')
        self.assertRegex(name[3], r'^\d+\.json\.gz$')
        self.assertEqual({p['policy']['policy-domain'] for p in report['policies']}, {domain})
        return report

    def check_report(self, octets):
        """RFC 8460 4.4: which members there are, and of what type."""
        report = json.loads(gzip.decompress(octets))
        self.assertEqual(set(report), {'organization-name', 'date-range', 'contact-info', 'report-id', 'policies'})
        for edge in ('start-datetime', 'end-datetime'):
            self.assertRegex(report['date-range'][edge], r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$')
        for policy in report['policies']:
            self.assertLessEqual(set(policy), {'policy', 'summary', 'failure-details'})
            summary = policy['summary']
            self.assertEqual(set(summary), {'total-successful-session-count', 'total-failure-session-count'})
            details = policy.get('failure-details', [])
            self.assertEqual(sum(d['failed-session-count'] for d in details), summary['total-failure-session-count'])
            self.assertIn(policy['policy']['policy-type'], ('sts', 'tlsa', 'no-policy-found'))
            for member in ('policy-string', 'mx-host'):
                self.assertIsInstance(policy['policy'].get(member, []), list)
        return report

    def test_by_mail(self):
        hop = self.hop('mx.a.test', tls=self.authority.issue('other.test').server_context())
        self.mx('a.test')
        self.policy('a.test', mode='testing')
        self.zone['_smtp._tls.a.test'] = {'TXT': ['v=TLSRPTv1; rua=mailto:reports@local.test']}
        good = self.good_hop('mx.b.test')
        self.mx('b.test')
        self.policy('b.test')
        self.zone['_smtp._tls.b.test'] = {'TXT': ['v=TLSRPTv1; rua=mailto:reports@local.test']}
        self.start(shards=2, tls_reports={'organization': 'Test Org', 'contact': 'who@mx.test'})
        self.send('x@a.test')
        self.arrived(hop)
        self.send('x@b.test')
        self.arrived(good)
        self.server.run('tls-report', 'send')
        reports = {}
        for octets in self.server.wait_mail('reports', 2):
            self.assertTrue(octets.startswith(b'Return-Path: <>'), octets[:100])
            report = self.read_report(octets)
            self.assertEqual(report['organization-name'], 'Test Org')
            self.assertEqual(report['contact-info'], 'who@mx.test')
            policy, = report['policies']
            reports[policy['policy']['policy-domain']] = policy
        failed, fine = reports['a.test'], reports['b.test']
        self.assertEqual(fine['policy']['policy-type'], 'sts')
        self.assertEqual(fine['policy']['policy-string'],
                         ['version: STSv1', 'mode: enforce', 'mx: mx.b.test', 'max_age: 86400'])
        self.assertEqual(fine['policy']['mx-host'], ['mx.b.test'])
        self.assertEqual(fine['summary'], {'total-successful-session-count': 1, 'total-failure-session-count': 0})
        detail = failed['failure-details'][0]
        self.assertEqual(detail['result-type'], 'certificate-host-mismatch')
        self.assertEqual(detail['receiving-mx-hostname'], 'mx.a.test')
        self.assertEqual(detail['receiving-ip'], hop.address)
        self.assertEqual(failed['summary']['total-failure-session-count'], 1)
        self.assertEqual(self.server.status()['tls_reports_mailed'], 2)
        # What was reported is not reported again.
        self.server.run('tls-report', 'send')
        time.sleep(1)
        self.assertEqual(len(self.server.maildir('reports')), 2)

    def test_by_https(self):
        hop = self.hop('mx.a.test')
        self.mx('a.test')
        self.zone['_smtp._tls.a.test'] = {'TXT': [f'v=TLSRPTv1;rua=https://reports.test:{self.web.port}/v1/x?y=z']}
        self.zone['reports.test'] = {'A': [self.web.address]}
        self.web.serve('reports.test', self.authority.issue('reports.test'), Page('', 201))
        self.start(tls_reports={'private_addresses': 'yes'})
        self.send('x@a.test')
        self.arrived(hop, tls=False)
        self.server.run('tls-report', 'send')
        self.wait_for(lambda: self.web.posts, lambda: f'posted\n{self.server.tail()}', 20)
        post, = self.web.posts
        self.assertEqual((post.host, post.path, post.type), ('reports.test', '/v1/x?y=z', 'application/tlsrpt+gzip'))
        policy, = self.check_report(post.body)['policies']
        self.assertEqual(policy['policy'], {'policy-type': 'no-policy-found', 'policy-domain': 'a.test'})
        self.wait_for(lambda: self.server.status()['tls_reports_posted'] == 1, 'counted')

    def test_fetch_error(self):
        hop = self.hop('mx.a.test')
        self.mx('a.test')
        self.announce('a.test', 1, Page('', 404))
        self.zone['_smtp._tls.a.test'] = {'TXT': ['v=TLSRPTv1; rua=mailto:reports@local.test']}
        self.start()
        self.send('x@a.test')
        self.arrived(hop, tls=False)
        self.server.run('tls-report', 'send')
        octets, = self.server.wait_mail('reports')
        policy, = self.read_report(octets)['policies']
        self.assertEqual(policy['policy']['policy-type'], 'sts')
        self.assertEqual(policy['failure-details'][0]['result-type'], 'sts-policy-fetch-error')

    def test_to_who_has_no_tls(self):
        """A report goes where TLS is broken, and nothing is reported about that."""
        hop = self.hop('mx.a.test')
        self.mx('a.test')
        self.policy('a.test')
        self.zone['_smtp._tls.a.test'] = {'TXT': ['v=TLSRPTv1; rua=mailto:reports@a.test']}
        self.start(retry={'intervals': ['60s'], 'expire': '1h', 'jitter': 0})
        self.send('x@a.test')
        self.waits(hop, seconds=0.5)
        self.server.run('tls-report', 'send')
        self.arrived(hop, tls=False)
        self.assertEqual(hop.messages[0].recipients, ['reports@a.test'])
        self.read_report(hop.messages[0].octets)
        self.assertEqual(self.server.status()['tls_result_rows'], 0)

    def test_unwanted(self):
        hop = self.hop('mx.a.test')
        self.mx('a.test')
        self.start()
        self.send('x@a.test')
        self.arrived(hop, tls=False)
        self.server.run('tls-report', 'send')
        self.wait_for(lambda: self.dns.count('_smtp._tls.a.test', 'TXT'), 'asked')
        status = self.server.status()
        self.assertEqual((status['tls_reports_mailed'], status['tls_reports_failed'], status['queue']), (0, 0, 0))

    def test_restart(self):
        """Results live through a restart with another number of shards."""
        hop = self.good_hop('mx.a.test')
        self.mx('a.test')
        self.zone['_smtp._tls.a.test'] = {'TXT': ['v=TLSRPTv1; rua=mailto:reports@local.test']}
        self.start(shards=2)
        self.send('x@a.test')
        self.arrived(hop)
        self.server.stop()
        self.server.configure({'shards': 1})
        self.server.start()
        self.send('y@a.test')
        self.arrived(hop, 2)
        self.assertTrue(list((self.server.spool / 'state' / 'tls-reports').iterdir()))
        self.server.stop()
        self.server.configure({'shards': 2})
        self.server.start()
        self.server.run('tls-report', 'send')
        octets, = self.server.wait_mail('reports')
        policy, = self.read_report(octets)['policies']
        self.assertEqual(policy['summary'], {'total-successful-session-count': 2, 'total-failure-session-count': 0})

    def test_command(self):
        self.start()
        self.server.run('tls-report', code=69)
        self.server.run('tls-report', 'now', code=69)
        self.assertIn('on their way', self.server.run('tls-report', 'send').stdout)


if __name__ == '__main__':
    main()
