# SPDX-License-Identifier: GPL-2.0-or-later
"""Logging in: mailring passwd; mechanisms, with clients that others wrote; certificates; OAuth; Dovecot; those who
guess. (The session's part of AUTH: test_tls.py. What a user may do then: test_submission.py.)"""

import base64
import concurrent.futures
import hashlib
import hmac
import http.server
import json
import os
import pty
import pwd
import re
import secrets
import shutil
import signal
import smtplib
import socket
import stat
import subprocess
import threading
import time
import unittest
import urllib.parse

from mailring_e2e import MAILRING, Case, Client, any_certificate, free_port, main, sample, wait_for

PASSWORD = 'open sesame 7 é'
SECRET = '$y$j75$saltsalt$0gBD67sgmJgRX3RZ6wHHO7sHimQEWGCWN85o4Twogh2'      # yescrypt of "secret"
SCHEMES = {'yescrypt': '$y$', 'sha512': '$6$', 'bcrypt': '$2b$12$', 'scram-sha-256': '{SCRAM-SHA-256}32768,',
           'scram-sha-1': '{SCRAM-SHA-1}32768,'}


def b64(octets):
    return base64.b64encode(octets if isinstance(octets, bytes) else octets.encode()).decode()


class Scram:
    """A client (RFC 5802): `header` is the GS2 header, `binding` what binds the channel."""

    def __init__(self, user, password, digest='sha256', header='n,,', binding=b''):
        self.password, self.digest, self.header, self.binding = password.encode(), digest, header, binding
        self.nonce = secrets.token_urlsafe(18)
        self.bare = f'n={user},r={self.nonce}'
        self.first = header + self.bare

    def _hmac(self, key, text):
        return hmac.new(key, text, self.digest).digest()

    def final(self, challenge):
        fields = dict(part.split('=', 1) for part in challenge.split(','))
        assert fields['r'].startswith(self.nonce) and len(fields['r']) > len(self.nonce)
        salted = hashlib.pbkdf2_hmac(self.digest, self.password, base64.b64decode(fields['s']), int(fields['i']))
        without = f'c={b64(self.header.encode() + self.binding)},r={fields["r"]}'
        message = f'{self.bare},{challenge},{without}'.encode()
        key = self._hmac(salted, b'Client Key')
        signature = self._hmac(hashlib.new(self.digest, key).digest(), message)
        self.expected = 'v=' + b64(self._hmac(self._hmac(salted, b'Server Key'), message))
        return f'{without},p={b64(bytes(a ^ b for a, b in zip(key, signature)))}'

    def login(self, client, mechanism, codes=235):
        reply = client.command(f'AUTH {mechanism} {b64(self.first)}', (334, 535, 501))
        if reply.code == 334:
            challenge = base64.b64decode(reply.text).decode()
            reply = client.command(b64(self.final(challenge)), (334, 535, 501))
            if reply.code == 334:
                assert base64.b64decode(reply.text).decode() == self.expected
                reply = client.command('', (235, 535))
        assert reply.code in (codes if isinstance(codes, tuple) else (codes,)), reply
        return reply


class AuthCase(Case):
    """A server whose one listener is for submission; users in a file that mailring passwd writes."""

    def setUp(self):
        super().setUp()
        self.users = self.directory / 'users'
        self.port = free_port()

    def make(self, auth=None, listener=None, tls=None, **settings):
        self.pair = self.authority.issue('mx.test')
        server = self.make_server({
            ('listener', 'mx'): {'address': [f'127.0.0.1:{self.port}'], 'role': 'submission', 'tls': 'required',
                                 **(listener or {})},
            'tls': {'certificate': [self.pair.certificate], 'key': [self.pair.key], **(tls or {})},
            'auth': {'users': self.users, 'delay': '10ms', **(auth or {})},
            ('route', '*'): {'to': 'discard'}, **settings})
        server.port = self.port
        return server

    def passwd(self, server, *words, password=PASSWORD, code=0):
        done = subprocess.run([MAILRING, 'passwd', '-c', server.config, *words], input=f'{password}\n'.encode(),
                              capture_output=True, timeout=60)
        self.assertEqual(done.returncode, code, done)
        return done

    def connect(self, context=None):
        client = Client(self.port)
        self.addCleanup(client.close)
        client.starttls(context or any_certificate())
        return client

    def login(self, user, password=PASSWORD, codes=235, context=None):
        client = self.connect(context)
        client.command('AUTH PLAIN ' + b64(f'\0{user}\0{password}'), codes)
        return client

    def mechanisms(self, **options):
        return self.connect(**options).extensions.get('AUTH', '').split()


