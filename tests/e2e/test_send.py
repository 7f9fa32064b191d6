# SPDX-License-Identifier: GPL-2.0-or-later
"""sendmail(1): what programs on this machine send, with a server and without one, as any user."""

import email
import email.policy
import os
import pwd
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import unittest

from mailring_e2e import MAILRING, Case, main, wait_for

OK, USAGE, DATAERR, NOUSER, UNAVAILABLE, TEMPFAIL = 0, 64, 65, 67, 69, 75
ANYBODY = pwd.getpwnam('nobody')


def parse(octets):
    return email.message_from_bytes(octets.replace(b'\r\n', b'\n'), policy=email.policy.default)


class SendCase(Case):
    def setUp(self):
        super().setUp()
        self.server = self.make_server({('domain', 'mx.test'): {
            'to': f'maildir:{self.directory}/server0/mail/%d/%u',
            'recipients': self.directory / 'recipients'}})
        (self.directory / 'recipients').write_text('ann\nbob\ncarl\nroot\nnobody\n')
        self.drop = self.directory / 'server0' / 'spool-drop'
        # By its other name, where everybody may run it.
        self.sendmail = self.directory / 'sendmail'
        shutil.copy(MAILRING, self.sendmail)
        self.sendmail.chmod(0o755)

    def send(self, *arguments, message=b'Subject: x\n\nhello\n', code=OK, anybody=False):
        become = {'user': ANYBODY.pw_uid, 'group': ANYBODY.pw_gid, 'extra_groups': []} if anybody else {}
        done = subprocess.run([self.sendmail, '-C', self.server.config, *arguments], input=message,
                              capture_output=True, timeout=60, cwd='/', **become)
        self.assertEqual(done.returncode, code, done.stderr.decode())
        return done

    def mail(self, user, count=1):
        return [parse(m) for m in self.server.wait_mail(user, count, 'mx.test')]

    def dropped(self):
        return sorted(p.name for p in self.drop.iterdir() if not p.name.startswith('.'))


