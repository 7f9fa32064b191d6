# SPDX-License-Identifier: GPL-2.0-or-later
"""Submission (RFC 6409): who logs in sends from addresses of his own, within his limits, and gets his header mended."""

import re
import shutil
import signal
import smtplib
import subprocess
import unittest
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage

from mailring_e2e import (Authority, Case, Client, Closed, any_certificate, crlf, free_port, main, openssl, sample,
                          stuff)

PASSWORD = 'open sesame 7'
BOTH = b'Date: Sat, 21 Nov 2026 22:19:50 +0000\r\nMessage-ID: <own@client.test>\r\n'


class Submission(Case):
    """One server with a port for submission, one of role mx where users may log in, and a next hop for all
    mail. Users: ann@local.test; bob, who has two addresses; carol, of whom only the map knows anything."""

    def start(self, limits=None, shards=1, submission=None, senders=''):
        digest = openssl('passwd', '-6', PASSWORD).decode().strip()
        authority = Authority(self.directory / 'ca')
        pair = authority.issue('mx.test')
        users = self.directory / 'users'
        users.write_text(f'ann@local.test:{digest}\n'
                         f'bob:{digest}:bob@local.test,@bobs.test\n'
                         f'carol:{digest}\n')
        users.chmod(0o600)
        self.senders = self.directory / 'senders'
        self.senders.write_text(senders or '# who else\nsales@local.test  ann@local.test, carol\n*@carols.test carol\n')
        self.hop = self.next_hop()
        self.port, self.mx = free_port(), free_port()
        self.server = self.make_server({
            'shards': shards,
            ('listener', 'mx'): {'address': [f'127.0.0.1:{self.mx}'], 'role': 'mx', 'auth': 'yes'},
            ('listener', 'submission'): {'address': [f'127.0.0.1:{self.port}'], 'role': 'submission',
                                         'tls': 'required', **(submission or {})},
            ('domain', 'local.test'): {'to': f'smtp://127.0.0.1:{self.hop.port}', 'subaddress': '+'},
            ('route', '*'): {'to': f'smtp://127.0.0.1:{self.hop.port}'},
            'tls': {'certificate': [pair.certificate], 'key': [pair.key]},
            'auth': {'users': users, 'senders': self.senders},
            'relay_from': ['127.0.0.0/8'],
            'limits': limits or {},
        })
        self.server.port = self.mx
        return self.server.start()

    def login(self, user='ann@local.test', port=None, **options):
        client = Client(port or self.port, **options)
        self.addCleanup(client.close)
        client.starttls(any_certificate())
        client.login(user, PASSWORD)
        return client

    def arrived(self, recipient, count=1):
        self.wait_for(lambda: len(self.hop.for_recipient(recipient)) >= count,
                      lambda: f'{count} messages for {recipient}')
        return self.hop.for_recipient(recipient)[count - 1].octets

    def log_of(self, event, count):
        """Its lines in the log, which a thread of its own writes, once there are `count`; not more."""
        def lines():
            return [line for line in self.server.log_lines() if re.search(rf'\bevent={event}\b', line)]
        self.wait_for(lambda: len(lines()) >= count, lambda: f'{count} lines {event} in the log')
        self.assertEqual(len(lines()), count)
        return lines()


class Senders(Submission):
    def test_login_first(self):
        """530, whoever asks, also from relay_from; after the login to anywhere."""
        self.start()
        with Client(self.port) as client:
            self.assertEqual(client.command('MAIL FROM:<ann@local.test>', 530).enhanced, '5.7.0')
            client.starttls(any_certificate())
            self.assertEqual(client.command('MAIL FROM:<ann@local.test>', 530).enhanced, '5.7.0')
            client.command('MAIL FROM:<>', 530)
            client.quit()
        client = self.login()
        client.message('ann@local.test', 'far@away.test', sample('first', sender='ann@local.test'))
        client.quit()
        self.arrived('far@away.test')

    def test_own_addresses(self):
        self.start()
        table = {
            'ann@local.test': {'ann@local.test': True, 'ANN@Local.Test': True, 'ann+news@local.test': True,
                               'sales@local.test': True, 'Sales+x@local.test': True, 'bob@local.test': False,
                               'ann@away.test': False, 'x@carols.test': False, 'ann@sub.local.test': False},
            'bob': {'bob@local.test': True, 'any@bobs.test': True, 'any@sub.bobs.test': False,
                    'sales@local.test': False, 'ann@local.test': False},
            'carol': {'sales@local.test': True, 'any@carols.test': True, 'carol@local.test': False}}
        refused = 0
        for port in (self.port, self.mx):       # another role is no way around
            for user, senders in table.items():
                client = self.login(user, port)
                for sender, own in senders.items():
                    reply = client.command(f'MAIL FROM:<{sender}>', (250, 553))
                    self.assertEqual(reply.code == 250, own, f'{user} as {sender}: {reply}')
                    if own:
                        client.command('RSET', 250)
                    else:
                        refused += 1
                        self.assertEqual(reply.enhanced, '5.7.1')
                client.quit()
        self.assertEqual(self.server.status()['refused_senders'], refused)
        lines = self.log_of('sender-refused', refused)
        self.assertTrue(any('user=bob' in line and 'from=sales@local.test' in line for line in lines), lines[:3])
        self.assertNotIn(PASSWORD, self.server.log())

    def test_null_sender(self):
        """A receipt goes to one."""
        self.start()
        client = self.login()
        client.command('MAIL FROM:<>', 250)
        client.command('RCPT TO:<one@away.test>', 250)
        self.assertEqual(client.command('RCPT TO:<two@away.test>', 452).enhanced, '4.5.3')
        client.command('DATA', 354)
        client.send(sample('receipt') + b'.\r\n')
        client.expect(250)
        client.quit()
        self.arrived('one@away.test')

    def test_map_with_mistakes(self):
        self.start()
        self.senders.write_text('sales@local.test ann\nnobody\nx@ y\n\n@a.test\n')
        done = self.server.run('check', code=1)
        text = done.stdout + done.stderr
        for line in (2, 3, 5):
            self.assertRegex(text, rf'senders:{line}: ')
        self.assertNotRegex(text, r'senders:1: ')