class Passwd(AuthCase):
    def lines(self):
        return self.users.read_text().splitlines()

    def test_schemes(self):
        server = self.make()
        for scheme, begins in SCHEMES.items():
            self.passwd(server, f'--scheme={scheme}', f'{scheme}@local.test')
            self.assertTrue(self.lines()[-1].startswith(f'{scheme}@local.test:{begins}'), self.lines())
            self.passwd(server, '--check', f'{scheme}@local.test')
            done = self.passwd(server, '--check', f'{scheme}@local.test', password='wrong', code=1)
            self.assertEqual(done.stdout, b'wrong password\n')
        self.passwd(server, 'ann')
        self.assertTrue(self.lines()[-1].startswith('ann:$y$'))
        self.assertEqual(stat.S_IMODE(self.users.stat().st_mode), 0o600)
        server.run('check')
        server.start()
        for user in (*(f'{scheme}@local.test' for scheme in SCHEMES), 'ANN'):
            self.login(user).quit()
            self.login(user, 'wrong', 535).quit()
        self.assertNotIn(PASSWORD.encode(), self.users.read_bytes())

    def test_changes(self):
        """The one user's hash, and nothing else: not his senders, not comments, owner or group's right to read."""
        server = self.make()
        self.users.write_text('# ours\nann:*:ann@a.test,@b.test\n\nbob:*')
        self.users.chmod(0o644)
        os.chown(self.users, pwd.getpwnam('nobody').pw_uid, 12345) if os.geteuid() == 0 else None
        self.passwd(server, 'Ann')
        comment, ann, empty, bob = self.lines()
        self.assertEqual((comment, empty, bob), ('# ours', '', 'bob:*'))
        self.assertRegex(ann, r'^Ann:\$y\$[^:]+:ann@a\.test,@b\.test$')
        status = self.users.stat()
        self.assertEqual(stat.S_IMODE(status.st_mode), 0o640)
        if os.geteuid() == 0:
            self.assertEqual((status.st_uid, status.st_gid), (pwd.getpwnam('nobody').pw_uid, 12345))
        self.passwd(server, 'eve')
        self.assertEqual(len(self.lines()), 5)
        self.passwd(server, '--delete', 'ANN')
        self.assertEqual(self.lines()[:3], ['# ours', '', 'bob:*'])
        self.assertIn(b'is not in', self.passwd(server, '--delete', 'ann', code=1).stderr)
        self.assertEqual(self.passwd(server, '--check', 'ann', code=1).stdout, b'there is no such user\n')
        self.assertEqual([p.name for p in self.directory.glob('users*')], ['users'])

    def test_link(self):
        server = self.make()
        real = self.directory / 'real'
        real.write_text('bob:*\n')
        self.users.symlink_to(real)
        self.passwd(server, 'ann')
        self.assertTrue(self.users.is_symlink())
        self.assertEqual(len(real.read_text().splitlines()), 2)

    def test_many_at_once(self):
        server = self.make()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda i: self.passwd(server, '--scheme=scram-sha-1', f'user{i}'), range(16)))
        self.assertEqual({line.partition(':')[0] for line in self.lines()}, {f'user{i}' for i in range(16)})

    def test_mistakes(self):
        server = self.make()
        self.users.write_text('bob:*\n')
        for words, password, code, says in (
                (['a:b'], PASSWORD, 64, 'colon'), (['#ann'], PASSWORD, 64, '#'), ([''], PASSWORD, 64, 'name'),
                (['a\tb'], PASSWORD, 64, 'control'), ([], PASSWORD, 64, 'usage'), (['a', 'b'], PASSWORD, 64, 'usage'),
                (['--scheme=md5', 'ann'], PASSWORD, 64, 'known are yescrypt'),
                (['--check', '--delete', 'ann'], PASSWORD, 64, 'usage'),
                (['ann'], '', 65, 'no password'), (['ann'], 'x' * 512, 65, '511'), (['ann'], 'x' * 2000, 65, 'no'),
                (['ann'], 'a\tb', 65, 'control'), (['--scheme=bcrypt', 'ann'], 'x' * 73, 65, '72 bytes')):
            done = self.passwd(server, *words, password=password, code=code)
            self.assertRegex(done.stderr.decode(), rf'^mailring: [^\n]*{re.escape(says)}[^\n]*\n$')
        self.assertEqual(self.lines(), ['bob:*'])
        server.configure({'auth': {'dovecot': '/run/x'}})
        self.assertIn(b'no file of users', self.passwd(server, 'ann', code=78).stderr)

    def typed(self, server, *lines):
        """Types these lines at a terminal; what the terminal showed, and the exit code."""
        pid, master = pty.fork()
        if pid == 0:
            os.execv(MAILRING, ['mailring', 'passwd', '-c', str(server.config), 'ann'])
        shown, lines = b'', list(lines)
        try:
            while True:
                shown += os.read(master, 4096)
                if shown.endswith(b': ') and lines:
                    os.write(master, lines.pop(0))
        except OSError:
            pass
        os.close(master)
        return shown.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def test_terminal(self):
        server = self.make()
        shown, code = self.typed(server, b'typed\n', b'typed\n')
        self.assertEqual(code, 0, shown)
        self.assertNotIn('typed', shown)
        self.passwd(server, '--check', 'ann', password='typed')
        shown, code = self.typed(server, b'typed\n', b'other\n')
        self.assertEqual(code, 65)
        self.assertIn('two different passwords', shown)
        shown, code = self.typed(server, b'\x03')
        self.assertEqual(code, -2)
        self.passwd(server, '--check', 'ann', password='typed')

    def test_check(self):
        """mailring check says where; serve does not start."""
        server = self.make()
        self.users.write_text('ann:secret\nbob:*:x\n')
        self.users.chmod(0o600)
        done = server.run('check', code=1)
        self.assertIn(f'{self.users}:1: the hash is not one that crypt(3) knows\n', done.stderr)
        self.assertIn(f'{self.users}:2: a sender is', done.stderr)
        self.users.chmod(0o604)
        self.assertRegex(server.run('check', code=1).stderr, r'mailring\.conf:\d+: users: others may read or change')


