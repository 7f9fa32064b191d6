# SPDX-License-Identifier: GPL-2.0-or-later
"""Other people's programs that speak TLS and log in: mail clients, scanners, Postfix and Exim."""

import os
import re
import shutil
import ssl
import subprocess
import unittest
import xml.etree.ElementTree as ElementTree

from mailring_e2e import (Case, Client, Exim, NextHop, Postfix, any_certificate, crlf, free_port, main, openssl, sample,
                          send_message)

USER, PASSWORD = 'ann', 'correct horse'
NODEMAILER = '''
const nodemailer = require('nodemailer');
const transport = nodemailer.createTransport(JSON.parse(process.argv[1]));
transport.sendMail({from: 'ann@local.test', to: 'box@local.test', subject: 'node', text: 'hello\\n.\\n'})
    .then(info => { console.log(info.response); transport.close(); }, error => { console.error(error); process.exit(1); });
'''


def needs(program):
    path = shutil.which(program)
    if path is None:
        raise unittest.SkipTest(f'{program} is not installed')
    return path


class WithTls(Case):
    """A server with an ECDSA and an RSA certificate at an MX port, a submission port and an implicit one."""

    def setUp(self):
        super().setUp()
        self.pairs = [self.authority.issue('mx.test', 'localhost'),
                      self.authority.issue('mx.test', 'localhost', kind='rsa')]
        users = self.directory / 'users'
        users.touch(0o600)
        users.write_text(f'{USER}:{openssl("passwd", "-6", PASSWORD).decode().strip()}:ann@local.test\n')
        self.submission, self.submissions = free_port(), free_port()

    def start(self, settings=None):
        self.server = self.make_server()
        self.server.configure({
            'tls': {'certificate': [pair.certificate for pair in self.pairs], 'key': [pair.key for pair in self.pairs]},
            'auth': {'users': self.directory / 'users'},
            ('listener', 'submission'): {'address': [f'127.0.0.1:{self.submission}'], 'role': 'submission',
                                         'tls': 'required'},
            ('listener', 'submissions'): {'address': [f'127.0.0.1:{self.submissions}'], 'role': 'submission',
                                          'tls': 'implicit'},
            **(settings or {})})
        return self.server.start()

    def run_program(self, *arguments, octets=b'', code=0, environment=None):
        done = subprocess.run([str(argument) for argument in arguments], input=octets, capture_output=True, timeout=60,
                              env={**os.environ, **(environment or {})})
        text = (done.stdout + done.stderr).decode('utf-8', 'replace')
        if code is not None:
            self.assertEqual(done.returncode, code, f'{arguments}\n{text}\n{self.server.tail()}')
        return text

    def arrived(self, count=1):
        return self.server.wait_mail('box', count)