class ToTheServer(SendCase):
    def setUp(self):
        super().setUp()
        self.server.start()

    def test_recipients_named(self):
        self.send('-i', '-f', 'carl', 'ann@mx.test', 'Bob B. <bob>', message=b'Subject: x\n\n.\nhello\n..\n')
        for user in 'ann', 'bob':
            message, = self.mail(user)
            self.assertEqual(message['Return-Path'], '<carl@mx.test>')
            self.assertEqual(message.get_content(), '.\nhello\n..\n')
            self.assertIsNotNone(message['Date'])
            self.assertIsNotNone(message['Message-ID'])
            self.assertIn('<carl@mx.test>', message['From'])

    def test_recipients_in_the_header(self):
        """Bcc too, and it is gone from what everybody gets."""
        self.send('-t', message=b'From: Ann <ann@mx.test>\nTo: "B, Bob" <bob@mx.test>,\n ann\nBcc: carl\n'
                                b'Subject: =?utf-8?q?=C3=BC?=\n\nhello\n.\nnot this\n')
        for user in 'ann', 'bob', 'carl':
            message, = self.mail(user)
            self.assertIsNone(message['Bcc'])
            self.assertEqual(message['Subject'], 'ü')
            self.assertEqual(message['From'], 'Ann <ann@mx.test>')
            self.assertEqual(message.get_content(), 'hello\n')

    def test_who(self):
        """The kernel says who it is; -F and -f say what the message says."""
        self.send('-F', 'Cron Daemon', 'ann', anybody=True)
        self.send('-f', '<>', 'bob', anybody=True)
        message, = self.mail('ann')
        self.assertEqual(message['Return-Path'], '<nobody@mx.test>')
        self.assertEqual(message['From'], 'Cron Daemon <nobody@mx.test>')
        self.assertIn(f'uid-{ANYBODY.pw_uid}', message['Received'])
        message, = self.mail('bob')
        self.assertEqual(message['Return-Path'], '<>')

    def test_names(self):
        """A name never becomes an address, and no half of a character is left of a long one."""
        self.send('-f', 'carl', '-F', 'Jürgen <eve@evil.test>, x', 'ann')
        self.send('-f', 'carl', '-F', 'a' * 19 + 'üü', 'bob')
        for user, name in ('ann', 'Jürgen <eve@evil.te'), ('bob', 'a' * 19):
            message, = self.mail(user)
            sender, = message['From'].addresses
            self.assertEqual((sender.display_name, sender.addr_spec), (name, 'carl@mx.test'))

    def test_refused(self):
        """Who is refused is named, with the server's words; the others get theirs."""
        done = self.send('ann', 'whoever', code=NOUSER)
        self.assertRegex(done.stderr.decode(), r'<whoever@mx\.test>: 550 .*No such recipient')
        self.mail('ann')
        self.assertEqual(self.dropped(), [])

    def test_wrong(self):
        self.send(code=USAGE)
        self.send('-t', message=b'Subject: nobody\n\nx\n', code=USAGE)
        self.send('-t', message=b'To: ann smith bob\n\nx\n', code=DATAERR)
        self.send('-Z', 'ann', code=USAGE)
        self.send('-f', 'a b@c', 'ann', code=DATAERR)
        self.send('-f', 'ann@mx.test>\r\nRCPT TO:<bob@mx.test', 'carl', code=DATAERR)
        self.send('ann', 'bob@mx.test\nX: y', code=DATAERR)
        self.assertEqual(self.server.status()['accepted'], 0)

    def test_notify(self):
        self.send('-N', 'never', '-R', 'hdrs', '-V', 'QQ', 'ann')
        self.mail('ann')
        self.send('-N', 'sometimes', 'ann', code=USAGE)

    def test_large(self):
        """Beyond what is kept in memory; octet for octet."""
        body = b'\n'.join(b'%d %s' % (i, b'x' * (i % 900)) for i in range(20000)) + b'\n'
        self.send('-i', 'ann', message=b'Subject: large\n\n' + body)
        octets, = self.server.wait_mail('ann', 1, 'mx.test')
        self.assertEqual(octets.split(b'\r\n\r\n', 1)[1].replace(b'\r\n', b'\n'), body)

    def test_dialog(self):
        done = self.send('-bs', message=b'EHLO x\r\nMAIL FROM:<carl@mx.test>\r\nRCPT TO:<ann@mx.test>\r\nDATA\r\n'
                                        b'Subject: y\r\n\r\nz\r\n.\r\nQUIT\r\n')
        self.assertRegex(done.stdout.decode(), r'(?s)^220 .*\n250 2\.0\.0 .*\n221 ')
        message, = self.mail('ann')
        self.assertEqual(message.get_content(), 'z\n')

    def test_list(self):
        self.assertIn('no messages', self.send('-bp').stdout.decode().lower() + 'no messages')
        self.send('-q', '-v')
        done = self.send('-bp', anybody=True, code=UNAVAILABLE)
        self.assertIn('control.sock', done.stderr.decode())

    def test_new_aliases(self):
        self.server.wait_log('ready')
        self.send('-bi')
        self.server.wait_log('event=reloaded')


@unittest.skipUnless(shutil.which('mutt') and shutil.which('php') and shutil.which('git'), 'needs mutt, php and git')
class Share(SendCase):
    """The socket is open to all, so nobody may have all of it."""

    def setUp(self):
        super().setUp()
        self.server.configure({'limits': {'connections': 60}})
        self.server.start()

    def connect(self):
        connection = socket.socket(socket.AF_UNIX)
        self.addCleanup(connection.close)
        connection.settimeout(30)
        connection.connect(str(self.server.control.parent / 'submit.sock'))
        return connection, connection.recv(100)

    def test_one_user(self):
        mine = [self.connect() for _ in range(15)]
        self.assertEqual([words[:3] for _, words in mine], [b'220'] * 10 + [b'421'] * 5)
        self.assertIn(b'user id', mine[-1][1])
        self.send('-i', 'bob', anybody=True)
        self.mail('bob')
        self.assertEqual(self.dropped(), [])
        # Those who come over the network have nothing to do with it.
        with smtplib.SMTP('127.0.0.1', self.server.port) as client:
            client.sendmail('<>', ['bob@mx.test'], 'Subject: x\n\nx\n')
        self.mail('bob', 2)
        # What is too much waits, and goes as soon as there is room.
        self.send('ann')
        for connection, _ in mine:
            connection.close()
        self.mail('ann')


