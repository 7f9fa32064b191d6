# SPDX-License-Identifier: GPL-2.0-or-later
"""The server's TLS: STARTTLS, TLS from the first byte, who is let in, certificates and their exchange."""

import base64
import os
import pwd
import re
import signal
import socket
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from mailring_e2e import (STALL, Authority, Case, Client, Closed, free_port, main, openssl, sample,
                          send_message)
from mailring_e2e.smtp import any_certificate

FAR = 'x@far.test'


def context(ca=None, low=None, high=None, ciphers=None, pair=None):
    made = any_certificate()
    if ca:
        made.load_verify_locations(ca.certificate)
        made.verify_mode = ssl.CERT_REQUIRED
        made.check_hostname = True
    if low:
        made.minimum_version = low
    if high:
        made.maximum_version = high
    if ciphers:
        made.set_ciphers(ciphers)
    if pair:
        made.load_cert_chain(pair.certificate, pair.key)
    return made


class TlsCase(Case):
    def setUp(self):
        super().setUp()
        self.ca = Authority(self.directory / 'ca')
        self.pair = self.ca.issue('mx.test')

    def tls_settings(self, *pairs, **more):
        pairs = pairs or (self.pair,)
        return {'certificate': [p.certificate for p in pairs], 'key': [p.key for p in pairs], **more}

    def listener(self, name, **settings):
        """A listener of its own beside the one of all tests, and its port."""
        port = free_port()
        self.ports = {**getattr(self, 'ports', {}), name: port}
        return {('listener', name): {'address': [f'127.0.0.1:{port}'], **settings}}

    def start(self, *pairs, tls=None, **settings):
        settings = {'tls': self.tls_settings(*pairs, **(tls or {})), **settings}
        return self.start_server(settings)

    def mx(self, **settings):
        """The listener of all tests, with these settings too."""
        def change(server):
            server.configure({('listener', 'mx'): {'address': [f'127.0.0.1:{server.port}'], 'role': 'mx', **settings}})
        return change

    def start_mx(self, listener, *pairs, **settings):
        server = self.make_server({'tls': self.tls_settings(*pairs), ('route', 'far.test'): {'to': 'discard'},
                                   **settings})
        self.mx(**listener)(server)
        return server.start()


class Starttls(TlsCase):
    def test_message(self):
        """Each version; what is learnt about it in Received, log and status."""
        server = self.start()
        for version, word in (ssl.TLSVersion.TLSv1_2, 'TLS1_2'), (ssl.TLSVersion.TLSv1_3, 'TLS1_3'):
            with Client(server.port) as client:
                self.assertIn('STARTTLS', client.extensions)
                self.assertNotIn('REQUIRETLS', client.extensions)
                client.starttls(context(self.ca, version, version), 'mx.test')
                self.assertNotIn('STARTTLS', client.extensions)
                self.assertIn('REQUIRETLS', client.extensions)
                cipher = client.socket.cipher()[0]
                client.message('ann@client.test', f'{word.lower()}@local.test', sample(word))
                client.quit()
            received = server.wait_mail(word.lower())[0].decode()
            self.assertRegex(received, rf'with ESMTPS\s+\(version={word}\s+cipher=TLS_[A-Z0-9_]+\)')
            if version == ssl.TLSVersion.TLSv1_3:
                self.assertIn(f'cipher={cipher}', received)
                self.wait_for(lambda: re.search(rf'event=accepted .*tls=TLSv1.3 cipher={cipher}', server.log()),
                              'the line about it')
        status = server.status()
        self.assertEqual([status[name] for name in ('tls_sessions', 'tls_1_2', 'tls_1_3', 'tls_failed')],
                         [2, 1, 1, 0])

    def test_everything_is_forgotten(self):
        """RFC 3207 4.2: after the handshake the session begins anew."""
        server = self.start()
        with Client(server.port) as client:
            client.command('STARTTLS', 220)
            client.wrap()
            client.command('MAIL FROM:<a@client.test>', 503)
            client.command('STARTTLS', (502, 503))
            client.ehlo()
            client.command('STARTTLS', (502, 503))
            client.message('ann@client.test', 'box@local.test', sample('x'))
            client.quit()

    def test_not_within_a_transaction(self):
        server = self.start()
        with Client(server.port) as client:
            client.command('MAIL FROM:<a@client.test>', 250)
            client.command('STARTTLS', 503)
            client.command('RSET')
            client.starttls()
            client.message('ann@client.test', 'box@local.test', sample('x'))
            client.quit()

    def test_syntax(self):
        server = self.start()
        with Client(server.port) as client:
            client.command('STARTTLS now', 501)
            client.quit()

    def test_not_without_certificate(self):
        server = self.start_server()
        with Client(server.port) as client:
            self.assertNotIn('STARTTLS', client.extensions)
            client.command('STARTTLS', 502)
            client.quit()

    def test_none(self):
        server = self.start_mx({'tls': 'none'})
        with Client(server.port) as client:
            self.assertNotIn('STARTTLS', client.extensions)
            client.command('STARTTLS', 502)
            client.quit()

    def test_required(self):
        server = self.start_mx({'tls': 'required'})
        with Client(server.port, greet=False) as client:
            client.expect(220)
            client.command('MAIL FROM:<a@client.test>', 530)
            client.ehlo()
            for line in ('MAIL FROM:<a@client.test>', 'RCPT TO:<box@local.test>', 'DATA', 'VRFY box', 'AUTH PLAIN'):
                reply = client.command(line, (530, 502))
                self.assertIn(reply.enhanced, ('5.7.0', '5.5.1'))
            client.command('NOOP', 250)
            client.command('RSET', 250)
            client.starttls()
            client.message('ann@client.test', 'box@local.test', sample('x'))
            client.quit()

    def test_requiretls(self):
        server = self.start()
        with Client(server.port) as client:
            client.command('MAIL FROM:<a@client.test> REQUIRETLS', (530, 555))
            client.starttls()
            client.command('MAIL FROM:<a@client.test> REQUIRETLS', 250)
            client.quit()