class Clients(WithTls):
    def test_swaks(self):
        swaks = needs('swaks')
        self.start()
        common = ['--from', 'ann@local.test', '--to', 'box@local.test', '--auth-user', USER, '--auth-password', PASSWORD,
                  '--tls-verify', '--tls-ca-path', self.authority.certificate, '--server', 'localhost']
        for count, (port, tls, mechanism) in enumerate((
                (self.submission, '--tls', 'PLAIN'), (self.submission, '--tls', 'LOGIN'),
                (self.submissions, '--tlsc', 'PLAIN')), 1):
            with self.subTest(f'{tls} {mechanism}'):
                self.run_program(swaks, *common, '--port', port, tls, '--auth', mechanism)
                self.assertEqual(len(self.arrived(count)), count)
        self.run_program(swaks, *common[:-6], '--auth-password', 'wrong', '--server', 'localhost', '--port',
                         self.submission, '--tls', '--auth', 'PLAIN', code=28)

    def test_curl(self):
        curl = needs('curl')
        self.start()
        letter = self.directory / 'letter'
        letter.write_bytes(sample('curl'))
        common = ['--silent', '--show-error', '--cacert', self.authority.certificate, '--user', f'{USER}:{PASSWORD}',
                  '--mail-from', 'ann@local.test', '--mail-rcpt', 'box@local.test', '--upload-file', letter]
        for count, (url, more) in enumerate((
                (f'smtp://localhost:{self.submission}', ['--ssl-reqd']),
                (f'smtp://localhost:{self.submission}', ['--ssl-reqd', '--login-options', 'AUTH=LOGIN']),
                (f'smtp://localhost:{self.submission}', ['--ssl-reqd', '--tls-max', '1.2']),
                (f'smtps://localhost:{self.submissions}', [])), 1):
            with self.subTest(f'{url} {more}'):
                self.run_program(curl, *common, *more, url)
                self.assertEqual(len(self.arrived(count)), count)

    def test_msmtp(self):
        msmtp = needs('msmtp')
        self.start()
        for count, (port, starttls, mechanism) in enumerate((
                (self.submission, 'on', 'plain'), (self.submissions, 'off', 'plain'), (self.submission, 'on', 'login')), 1):
            with self.subTest(f'{mechanism}, starttls {starttls}'):
                self.run_program(
                    msmtp, '--host=localhost', f'--port={port}', '--tls=on', f'--tls-starttls={starttls}',
                    f'--tls-trust-file={self.authority.certificate}', f'--auth={mechanism}', f'--user={USER}',
                    f'--passwordeval=echo {PASSWORD}', '--from=ann@local.test', '--file=/dev/null', 'box@local.test',
                    octets=b'Subject: msmtp\n\nhello\n')
                self.assertEqual(len(self.arrived(count)), count)

    def test_nodemailer(self):
        node = needs('node')
        environment = {'NODE_PATH': '/usr/share/nodejs', 'NODE_EXTRA_CA_CERTS': str(self.authority.certificate)}
        if subprocess.run([node, '-e', 'require("nodemailer")'], capture_output=True,
                          env={**os.environ, **environment}).returncode:
            self.skipTest('nodemailer is not installed')
        self.start()
        import json
        for count, options in enumerate((
                {'port': self.submission, 'requireTLS': True, 'authMethod': 'PLAIN'},
                {'port': self.submission, 'requireTLS': True, 'authMethod': 'LOGIN'},
                {'port': self.submissions, 'secure': True},
                {'port': self.submissions, 'secure': True, 'pool': True}), 1):
            with self.subTest(str(options)):
                options |= {'host': 'localhost', 'auth': {'user': USER, 'pass': PASSWORD}}
                text = self.run_program(node, '-e', NODEMAILER, json.dumps(options), environment=environment)
                self.assertIn('250 2.0.0', text)
                self.assertEqual(len(self.arrived(count)), count)

    def test_like_a_mail_reader(self):
        """What Thunderbird says: EHLO with an address literal, STARTTLS, EHLO, AUTH PLAIN in two steps, MAIL with
        SIZE and BODY; then the same connection again for a second message."""
        self.start()
        context = ssl.create_default_context(cafile=self.authority.certificate)
        with Client(self.submission, greet=False) as client:
            client.expect(220)
            client.ehlo('[127.0.0.1]')
            self.assertIn('STARTTLS', client.extensions)
            self.assertNotIn('AUTH', client.extensions)
            client.command('STARTTLS', 220)
            client.wrap(context, 'mx.test')
            client.ehlo('[127.0.0.1]')
            self.assertNotIn('STARTTLS', client.extensions)
            self.assertIn('PLAIN', client.extensions['AUTH'])
            client.command('AUTH PLAIN', 334)
            import base64
            client.command(base64.b64encode(f'\0{USER}\0{PASSWORD}'.encode()).decode(), 235)
            for n in range(2):
                octets = sample(f'reader{n}')
                client.command(f'MAIL FROM:<ann@local.test> BODY=8BITMIME SIZE={len(octets)}', 250)
                client.command('RCPT TO:<box@local.test>', 250)
                client.command('DATA', 354)
                client.send(octets + b'.\r\n')
                client.expect(250)
            client.quit()
        self.arrived(2)

    def test_gnutls(self):
        gnutls = needs('gnutls-cli')
        self.start()
        for extra in ([], ['--priority=NORMAL:-VERS-ALL:+VERS-TLS1.2'], ['--priority=NORMAL:-VERS-ALL:+VERS-TLS1.3']):
            with self.subTest(str(extra)):
                text = self.run_program(gnutls, '--starttls-proto=smtp', f'--x509cafile={self.authority.certificate}',
                                        '--sni-hostname=mx.test', '--verify-hostname=mx.test', *extra,
                                        f'--port={self.server.port}', '127.0.0.1', octets=b'QUIT\r\n')
                self.assertIn('certificate is trusted', text)
        self.run_program(gnutls, '--starttls-proto=smtp', '--insecure', '--priority=NORMAL:-VERS-ALL:+VERS-TLS1.1',
                         f'--port={self.server.port}', '127.0.0.1', octets=b'QUIT\r\n', code=1)


