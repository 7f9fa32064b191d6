# SPDX-License-Identifier: GPL-2.0-or-later
"""What senders are told: by NOTIFY and outcome, in which words, with what attached; read by other people's parsers."""

import email
import email.policy
import shutil
import signal
import subprocess

from mailring_e2e import Case, Client, Dsn, main, sample, send_message, stuff

BOB = 'bob@local.test'
DSN = ('PIPELINING', '8BITMIME', 'DSN')


def by_kind(event):
    """What the recipient's name asks for: its local part is a reply's code, or "ok"."""
    name = event.address.split('@')[0]
    return {'unknown': '550 5.1.1 No such user here', 'full': '552 5.2.2 Mailbox full', 'later': '450 4.2.1 Not now',
            'relay': '554 5.7.1 Relay access denied', 'spam': '554 5.7.1 This looks like spam',
            'large': '552 5.3.4 Too large'}.get(name)


class Notices(Case):
    def start(self, hop=None, settings=None):
        return self.start_server({
            'relay_from': ['127.0.0.0/8'],
            **({('route', '*'): {'to': f'smtp://127.0.0.1:{hop.port}'}} if hop else {}), **(settings or {})})

    def send(self, server, recipients, mail='', octets=None, sender=BOB):
        """recipients: {address: parameters}"""
        with Client(server.port) as client:
            client.command(f'MAIL FROM:<{sender}> {mail}'.strip(), 250)
            for recipient, parameters in recipients.items():
                client.command(f'RCPT TO:<{recipient}> {parameters}'.strip(), 250)
            client.command('DATA', 354)
            client.send(stuff(octets or sample('x', sender=sender)) + b'.\r\n')
            client.expect(250)
            client.quit()

    def notices(self, server, count=1, user='bob'):
        return [Dsn(octets) for octets in server.wait_mail(user, count)]

    # ---- who is told what

    def test_notify(self):
        """Each thing that NOTIFY may say, against each end, at next hops with DSN and without, and a mailbox."""
        plain, able = self.next_hop({'rcpt': by_kind}), self.next_hop({'rcpt': by_kind}, extensions=DSN)
        server = self.start(settings={('route', 'plain.test'): {'to': f'smtp://127.0.0.1:{plain.port}'},
                                      ('route', 'able.test'): {'to': f'smtp://127.0.0.1:{able.port}'}})
        rows = {
            ('ok@plain.test', ''): None, ('ok@plain.test', 'NEVER'): None, ('ok@plain.test', 'FAILURE,DELAY'): None,
            ('ok@plain.test', 'SUCCESS'): 'relayed', ('ok@plain.test', 'SUCCESS,FAILURE'): 'relayed',
            ('ok@able.test', 'SUCCESS'): None,
            ('ann@local.test', ''): None, ('ann@local.test', 'SUCCESS'): 'delivered', ('ann@local.test', 'NEVER'): None,
            ('unknown@plain.test', ''): 'failed', ('unknown@plain.test', 'FAILURE'): 'failed',
            ('unknown@able.test', 'FAILURE'): 'failed', ('unknown@plain.test', 'NEVER'): None,
            ('unknown@plain.test', 'SUCCESS'): None, ('unknown@plain.test', 'DELAY'): None,
        }
        for number, ((recipient, notify), action) in enumerate(rows.items()):
            with self.subTest(recipient=recipient, notify=notify):
                user = f'user{number}'
                self.send(server, {recipient: (f'NOTIFY={notify} ' if notify else '') + 'ORCPT=rfc822;Or+2Big@x.test'},
                          'ENVID=env+2B1', sender=f'{user}@local.test')
                server.wait_drained()
                notices = self.notices(server, 1 if action else 0, user)
                if action:
                    fields = notices[0].recipients[recipient]
                    self.assertEqual(fields['action'], action)
                    self.assertEqual(fields['original-recipient'], 'rfc822; Or+ig@x.test')
                    self.assertEqual(notices[0].fields['original-envelope-id'], 'env+1')
        self.assertIn('NOTIFY=SUCCESS', str(able.connections[0].commands))
        status = server.status()
        self.assertEqual((status['bounces_sent'], status['bounces_success']),
                         (sum(1 for a in rows.values() if a), sum(1 for a in rows.values() if a and a != 'failed')))

    def test_together(self):
        """Failures at three sites, and one who got it: one notice."""
        hops = [self.next_hop({'rcpt': by_kind}) for _ in range(3)]
        server = self.start(settings={
            **{('route', f'{n}.test'): {'to': f'smtp://127.0.0.1:{hop.port}'} for n, hop in enumerate(hops)}})
        everybody = ['unknown@0.test', 'full@0.test', 'unknown@1.test', 'spam@2.test']
        self.send(server, {r: '' for r in [*everybody, 'ok@0.test']})
        server.wait_drained()
        notice, = self.notices(server)
        self.assertEqual(sorted(notice.recipients), sorted(everybody))
        self.assertEqual(server.status()['bounces_sent'], 1)

    def test_delay(self):
        """Told once, while it goes on being tried; and not if it was not to be told."""
        hop = self.next_hop({'rcpt': by_kind})
        server = self.start(hop, {'retry': {'intervals': ['1s'], 'expire': '60s', 'warn_after': '2s', 'jitter': 0}})
        self.send(server, {'later@a.test': '', 'later@b.test': 'NOTIFY=FAILURE'})
        notice, = self.notices(server)
        fields = notice.recipients['later@a.test']
        self.assertEqual((fields['action'], fields['status']), ('delayed', '4.2.1'))
        self.assertIn('will-retry-until', fields)
        self.assertNotIn('later@b.test', notice.recipients)
        self.assertIn('need not send your message again', notice.text)
        before = server.status()['deferred']
        self.wait_for(lambda: server.status()['deferred'] > before + 4, 'more attempts')
        hop.answers['rcpt'] = None
        server.wait_drained()
        self.assertEqual(len(self.notices(server)), 1)
        self.assertEqual(server.status()['bounces_delay'], 1)

    def test_expired(self):
        hop = self.next_hop({'rcpt': by_kind})
        server = self.start(hop, {'retry': {'intervals': ['1s'], 'expire': '3s', 'warn_after': 0, 'jitter': 0}})
        self.send(server, {'later@a.test': ''})
        notice, = self.notices(server)
        fields = notice.recipients['later@a.test']
        self.assertEqual((fields['action'], fields['status']), ('failed', '4.2.1'))
        self.assertIn('time is up', notice.text)
        self.assertIn('450 4.2.1 Not now', notice.text)

    # ---- what is in it

    def test_words(self):
        """What a person can understand and do, with the server's own words."""
        hop = self.next_hop({'rcpt': by_kind})
        server = self.start(hop)
        rows = {'unknown': 'There is no such address.', 'full': 'mailbox is full', 'large': 'larger than',
                'relay': 'does not take mail for this address', 'spam': 'unwanted mail'}
        for number, (name, words) in enumerate(rows.items()):
            with self.subTest(name):
                user = f'user{number}'
                self.send(server, {f'{name}@a.test': ''}, sender=f'{user}@local.test')
                notice, = self.notices(server, 1, user)
                text = ' '.join(notice.text.split())
                self.assertIn(words, text)
                self.assertIn(f'<{name}@a.test>', text)
                self.assertIn('The mail server 127.0.0.1 said:', text)
                self.assertIn('Subject: x', text)
                self.assertEqual(notice.message['References'], '<x@client.test>')
                fields = notice.recipients[f'{name}@a.test']
                self.assertEqual(fields['remote-mta'], 'dns; [127.0.0.1]')
                self.assertIn(fields['diagnostic-code'].split(' ', 1)[1].split(' ')[0], ('550', '552', '554'))
                self.assertEqual(notice.fields['received-from-mta'], 'dns; client.test (127.0.0.1)')

    def test_returned(self):
        server = self.start(self.next_hop({'rcpt': by_kind}), {'notices': {'return_size': '20K'}})
        body = 'line of the body\r\n' * 800 + '.with a dot\r\n'
        rows = {'': True, 'RET=FULL': True, 'RET=HDRS': False}
        for number, (mail, whole) in enumerate(rows.items()):
            with self.subTest(mail):
                octets = sample('x', body)
                self.send(server, {'unknown@a.test': ''}, mail, octets, f'user{number}@local.test')
                notice, = self.notices(server, 1, f'user{number}')
                self.assertIn(b'Subject: x\r\n', notice.returned)
                self.assertEqual(notice.returned.endswith(octets), whole)
        self.send(server, {'unknown@a.test': ''}, 'RET=FULL', sample('x', body * 2), 'large@local.test')
        notice, = self.notices(server, 1, 'large')
        self.assertNotIn(b'line of the body', notice.returned)

    def test_templates(self):
        """The operator's words; a bad file is an error with its line, and a reload that has one changes nothing."""
        words = self.directory / 'failure'
        words.write_text('Subject: Schade für $hostname\nFrom: Die Post <post@$hostname>\n\nAn $sender:\n\n$reasons\n')
        server = self.start(self.next_hop({'rcpt': by_kind}), {'notices': {'template_failure': words}})
        self.send(server, {'unknown@a.test': ''})
        notice, = self.notices(server)
        self.assertEqual(notice.message['Subject'], 'Schade für mx.test')
        self.assertEqual(notice.message['From'], 'Die Post <post@mx.test>')
        self.assertTrue(notice.text.replace('\r', '').startswith(f'An {BOB}:\n\n<unknown@a.test>\n'), notice.text)
        words.write_text('Subject: x\n\nWhat is $this?\n')
        error = server.run('check', '-c', server.config, code=1)
        self.assertIn(f'{words}:3: there is no variable $this', error.stdout + error.stderr)
        server.process.send_signal(signal.SIGHUP)
        server.wait_log(r'no variable')
        self.send(server, {'unknown@a.test': ''}, sender='carl@local.test')
        self.assertEqual(self.notices(server, 1, 'carl')[0].message['Subject'], 'Schade für mx.test')
        words.write_text('Subject: new\n\n$reasons\n')
        server.process.send_signal(signal.SIGHUP)
        server.wait_log(r'event=reloaded')
        self.send(server, {'unknown@a.test': ''}, sender='dora@local.test')
        self.assertEqual(self.notices(server, 1, 'dora')[0].message['Subject'], 'new')

    # ---- the postmaster, and who cannot be told

    def test_postmaster(self):
        hop = self.next_hop({'rcpt': by_kind})
        server = self.start(hop, {'notices': {'postmaster': 'pm@local.test', 'copies': ['failure', 'double']}})
        self.send(server, {'unknown@a.test': ''}, octets=sample('secret', 'the body\r\n'))
        copy, = self.notices(server, 1, 'pm')
        self.assertEqual(len(self.notices(server)), 1)
        self.assertEqual(copy.message['To'], 'pm@local.test')
        self.assertIn('Postmaster copy', copy.message['Subject'])
        self.assertNotIn(b'the body', copy.returned)
        # A notice that fails, which nobody else would see; and no notice about that.
        self.send(server, {'unknown@a.test': ''}, sender='unknown@b.test')
        server.wait_drained()
        double = self.notices(server, 3, 'pm')[-1]
        self.assertEqual(sorted(a for n in self.notices(server, 3, 'pm') for a in n.recipients),
                         ['unknown@a.test', 'unknown@a.test', 'unknown@b.test'])
        self.assertIn('For the postmaster', double.text)

    def test_nobody(self):
        """A sender who does not exist in a domain of ours gets no notice, and no mailbox."""
        people = self.directory / 'people'
        people.write_text('ann\n')
        server = self.start(self.next_hop({'rcpt': by_kind}), {
            ('domain', 'own.test'): {'to': f'maildir:{self.directory}/own/%u', 'recipients': people}})
        self.send(server, {'unknown@a.test': ''}, sender='ghost@own.test')
        server.wait_log('event=bounce-to-nobody')
        server.wait_drained()
        self.assertFalse((self.directory / 'own').exists())
        self.assertEqual(server.status()['bounces_sent'], 0)

    def test_alias(self):
        """A sender who is an alias: all who stand for it are told. An alias that is asked about: expanded."""
        aliases = self.directory / 'aliases'
        aliases.write_text('team: ann, carl\n')
        server = self.start(self.next_hop({'rcpt': by_kind}), {
            ('domain', 'local.test'): {'to': f'maildir:{self.directory}/server0/mail/%d/%u', 'aliases': [aliases]}})
        self.send(server, {'unknown@a.test': ''}, sender='team@local.test')
        for user in ('ann', 'carl'):
            self.assertIn('unknown@a.test', self.notices(server, 1, user)[0].recipients)
        self.send(server, {'team@local.test': 'NOTIFY=SUCCESS'})
        server.wait_drained()
        actions = {a: f['action'] for n in self.notices(server) for a, f in n.recipients.items()}
        self.assertEqual(actions, {'team@local.test': 'expanded'})
        server.wait_mail('ann', 2)

    def test_operator(self):
        """What an operator returns is a failure like any other, with his words."""
        server = self.start(self.next_hop({'rcpt': by_kind}))
        self.send(server, {'later@a.test': ''})
        self.wait_for(lambda: server.queue() and server.queue()[0].get('reason'), 'a reason')
        server.run('queue', 'bounce', server.queue()[0]['id'], '--text=We have looked into it', '-c', server.config)
        notice, = self.notices(server)
        self.assertEqual(notice.recipients['later@a.test']['action'], 'failed')
        self.assertIn('We have looked into it', notice.text)

    # ---- other people's eyes

    def several(self):
        server = self.start(self.next_hop({'rcpt': by_kind}))
        self.send(server, {'unknown@a.test': 'ORCPT=rfc822;big@x.test', 'full@a.test': '', 'spam@b.test': ''}, 'ENVID=e1')
        server.wait_drained()
        return server.wait_mail('bob')[0]

    def test_bounceparser(self):
        """Perl's Mail::DeliveryStatus::BounceParser, as mailing lists use it."""
        if subprocess.run(['perl', '-MMail::DeliveryStatus::BounceParser', '-e1'], capture_output=True).returncode:
            self.skipTest('libmail-deliverystatus-bounceparser-perl is not installed')
        script = '''
            use Mail::DeliveryStatus::BounceParser;
            my $b = Mail::DeliveryStatus::BounceParser->new(\\*STDIN);
            die "no bounce" unless $b->is_bounce;
            print join(" ", $_->get("email"), $_->get("std_reason"), $_->get("smtp_code") // "-"), "\\n" for $b->reports;
            print "orig ", $b->orig_message_id, "\\n";
        '''
        result = subprocess.run(['perl', '-e', script], input=self.several().replace(b'\r\n', b'\n'),
                                capture_output=True, timeout=30)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(sorted(result.stdout.decode().split('\n')[:-1]),
                         ['big@x.test user_unknown 550', 'full@a.test over_quota 552', 'orig <x@client.test>',
                          'spam@b.test unknown 554'])

    def test_mime(self):
        """Python's parser finds no defect, in any part, and the original in one piece."""
        message = email.message_from_bytes(self.several(), policy=email.policy.default)
        for part in message.walk():
            self.assertEqual(part.defects, [], part.get_content_type())
        kinds = [part.get_content_type() for part in message.iter_parts()]
        self.assertEqual(kinds, ['text/plain', 'message/delivery-status', 'message/rfc822'])
        original = list(message.iter_parts())[2].get_content()
        self.assertEqual(original['Subject'], 'x')
        self.assertEqual(original.get_content().strip(), 'hello')

    def test_reader(self):
        """What somebody sees who opens it in a mail reader: mblaze's, which needs no terminal."""
        if not shutil.which('mshow'):
            self.skipTest('mblaze is not installed')
        (self.directory / 'notice').write_bytes(self.several().replace(b'\r\n', b'\n'))
        shown = subprocess.run(['mshow', self.directory / 'notice'], capture_output=True, timeout=30, text=True,
                               env={'HOME': str(self.directory), 'PATH': '/usr/bin:/bin'}).stdout
        for words in ('Undelivered mail returned to sender', 'There is no such address', '550 5.1.1 No such user here'):
            self.assertIn(words, shown)
        for kind in ('message/delivery-status', 'message/rfc822'):
            self.assertIn(kind, shown)


if __name__ == '__main__':
    main()