class Injection(TlsCase):
    """CVE-2011-0411: what stands behind STARTTLS in the clear must not be taken for said under TLS."""

    def test_in_one_go(self):
        server = self.start()
        with Client(server.port) as client:
            client.send(b'STARTTLS\r\nRSET\r\nMAIL FROM:<evil@client.test>\r\nRCPT TO:<box@local.test>\r\n')
            client.expect(554)
            self.assertEqual(client.closed(), b'')
        self.wait_for(lambda: 'plaintext after STARTTLS' in server.log(), 'the log says so')
        self.assertEqual(server.status()['tls_failed'], 1)
        send_message(server.port, 'ann@client.test', 'box@local.test', sample('x'))

    def test_just_behind(self):
        """In the kernel's buffer when the handshake begins: no TLS, so its end."""
        server = self.start()
        for _ in range(20):
            with Client(server.port) as client:
                client.send(b'STARTTLS\r\n')
                client.send(b'MAIL FROM:<evil@client.test>\r\n')
                try:
                    client.expect((220, 554))
                    with self.assertRaises((ssl.SSLError, OSError)):
                        client.wrap()
                except (Closed, ConnectionError):
                    pass
        self.assertEqual(server.status()['tls_sessions'], 0)

    def test_a_single_byte(self):
        server = self.start()
        with Client(server.port) as client:
            client.send(b'STARTTLS\r\n\n')
            client.expect(554)
            client.closed()

    def test_hello_ahead_of_the_reply(self):
        """A client that does not wait for 220 is as wrong."""
        server = self.start()
        with Client(server.port) as client:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = any_certificate().wrap_bio(incoming, outgoing)
            with self.assertRaises(ssl.SSLWantReadError):
                tls.do_handshake()
            client.send(b'STARTTLS\r\n' + outgoing.read())
            client.expect(554)
            client.closed()


class Implicit(TlsCase):
    def test_message(self):
        server = self.start_mx({'tls': 'implicit'})
        with Client(server.port, tls=context(self.ca), name='mx.test') as client:
            self.assertNotIn('STARTTLS', client.extensions)
            client.command('STARTTLS', (502, 503))
            client.message('ann@client.test', 'box@local.test', sample('x'))
            client.quit()
        self.assertIn(b'with ESMTPS (', server.wait_mail('box')[0])

    def test_plaintext(self):
        server = self.start_mx({'tls': 'implicit'})
        with socket.create_connection(('127.0.0.1', server.port)) as sock:
            sock.settimeout(10)
            sock.sendall(b'EHLO client.test\r\nMAIL FROM:<a@client.test>\r\n' * 10)
            got = b''
            try:
                while more := sock.recv(4096):
                    got += more
            except ConnectionError:
                pass
            self.assertNotIn(b'220', got, 'nothing is said in the clear but an alert')
        self.wait_for(lambda: server.status()['tls_failed'] == 1, 'it is counted')
        self.wait_for(lambda: re.search('event=tls-failed .*listener=mx reason="not a TLS record"', server.log()),
                      lambda: server.log())

    def test_too_many(self):
        """Who is turned away gets no words in the clear."""
        server = self.make_server({'tls': self.tls_settings(), 'limits': {'connections_per_client': 1}})
        self.mx(tls='implicit')(server)
        server.start()
        with Client(server.port, tls=any_certificate()):
            with socket.create_connection(('127.0.0.1', server.port)) as sock:
                sock.settimeout(10)
                self.assertEqual(sock.recv(100), b'')

    def test_truncated(self):
        """Hanging up without close_notify, within a message: nothing is taken."""
        server = self.start_mx({'tls': 'implicit'})
        client = Client(server.port, tls=any_certificate())
        client.envelope('ann@client.test', 'box@local.test')
        client.command('DATA', 354)
        client.send(b'Subject: half\r\n\r\nhalf')
        client.reset()
        self.wait_for(lambda: server.status()['sessions'] == 0, 'it has ended')
        self.assertEqual(server.status()['accepted'], 0)