class Reload(Submission):
    def reload(self, event):
        before = self.server.log().count(f'event={event}')
        self.server.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: self.server.log().count(f'event={event}') > before, event)

    def refused(self, user, sender):
        client = self.login(user)
        code = client.command(f'MAIL FROM:<{sender}>', (250, 450, 553)).code
        client.quit()
        return code

    def test_map_and_limits(self):
        """New sessions go by a new map and new limits; a map with a mistake changes nothing."""
        self.start()
        self.assertEqual(self.refused('bob', 'sales@local.test'), 553)
        open_before = self.login('bob')
        self.senders.write_text('sales@local.test bob\n')
        self.reload('reloaded')
        self.assertEqual(self.refused('bob', 'sales@local.test'), 250)
        self.assertEqual(self.refused('carol', 'sales@local.test'), 553)
        open_before.command('MAIL FROM:<sales@local.test>', 553)
        self.senders.write_text('sales@local.test\n')
        self.reload('reload-failed')
        self.assertEqual(self.refused('bob', 'sales@local.test'), 250)
        self.senders.write_text('')
        self.server.configure({'limits': {'user_messages_per_hour': 1}})
        self.reload('reloaded')
        client = self.login()
        client.message('ann@local.test', 'a@away.test', sample('one'))
        client.command('MAIL FROM:<ann@local.test>', 450)
        # An open session goes by what it began with.
        open_before.message('bob@local.test', 'a@away.test', sample('two'))
        open_before.message('bob@local.test', 'a@away.test', sample('three'))


