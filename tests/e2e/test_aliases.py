#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What addresses stand for: expanded once, when mail is taken; each final address gets one copy."""

import re
import time

from mailring_e2e import Case, Client, Dsn, main, sample, send_message


class Aliases(Case):
    def start(self, aliases='', virtual='', recipients='', **settings):
        self.files = {}
        for name, text in (('aliases', aliases), ('virtual', virtual), ('recipients', recipients)):
            path = self.directory / name
            path.write_text(text)
            self.files[name] = path
        self.hop = self.next_hop()
        self.server = self.make_server({
            'virtual_aliases': str(self.files['virtual']),
            'relay_from': ['127.0.0.2'],
            ('route', '*'): {'to': f'smtp://127.0.0.1:{self.hop.port}'}})
        self.server.configure({
            ('domain', 'local.test'): {
                'to': f'maildir:{self.server.mail}/%d/%u', 'aliases': str(self.files['aliases']), 'subaddress': '+',
                **({'recipients': str(self.files['recipients'])} if recipients else {}), **settings},
            ('domain', 'other.test'): {'to': f'maildir:{self.server.mail}/%d/%u'}})
        self.server.start()
        return self.server

    def send(self, *recipients, sender='from@client.test', name='mail', **options):
        return send_message(self.server.port, sender, list(recipients), sample(name), **options)

    def test_everybody_once(self):
        """Aliases that overlap, and the same name twice: one copy each, one message in the log."""
        server = self.start('team: ann, bob, carl@far.test\nall: team, Ann@LOCAL.test, dora\n',
                            'info@other.test team@local.test, ann@local.test\n')
        self.send('all@local.test', 'team@local.test', 'info@other.test', 'ann@local.test', 'ANN@local.test',
                  'carl@FAR.test', source='127.0.0.2')
        for user in 'ann', 'bob', 'dora':
            server.wait_mail(user)
        self.wait_for(lambda: self.hop.messages, 'abroad')
        server.wait_drained()
        for user in 'ann', 'bob', 'dora':
            server.wait_mail(user)
        self.assertEqual([m.recipients for m in self.hop.messages], [['carl@far.test']])
        status = server.status()
        self.assertEqual((status['accepted'], status['accepted_recipients'], status['delivered']), (1, 4, 4))
        self.assertEqual(status['expanded_recipients'], 3)
        server.wait_log(r'event=expanded .*to=all@local.test targets=4 added=4')
        server.wait_log(r'event=expanded .*to=team@local.test targets=3 added=0')
        self.assertFalse((server.mail / 'local.test' / 'team').exists())

    def test_virtual(self):
        """Whole addresses and whole domains, before the domain's own aliases."""
        server = self.start('sales: ann\n', 'sales@local.test bob@local.test\n@other.test dora@local.test\n'
                            'far@other.test x@far.test\n')
        self.send('sales@local.test')
        server.wait_mail('bob')
        self.send('anything@other.test')
        server.wait_mail('dora')
        self.send('far@other.test')
        self.wait_for(lambda: self.hop.for_recipient('x@far.test'), 'abroad')
        server.wait_drained()
        self.assertEqual(len(server.maildir('ann')), 0)

    def test_subaddresses_and_catch_all(self):
        server = self.start('friend: ann\nann+spam: bob\n', recipients='ann\nbob\n', catch_all='bob@local.test')
        self.send('friend+x@local.test')
        server.wait_mail('ann')
        self.send('ann+spam@local.test', 'nobody@local.test')
        server.wait_mail('bob')
        self.send('ann+news@local.test')
        server.wait_mail('ann', 2)

    def test_refused_in_the_session(self):
        server = self.start('loop: loop2\nloop2: loop\ngone: nobody\n' + ''.join(
            f'big{n}: ' + ', '.join(f'u{n}.{k}@far.test' for k in range(4000)) + '\n' for n in range(3))
            + 'huge: big0, big1, big2\n', recipients='ann\n')
        with Client(server.port) as client:
            client.command('MAIL FROM:<a@client.test>', 250)
            for name, code, words in (('loop', 550, '5.4.6'), ('gone', 550, '5.1.1'), ('eve', 550, '5.1.1'),
                                      ('huge', 550, '5.2.4'), ('big0', 250, ''), ('big1', 250, ''),
                                      ('big2', 452, '4.5.3'), ('ann', 250, '')):
                self.assertIn(words, str(client.command(f'RCPT TO:<{name}@local.test>', code)), name)
            client.command('RSET')
            client.quit()
        server.wait_log('event=alias-failed .*to=loop@local.test')

    def test_large_list(self):
        """Thousands of addresses, one body; after a restart in the middle each has it, and nearly all once."""
        count = 3000
        server = self.start('list: ' + ', '.join(f'u{k}@far.test' for k in range(count)) + '\n')
        began = time.monotonic()
        self.send('list@local.test')
        self.assertLess(time.monotonic() - began, 5)
        self.wait_for(lambda: len(self.hop.messages) >= 3, 'some')
        server.kill()
        server.start()
        server.wait_drained(60)
        got = [r for m in self.hop.messages for r in m.recipients]
        self.assertEqual(set(got), {f'u{k}@far.test' for k in range(count)})
        self.assertLess(len(got), 2 * count)

    def test_bounce_names_the_alias(self):
        """Who wrote to the alias is told of the alias, and of the address that failed."""
        self.start('friend: eve@far.test\n')
        self.hop.answers['rcpt'] = '550 5.1.1 no eve here'
        self.send('friend@local.test', sender='box@local.test')
        octets, = self.server.wait_mail('box')
        fields = Dsn(octets).recipients['eve@far.test']
        self.assertEqual(fields['original-recipient'].replace(' ', ''), 'rfc822;friend@local.test')

    def test_received(self):
        """The field says for whom, as it was said; not what only the list knows."""
        server = self.start('friend: ann\nteam: ann, bob\n')
        self.send('friend@local.test')
        octets, = server.wait_mail('ann')
        self.assertIn(b'for <friend@local.test>', octets)
        self.send('team@local.test')
        octets, = server.wait_mail('bob')
        self.assertIn(b'for <team@local.test>', octets)
        self.send('team@local.test', 'dora@local.test')
        octets, = server.wait_mail('dora')
        self.assertNotRegex(octets.split(b'\r\n\r\n')[0], rb'for <')

    def test_of_neighbours(self):
        """Who may relay is served by the same aliases."""
        server = self.start('team: ann, x@far.test\n')
        self.send('team@local.test', 'y@far.test', source='127.0.0.2')
        server.wait_mail('ann')
        server.wait_drained()
        self.assertEqual(sorted(r for m in self.hop.messages for r in m.recipients), ['x@far.test', 'y@far.test'])

    def test_reload(self):
        server = self.start('friend: ann\n')
        self.send('friend@local.test')
        server.wait_mail('ann')
        self.files['aliases'].write_text('friend: bob\n')
        server.process.send_signal(1)
        server.wait_log('reloaded')
        self.send('friend@local.test')
        server.wait_mail('bob')
        self.files['aliases'].write_text('friend: : :include\n')
        server.process.send_signal(1)
        server.wait_log(r'reload.*(refused|failed)|level=error')
        self.send('friend@local.test')      # what was good goes on
        server.wait_mail('bob', 2)

    def test_include(self):
        members = self.directory / 'members'
        members.write_text('# the team\nann\nbob@local.test\n')
        server = self.start(f'team: :include:{members}\n')
        self.send('team@local.test')
        server.wait_mail('ann')
        server.wait_mail('bob')

    def test_limits_count_what_is_named(self):
        server = self.start('team: ' + ', '.join(f'u{k}' for k in range(20)) + '\n')
        server.configure({'limits': {'recipients': 2}})
        server.process.send_signal(1)
        server.wait_log('reloaded')
        with Client(server.port) as client:
            client.command('MAIL FROM:<a@client.test>', 250)
            client.command('RCPT TO:<team@local.test>', 250)
            client.command('RCPT TO:<ann@local.test>', 250)
            client.command('RCPT TO:<bob@local.test>', 452)
            client.command('DATA', 354)
            client.send(sample('x') + b'.\r\n')
            self.assertTrue(re.search('queued as', str(client.expect(250))))
            client.quit()
        server.wait_drained()
        self.assertEqual(server.status()['delivered'], 21)


if __name__ == '__main__':
    main()