class Scans(WithTls):
    def scan(self, port, *options):
        sslscan = needs('sslscan')
        text = self.run_program(sslscan, '--xml=-', '--no-colour', '--sni-name=mx.test', *options, f'127.0.0.1:{port}')
        return ElementTree.fromstring(re.search(r'<document.*</document>', text, re.S).group())

    def check(self, document):
        versions = {(p.get('type') + p.get('version')): p.get('enabled') for p in document.iter('protocol')}
        self.assertEqual({name for name, on in versions.items() if on == '1'}, {'tls1.2', 'tls1.3'}, versions)
        ciphers = {c.get('cipher') for c in document.iter('cipher')}
        self.assertTrue(ciphers)
        for cipher in ciphers:
            self.assertRegex(cipher, r'^TLS_(AES|CHACHA)|^ECDHE-.*(GCM|CHACHA20|CCM)', 'forward secret and AEAD')
        for weakness in document.iter('heartbleed'):
            self.assertEqual(weakness.get('vulnerable'), '0')
        for compression in document.iter('compression'):
            self.assertEqual(compression.get('supported'), '0')

    def test_starttls(self):
        self.start()
        self.check(self.scan(self.server.port, '--starttls-smtp'))
        self.check(self.scan(self.submission, '--starttls-smtp'))

    def test_implicit(self):
        self.start()
        self.check(self.scan(self.submissions))

    def test_only_the_newest(self):
        self.start({'tls': {'certificate': [self.pairs[0].certificate], 'key': [self.pairs[0].key],
                            'version_min': 'TLSv1.3'}})
        document = self.scan(self.submissions)
        self.assertEqual({p.get('version') for p in document.iter('protocol') if p.get('enabled') == '1'}, {'1.3'})

    def test_old_versions(self):
        """openssl s_client with what a server should not speak, and with what it should."""
        self.start()
        for options, good in ((['-tls1_3'], True), (['-tls1_2'], True),
                              (['-tls1_1', '-cipher', 'ALL:@SECLEVEL=0'], False),
                              (['-tls1_2', '-cipher', 'AES128-SHA:@SECLEVEL=0'], False),
                              (['-tls1_2', '-cipher', 'ECDHE-RSA-AES128-SHA:@SECLEVEL=0'], False),
                              (['-tls1_2', '-cipher', 'ECDHE-RSA-AES128-GCM-SHA256'], True),
                              (['-tls1_2', '-cipher', 'ECDHE-ECDSA-CHACHA20-POLY1305'], True)):
            with self.subTest(str(options)):
                text = self.run_program('openssl', 's_client', '-starttls', 'smtp', '-connect',
                                        f'127.0.0.1:{self.server.port}', '-servername', 'mx.test', '-verify_return_error',
                                        '-verify_hostname', 'mx.test', '-CAfile', self.authority.certificate, *options,
                                        octets=b'QUIT\r\n', code=0 if good else 1)
                if good:
                    self.assertIn('Verify return code: 0 (ok)', text)