class Header(Submission):
    def send(self, name, octets, codes=250):
        client = self.login()
        client.message('ann@local.test', f'{name}@away.test', octets, codes)
        client.quit()
        return self.without_received(self.arrived(f'{name}@away.test'))

    @staticmethod
    def without_received(octets):
        match = re.match(rb'Received:[^\n]*\r\n(?:[ \t][^\n]*\r\n)*', octets)
        assert match, octets[:100]
        return octets[match.end():]

    def test_added_once(self):
        self.start()
        octets = self.send('plain', b'From: ann@local.test\r\nSubject: x\r\n\r\ntext\r\n')
        match = re.fullmatch(rb'From: ann@local.test\r\nSubject: x\r\n'
                             rb'Date: \w{3}, \d\d? \w{3} \d{4} \d\d:\d\d:\d\d \+0000\r\n'
                             rb'Message-ID: <([0-9A-Z]{13})\.\d{10}@mx\.test>\r\n\r\ntext\r\n', octets)
        self.assertTrue(match, octets)
        # It is the id that the log has.
        self.assertTrue(any(match.group(1).decode() in line for line in self.log_of('accepted', 1)))

    def test_nothing_else(self):
        """What is complete leaves octet for octet, a Bcc of an attached message and odd fields included."""
        self.start()
        octets = (BOTH + b'X-Odd :  \t a \r\n \r\n\tb\r\nSubject: =?x?=\r\nSubject: twice\r\nDate: twice\r\n'
                  b'Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n'
                  b'Bcc: inner@away.test\r\n\r\n..\r\n.x\r\nBcc: text\r\n--b--\r\n')
        self.assertEqual(self.send('whole', octets), octets)
        long = BOTH + b'Subject: ' + b'x' * 900 + b'\r\n\r\n' + b'y' * 70 + b'\r\n' + b'z' * 900 + b'\r\n'
        self.assertEqual(self.send('long', long), long)

    def test_bcc(self):
        self.start()
        octets = self.send('bcc', b'Bcc: one@away.test,\r\n two@away.test\r\n' + BOTH + b'bCC : three@away.test\r\n'
                           b'Resent-Bcc: four@away.test\r\nTo: a@b.test\r\n\r\nBcc: text\r\n')
        self.assertEqual(octets, BOTH + b'To: a@b.test\r\n\r\nBcc: text\r\n')

    def test_large_and_in_pieces(self):
        self.start()
        body = b''.join(b'%06d %s\r\n' % (i, b'.' * (i % 60)) for i in range(20000))
        client = self.login()
        client.envelope('ann@local.test', 'large@away.test')
        client.command('DATA', 354)
        for octet in BOTH + b'Bcc: a\r\n b\r\n':
            client.send(bytes([octet]))
        client.send(stuff(b'To: c\r\n\r\n' + body) + b'.\r\n')
        client.expect(250)
        self.assertEqual(self.without_received(self.arrived('large@away.test')), BOTH + b'To: c\r\n\r\n' + body)

    def test_without_header(self):
        self.start()
        octets = self.send('none', b'Hello there\r\nBcc: text\r\n')
        self.assertRegex(octets, rb'\ADate: [^\r]*\r\nMessage-ID: [^\r]*\r\n\r\nHello there\r\nBcc: text\r\n\Z')
        octets = self.send('nobody', b'To: a\r\n')
        self.assertRegex(octets, rb'\ATo: a\r\nDate: [^\r]*\r\nMessage-ID: [^\r]*\r\n\Z')

    def test_other_roles(self):
        """At other listeners it leaves as it came, also from users."""
        self.start()
        octets = b'Bcc: a@b.test\r\nSubject: x\r\n\r\ntext\r\n'
        client = self.login(port=self.mx)
        client.message('ann@local.test', 'mx@away.test', octets)
        client.quit()
        self.assertEqual(self.without_received(self.arrived('mx@away.test')), octets)

    def test_programs(self):
        """Python's smtplib, and swaks."""
        self.start()
        message = EmailMessage()
        message['From'], message['To'], message['Bcc'] = 'ann@local.test', 'lib@away.test', 'hidden@away.test'
        message.set_content('hello\n')
        with smtplib.SMTP('127.0.0.1', self.port, local_hostname='lib.test') as client:
            client.starttls(context=any_certificate())
            client.login('ann@local.test', PASSWORD)
            client.sendmail('ann@local.test', ['lib@away.test', 'hidden@away.test'], crlf(message.as_bytes()))
        for recipient in ('lib@away.test', 'hidden@away.test'):
            octets = self.arrived(recipient)
            self.assertNotIn(b'Bcc', octets)
            self.assertEqual(octets.count(b'Message-ID:'), 1)
        if shutil.which('swaks'):
            done = subprocess.run(['swaks', '--server', f'127.0.0.1:{self.port}', '--tls', '--auth', 'PLAIN',
                                   '--auth-user', 'bob', '--auth-password', PASSWORD, '--from', 'x@bobs.test',
                                   '--to', 'swaks@away.test'], capture_output=True, text=True, timeout=30)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.arrived('swaks@away.test')


class Masking(Submission):
    NAME, SOURCE = 'laptop.at.home.test', '127.77.66.55'

    def received(self, mask):
        self.start(submission={'mask_client': mask})
        client = Client(self.port, source=self.SOURCE, greet=False)
        self.addCleanup(client.close)
        client.expect(220)
        client.ehlo(self.NAME)
        client.command('STARTTLS', 220)
        client.wrap(any_certificate())
        client.ehlo(self.NAME)
        client.login('ann@local.test', PASSWORD)
        client.message('ann@local.test', 'far@away.test', sample('masked'))
        client.quit()
        octets = self.arrived('far@away.test')
        self.assertIn(f'client={self.SOURCE}', self.log_of('accepted', 1)[0])
        return octets

    def test_masked(self):
        octets = self.received('yes')
        self.assertNotIn(self.NAME.encode(), octets)
        self.assertNotIn(self.SOURCE.encode(), octets)
        self.assertRegex(octets, rb'\AReceived: from client\.invalid \(authenticated, address withheld\)\r\n')
        self.assertIn(b'with ESMTPSA', octets)

    def test_not_masked(self):
        octets = self.received('no')
        self.assertIn(self.NAME.encode(), octets)
        self.assertIn(self.SOURCE.encode(), octets)
        self.assertIn(b'with ESMTPSA', octets)