class Programs(SendCase):
    """Those that call sendmail by themselves, as they do."""

    def setUp(self):
        super().setUp()
        self.server.start()
        self.command = f'{self.sendmail} -C {self.server.config}'

    def run_program(self, *command, text=b'', **environment):
        done = subprocess.run(command, input=text, capture_output=True, timeout=60, cwd=self.directory,
                              env={**os.environ, 'HOME': str(self.directory), **environment})
        self.assertEqual(done.returncode, 0, (done.stdout + done.stderr).decode())

    def test_php(self):
        self.run_program('php', '-d', f'sendmail_path={self.command} -t -i', '-r',
                         r'exit(mail("ann@mx.test", "from php", "hello\n.\nthere\n", "Cc: bob@mx.test") ? 0 : 1);')
        for user in 'ann', 'bob':
            message, = self.mail(user)
            self.assertEqual(message['Subject'], 'from php')
            self.assertEqual(message.get_content().rstrip('\n'), 'hello\n.\nthere')

    def test_mutt(self):
        self.run_program('mutt', '-F', '/dev/null', '-e', f'set sendmail="{self.command} -oem -oi"', '-e',
                         'set from=carl@mx.test use_envelope_from=yes copy=no', '-s', 'from mutt', '-c', 'bob@mx.test', '--', 'ann@mx.test',
                         text='grüße\n.\n'.encode(), LANG='C.UTF-8')
        for user in 'ann', 'bob':
            message, = self.mail(user)
            self.assertEqual(message['Subject'], 'from mutt')
            self.assertEqual(message['Return-Path'], '<carl@mx.test>')
            self.assertEqual(message.get_content(), 'grüße\n.\n')

    def test_git(self):
        patch = self.directory / 'one.patch'
        patch.write_text('From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\n'
                         'From: Carl <carl@mx.test>\nDate: Sun, 22 Nov 2026 06:00:00 +0000\n'
                         'Subject: [PATCH] one\n\nwhy\n---\n 0 files changed\n')
        if subprocess.run(['git', 'send-email', '-h'], capture_output=True).returncode not in (0, 129):
            self.skipTest('git without send-email')
        self.run_program('git', 'send-email', '--quiet', '--confirm=never', '--from', 'Carl <carl@mx.test>',
                         '--to', 'ann@mx.test', '--suppress-cc=all', '--smtp-server-option=-C',
                         f'--smtp-server-option={self.server.config}', '--smtp-server', str(self.sendmail), str(patch))
        message, = self.mail('ann')
        self.assertEqual(message['Subject'], '[PATCH] one')

    def test_cron(self):
        """As Debian's cron calls it, with the job's output."""
        self.send('-FCronDaemon', '-i', '-B8BITMIME', '-oem', 'root',
                  message=b'From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@here> job\n\n10%\r50%\rdone\n')
        message, = self.mail('root')
        self.assertEqual(message.get_content(), '10%\n50%\ndone\n')