class Mechanisms(AuthCase):
    def start(self, scheme='yescrypt', auth=None, **more):
        server = self.make(auth, **more)
        self.passwd(server, f'--scheme={scheme}', 'ann@local.test')
        return server.start()

    def test_offers(self):
        self.start()
        self.assertEqual(self.mechanisms(), ['PLAIN', 'LOGIN'])

    def test_scram_offered(self):
        """When all users can use it; else where the configuration says so."""
        server = self.start('scram-sha-256')
        self.assertEqual(self.mechanisms(), ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256', 'PLAIN', 'LOGIN'])
        self.passwd(server, 'bob')
        server.stop()
        server.start()
        self.assertEqual(self.mechanisms(), ['PLAIN', 'LOGIN'])
        server.stop()
        server.configure({'auth': {'users': self.users, 'mechanisms': ['plain', 'scram-sha-256'], 'delay': '10ms'}})
        server.start()
        self.assertEqual(self.mechanisms(), ['PLAIN', 'SCRAM-SHA-256'])

    def test_scram(self):
        self.start('scram-sha-256')
        Scram('ann@local.test', PASSWORD).login(self.connect(), 'SCRAM-SHA-256')
        Scram('ann@local.test', PASSWORD + 'x').login(self.connect(), 'SCRAM-SHA-256', 535)
        Scram('nobody', PASSWORD).login(self.connect(), 'SCRAM-SHA-256', 535)
        # "I could bind the channel, had you offered it": we did, so somebody is between.
        Scram('ann@local.test', PASSWORD, header='y,,').login(self.connect(), 'SCRAM-SHA-256', 535)

    def test_scram_plus(self):
        self.start('scram-sha-256')
        client = self.connect()
        binding = hashlib.sha256(client.socket.getpeercert(True)).digest()
        header = 'p=tls-server-end-point,,'
        Scram('ann@local.test', PASSWORD, header=header, binding=binding).login(client, 'SCRAM-SHA-256-PLUS')
        Scram('ann@local.test', PASSWORD, header=header, binding=b'x' * 32).login(
            self.connect(), 'SCRAM-SHA-256-PLUS', 535)
        Scram('ann@local.test', PASSWORD).login(self.connect(), 'SCRAM-SHA-256-PLUS', 501)

    def test_scram_sha_1(self):
        self.start('scram-sha-1', {'mechanisms': ['SCRAM-SHA-1']})
        self.assertEqual(self.mechanisms(), ['SCRAM-SHA-1'])
        Scram('ann@local.test', PASSWORD, 'sha1').login(self.connect(), 'SCRAM-SHA-1')
        self.connect().command('AUTH PLAIN', 504)

    def test_unknown_users_look_alike(self):
        """One and the same salt each time, also after a restart, with as many iterations as others have."""
        server = self.start('scram-sha-256')

        def challenge(user):
            reply = self.connect().command(f'AUTH SCRAM-SHA-256 {b64(f"n,,n={user},r=abc")}', 334)
            return re.fullmatch(r'r=abc[^,]{24},s=([^,]{24}),i=32768', base64.b64decode(reply.text).decode()).group(1)
        salts = {user: challenge(user) for user in ('ann@local.test', 'nobody', 'nemo')}
        self.assertEqual(len(set(salts.values())), 3)
        server.stop()
        server.start()
        for user, salt in salts.items():
            self.assertEqual(challenge(user), salt)

    def test_clients(self):
        """swaks, curl, msmtp and smtplib, each with all that it can."""
        server = self.make()
        self.passwd(server, '--scheme=scram-sha-256', 'ann@local.test')
        self.passwd(server, '--scheme=scram-sha-256', 'plain@local.test', password='only ASCII')
        server.start()
        url = f'smtp://127.0.0.1:{self.port}'
        message = self.directory / 'message'
        message.write_bytes(sample('clients', sender='ann@local.test'))
        sent = ['--from', 'ann@local.test', '--to', 'box@local.test']
        runs = [['swaks', '--server', f'127.0.0.1:{self.port}', '--tls', '--auth', m, '--auth-user', 'ann@local.test',
                 '--auth-password', PASSWORD, *sent, '--data', message] for m in ('PLAIN', 'LOGIN')]
        runs += [['curl', '-sS', '--ssl-reqd', '-k', '--login-options', f'AUTH={m}', '-u',
                  f'ann@local.test:{PASSWORD}', '--mail-from', 'ann@local.test', '--mail-rcpt', 'box@local.test',
                  '-T', message, url] for m in ('PLAIN', 'LOGIN')]
        runs += [['msmtp', '--file=/dev/null', '--host=127.0.0.1', f'--port={self.port}', '--tls=on',
                  '--tls-certcheck=off', f'--auth={m}', '--user=ann@local.test',
                  f"--passwordeval=printf '%s' '{PASSWORD}'", '--from=ann@local.test', 'box@local.test']
                 for m in ('plain', 'login', 'scram-sha-256')]
        count = 0
        for words in runs:
            if shutil.which(words[0]) is None:
                print(f'# without {words[0]}')
                continue
            done = subprocess.run(words, input=message.read_bytes(), capture_output=True, timeout=60)
            self.assertEqual(done.returncode, 0, (words, done.stdout[-800:], done.stderr[-800:]))
            count += 1
        with smtplib.SMTP('127.0.0.1', self.port) as client:
            client.starttls(context=any_certificate())
            client.login('plain@local.test', 'only ASCII')      # it knows nothing else
            client.sendmail('plain@local.test', ['box@local.test'], message.read_bytes())
        server.wait_mail('box', count + 1)
        self.assertGreaterEqual(count, 2)
        self.assertNotIn(PASSWORD, server.log())
        server.wait_log('event=auth ')

    def test_reload(self):
        server = self.start()
        self.passwd(server, 'bob')
        self.login('bob', codes=535)
        server.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: re.search(r'\bevent=reload', server.log()), 'reloaded')
        self.login('bob')
        self.passwd(server, '--delete', 'bob')
        server.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: len(re.findall(r'\bevent=reload', server.log())) > 1, 'reloaded again')
        self.login('bob', codes=535)