class MailServers(WithTls):
    def play(self, port, hop, names=('a', 'b', 'c')):
        for name in names:
            send_message(port, 'ann@client.test', f'{name}@sink.test', sample(name))
        self.wait_for(lambda: len(hop.messages) >= len(names), lambda: f'{hop.messages} {self.server.tail(20)}', 30)
        self.assertEqual(len(hop.messages), len(names))

    def relay(self, port, **route):
        return {'relay_from': ['127.0.0.0/8'],
                'tls': {'certificate': [self.pairs[0].certificate], 'key': [self.pairs[0].key],
                        'ca': self.authority.certificate},
                ('route', '*'): {'to': f'smtp://localhost:{port}', **route}}

    def postfix(self, relay_to, settings=None, **options):
        postfix = Postfix(self.directory / 'postfix', relay_to, settings, **options)
        self.addCleanup(postfix.stop)
        return postfix.start()

    def exim(self, *arguments, **options):
        exim = Exim(self.directory / 'exim', *arguments, **options)
        self.addCleanup(exim.stop)
        return exim.start()

    def test_to_postfix(self):
        """Postfix with TLS required, verified by us."""
        hop = self.next_hop()
        pair = self.authority.issue('localhost')
        postfix = self.postfix(hop.port, {
            'smtpd_tls_security_level': 'encrypt', 'smtpd_tls_cert_file': pair.certificate,
            'smtpd_tls_key_file': pair.key, 'smtpd_tls_loglevel': '1', 'smtpd_tls_received_header': 'yes'})
        self.start(self.relay(postfix.port, tls='verify'))
        self.play(self.server.port, hop)
        self.assertIn(b'TLSv1.3', hop.messages[0].octets)

    def test_resumption_at_postfix(self):
        """Postfix gives no new ticket to a session that was resumed: the first one serves all that follow."""
        hop = self.next_hop()
        pair = self.authority.issue('localhost')
        postfix = self.postfix(hop.port, {
            'smtpd_tls_security_level': 'encrypt', 'smtpd_tls_cert_file': pair.certificate,
            'smtpd_tls_key_file': pair.key, 'smtpd_tls_loglevel': '2'})
        self.start(self.relay(postfix.port, tls='verify', messages_per_connection=1))
        for count in range(1, 6):
            send_message(self.server.port, 'ann@client.test', f'm{count}@sink.test', sample(f'm{count}'))
            self.wait_for(lambda: len(hop.messages) >= count, lambda: f'{self.server.tail(20)}\n{postfix.log()[-2000:]}', 20)
        self.wait_for(lambda: postfix.log().count('Reusing old session') == 4, lambda: postfix.log()[-3000:])
        self.assertNotIn('TLS library problem', postfix.log())

    def test_from_postfix(self):
        """Postfix verifies us, and sends nothing in the clear."""
        hop = self.next_hop()
        self.start(self.relay(hop.port))
        postfix = self.postfix(self.server.port, {
            'smtp_tls_security_level': 'verify', 'smtp_tls_CAfile': self.authority.certificate,
            'smtp_tls_verify_cert_match': 'mx.test', 'smtp_tls_loglevel': '1'})
        self.play(postfix.port, hop)
        self.wait_for(lambda: 'Verified TLS connection' in postfix.log(), lambda: postfix.log()[-3000:])

    def test_to_exim(self):
        hop = self.next_hop()
        exim = self.exim(hop.port, pair=self.authority.issue('localhost'),
                         main='acl_smtp_mail = acl_tls', acls='acl_tls:\n  accept encrypted = *\n  deny\n')
        self.start(self.relay(exim.port, tls='verify'))
        self.play(self.server.port, hop)
        self.wait_for(lambda: 'X=TLS1.3' in exim.log(), exim.log)

    def test_from_exim(self):
        hop = self.next_hop()
        self.start(self.relay(hop.port))
        exim = self.exim(self.server.port, relay_host='127.0.0.1', transport=(
            '  hosts_require_tls = *\n  tls_verify_hosts = *\n  tls_verify_cert_hostnames =\n'
            f'  tls_verify_certificates = {self.authority.certificate}\n  tls_sni = mx.test\n'))
        self.play(exim.port, hop)
        self.wait_for(lambda: 'CV=yes' in exim.log(), exim.log)

    def test_log_in_at_postfix_is_not_asked(self):
        """A smarthost without AUTH: mail waits, and the log says so once an attempt."""
        hop = NextHop(tls=self.authority.issue('localhost').server_context())
        self.addCleanup(hop.close)
        secret = self.directory / 'secret'
        secret.touch(0o600)
        secret.write_text('s3cret\n')
        self.start(self.relay(hop.port, tls='verify', auth={'user': 'us', 'password_file': secret}))
        send_message(self.server.port, 'ann@client.test', 'a@sink.test', sample('a'))
        self.wait_for(lambda: len(hop.connections) >= 2, 'two attempts')
        self.assertFalse(hop.messages)
        self.assertEqual(self.server.status()['queue'], 1)
        self.assertNotIn('s3cret', self.server.log())


if __name__ == '__main__':
    main()