class WithoutServer(SendCase):
    """The promise is kept by the drop directory."""

    def setUp(self):
        super().setUp()
        self.server.start()
        self.server.stop()

    def test_waits(self):
        """As any user; nobody but the server can list or read them; each comes exactly once."""
        for i in range(3):
            self.send('-i', '-f', 'carl', 'ann', message=b'Subject: %d\n\n.\nx\n' % i, anybody=True)
        names = self.dropped()
        self.assertEqual(len(names), 3)
        probe = subprocess.run(['ls', self.drop], user=ANYBODY.pw_uid, capture_output=True)
        self.assertNotEqual(probe.returncode, 0)
        self.server.start()
        messages = self.mail('ann', 3)
        self.assertEqual(sorted(m['Subject'] for m in messages), ['0', '1', '2'])
        self.assertIn(f'userid {ANYBODY.pw_uid}', ' '.join(messages[0].get_all('Received')))
        self.assertEqual(messages[0].get_content(), '.\nx\n')
        wait_for(lambda: self.dropped() == [], lambda: f'left: {self.dropped()}')
        self.assertEqual(len(self.server.maildir('ann', 'mx.test')), 3)

    def test_while_it_runs(self):
        """A file is taken as it comes, not at some interval."""
        self.send('ann')
        name, = self.dropped()
        aside = self.directory / 'aside'
        (self.drop / name).rename(aside)
        self.server.start()
        aside.rename(self.drop / name)
        self.mail('ann')

    def test_refused_later(self):
        """Nobody waits for an exit code any more: the sender gets mail."""
        self.send('-f', 'carl', 'ann', 'whoever')
        self.server.start()
        self.mail('ann')
        notice, = self.mail('carl')
        self.assertEqual(notice['Return-Path'], '<>')
        self.assertIn('whoever@mx.test', notice.as_string())
        self.assertIn('Status: 5.1.1', notice.as_string())
        self.assertIn('smtp; 550 5.1.1 No such recipient here', notice.as_string())
        wait_for(lambda: self.dropped() == [], lambda: f'left: {self.dropped()}')

    def test_killed_writer(self):
        """Whatever kill -9 leaves is no message, or the whole one, and never in the way."""
        whole = b'Subject: x\n\n' + b'line\n' * 400000
        for pause in range(8):
            process = subprocess.Popen([self.sendmail, '-C', self.server.config, '-f', 'carl', 'ann'],
                                       stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
            try:
                process.stdin.write(whole[:len(whole) * (pause + 1) // 8])
                if pause % 2:
                    process.stdin.close()
            except BrokenPipeError:
                pass
            process.send_signal(signal.SIGKILL)
            process.wait()
            if not process.stdin.closed:
                try:
                    process.stdin.close()
                except BrokenPipeError:
                    pass
        count = len(self.dropped())
        self.send('bob')
        self.server.start()
        self.mail('bob')
        wait_for(lambda: self.dropped() == [], lambda: f'left: {self.dropped()}')
        for message in self.mail('ann', count) if count else []:
            self.assertTrue(message.get_content().endswith('line\n'))

    def test_hostile_files(self):
        """Links, pipes, folders, garbage and what is cut off: set aside, and the others go on."""
        self.send('ann')
        good, = self.dropped()
        (self.drop / 'cut').write_bytes((self.drop / good).read_bytes()[:-3])
        (self.drop / 'garbage').write_bytes(b'\0\n\n' * 1000)
        (self.drop / 'empty').write_bytes(b'')
        (self.drop / 'link').symlink_to('/etc/passwd')
        os.mkfifo(self.drop / 'pipe')
        (self.drop / 'folder').mkdir()
        secret = self.directory / 'secret'
        secret.write_bytes((self.drop / good).read_bytes())
        os.link(secret, self.drop / 'hard')
        self.server.start()
        self.mail('ann')
        wait_for(lambda: self.dropped() == [], lambda: f'left: {self.dropped()}')
        self.assertTrue(secret.exists())
        self.assertEqual(self.server.status()['accepted'], 1)

    def test_in_the_way(self):
        """However many names somebody has put there, and whatever he lets nobody read: the others go on."""
        for i in range(1200):
            (self.drop / f'.x{i}').mkdir()
            (self.drop / f'.y{i}').write_bytes(b'')
        (self.drop / 'secret').write_bytes(b'x')
        (self.drop / 'secret').chmod(0)
        self.send('ann')
        self.server.start()
        self.mail('ann')
        wait_for(lambda: self.dropped() == [], lambda: f'left: {self.dropped()}')

    def test_too_large(self):
        """Nobody has told the sender yet; who has said that he does not want to know is not told."""
        large = b'Subject: x\n\n' + b'x' * 70000
        self.server.configure({'limits': {'message_size': 65536}})
        self.send('-f', 'bob', '-N', 'never', 'ann', message=large)
        self.send('-f', 'carl', 'ann', message=large)
        self.server.start()
        notice, = self.mail('carl')
        self.assertIn('ann@mx.test', notice.as_string())
        self.assertIn('Status: 5.3.4', notice.as_string())
        self.assertIn('smtp; 552 5.3.4 Message', notice.as_string())
        wait_for(lambda: self.dropped() == [], lambda: f'left: {self.dropped()}')
        self.assertEqual(len(self.server.maildir('bob', 'mx.test')), 0)
        self.assertEqual(len(self.server.maildir('ann', 'mx.test')), 0)

    def test_no_room(self):
        """Without a place to keep it: an exit code that says try again, and nothing half there."""
        shutil.rmtree(self.drop)
        done = self.send('ann', code=TEMPFAIL)
        self.assertIn('spool-drop', done.stderr.decode())
        self.send('-bs', message=b'QUIT\r\n', code=TEMPFAIL)


if __name__ == '__main__':
    if os.getuid() != 0:
        print('1..0 # SKIP needs root, to be another user')
        sys.exit(0)
    main()