class Handshake(TlsCase):
    def test_timeout(self):
        server = self.start(limits={'timeout': {'greeting': '300ms'}})
        with Client(server.port) as client:
            client.command('STARTTLS', 220)
            client.socket.settimeout(10)
            began = time.monotonic()
            client.closed()
            self.assertLess(time.monotonic() - began, 5)
        self.wait_for(lambda: re.search('event=tls-failed .*reason=timeout', server.log()), 'the log says so')
        self.wait_for(lambda: server.status()['sessions'] == 0, 'it has ended')

    def test_garbage(self):
        server = self.start()
        for octets in (b'\x00' * 100, b'\x16\x03\x01\xff\xff' + b'\x01' * 300, b'\x16\x03\x01\x00\x04\x01\x00\x00\x00',
                       b'\x80\x2e\x01\x00\x02', b'GET / HTTP/1.0\r\n\r\n', b'\x15\x03\x03\x00\x02\x02\x28'):
            with Client(server.port) as client:
                client.command('STARTTLS', 220)
                client.send(octets)
                client.socket.shutdown(socket.SHUT_WR)
                client.closed()
        self.wait_for(lambda: server.status()['tls_failed'] == 6, lambda: server.status()['tls_failed'])
        with Client(server.port) as client:
            client.starttls()
            client.quit()

    def test_reset_in_the_middle(self):
        server = self.start()
        for n in range(10):
            client = Client(server.port)
            client.command('STARTTLS', 220)
            client.send(b'\x16\x03\x01\x02\x00'[:n % 6])
            client.reset()
        self.wait_for(lambda: server.status()['sessions'] == 0, 'all have ended')
        self.assertEqual(server.status()['tls_sessions'], 0)

    def test_old_versions(self):
        server = self.start()
        for version in ('-tls1', '-tls1_1'):
            done = subprocess.run(['openssl', 's_client', '-starttls', 'smtp', version, '-cipher', 'ALL:@SECLEVEL=0',
                                   '-connect', f'127.0.0.1:{server.port}'], input=b'', capture_output=True, timeout=30)
            self.assertNotEqual(done.returncode, 0, version)
        self.assertEqual(server.status()['tls_sessions'], 0)

    def test_minimum(self):
        server = self.start(tls={'version_min': 'TLSv1.3'})
        with Client(server.port) as client:
            client.command('STARTTLS', 220)
            with self.assertRaises((ssl.SSLError, OSError)):
                client.wrap(context(high=ssl.TLSVersion.TLSv1_2))
        with Client(server.port) as client:
            client.starttls()
            client.quit()

    def test_octet_by_octet(self):
        """Records in as many pieces as they have octets."""
        server = self.start()
        with Client(server.port) as client:
            client.command('STARTTLS', 220)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = any_certificate().wrap_bio(incoming, outgoing)
            sock = client.socket

            def send():
                for octet in outgoing.read():
                    sock.sendall(bytes((octet,)))

            def run(step):
                while True:
                    try:
                        return step()
                    except ssl.SSLWantReadError:
                        send()
                        incoming.write(sock.recv(65536))
            run(tls.do_handshake)
            tls.write(b'EHLO client.test\r\nMAIL FROM:<a@client.test>\r\nRCPT TO:<box@local.test>\r\nDATA\r\n'
                      b'Subject: x\r\n\r\nx\r\n.\r\nQUIT\r\n')
            send()
            got = b''
            while b'221 ' not in got:
                got += run(lambda: tls.read(4096))
        server.wait_mail('box')

    def test_large(self):
        server = self.start()
        body = sample('large', ('x' * 76 + '\r\n') * 100000)
        with Client(server.port, timeout=60) as client:
            client.starttls()
            client.message('ann@client.test', 'box@local.test', body)
            client.quit()
        self.assertTrue(server.wait_mail('box')[0].endswith(body))

    def test_many_at_once(self):
        server = self.start(shards=2)

        def one(n):
            with Client(server.port, timeout=60) as client:
                client.starttls()
                client.message('ann@client.test', f'box{n % 4}@local.test', sample(f'm{n}'))
                client.quit()
        with ThreadPoolExecutor(20) as pool:
            list(pool.map(one, range(100)))
        self.assertEqual(server.status()['tls_sessions'], 100)