class Certificates(AuthCase):
    """EXTERNAL: a client certificate that the listener names, or one of its CA, is a user's."""

    def context(self, pair):
        context = any_certificate()
        context.load_cert_chain(pair.certificate, pair.key)
        return context

    def test_external(self):
        ours, others = (self.authority.issue(name, client=True) for name in ('ann.test', 'bob.test'))
        self.users.write_text(f'carol:*\nann.test:{SECRET}\n')
        self.users.chmod(0o600)
        self.make(listener={'relay_certificates': [f'sha256:{ours.sha256}']}).start()
        self.assertNotIn('EXTERNAL', self.mechanisms())
        self.assertNotIn('EXTERNAL', self.mechanisms(context=self.context(others)))
        self.assertIn('EXTERNAL', self.mechanisms(context=self.context(ours)))
        self.connect(self.context(others)).command('AUTH EXTERNAL =', 504)
        self.connect(self.context(ours)).command('AUTH EXTERNAL =', 235)
        self.connect(self.context(ours)).command('AUTH EXTERNAL ' + b64('Ann.test'), 235)
        self.connect(self.context(ours)).command('AUTH EXTERNAL ' + b64('carol'), 535)
        client = self.connect(self.context(ours))
        client.command('AUTH EXTERNAL', 334)
        client.command('', 235)

    def test_authority(self):
        """With relay_client_ca; whoever is not in the file of users, or is locked there, stays out."""
        pairs = {name: self.authority.issue(name, client=True) for name in ('ann.test', 'locked.test', 'eve.test')}
        self.users.write_text(f'ann.test:{SECRET}\nlocked.test:*\n')
        self.users.chmod(0o600)
        self.make(listener={'client_ca': self.authority.certificate, 'relay_client_ca': 'yes'}).start()
        for name, code in (('ann.test', 235), ('locked.test', 535), ('eve.test', 535)):
            self.connect(self.context(pairs[name])).command('AUTH EXTERNAL =', code)
        stranger = self.authority.issue('ann.test', client=True, self_signed=True)
        self.connect(self.context(stranger)).command('AUTH EXTERNAL =', 504)


