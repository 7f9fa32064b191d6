#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The DSN extension as it comes in (RFC 3461): offered, kept with the message through restarts, and handed on."""

import subprocess

from mailring_e2e import Case, Client, main, sample

EXTENSIONS = ('PIPELINING', '8BITMIME', 'ENHANCEDSTATUSCODES', 'DSN')


class DsnIn(Case):
    def start(self, extensions=EXTENSIONS, listener=None, **settings):
        self.hop = self.next_hop(extensions=extensions)
        self.server = self.make_server({'relay_from': ['127.0.0.0/8'], **settings,
                                        ('route', '*'): {'to': f'smtp://127.0.0.1:{self.hop.port}'}})
        self.server.settings['listener', 'mx'].update(listener or {})
        self.server.configure({})
        self.server.start()

    def send(self, mail='', *rcpts, sender='from@client.test', user=None):
        with Client(self.server.port) as client:
            if user:
                client.login(*user)
            client.command(f'MAIL FROM:<{sender}>{mail}', 250)
            for address, parameters in rcpts:
                client.command(f'RCPT TO:<{address}>{parameters}', 250)
            client.command('DATA', 354)
            client.send(sample('dsn') + b'.\r\n')
            client.expect(250)
            client.quit()

    def lines(self, verb):
        return [line for connection in self.hop.connections for line in connection.commands if line.startswith(verb)]

    def said(self, address):
        """The parameters of the RCPT for it."""
        line, = (line for line in self.lines('RCPT') if f'<{address}>' in line)
        return set(line.partition('> ')[2].split())

    def test_handed_on(self):
        self.start()
        self.send(' RET=HDRS ENVID=QQ+2B314', ('a@far.test', ' NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@x.test'),
                  ('b@far.test', ' NOTIFY=NEVER'), ('c@far.test', ''))
        self.wait_for(lambda: self.hop.messages, 'mail')
        mail, = self.lines('MAIL')
        self.assertIn(' RET=HDRS', mail)
        self.assertIn(' ENVID=QQ+2B314', mail)
        self.assertEqual(self.said('a@far.test'), {'NOTIFY=SUCCESS,DELAY', 'ORCPT=rfc822;a+2Bb@x.test'})
        self.assertEqual(self.said('b@far.test'), {'NOTIFY=NEVER'})
        self.assertEqual(self.said('c@far.test'), set())

    def test_kept_over_restarts(self):
        self.start()
        self.hop.refuse()
        self.send(' RET=FULL ENVID=kept', ('a@far.test', ' NOTIFY=FAILURE ORCPT=rfc822;orig@x.test'))
        self.server.kill()
        self.server.start()
        self.server.stop()
        self.hop.listen()
        self.server.start()
        self.wait_for(lambda: self.hop.messages, 'mail', 30)
        mail = self.lines('MAIL')[-1]
        self.assertIn('RET=FULL', mail)
        self.assertIn('ENVID=kept', mail)
        self.assertEqual(self.said('a@far.test'), {'NOTIFY=FAILURE', 'ORCPT=rfc822;orig@x.test'})

    def test_not_to_who_does_not_offer_it(self):
        self.start(extensions=EXTENSIONS[:3])
        self.send(' RET=HDRS ENVID=x', ('a@far.test', ' NOTIFY=FAILURE ORCPT=rfc822;b@x.test'))
        self.wait_for(lambda: self.hop.messages, 'mail')
        self.assertEqual(self.lines('MAIL')[-1].split()[2:], [])
        self.assertEqual(self.said('a@far.test'), set())

    def test_aliases(self):
        """An alias for one hands on what was asked; of one for several its members have all but SUCCESS. (5.2.7)"""
        aliases = self.directory / 'aliases'
        aliases.write_text('one: a@far.test\nmany: b@far.test, c@far.test\nonly: d@far.test, e@far.test\n')
        self.start(**{'virtual_aliases': None})
        self.server.stop()
        self.server.configure({('domain', 'local.test'): {**self.server.settings['domain', 'local.test'],
                                                          'aliases': str(aliases)}})
        self.server.start()
        self.send('', ('one@local.test', ' NOTIFY=SUCCESS'), ('many@local.test', ' NOTIFY=SUCCESS,FAILURE'),
                  ('only@local.test', ' NOTIFY=SUCCESS ORCPT=rfc822;first@x.test'), sender='box@local.test')
        self.wait_for(lambda: len(self.lines('RCPT')) == 5, 'five')
        self.assertEqual(self.said('a@far.test'), {'NOTIFY=SUCCESS', 'ORCPT=rfc822;one@local.test'})
        for name in 'bc':
            self.assertEqual(self.said(f'{name}@far.test'), {'NOTIFY=FAILURE', 'ORCPT=rfc822;many@local.test'})
        for name in 'de':
            self.assertEqual(self.said(f'{name}@far.test'), {'NOTIFY=NEVER', 'ORCPT=rfc822;first@x.test'})
        # Nothing goes to the aliases themselves, and the sender hears of their expansion.
        self.server.wait_drained()
        self.assertEqual(len(self.lines('RCPT')), 5)
        self.assertFalse((self.server.mail / 'local.test' / 'many').exists())
        notices = self.wait_for(lambda: self.server.maildir('box').messages(), 'notices')
        text = b''.join(notices)
        self.assertIn(b'Action: expanded', text)
        self.assertIn(b'many@local.test', text)

    def test_refused_parameters(self):
        self.start()
        with Client(self.server.port) as client:
            self.assertIn('DSN', client.extensions)
            for line in ('RET=ALL', 'RET=FULL RET=FULL', 'ENVID=a=b', 'ENVID=' + 'x' * 101, 'NOTIFY=NEVER'):
                client.command(f'MAIL FROM:<a@client.test> {line}', (501, 555))
            client.command('MAIL FROM:<a@client.test> RET=FULL ENVID=x', 250)
            for line in ('NOTIFY=', 'NOTIFY=NEVER,DELAY', 'NOTIFY=NEVER NOTIFY=NEVER', 'NOTIFY=WHEN', 'ORCPT=x', 'ORCPT=;x',
                         'ORCPT=rfc822;a\x01b', 'ORCPT=rfc822;' + 'x' * 600, 'RET=FULL'):
                client.command(f'RCPT TO:<box@local.test> {line}', (501, 555))
            client.command('RCPT TO:<box@local.test> NOTIFY=success,Failure ORCPT=RFC822;x@y.test', 250)
            client.quit()

    def test_hidden(self):
        self.start(listener={'hide': ['DSN']})
        with Client(self.server.port) as client:
            self.assertNotIn('DSN', client.extensions)
            client.command('MAIL FROM:<a@client.test> RET=FULL', 555)
            client.command('MAIL FROM:<a@client.test>', 250)
            client.command('RCPT TO:<box@local.test> NOTIFY=NEVER', 555)
            client.command('RCPT TO:<box@local.test>', 250)
            client.quit()

    def test_users(self):
        users = self.directory / 'users'
        done = subprocess.run(['openssl', 'passwd', '-6', 'secret'], capture_output=True, text=True, check=True)
        users.write_text(f'ann:{done.stdout.strip()}:ann@local.test\n')
        users.chmod(0o600)
        self.start(listener={'role': 'submission'}, auth={'users': str(users), 'plaintext': 'yes'})
        self.send(' RET=HDRS', ('a@far.test', ' NOTIFY=NEVER'), sender='ann@local.test', user=('ann', 'secret'))
        self.wait_for(lambda: self.hop.messages, 'mail')
        self.assertEqual(self.said('a@far.test'), {'NOTIFY=NEVER'})


if __name__ == '__main__':
    main()