class Limits(Submission):
    def mail(self, client, sender='ann@local.test', recipient='far@away.test'):
        """Sends one message; the reply to MAIL if that is refused."""
        reply = client.command(f'MAIL FROM:<{sender}>', (250, 450))
        if reply.code == 250:
            client.command(f'RCPT TO:<{recipient}>', 250)
            client.command('DATA', 354)
            client.send(sample('limits') + b'.\r\n')
            client.expect(250)
        return reply

    def test_messages_over_sessions_shards_and_a_restart(self):
        self.start({'user_messages_per_day': 20}, shards=2)

        def session(_):
            with Client(self.port) as client:
                client.starttls(any_certificate())
                client.login('ann@local.test', PASSWORD)
                return [self.mail(client) for _ in range(10)]

        with ThreadPoolExecutor(6) as pool:
            replies = sum(pool.map(session, range(6)), [])
        taken = [reply for reply in replies if reply.code == 250]
        self.assertEqual(len(taken), 20)
        refused = [reply for reply in replies if reply.code == 450]
        self.assertEqual(len(refused), 40)
        for reply in refused:
            self.assertEqual(reply.enhanced, '4.7.1')
            self.assertRegex(reply.text, r'You may send 20 messages a day; try again in \d+ (hours|minutes)$')
        self.assertEqual(self.server.status()['refused_user_limits'], 40)
        lines = self.log_of('user-limit', 40)
        self.assertIn('user=ann@local.test', lines[0])
        self.assertIn('limit=messages_per_day', lines[0])
        self.assertEqual(self.mail(self.login('Ann@LOCAL.test')).code, 450)
        # Others are not concerned, and it holds after a restart.
        self.assertEqual(self.mail(self.login('bob'), 'bob@local.test').code, 250)
        self.server.stop()
        self.server.start()
        self.assertEqual(self.mail(self.login()).code, 450)
        client = self.login('bob')
        for n in range(20):
            reply = self.mail(client, 'bob@local.test')
            self.assertEqual(reply.code, 250 if n < 19 else 450, n)

    def test_recipients(self):
        self.start({'user_recipients_per_hour': 3})
        client = self.login()
        for _ in range(3):                      # given back
            client.envelope('ann@local.test', ['a@away.test', 'b@away.test'])
            client.command('RSET', 250)
        client.envelope('ann@local.test', ['a@away.test', 'b@away.test', 'c@away.test'])
        reply = client.command('RCPT TO:<d@away.test>', 450)
        self.assertEqual(reply.enhanced, '4.7.1')
        self.assertRegex(reply.text, r'You may send to 3 recipients an hour; try again in ')
        client.command('DATA', 354)
        client.send(sample('three') + b'.\r\n')
        client.expect(250)
        client.command('MAIL FROM:<ann@local.test>', 250)
        client.command('RCPT TO:<a@away.test>', 450)

    def test_lost_connections_give_back(self):
        self.start({'user_messages_per_hour': 2})
        for _ in range(5):
            client = self.login()
            client.envelope('ann@local.test', 'a@away.test')
            client.command('DATA', 354)
            client.send(b'half of a mess')
            client.reset()
            self.wait_for(lambda: self.server.status()['sessions'] == 0, 'the session is gone')
        client = self.login()
        self.assertEqual(self.mail(client).code, 250)
        self.assertEqual(self.mail(client).code, 250)
        self.assertEqual(self.mail(client).code, 450)

    def test_size(self):
        self.start({'user_message_size': '4K'})
        client = self.login()
        self.assertEqual(client.command('MAIL FROM:<ann@local.test> SIZE=5000', 552).enhanced, '5.3.4')
        reply = client.message('ann@local.test', 'a@away.test', sample('big', 'x' * 70 + '\r\n' * 4000), 552)
        self.assertEqual(reply.enhanced, '5.3.4')
        client.message('ann@local.test', 'a@away.test', sample('small'))
        with Client(self.mx) as other:          # no user, no limit of his
            other.message('x@away.test', 'box@local.test', sample('other', 'x' * 70 + '\r\n' * 4000))

    def test_sessions(self):
        self.start({'user_connections': 2}, shards=2)
        first, _ = self.login(), self.login()
        third = Client(self.port)
        self.addCleanup(third.close)
        third.starttls(any_certificate())
        self.assertEqual(third.login('ann@local.test', PASSWORD, 421).enhanced, '4.7.0')
        with self.assertRaises((Closed, ConnectionError)):
            third.command('NOOP')
        self.login('bob')
        first.quit()
        self.wait_for(lambda: self.server.status()['sessions'] <= 2, 'one session less')
        self.mail(self.login())
        self.assertIn('limit=connections', self.log_of('user-limit', 1)[0])


if __name__ == '__main__':
    main()