class Guessing(AuthCase):
    def start(self, **auth):
        server = self.make({'failures': 3, 'ban': '5s', **auth})
        self.users.write_text(f'ann:{SECRET}\nbob:{SECRET}\n')
        self.users.chmod(0o600)
        return server.start()

    def test_one_user(self):
        server = self.start()
        for _ in range(3):
            self.login('ann', 'wrong', 535)
        self.login('ann', 'secret', 454)
        self.login('bob', 'secret')
        status = server.status()
        self.assertEqual((status['auth_bans_users'], status['auth_bans_addresses']), (1, 0))
        self.assertEqual(status['auth_banned'], 1)
        self.assertIn('ann', json.dumps(status))
        server.wait_log(r'event=auth-ban client=127\.0\.0\.1 user=ann seconds=5')
        time.sleep(5.1)
        self.login('ann', 'secret')

    def test_many_users(self):
        """Then the connection closes, for whomever it is meant."""
        server = self.start()
        for user in ('a', 'b', 'c'):
            self.login(user, 'x', 535)
        client = self.connect()
        client.command('AUTH PLAIN ' + b64('\0ann\0secret'), 421)
        self.assertEqual(client.closed(), b'')
        self.assertEqual(server.status()['auth_bans_addresses'], 1)
        time.sleep(5.1)
        self.login('ann', 'secret')

    def test_growing_delay(self):
        self.start(delay='200ms', failures=10)
        took = []
        for _ in range(4):
            client = self.connect()
            began = time.monotonic()
            client.command('AUTH PLAIN ' + b64('\0ann\0wrong'), 535)
            took.append(time.monotonic() - began)
        for i, seconds in enumerate(took):
            self.assertGreaterEqual(seconds, 0.2 * 2 ** i - 0.01)

    def test_unknown_takes_as_long(self):
        """The hash is computed for names that are not there too."""
        server = self.make({'failures': 1000, 'delay': '10ms'})
        self.passwd(server, '--scheme=sha512', 'ann')
        server.start()
        took = {'ann': [], 'nobody': []}
        for i in range(5):
            for user, times in took.items():
                with Client(self.port, source=f'127.0.{len(user)}.{i + 1}') as client:   # no delay has grown there
                    client.starttls()
                    began = time.monotonic()
                    client.command('AUTH PLAIN ' + b64(f'\0{user}\0wrong'), 535)
                    times.append(time.monotonic() - began)
        known, unknown = (sorted(times)[2] for times in took.values())
        self.assertLess(abs(known - unknown), 0.5 * known, took)
        self.assertGreater(known, 0.05)


