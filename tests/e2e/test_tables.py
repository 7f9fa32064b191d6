# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables: recipients, aliases and destinations from files and databases, made by others, replaced while we run."""

import os
import pwd
import signal
import subprocess

from mailring_e2e import Case, Client, main, sample, send_message


class Tables(Case):
    def reload(self, server, event='reloaded'):
        before = server.log().count(f'event={event}')
        server.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: server.log().count(f'event={event}') > before, f'{event}\n{server.tail()}')

    def domain(self, **settings):
        return {('domain', 'local.test'): {'to': f'maildir:{self.directory}/server0/mail/%d/%u', 'subaddress': '+',
                                           **settings}}

    def cdb(self, path, entries):
        """As tinycdb makes it: under another name, then renamed."""
        text = ''.join(f'{key} {value}\n' for key, value in entries.items())
        subprocess.run(['cdb', '-c', '-m', path], input=text, text=True, check=True)

    def answers(self, server, expected):
        with Client(server.port) as client:
            client.command('MAIL FROM:<x@client.test>', 250)
            for user, code in expected.items():
                client.command(f'RCPT TO:<{user}@local.test>', code)
            client.quit()

    def test_recipients_in_a_database(self):
        """A new database takes the old one's place at the next reload; a damaged one never does."""
        path = self.directory / 'recipients.cdb'
        self.cdb(path, {'ann': 'OK', 'bob@local.test': 'OK'})
        server = self.start_server(self.domain(recipients=[path, 'carol']))
        first = {'ann': 250, 'Bob+news': 250, 'CAROL': 250, 'dave': 550}
        self.answers(server, first)
        self.cdb(path, {'dave': 'OK'})
        self.answers(server, first)
        self.reload(server)
        second = {'ann': 550, 'bob': 550, 'carol': 250, 'dave': 250}
        self.answers(server, second)
        os.truncate(path, 1000)             # in place, under our feet
        self.answers(server, second)
        self.reload(server, 'reload-failed')
        server.wait_log('event=reload .*recipients.cdb: not a CDB, or damaged')
        self.answers(server, second)
        send_message(server.port, 'x@client.test', 'dave@local.test', sample('dave'))
        server.wait_mail('dave')

    def test_aliases(self):
        """A file that includes another: changing what is included is enough."""
        members, aliases = self.directory / 'members', self.directory / 'aliases'
        members.write_text('# who\nann\nBob B <bob@local.test>\n')
        aliases.write_text(f'team: :include:{members},\n  carol\nann: ann, dave\n')
        server = self.start_server(self.domain(recipients=['ann', 'bob', 'carol', 'dave'], aliases=aliases))
        self.assertEqual(server.run('check').stderr, '')
        send_message(server.port, 'x@client.test', 'team+all@local.test', sample('one'))
        for user in ('ann', 'bob', 'carol', 'dave'):
            server.wait_mail(user)
        members.write_text('dave\n')
        self.reload(server)
        send_message(server.port, 'x@client.test', 'Team@local.test', sample('two'))
        server.wait_mail('dave', 2)
        server.wait_mail('carol', 2)
        server.wait_drained()
        server.wait_mail('ann', 1)
        self.answers(server, {'nobody': 550, 'team': 250})

    def test_destinations(self):
        hop = self.next_hop()
        where = self.directory / 'where'
        where.write_text(f'ann smtp://127.0.0.1:{hop.port}\nbob@local.test reject:Bob has moved\n')
        server = self.start_server(self.domain(destinations=where))
        send_message(server.port, 'x@client.test', ['ann+1@local.test', 'carol@local.test'], sample('one'))
        self.wait_for(lambda: hop.for_recipient('ann+1@local.test'), 'sent on')
        server.wait_mail('carol')
        with Client(server.port) as client:
            client.command('MAIL FROM:<x@client.test>', 250)
            self.assertIn('Bob has moved', str(client.command('RCPT TO:<bob@local.test>', 550)))
            client.quit()

    def test_unprivileged(self):
        """What the server's user may not read is said before a reload finds out, included files too."""
        if os.getuid() != 0:
            self.skipTest('needs root')
        nobody = pwd.getpwnam('nobody')
        members = self.directory / 'members'
        members.write_text('ann\n')
        members.chmod(0o600)
        aliases = self.directory / 'aliases'
        aliases.write_text(f'team: :include:{members}\n')
        server = self.make_server({'user': 'nobody', **self.domain(aliases=aliases)})
        server.mail.mkdir()
        for path in (self.directory, server.directory, server.mail):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        warning = f'warning: aliases: user nobody may not read {members}'
        self.assertIn(warning, server.run('check').stderr)
        server.start()
        server.wait_log(warning)
        self.answers(server, {'team': 250})
        aliases.write_text(f'team: :include:{members}\nother: ann\n')
        self.reload(server, 'reload-failed')
        server.wait_log('event=reload .*members: cannot read it: Permission denied')
        self.answers(server, {'team': 250})
        members.chmod(0o644)
        self.reload(server)
        self.assertEqual(server.run('check').stderr, '')

    def test_check(self):
        """Each problem by the line of the file that it is in."""
        aliases, virtual = self.directory / 'aliases', self.directory / 'virtual'
        aliases.write_text('team: ann\n\nloop: pool\npool: loop\ngone: nobody\n')
        virtual.write_text('a@b.test\n')
        server = self.make_server({**self.domain(recipients=['ann'], aliases=aliases), 'virtual_aliases': virtual})
        self.assertIn(f'{virtual}:1: "a@b.test" stands for nobody', server.run('check', code=1).stderr)
        virtual.write_text('a@b.test ann@local.test\n')
        said = server.run('check').stderr
        self.assertIn(f'{aliases}:3: warning: a circle of aliases: loop@local.test -> pool@local.test -> loop@local.test\n',
                      said)
        self.assertIn(f'{aliases}:5: warning: "gone@local.test" stands for nobody@local.test', said)


if __name__ == '__main__':
    main()