class Certificates(TlsCase):
    def names_of(self, port, name, **options):
        with Client(port) as client:
            client.command('STARTTLS', 220)
            made = context(self.ca, **options)
            made.check_hostname = False
            client.wrap(made, name)
            return {value for _, value in client.socket.getpeercert()['subjectAltName']}

    def test_sni(self):
        others = [self.ca.issue('other.test', 'www.other.test'), self.ca.issue('*.wild.test')]
        server = self.start(self.pair, *others)
        for asked, names in (('mx.test', {'mx.test'}), ('other.test', {'other.test', 'www.other.test'}),
                             ('WWW.Other.Test', {'other.test', 'www.other.test'}),
                             ('a.wild.test', {'*.wild.test'}), ('a.b.wild.test', {'mx.test'}),
                             ('unknown.test', {'mx.test'}), (None, {'mx.test'})):
            self.assertEqual(self.names_of(server.port, asked), names, asked)

    def test_two_kinds(self):
        """RSA and ECDSA for one name: who can only do one gets that."""
        rsa = self.ca.issue('mx.test', kind='rsa')
        for pairs in ((self.pair, rsa), (rsa, self.pair)):
            server = self.start(*pairs)
            for ciphers, kind in ('ECDHE-RSA-AES128-GCM-SHA256', 'RSA'), ('ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDSA'):
                with Client(server.port) as client:
                    client.starttls(context(self.ca, high=ssl.TLSVersion.TLSv1_2, ciphers=ciphers), 'mx.test')
                    self.assertIn(kind, client.socket.cipher()[0])
                    client.quit()
            server.stop()

    def test_heavy_key(self):
        """Signatures by a large key are made by helpers."""
        server = self.start(self.ca.issue('mx.test', kind='rsa4096'))

        def one(_):
            with Client(server.port, timeout=60) as client:
                client.starttls(context(self.ca), 'mx.test')
                client.message('ann@client.test', 'box@local.test', sample('x'))
                client.quit()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(one, range(16)))
        server.wait_mail('box', 16)

    def test_tickets_on_all_shards(self):
        server = self.start(shards=2)
        for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
            made = context(self.ca, version, version)
            session = None
            for n in range(12):
                with Client(server.port) as client:
                    client.starttls(made, 'mx.test', session)
                    self.assertEqual(client.socket.session_reused, n > 0, (version, n))
                    session = client.socket.session
                    client.quit()
        status = server.status()
        self.assertEqual(status['tls_resumed'], 22)
        self.assertTrue(all(shard['tls_resumed'] > 0 for shard in status['shards']), 'both shards did')

    def test_no_tickets(self):
        server = self.start(tls={'ticket_lifetime': '0'})
        made = context(self.ca, high=ssl.TLSVersion.TLSv1_2)
        session = None
        for _ in range(3):
            with Client(server.port) as client:
                client.starttls(made, 'mx.test', session)
                self.assertFalse(client.socket.session_reused)
                session = client.socket.session
                client.quit()

    def test_with_openssl(self):
        server = self.start()
        done = subprocess.run(['openssl', 's_client', '-starttls', 'smtp', '-connect', f'127.0.0.1:{server.port}',
                               '-servername', 'mx.test', '-CAfile', self.ca.certificate, '-verify_return_error',
                               '-verify_hostname', 'mx.test', '-quiet', '-crlf'],
                              input=b'QUIT\n', capture_output=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_staples(self):
        pair = self.ca.issue('mx.test', with_root=True)
        server = self.start(pair, tls={'ocsp': [self.ca.staple(pair)]})
        for version in '-tls1_3', '-tls1_2':
            for _ in range(3):
                done = subprocess.run(['openssl', 's_client', '-starttls', 'smtp', version, '-status', '-crlf',
                                       '-connect', f'127.0.0.1:{server.port}', '-CAfile', self.ca.certificate],
                                      input=b'QUIT\n', capture_output=True, timeout=30)
                self.assertIn(b'Cert Status: good', done.stdout)
                self.assertIn(b'Verify return code: 0 (ok)', done.stdout)

    def test_with_curl(self):
        server = self.start()
        mail = self.directory / 'mail.txt'
        mail.write_bytes(sample('curl'))
        done = subprocess.run(['curl', '-sS', '--ssl-reqd', '--cacert', self.ca.certificate,
                               '--resolve', f'mx.test:{server.port}:127.0.0.1', f'smtp://mx.test:{server.port}/c.test',
                               '--mail-from', 'ann@client.test', '--mail-rcpt', 'box@local.test', '-T', mail],
                              capture_output=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        server.wait_mail('box')


class ClientCertificates(TlsCase):
    def relays(self, server, pair, codes):
        with Client(server.port) as client:
            client.starttls(context(pair=pair))
            client.command('MAIL FROM:<ann@client.test>', 250)
            client.command(f'RCPT TO:<{FAR}>', codes)
            client.command('RCPT TO:<box@local.test>', 250)
            client.quit()

    def test_fingerprint(self):
        ours = self.ca.issue('client.test', client=True)
        self_signed = self.ca.issue('own.test', client=True, self_signed=True)
        other = self.ca.issue('client.test', client=True)
        server = self.start_mx({'relay_certificates': [f'sha256:{ours.sha256}', f'sha256:{self_signed.sha256}']})
        for pair, codes in (ours, 250), (self_signed, 250), (other, 550), (None, 550):
            self.relays(server, pair, codes)
        with Client(server.port) as client:
            client.command('MAIL FROM:<ann@client.test>', 250)
            client.command(f'RCPT TO:<{FAR}>', 550)
            client.quit()

    def test_ca(self):
        ours = self.ca.issue('client.test', client=True)
        foreign_ca = Authority(self.directory / 'foreign')
        foreign = foreign_ca.issue('client.test', client=True)
        self_signed = self.ca.issue('client.test', client=True, self_signed=True)
        expired = self.ca.issue('client.test', client=True, expired=True)
        server = self.start_mx({'client_ca': self.ca.certificate, 'relay_client_ca': 'yes'})
        for pair, codes in (ours, 250), (foreign, 550), (self_signed, 550), (expired, 550), (None, 550):
            self.relays(server, pair, codes)

    def test_relay_role(self):
        """A listener of role relay hears who comes from elsewhere until he has shown his certificate, or not."""
        ours, other = self.ca.issue('client.test', client=True), self.ca.issue('client.test', client=True)
        server = self.start_mx({'role': 'relay', 'relay_certificates': [f'sha256:{ours.sha256}']})
        with Client(server.port) as client:
            client.starttls(context(pair=ours))
            client.command('MAIL FROM:<ann@client.test>', 250)
            client.command(f'RCPT TO:<{FAR}>', 250)
            client.command('RCPT TO:<box@local.test>', 250)
            client.quit()
        for pair in other, None:
            with Client(server.port) as client:
                client.starttls(context(pair=pair))
                client.command('MAIL FROM:<ann@client.test>', 550)
                client.command('RCPT TO:<box@local.test>', 503)
                client.quit()
        with Client(server.port) as client:
            client.command('MAIL FROM:<ann@client.test>', 550)
            client.quit()

    def test_ca_alone_grants_nothing(self):
        ours = self.ca.issue('client.test', client=True)
        server = self.start_mx({'client_ca': self.ca.certificate})
        self.relays(server, ours, 550)

    def test_resumed(self):
        """The certificate counts in a resumed session too, or the handshake is a full one."""
        ours = self.ca.issue('client.test', client=True)
        server = self.start_mx({'relay_certificates': [f'sha256:{ours.sha256}']})
        made, session = context(pair=ours), None
        for _ in range(3):
            with Client(server.port) as client:
                client.starttls(made, 'mx.test', session)
                client.command('MAIL FROM:<ann@client.test>', 250)
                client.command(f'RCPT TO:<{FAR}>', 250)
                session = client.socket.session
                client.quit()


class Login(TlsCase):
    """The session's part of AUTH; mechanisms have tests of their own."""

    def setUp(self):
        super().setUp()
        self.users = self.directory / 'users'
        done = subprocess.run(['openssl', 'passwd', '-6', 'secret'], capture_output=True, text=True, check=True)
        self.users.write_text(f'ann:{done.stdout.strip()}:ann@local.test\n')
        self.users.chmod(0o600)
        self.auth = {'users': self.users, 'delay': '10ms'}

    def submission(self, **more):
        server = self.make_server({'tls': self.tls_settings(), 'auth': {**self.auth, **more.pop('auth', {})}})
        server.configure({('listener', 'mx'): {'address': [f'127.0.0.1:{server.port}'], 'role': 'submission', **more}})
        return server.start()

    def test_submission(self):
        server = self.submission()
        with Client(server.port) as client:
            self.assertNotIn('AUTH', client.extensions)
            client.login('ann', 'secret', 538)
            client.command('MAIL FROM:<ann@local.test>', 530)
            client.starttls()
            self.assertIn('PLAIN', client.extensions['AUTH'].split())
            self.assertEqual(client.command('MAIL FROM:<ann@local.test>', 530).enhanced, '5.7.0')
            self.assertEqual(client.login('ann', 'wrong', 535).enhanced, '5.7.8')
            self.assertEqual(client.login('ann', 'secret').enhanced, '2.7.0')
            client.login('ann', 'secret', 503)
            client.command('STARTTLS', 503)
            client.message('ann@local.test', 'box@local.test', sample('x', sender='ann@local.test'))
            client.quit()
        received = server.wait_mail('box')[0]
        self.assertIn(b'with ESMTPSA (version=TLS1_3', received)
        self.assertIn(b'[127.0.0.1]', received)
        self.wait_for(lambda: re.search('event=accepted .*user=ann', server.log()), 'the log says so')
        self.assertNotIn('secret', server.log())
        self.assertNotIn(base64.b64encode(b'\0ann\0secret').decode(), server.log())
        status = server.status()
        self.assertEqual((status['auth_ok'], status['auth_rejected']), (1, 1))

    def test_dialogs(self):
        server = self.submission(tls='implicit')
        with Client(server.port, tls=any_certificate()) as client:
            client.command('AUTH', 501)
            client.command('AUTH NONSENSE', 504)
            client.command('AUTH PLAIN', 334)
            client.command('*', 501)
            client.command('AUTH PLAIN !', 501)
            client.command('AUTH LOGIN', 334)
            client.command(base64.b64encode(b'ann').decode(), 334)
            client.command(base64.b64encode(b'secret').decode(), 235)
            client.quit()

    def test_masked(self):
        server = self.submission(mask_client='yes')
        with Client(server.port) as client:
            client.starttls()
            client.login('ann', 'secret')
            client.message('ann@local.test', 'box@local.test', sample('x', sender='ann@local.test'))
            client.quit()
        received = re.search(rb'Received:.*\r\n([ \t].*\r\n)*', server.wait_mail('box')[0]).group()
        self.assertNotIn(b'127.0.0.1', received)
        self.assertNotIn(b'client.test', received)

    def test_plaintext(self):
        server = self.submission(tls='none', auth={'plaintext': 'yes'})
        with Client(server.port) as client:
            self.assertIn('AUTH', client.extensions)
            client.login('ann', 'secret')
            client.message('ann@local.test', 'box@local.test', sample('x', sender='ann@local.test'))
            client.quit()
        self.assertIn(b'with ESMTPA id', server.wait_mail('box')[0].replace(b'\r\n\t', b' '))

    def test_at_an_mx(self):
        """auth = yes: who logs in may relay, others may not."""
        server = self.make_server({'tls': self.tls_settings(), 'auth': self.auth,
                                   ('route', '*'): {'to': 'discard'}})
        self.mx(auth='yes')(server)
        server.start()
        with Client(server.port) as client:
            client.starttls()
            client.command('MAIL FROM:<ann@local.test>', 250)
            client.command(f'RCPT TO:<{FAR}>', 550)
            client.command('RSET')
            client.login('ann', 'secret')
            client.command('MAIL FROM:<ann@local.test>', 250)
            client.command(f'RCPT TO:<{FAR}>', 250)
            client.quit()

    def test_delay_blocks_nobody(self):
        server = self.submission(auth={'delay': '1s'})
        slow = Client(server.port)
        slow.starttls()
        slow.send(b'AUTH PLAIN ' + base64.b64encode(b'\0ann\0wrong') + b'\r\n')
        began = time.monotonic()
        for _ in range(5):
            with Client(server.port) as client:
                client.starttls()
                client.quit()
        self.assertLess(time.monotonic() - began, 0.9)
        slow.expect(535)
        self.assertGreater(time.monotonic() - began, 0.5)
        slow.close()

    def test_gone_while_it_waits(self):
        server = self.submission(auth={'delay': '500ms'})
        for _ in range(5):
            client = Client(server.port)
            client.starttls()
            client.send(b'AUTH PLAIN ' + base64.b64encode(b'\0ann\0wrong') + b'\r\n')
            client.reset()
        self.wait_for(lambda: server.status()['sessions'] == 0, 'all have ended')
        server.stop()

    def test_stop_while_it_waits(self):
        server = self.submission(auth={'delay': '3s'})
        client = Client(server.port)
        client.starttls()
        client.send(b'AUTH PLAIN ' + base64.b64encode(b'\0ann\0wrong') + b'\r\n')
        time.sleep(0.2)
        server.stop()
        client.close()

    def test_ban_is_shown(self):
        server = self.submission(auth={'failures': 2, 'ban': '1h'})
        with Client(server.port) as client:
            client.starttls()
            for _ in range(2):
                client.login('ann', 'wrong', 535)
            client.login('ann', 'secret', 454)
            client.close()
        bans = server.status()['bans']
        self.assertEqual([(ban['address'], ban['user']) for ban in bans], [('127.0.0.1', 'ann')])
        self.assertIn('banned', server.run('status').stdout)


class Reload(TlsCase):
    def reload(self, server, event='reloaded'):
        before = server.log().count(f'event={event}')
        server.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: server.log().count(f'event={event}') > before, f'{event}\n{server.tail()}')

    def serial(self, port, name='mx.test'):
        with Client(port) as client:
            client.command('STARTTLS', 220)
            client.wrap(context(self.ca), name)
            return client.socket.getpeercert(True)

    def test_certificate(self):
        """A session that is open stays; the next handshake shows the new one."""
        server = self.start(shards=2)
        self.assertEqual(self.serial(server.port), self.pair.der)
        with Client(server.port) as open_one, Client(server.port) as plain:
            open_one.starttls(context(self.ca), 'mx.test')
            new = self.ca.issue('mx.test')
            os.replace(new.certificate, self.pair.certificate)
            os.replace(new.key, self.pair.key)
            self.reload(server)
            for _ in range(6):
                self.assertEqual(self.serial(server.port), self.pair.der)
            open_one.message('ann@client.test', 'box@local.test', sample('x'))
            open_one.quit()
            plain.starttls(context(self.ca), 'mx.test')     # with what it began with
            plain.quit()
        server.wait_mail('box')

    def test_session_tickets_survive(self):
        server = self.start()
        made, session = context(self.ca, high=ssl.TLSVersion.TLSv1_2), None
        for n in range(3):
            with Client(server.port) as client:
                client.starttls(made, 'mx.test', session)
                self.assertEqual(client.socket.session_reused, n > 0)
                session = client.socket.session
                client.quit()
            self.reload(server)

    def test_failures_change_nothing(self):
        server = self.start()
        good = self.pair.key.read_bytes()
        other = self.ca.issue('other.test')

        def mismatch():
            self.pair.key.write_bytes(other.key.read_bytes())

        def readable():
            self.pair.key.chmod(0o644)

        def missing():
            self.pair.key.unlink()

        def garbage():
            self.pair.key.write_text('nonsense\n')

        def setting():
            server.configure({'no_such_setting': 1})
        for spoil, words in ((mismatch, 'match'), (readable, '0644'), (missing, 'No such file'), (garbage, 'key'),
                             (setting, 'no_such_setting')):
            spoil()
            self.reload(server, 'reload-failed')
            server.wait_log(rf'event=reload .*problem=".*mailring.conf:\d+: .*{words}')
            self.assertEqual(self.serial(server.port), self.pair.der, spoil.__name__)
            self.pair.key.unlink(missing_ok=True)
            self.pair.key.write_bytes(good)
            self.pair.key.chmod(0o600)
        server.configure({'no_such_setting': None})
        self.reload(server)

    def test_configuration(self):
        """Domains, relay rules, limits, the greeting: new sessions have them, open ones do not."""
        server = self.start_server({'shards': 2})
        with Client(server.port) as old:
            server.configure({'hostname': 'new.test', ('domain', 'two.test'): {'to': f'maildir:{server.mail}/%d/%u'},
                              ('domain', 'local.test'): None, 'limits': {'recipients': 1}, 'tls': self.tls_settings()})
            self.reload(server)
            old.command('MAIL FROM:<a@client.test>', 250)
            old.command('RCPT TO:<box@two.test>', 550)
            old.command('RCPT TO:<box@local.test>', 250)
            old.command('RSET')
            for _ in range(6):
                with Client(server.port, greet=False) as new:
                    self.assertIn('new.test', new.expect(220).text)
                    new.ehlo()
                    self.assertIn('STARTTLS', new.extensions)
                    new.command('MAIL FROM:<a@client.test>', 250)
                    new.command('RCPT TO:<box@local.test>', 550)
                    new.command('RCPT TO:<box@two.test>', 250)
                    new.command('RCPT TO:<box2@two.test>', 452)
                    new.quit()
            old.quit()

    def test_routes(self):
        """Mail that waits goes where the new configuration says; what is on its way ends as it began."""
        slow, old, new = self.next_hop({'connect': STALL}), self.next_hop(), self.next_hop()
        server = self.start_server({
            'shards': 2, 'relay_from': ['127.0.0.0/8'], 'retry': {'intervals': ['300ms'], 'expire': '1h'},
            ('route', 'a.test'): {'to': f'smtp://127.0.0.1:{old.port}'},
            ('route', 'b.test'): {'to': f'smtp://127.0.0.1:{free_port()}'},
            ('route', 'c.test'): {'to': f'smtp://127.0.0.1:{slow.port}'}})
        for n in range(6):
            for domain in 'abc':
                send_message(server.port, 'ann@client.test', f'x{n}@{domain}.test', sample('x'))
        self.wait_for(lambda: len(old.messages) == 6, 'the old way')
        server.configure({('route', 'aa.test'): {'to': 'discard'},
                          ('route', 'a.test'): {'to': f'smtp://127.0.0.1:{new.port}'},
                          ('route', 'b.test'): {'to': f'smtp://127.0.0.1:{new.port}'},
                          ('route', 'c.test'): {'to': f'smtp://127.0.0.1:{new.port}', 'connections': 1}})
        for _ in range(3):
            self.reload(server)
        self.wait_for(lambda: len(new.messages) == 12, 'what could not be delivered before, what waited')
        for n in range(6):
            send_message(server.port, 'ann@client.test', f'y{n}@a.test', sample('x'))
        self.wait_for(lambda: len(new.messages) == 18, 'the new way')
        self.assertEqual((len(old.messages), len(slow.messages)), (6, 0))
        server.wait_drained()

    def test_routes_under_load(self):
        """Each message arrives once, here or there, whenever the settings change."""
        hops = self.next_hop(), self.next_hop()
        server = self.start_server({'shards': 2, 'relay_from': ['127.0.0.0/8'],
                                    ('route', '*'): {'to': f'smtp://127.0.0.1:{hops[0].port}'}})

        def send(sender):
            for n in range(40):
                send_message(server.port, 'ann@client.test', f'x{sender}.{n}@{n % 3}.test', sample('x'))

        with ThreadPoolExecutor(3) as pool:
            done = [pool.submit(send, sender) for sender in range(3)]
            for turn in range(1, 13):
                server.configure({('route', '*'): {'to': f'smtp://127.0.0.1:{hops[turn % 2].port}',
                                                   'connections': 1 + turn}})
                self.reload(server)
            for one in done:
                one.result()
        server.wait_drained()
        arrived = sorted(m.recipients[0] for hop in hops for m in hop.messages)
        self.assertEqual(arrived, sorted(f'x{s}.{n}@{n % 3}.test' for s in range(3) for n in range(40)))

    def test_domain_goes(self):
        """What is queued for a domain that is ours no more leaves by the routes."""
        hop = self.next_hop()
        server = self.start_server({
            'relay_from': ['127.0.0.0/8'], 'retry': {'intervals': ['300ms'], 'expire': '1h'},
            ('domain', 'moved.test'): {'to': f'smtp://127.0.0.1:{free_port()}'}})
        send_message(server.port, 'ann@client.test', 'x@moved.test', sample('x'))
        self.wait_for(lambda: server.status()['deferred'] > 0, 'an attempt')
        server.configure({('domain', 'moved.test'): None,
                          ('route', 'moved.test'): {'to': f'smtp://127.0.0.1:{hop.port}'}})
        self.reload(server)
        self.wait_for(lambda: len(hop.messages) == 1, 'the route')
        server.wait_drained()

    def test_start_only(self):
        server = self.start_server()
        server.configure({'shards': 2, **self.listener('new')})
        self.reload(server)
        server.wait_log('event=reload .*shards is read at the start only')
        server.wait_log('event=reload .*new.* begins with the next start')
        send_message(server.port, 'ann@client.test', 'box@local.test', sample('x'))

    def test_users(self):
        users = self.directory / 'users'
        users.write_text('')
        users.chmod(0o600)
        server = self.make_server({'tls': self.tls_settings(), 'auth': {'users': users, 'delay': '10ms'}})
        self.mx(auth='yes')(server)
        server.start()
        with Client(server.port) as client:
            client.starttls()
            client.login('bob', 'secret', 535)
            done = subprocess.run(['openssl', 'passwd', '-6', 'secret'], capture_output=True, text=True, check=True)
            users.write_text(f'bob:{done.stdout.strip()}\n')
            self.reload(server)
            client.login('bob', 'secret', 235)
            client.quit()

    def test_many_under_load(self):
        server = self.start(shards=2)
        stop = []

        def load():
            count = 0
            while not stop:
                with Client(server.port) as client:
                    client.starttls()
                    client.message('ann@client.test', 'box@local.test', sample('x'))
                    client.quit()
                count += 1
            return count
        with ThreadPoolExecutor(4) as pool:
            runs = [pool.submit(load) for _ in range(4)]
            for _ in range(20):
                self.reload(server)
            stop.append(True)
            count = sum(run.result() for run in runs)
        server.wait_mail('box', count)

    def test_unprivileged(self):
        """Root's key is read at the start; a reload cannot, says so, and keeps what there is."""
        if os.getuid() != 0:
            self.skipTest('needs root')
        nobody = pwd.getpwnam('nobody')
        server = self.make_server({'user': 'nobody', 'tls': self.tls_settings()})
        server.mail.mkdir()
        for path in (server.directory, server.mail):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        done = server.run('check')
        self.assertRegex(done.stderr, r'mailring.conf:\d+: warning: key: user nobody may not read')
        server.start()
        server.wait_log('warning: key: user nobody may not read')
        self.assertEqual(self.serial(server.port), self.pair.der)
        self.reload(server, 'reload-failed')
        server.wait_log('event=reload .*key.*Permission denied')
        self.assertEqual(self.serial(server.port), self.pair.der)
        # As a group of the server's user may:
        os.chown(self.pair.key, 0, nobody.pw_gid)
        self.pair.key.chmod(0o640)
        self.reload(server)
        self.assertEqual(server.run('check').stderr, '')
        server.config.chmod(0o600)
        self.assertIn('configuration: user nobody may not read', server.run('check').stderr)
        self.reload(server, 'reload-failed')


class Check(TlsCase):
    """What `mailring check` says about certificates, each by the line of the setting."""

    def check(self, words, *pairs, code=1, settings=None, **tls):
        server = self.make_server({'tls': self.tls_settings(*pairs, **tls), **(settings or {})})
        done = server.run('check', code=code)
        if words is None:
            self.assertEqual(done.stderr, '')
        else:
            self.assertRegex(done.stderr, words)
            for line in done.stderr.splitlines():
                self.assertRegex(line, rf'^{server.config}:\d+: ')
            number = int(re.search(r'mailring.conf:(\d+): ', done.stderr).group(1))
            return server.config.read_text().splitlines()[number - 1]
        return ''

    def test_good(self):
        self.check(None, code=0)
        self.check(None, self.pair, self.ca.issue('mx.test', kind='rsa'), code=0)

    def test_expired(self):
        self.assertIn('certificate', self.check('warning: certificate: .*: expired at 2020-02-01',
                                                self.ca.issue('mx.test', expired=True), code=0))

    def test_not_yet(self):
        self.check('warning: certificate: .* not valid before 2040-01-01', self.ca.issue('mx.test', future=True), code=0)

    def test_expired_is_served(self):
        """A start is not refused for it: mail that goes in the clear is worse."""
        server = self.start_server({'tls': self.tls_settings(self.ca.issue('mx.test', expired=True))})
        server.wait_log('warning: certificate')
        with Client(server.port) as client:
            client.starttls()
            client.quit()

    def test_soon(self):
        pair = self.ca.issue('mx.test')
        subprocess.run(['openssl', 'req', '-x509', '-new', '-key', pair.key, '-subj', '/CN=mx.test', '-days', '5',
                        '-addext', 'subjectAltName=DNS:mx.test', '-out', pair.certificate], check=True)
        self.check('warning: certificate: .* expires soon', pair, code=0)

    def test_staple(self):
        pair, other = (self.ca.issue('mx.test', with_root=True) for _ in range(2))
        self.check(None, pair, code=0, ocsp=[self.ca.staple(pair)])
        self.check('warning: ocsp: .* not sent along: it is for another certificate', pair, code=0,
                   ocsp=[self.ca.staple(other)])
        garbage = self.directory / 'garbage.ocsp'
        garbage.write_bytes(b'nothing like it')
        self.check('warning: ocsp: .* not sent along: it is not an OCSP response', pair, code=0, ocsp=[garbage])

    def test_mismatch(self):
        pair, other = self.ca.issue('mx.test'), self.ca.issue('mx.test')
        pair.key = other.key
        self.check('match', pair)

    def test_encrypted(self):
        pair = self.ca.issue('mx.test')
        octets = openssl('pkey', '-in', pair.key, '-aes256', '-passout', 'pass:x')
        pair.key.write_bytes(octets)
        self.check('encrypted', pair)

    def test_garbage(self):
        pair = self.ca.issue('mx.test')
        for path in (pair.certificate, pair.key):
            good = path.read_bytes()
            path.write_text('nothing\n')
            self.check(str(path), pair)
            path.write_bytes(b'')
            self.check('empty', pair)
            path.write_bytes(good)

    def test_missing(self):
        pair = self.ca.issue('mx.test')
        for path, setting in ((pair.key, 'key'), (pair.certificate, 'certificate')):
            path.rename(f'{path}.away')
            self.assertIn(setting, self.check('No such file', pair).split('=')[0])
            os.rename(f'{path}.away', path)

    def test_permissions(self):
        pair = self.ca.issue('mx.test')
        for mode in (0o644, 0o604, 0o620, 0o660, 0o601):
            pair.key.chmod(mode)
            self.check(rf'key: {pair.key}: others than its owner may use it \(mode {mode:04o}\)', pair)
        pair.key.chmod(0o400)
        self.check(None, pair, code=0)
        if os.getuid() == 0:
            pair.key.chmod(0o640)
            self.check(None, pair, code=0)
            os.chown(pair.key, 0, 12345)
            self.check('group .* 12345', pair)
            os.chown(pair.key, 12345, 0)
            self.check('user id 12345', pair)

    def test_other_name(self):
        self.check('warning: certificate: none is for the hostname, mx.test', self.ca.issue('other.test'), code=0)
        self.check(None, self.ca.issue('*.example.test'), code=0, settings={'hostname': 'mx.example.test'})

    def test_fewer_keys(self):
        self.check('2 certificates, but 1 key', self.pair, self.pair, key=[self.pair.key])

    def test_client_ca(self):
        line = self.check('client_ca: /nowhere: No such file', settings={
            ('listener', 'mx'): {'address': ['127.0.0.1:2525'], 'client_ca': '/nowhere'}})
        self.assertIn('client_ca', line)

    def test_ca(self):
        self.assertIn('ca', self.check('ca: /nowhere: No such file', ca='/nowhere'))

    def test_listener_without_certificate(self):
        for settings in ({'tls': 'required'}, {'tls': 'implicit'}, {'role': 'submission'}):
            server = self.make_server({('listener', 'mx'): {'address': ['127.0.0.1:2525'], **settings}})
            done = server.run('check', code=1)
            self.assertRegex(done.stderr, r'mailring.conf:\d+: .*certificate|log in')

    def test_start_is_refused(self):
        """What check finds wrong, serve does too."""
        pair = self.ca.issue('mx.test')
        pair.key.chmod(0o644)
        server = self.make_server({'tls': self.tls_settings(pair)})
        server.start(wait=False)
        server.expected_end = True
        self.assertEqual(server.process.wait(20), 78)
        server.wait_log('0644')


class Secrets(TlsCase):
    def test_no_core(self):
        server = self.start()
        with open(f'/proc/{server.pid}/status', encoding='ascii') as status:
            self.assertIn('Uid:', status.read())
        # Not dumpable: its files in /proc are root's whoever it runs as, and nobody may attach.
        self.assertEqual(os.stat(f'/proc/{server.pid}/environ').st_uid, 0)
        key = self.pair.key.read_text().splitlines()[1]
        self.assertNotIn(key, server.log())
        self.assertNotIn(key, server.run('status').stdout)

    def test_secrets_that_a_reload_brings(self):
        """Who starts as somebody else than root, and without secrets, may be looked at until there are some."""
        server = self.make_server()
        uid = os.getuid() or pwd.getpwnam('nobody').pw_uid
        if os.getuid() == 0:
            server.preexec = lambda: os.setresuid(uid, uid, uid)
            server.mail.mkdir()
            for path in [server.directory, *server.directory.rglob('*')]:
                os.chown(path, uid, -1)
        server.start()
        self.assertEqual(os.stat(f'/proc/{server.pid}/environ').st_uid, uid)
        users = server.directory / 'users'
        users.write_text('ann:*\n')
        users.chmod(0o600)
        os.chown(users, uid, -1)
        server.configure({'auth': {'users': users}})
        server.process.send_signal(signal.SIGHUP)
        server.wait_log('event=reloaded')
        self.assertEqual(os.stat(f'/proc/{server.pid}/environ').st_uid, 0)


if __name__ == '__main__':
    main()