class Introspection(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_POST(self):
        body = urllib.parse.parse_qs(self.rfile.read(int(self.headers['Content-Length'])).decode())
        self.server.asked.append((self.headers.get('Authorization'), body))
        token = body['token'][0]
        if token == 'trouble':
            self.send_error(503)
            return
        answer = {'active': token in self.server.tokens, **self.server.tokens.get(token, {})}
        octets = json.dumps(answer).encode() if token != 'nonsense' else b'<html>'
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(octets)))
        self.end_headers()
        self.wfile.write(octets)

    def log_message(self, *_):
        pass


class OAuth(AuthCase):
    def start(self, name='localhost', **more):
        httpd = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Introspection)
        pair = self.authority.issue(name)
        httpd.socket = pair.server_context().wrap_socket(httpd.socket, server_side=True)
        httpd.asked = []
        httpd.tokens = {'good': {'username': 'ann@local.test', 'email': 'ann@a.test', 'exp': time.time() + 3600},
                        'old': {'username': 'ann@local.test', 'exp': time.time() - 10},
                        'a+b/c=&%': {'username': 'bob'}}
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        self.addCleanup(httpd.server_close)
        self.addCleanup(httpd.shutdown)
        secret = self.directory / 'introspection.secret'
        secret.write_text('mailring:hush hush\n')
        secret.chmod(0o600)
        self.server = self.make({'users': None, 'introspection': f'https://localhost:{httpd.server_port}/check',
                                 'introspection_secret': secret, 'failures': 100, **more},
                                tls={'ca': self.authority.certificate})
        self.server.start()
        return httpd

    def bearer(self, user, token, codes):
        client = self.connect()
        message = f'n,a={user},\1host=mx.test\1auth=Bearer {token}\1\1' if user else f'n,,\1auth=Bearer {token}\1\1'
        reply = client.command('AUTH OAUTHBEARER ' + b64(message), (235, 334, 454))
        if reply.code == 334:
            self.assertEqual(json.loads(base64.b64decode(reply.text))['status'], 'invalid_token')
            reply = client.command(b64('\1'), 535)
        self.assertEqual(reply.code, codes)

    def test_tokens(self):
        httpd = self.start()
        self.assertEqual(self.mechanisms(), ['OAUTHBEARER', 'XOAUTH2'])
        self.bearer('ann@local.test', 'good', 235)
        self.assertEqual(httpd.asked, [('Basic ' + b64('mailring:hush hush'),
                                        {'token': ['good'], 'token_type_hint': ['access_token']})])
        self.bearer('Ann@a.test', 'good', 235)
        self.bearer('', 'good', 235)
        self.assertEqual(len(httpd.asked), 1)       # it is remembered for a while
        self.bearer('bob', 'good', 535)
        self.bearer('bob', 'a+b/c=&%', 235)
        self.assertEqual(httpd.asked[-1][1]['token'], ['a+b/c=&%'])
        self.bearer('ann@local.test', 'old', 535)
        self.bearer('ann@local.test', 'none', 535)
        self.bearer('ann@local.test', 'trouble', 454)
        self.bearer('ann@local.test', 'nonsense', 454)
        client = self.connect()
        client.command('AUTH XOAUTH2 ' + b64('user=ann@local.test\1auth=Bearer good\1\1'), 235)
        client.message('ann@local.test', 'box@local.test', sample('x', sender='ann@local.test'))
        client = self.connect()
        client.command('AUTH XOAUTH2 ' + b64('user=ann@local.test\1auth=Bearer none\1\1'), 334)
        client.command('', 535)
        log = self.server.log()
        self.assertNotIn('hush', log)
        self.assertNotIn('good', log)
        self.assertRegex(log, 'event=introspection-failed .*why="?status 503')

    def test_impostor(self):
        """A certificate for another name: nothing is told to it, and nobody is let in."""
        httpd = self.start('elsewhere.test')
        self.bearer('ann@local.test', 'good', 454)
        self.assertEqual(httpd.asked, [])


DOVECOT = '''\
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
protocols = none
listen = 127.0.0.1
ssl = no
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
auth_mechanisms = plain login cram-md5 scram-sha-256
auth_failure_delay = 0
auth_username_format = %Lu
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {base}/passwd
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={base}
}}
service auth {{
  user = {user}
  chroot =
  unix_listener client {{
    mode = 0666
  }}
}}
service auth-worker {{
  user = {user}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
'''


