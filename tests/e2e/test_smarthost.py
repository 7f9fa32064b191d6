# SPDX-License-Identifier: GPL-2.0-or-later
"""Mail goes out by smarthosts at which we log in: how, when not, and what becomes of the mail meanwhile."""

import signal

from mailring_e2e import Case, Dovecot, Postfix, main, sample, send_message

USER, PASSWORD, TOKEN = 'us@smart.test', 'c0rrect, horse=battery', 'ya29.a0AfH6SMC-token~/+=='
LONG_TOKEN = 'ey' + 1500 * 'x'
BY_PASSWORD = ('PLAIN', 'LOGIN', 'SCRAM-SHA-1', 'SCRAM-SHA-256')


class Smarthost(Case):
    def setUp(self):
        super().setUp()
        self.pair = self.authority.issue('localhost')
        self.password = self.write_secret('password', PASSWORD)

    def write_secret(self, name, text, mode=0o600):
        path = self.directory / name
        path.touch(mode)
        path.chmod(mode)
        path.write_text(text + '\n')
        return path

    def hop(self, answers=None, *, pair=None, users=None, **options):
        options.setdefault('tls', (pair or self.pair).server_context())
        return self.next_hop(answers, users={USER: PASSWORD} if users is None else users, **options)

    def start(self, routes):
        """routes: {pattern: (port, settings)}"""
        self.server = self.make_server()
        self.server.configure({
            'relay_from': ['127.0.0.0/8'],
            'tls': {'ca': self.authority.certificate},
            **{('route', pattern): {'to': f'smtp://localhost:{port}', **self.login(), **settings}
               for pattern, (port, settings) in routes.items()}})
        return self.server.start()

    def login(self, **settings):
        return {'auth': {'user': USER, 'password_file': self.password, **settings}}

    def by_token(self, path, **settings):
        return {'auth': {'user': USER, 'token_file': path, **settings}}

    def send(self, name='a', domain='sink.test'):
        send_message(self.server.port, 'ann@client.test', f'{name}@{domain}', sample(name))

    def arrived(self, hop, count=1):
        self.wait_for(lambda: len(hop.messages) >= count, lambda: f'{count} messages; {self.server.tail(20)}')
        self.assertEqual(len(hop.messages), count)
        return hop.messages[-1].connection

    def waits(self, hop, attempts=1):
        """Nothing got through, nothing was bounced; the mail is still there after some attempts."""
        self.wait_for(lambda: len(hop.connections) >= attempts, lambda: f'attempts; {self.server.tail(20)}')
        self.wait_for(lambda: self.server.queue() and self.server.queue()[0].get('reason'),
                      lambda: f'a reason; {self.server.queue()}')
        self.assertFalse(hop.messages)
        status = self.server.status()
        self.assertEqual((status['queue'], status['bounced'], status['bounces_sent']), (1, 0, 0))
        return self.server.queue()[0]['reason']

    def no_secrets(self):
        for text in (PASSWORD, TOKEN, LONG_TOKEN, 'anything else'):
            self.assertNotIn(text, self.server.log())
            self.assertNotIn(text, str(self.server.queue()))

    # ---- how

    def test_each_mechanism(self):
        hops = {m: self.hop(mechanisms=(m,)) for m in BY_PASSWORD}
        hops |= {m: self.hop(mechanisms=(m,), users={USER: TOKEN}) for m in ('XOAUTH2', 'OAUTHBEARER')}
        token = self.write_secret('token', TOKEN)
        self.start({f'{m.lower()}.test': (hop.port, {} if m in BY_PASSWORD else self.by_token(token))
                    for m, hop in hops.items()})
        for mechanism in hops:
            self.send(domain=f'{mechanism.lower()}.test')
        for mechanism, hop in hops.items():
            with self.subTest(mechanism):
                connection = self.arrived(hop)
                self.assertEqual((connection.user, connection.mechanism), (USER, mechanism))
                self.assertTrue(connection.tls)
        self.server.wait_drained()
        self.assertEqual(self.server.status()['smarthost_logins'], 6)
        self.no_secrets()

    def test_the_best_is_taken(self):
        best = self.hop(mechanisms=BY_PASSWORD)
        said = self.hop(mechanisms=BY_PASSWORD)
        self.start({'best.test': (best.port, {}), 'said.test': (said.port, self.login(mechanism='LOGIN'))})
        self.send(domain='best.test')
        self.send(domain='said.test')
        self.assertEqual(self.arrived(best).mechanism, 'SCRAM-SHA-256')
        self.assertEqual(self.arrived(said).mechanism, 'LOGIN')

    def test_one_login_a_connection(self):
        hop = self.hop()
        self.start({'*': (hop.port, {'connections': 1})})
        for name in 'abc':
            self.send(name)
        self.arrived(hop, 3)
        self.assertEqual(sum(c.verbs.count('AUTH') for c in hop.connections), len(hop.connections))

    def test_tls_from_the_first_byte(self):
        hop = self.hop(implicit=True, mechanisms=('SCRAM-SHA-256',))
        self.start({'*': (hop.port, {'tls_implicit': 'yes'})})
        self.send()
        self.assertEqual(self.arrived(hop).user, USER)

    def test_postfix_with_dovecot(self):
        dovecot = Dovecot(self.directory / 'dovecot', {USER: PASSWORD}).start()
        self.addCleanup(dovecot.stop)
        sink = self.next_hop()
        postfix = Postfix(self.directory / 'postfix', sink.port, {
            'mynetworks': '192.0.2.1/32', 'smtpd_relay_restrictions': 'permit_sasl_authenticated, reject',
            'smtpd_sasl_auth_enable': 'yes', 'smtpd_sasl_type': 'dovecot', 'smtpd_sasl_path': dovecot.client,
            'smtpd_sasl_authenticated_header': 'yes', 'smtpd_tls_auth_only': 'yes', 'broken_sasl_auth_clients': 'yes',
            'smtpd_tls_security_level': 'may', 'smtpd_tls_cert_file': self.pair.certificate,
            'smtpd_tls_key_file': self.pair.key})
        self.addCleanup(postfix.stop)
        postfix.start()
        self.start({f'{m.lower()}.test': (postfix.port, self.login(mechanism=m)) for m in BY_PASSWORD})
        for mechanism in BY_PASSWORD:
            self.send(domain=f'{mechanism.lower()}.test')
        self.wait_for(lambda: len(sink.messages) == 4, lambda: f'{postfix.log()}\n{dovecot.log()}\n{self.server.tail()}', 30)
        for mechanism in BY_PASSWORD:
            self.assertIn(f'sasl_method={mechanism}, sasl_username={USER}', postfix.log())

    # ---- when not

    def test_wrong_password(self):
        for mechanism in BY_PASSWORD:
            with self.subTest(mechanism):
                hop = self.hop(mechanisms=(mechanism,), users={USER: 'anything else'})
                self.start({'*': (hop.port, {})})
                self.send()
                self.assertIn('refuses our login', self.waits(hop, 2))
                self.server.wait_log(f'login-refused.* user={USER} mechanism={mechanism} ')
                self.assertGreater(self.server.status()['smarthost_logins_refused'], 0)
                self.assertEqual(sum('MAIL' in c.verbs for c in hop.connections), 0)
                self.no_secrets()
                hop.users[USER] = PASSWORD      # somebody has mended it there
                self.arrived(hop)
                self.server.wait_drained()
                self.server.stop()

    def test_not_now(self):
        hop = self.hop({'auth': '454 4.7.0 the directory is down'})
        self.start({'*': (hop.port, {})})
        self.send()
        self.assertIn('the directory is down', self.waits(hop, 2))
        hop.answers.clear()
        self.arrived(hop)

    def test_an_impostor(self):
        """Who says welcome without knowing the password gets no mail."""
        hop = self.hop(mechanisms=('SCRAM-SHA-256',), impostor=True)
        self.start({'*': (hop.port, {})})
        self.send()
        self.assertIn('did not prove', self.waits(hop))

    def test_a_new_password_is_taken_at_reload(self):
        hop = self.hop(users={USER: 'anything else'})
        self.start({'*': (hop.port, {})})
        self.send()
        self.waits(hop)
        self.write_secret('password', 'anything else')
        self.server.process.send_signal(signal.SIGHUP)
        self.arrived(hop)
        self.no_secrets()

    def test_certificates_that_do_not_hold(self):
        """With tls = auto too: a password is not for whoever answers."""
        for pair in (self.authority.issue('other.test'), self.authority.issue('localhost', expired=True),
                     self.authority.__class__(self.directory / 'strangers', 'strangers').issue('localhost')):
            hop = self.hop(pair=pair, mechanisms=BY_PASSWORD)
            self.start({'*': (hop.port, {})})
            self.send()
            self.assertIn('TLS is required for our login', self.waits(hop))
            self.assertFalse(any('AUTH' in c.verbs or 'MAIL' in c.verbs for c in hop.connections))
            self.server.stop()

    def test_no_tls(self):
        """STARTTLS is not offered, or somebody has taken it out: neither password nor mail."""
        for settings, words in (({}, 'TLS is required for our login'), ({'tls': 'opportunistic'}, 'TLS is required for our login'),
                                ({'tls': 'encrypt'}, 'TLS is required')):
            with self.subTest(str(settings)):
                hop = self.hop(tls=None)
                self.start({'*': (hop.port, settings)})
                self.send()
                self.assertIn(words, self.waits(hop))
                self.assertFalse(any('AUTH' in c.verbs or 'MAIL' in c.verbs for c in hop.connections))
                self.server.stop()

    def test_in_the_clear_where_the_route_says_so(self):
        hop = self.hop(tls=None)
        self.start({'*': (hop.port, {'tls': 'none'})})
        self.send()
        self.assertEqual(self.arrived(hop).user, USER)

    def test_auth_is_not_offered(self):
        hop = self.hop(mechanisms=('GSSAPI', 'CRAM-MD5'))
        self.start({'*': (hop.port, {})})
        self.send()
        self.assertIn('offers none', self.waits(hop))

    def test_another_host_is_not_told(self):
        """A domain of ours goes to a host of its own, in the manners of a route: without the route's login."""
        smart, store = self.hop(), self.hop()
        self.server = self.make_server()
        self.server.configure({
            'tls': {'ca': self.authority.certificate},
            ('domain', 'ours.test'): {'to': f'smtp://localhost:{store.port}'},
            ('route', '*'): {'to': f'smtp://localhost:{smart.port}', **self.login()}})
        self.server.start()
        self.send(domain='ours.test')
        self.arrived(store)
        self.assertFalse(any('AUTH' in c.verbs for c in store.connections))
        self.assertFalse(smart.connections)

    # ---- tokens

    def test_tokens(self):
        token = self.write_secret('token', 'stale')
        hop = self.hop(mechanisms=('XOAUTH2',), users={USER: TOKEN})
        self.start({'*': (hop.port, self.by_token(token))})
        self.send()
        self.assertIn('refuses our login', self.waits(hop, 2))
        self.write_secret('token', TOKEN)
        self.arrived(hop)
        self.no_secrets()

    def test_a_long_token(self):
        token = self.write_secret('token', LONG_TOKEN, 0o640)
        hop = self.hop(mechanisms=('XOAUTH2',), users={USER: LONG_TOKEN})
        self.start({'*': (hop.port, self.by_token(token))})
        self.send()
        self.arrived(hop)
        self.assertIn('AUTH XOAUTH2', hop.connections[0].commands)
        self.no_secrets()

    def test_token_files_that_are_no_good(self):
        token = self.write_secret('token', TOKEN)
        hop = self.hop(mechanisms=('XOAUTH2',), users={USER: TOKEN})
        self.start({'*': (hop.port, self.by_token(token))})
        token.chmod(0o644)
        self.send()
        self.assertIn('may be read by everybody', self.waits(hop))
        token.unlink()
        self.wait_for(lambda: 'No such file' in self.server.log(), lambda: self.server.tail())
        self.write_secret('token', TOKEN)
        self.arrived(hop)


if __name__ == '__main__':
    main()