@unittest.skipUnless(os.access('/usr/sbin/dovecot', os.X_OK) and os.geteuid() == 0, 'without dovecot, or not root')
class Dovecot(AuthCase):
    """Debian's Dovecot, with a configuration and folders of its own, and no port."""

    def setUp(self):
        super().setUp()
        # The socket's path has at most 107 characters, and Dovecot's users reach it.
        self.base = self.directory / 'dovecot'
        for folder in ('run', 'state'):
            (self.base / folder).mkdir(parents=True)
        owner = pwd.getpwnam('nobody')
        (self.base / 'passwd').write_text(f'ann@local.test:{{PLAIN}}secret::::::\nbob:{{PLAIN}}other::::::\n')
        self.config = self.base / 'dovecot.conf'
        self.config.write_text(DOVECOT.format(base=self.base, user='nobody', group='nogroup'))
        for path in (self.base, *self.base.rglob('*')):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        self.process = None

    def run_dovecot(self):
        self.process = subprocess.Popen(['/usr/sbin/dovecot', '-F', '-c', self.config], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        self.addCleanup(self.end_dovecot, self.process)

        def up():
            if self.process.poll() is not None:
                raise AssertionError(self.process.stderr.read().decode())
            try:
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(str(self.base / 'run/client'))
                return True
            except OSError:
                return False
        wait_for(up, 'dovecot', 20)

    def end_dovecot(self, process):
        """Also those of its processes that would serve us to the end."""
        if process.poll() is None:
            process.terminate()
            process.wait(20)
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.stderr.close()

    def start(self, **auth):
        self.run_dovecot()
        server = self.make({'users': None, 'dovecot': self.base / 'run/client', **auth}).start()
        self.wait_for(lambda: 'event=dovecot-up' in server.log(), 'connection to dovecot')
        return server

    def log_text(self):
        path = self.base / 'log'
        return path.read_text() if path.exists() else ''

    def test_login(self):
        server = self.start()
        self.assertEqual(sorted(self.mechanisms()), ['CRAM-MD5', 'LOGIN', 'PLAIN', 'SCRAM-SHA-256'], self.log_text())
        client = self.login('Ann@local.test', 'secret')
        client.message('ann@local.test', 'box@local.test', sample('x', sender='ann@local.test'))
        self.login('ann@local.test', 'wrong', 535)
        self.login('nobody', 'secret', 535)
        client = self.connect()
        client.command('AUTH LOGIN', 334)
        client.command(b64('bob'), 334)
        client.command(b64('other'), 235)
        server.wait_log('user=ann@local.test result=ok')
        self.assertNotIn('secret', server.log())

    def test_gone_while_a_client_thinks(self):
        server = self.start()
        clients = [self.connect() for _ in range(3)]
        for client in clients:
            client.command('AUTH CRAM-MD5', 334)
        self.end_dovecot(self.process)
        server.wait_log('event=dovecot-lost')
        for client, response, code in zip(clients, (b64('x'), '*', 'no base64!'), (454, 501, 454)):
            client.command(response, code)
            client.command('NOOP', 250)

    def test_relayed(self):
        self.start()
        for password, code in (('secret', 235), ('wrong', 535)):
            client = self.connect()
            challenge = base64.b64decode(client.command('AUTH CRAM-MD5', 334).text)
            digest = hmac.new(password.encode(), challenge, 'md5').hexdigest()
            client.command(b64(f'ann@local.test {digest}'), code)
        Scram('bob', 'other').login(self.connect(), 'SCRAM-SHA-256')
        Scram('bob', 'wrong').login(self.connect(), 'SCRAM-SHA-256', 535)
        client = self.connect()
        client.command('AUTH CRAM-MD5', 334)
        client.command('*', 501)
        self.login('bob', 'other')

    def test_gone_and_back(self):
        server = self.start()
        self.end_dovecot(self.process)
        self.wait_for(lambda: 'event=dovecot-lost' in server.log(), 'it is missed')
        self.login('bob', 'other', 454)
        self.run_dovecot()
        self.wait_for(lambda: server.log().count('event=dovecot-up') == 2, 'it is back', 40)
        self.login('bob', 'other')

    def test_bans(self):
        self.start(failures=2)
        for _ in range(2):
            self.login('bob', 'wrong', 535)
        self.login('bob', 'other', 454)
        self.login('ann@local.test', 'secret')


if __name__ == '__main__':
    main()
