# SPDX-License-Identifier: GPL-2.0-or-later
"""mailring-load against servers that answer as a script says, and mailring-sink against clients: every option does
what it says, every answer is understood, nothing hangs."""

import json
import re
import signal
import socket
import ssl
import subprocess
import time
import unittest

from mailring_e2e import (BUILD, DROP, RESET, STALL, Case, Client, Closed, NextHop, Pieces, free_port, main, times)

LOAD = BUILD / 'mailring-load'
SINK = BUILD / 'mailring-sink'


class Tools(Case):
    @classmethod
    def setUpClass(cls):
        if not LOAD.exists() or not SINK.exists():
            raise unittest.SkipTest('mailring-load and mailring-sink are not built')

    def run_load(self, port, *arguments, code=0):
        """Its report; fails if it does not end with `code`."""
        done = subprocess.run([LOAD, f'smtp://127.0.0.1:{port}', '--json', *map(str, arguments)],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return json.loads(done.stdout) if done.stdout else done.stderr

    def start_sink(self, *arguments):
        """A running sink and its port."""
        process = subprocess.Popen([SINK, 'smtp://127.0.0.1:0', '--json', *map(str, arguments)],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end, process)
        line = process.stderr.readline()
        self.assertRegex(line, r'^mailring-sink: listening on 127\.0\.0\.1:\d+$')
        return process, int(line.rpartition(':')[2])

    @staticmethod
    def end(process):
        if process.poll() is None:
            process.kill()
        process.communicate()

    def stop_sink(self, process, code=0):
        process.send_signal(signal.SIGTERM)
        return self.sink_report(process, code)

    def sink_report(self, process, code=0):
        output, errors = process.communicate(timeout=20)
        self.assertEqual(process.returncode, code, output + errors)
        return json.loads(output)

    def error(self, report, kind, stage, number=None):
        """How often this error is in the report."""
        return sum(e['count'] for e in report['errors']
                   if (e['kind'], e['stage']) == (kind, stage) and number in (None, e['number']))


class Usage(Tools):
    def check(self, words, code, says, program=LOAD):
        done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, code, (words, done.stdout, done.stderr))
        self.assertRegex(done.stdout + done.stderr, says)

    def test_help_and_version(self):
        for program in (LOAD, SINK):
            self.check(['--help'], 0, r'^usage: mailring-(load|sink) smtp://HOST', program)
            self.check(['--version'], 0, r'^mailring-(load|sink) \d', program)

    def test_wrong_usage(self):
        self.check([], 64, 'a URL is needed')
        self.check(['http://127.0.0.1'], 64, 'begins with smtp://')
        self.check(['smtp://127.0.0.1:99999'], 64, 'the form is')
        self.check(['smtp://127.0.0.1', '--sessions', '0'], 64, '--sessions 0: a number from 1')
        self.check(['smtp://127.0.0.1', '--what'], 64, 'unknown option --what')
        self.check(['smtp://127.0.0.1', '--to', 'nobody'], 64, 'not an address')
        self.check(['smtp://127.0.0.1', '--file', '/nonexistent'], 64, 'No such file')
        self.check(['smtp://127.0.0.1', '--record', '/nonexistent/file'], 73, 'No such file')
        self.check(['smtp://127.0.0.1', '--fail', 'rcpt=1'], 64, 'the form is', SINK)
        self.check(['smtp://127.0.0.1:0', '--dump', '/nonexistent'], 73, 'No such file', SINK)
        self.check(['smtp://127.0.0.1:0', '--record', '/nonexistent/file'], 73, 'No such file', SINK)

    def test_nobody_there(self):
        begin = time.monotonic()
        self.check([f'smtp://127.0.0.1:{free_port()}', '--messages', 100000], 69, 'Connection refused')
        self.assertLess(time.monotonic() - begin, 5)

    def test_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(('127.0.0.1', 0))
            taken.listen()
            for threads in (1, 2):
                self.check([f'smtp://127.0.0.1:{taken.getsockname()[1]}', '--threads', threads], 69,
                           'cannot listen on 127.0.0.1:.*in use', SINK)


class Messages(Tools):
    """What arrives."""

    def received(self, *arguments, **options):
        hop = self.next_hop(**options)
        report = self.run_load(hop.port, *arguments)
        hop.close()
        self.assertTrue(report['good'])
        self.assertEqual(len(hop.messages), report['accepted'])
        self.assertEqual(hop.unanswered + hop.orphans, [])
        ids = [re.match(rb'X-Load-Id: (\S+)\r\nX-Load-Sum: [0-9a-f]{8}-\d+\r\n', m.octets).group(1)
               for m in hop.messages]
        self.assertEqual(len(set(ids)), len(ids))
        return hop, report

    def test_defaults(self):
        hop, report = self.received()
        message, = hop.messages
        self.assertEqual((message.sender, message.recipients), ('load@load.test', ['user0@sink.test']))
        head, _, body = message.octets.partition(b'\r\n\r\n')
        self.assertEqual(len(body), 4096)
        for field in (b'From: <load@load.test>', b'To: <user0@sink.test>', b'Date: ', b'Message-ID: <'):
            self.assertIn(b'\r\n' + field, head)
        self.assertNotIn(b'\n', message.octets.replace(b'\r\n', b''))
        self.assertEqual(report['replies'], {'220': 1, '250': 4, '354': 1, '221': 1})
        self.assertEqual(hop.connections[0].verbs, ['EHLO', 'MAIL', 'RCPT', 'DATA', 'QUIT'])
        self.assertRegex(hop.connections[0].commands[1], r'^MAIL FROM:<load@load\.test> SIZE=(\d+)$')
        self.assertGreaterEqual(int(hop.connections[0].commands[1].rpartition('=')[2]), len(message.octets))

    def test_replies_in_pieces(self):
        pieces = {'connect': Pieces('220-next.test\r\n220 ESMTP'),
                  'ehlo': Pieces('250-next.test\r\n250-PIPELINING\r\n250-SIZE\r\n250 8BITMIME'),
                  'mail': Pieces('250 2.1.0 ok'), 'rcpt': Pieces('250-2.1.5 one\r\n250-2.1.5 two\r\n250 2.1.5 ok'),
                  'data': Pieces('354 go on'), 'dot': Pieces('250-2.0.0 taken\r\n250 '), 'quit': Pieces('221 bye')}
        for pipeline in ('yes', 'no'):
            hop, _ = self.received('--messages', 6, '--messages-per-session', 3, '--recipients', 2, '--pipeline',
                                   pipeline, answers=pieces)
            self.assertEqual(sum(len(m.recipients) for m in hop.messages), 12)

    def test_addresses(self):
        hop, _ = self.received('--messages', 7, '--from', 'a%d@x.test', '--to', 'b%d@y%d.test', '--recipients', 3,
                               '--addresses', 4, '--sessions', 1)
        self.assertEqual([m.sender for m in hop.messages], [f'a{n % 4}@x.test' for n in range(7)])
        self.assertEqual([r for m in hop.messages for r in m.recipients],
                         [f'b{n % 4}@y{n % 4}.test' for n in range(21)])
        hop, _ = self.received('--from', '<>')
        self.assertEqual(hop.messages[0].sender, '')

    def test_bodies(self):
        hop, _ = self.received('--messages', 6, '--sessions', 1, '--size', '100,1K,200K', '--8bit', '--dots')
        bodies = [m.octets.partition(b'\r\n\r\n')[2] for m in hop.messages]
        self.assertEqual([len(body) for body in bodies], [100, 1024, 204800] * 2)
        for message, body in zip(hop.messages, bodies):
            self.assertIn('BODY=8BITMIME', message.parameters)
            self.assertTrue(len(body) < 1024 or b'\r\n.' in body)
            body.decode()
        self.assertNotEqual(bodies[2][:78], bodies[5][:78])

    def test_no_8bit_where_it_is_not_offered(self):
        hop, _ = self.received('--8bit', extensions=())
        self.assertEqual(hop.messages[0].parameters, '')

    def test_files(self):
        texts = [b'Subject: one\n\n.dot\n..two\n.\nend', b'Subject: two\r\n\r\nb\xf6dy\r\n']
        for number, text in enumerate(texts):
            (self.directory / str(number)).write_bytes(text)
        hop, _ = self.received('--sessions', 1, '--messages', 4, '--file', self.directory / '0', '--file',
                               self.directory / '1')
        sent = [texts[0].replace(b'\n', b'\r\n') + b'\r\n', texts[1]]
        self.assertEqual([m.octets.split(b'\r\n', 2)[2] for m in hop.messages], sent * 2)

    def test_sessions(self):
        for per_session, connections in ((1, 30), (4, 8), (0, 3)):
            hop, report = self.received('--messages', 30, '--sessions', 3, '--messages-per-session', per_session)
            self.assertGreaterEqual(len(hop.connections), connections)
            self.assertLessEqual(len(hop.connections), connections + 2)
            self.assertEqual(report['sessions'], len(hop.connections))
            self.assertTrue(all(c.verbs[-1] == 'QUIT' for c in hop.connections))

    def test_helo_name_and_old_servers(self):
        hop, _ = self.received('--helo', 'other.test', answers={'ehlo': '502 5.5.1 what?'})
        self.assertEqual(hop.connections[0].commands[:3],
                         ['EHLO other.test', 'HELO other.test', 'MAIL FROM:<load@load.test>'])

    def test_threads(self):
        _, report = self.received('--messages', 200, '--sessions', 8, '--threads', 4)
        self.assertEqual(report['accepted'], 200)

    def test_time_and_rate(self):
        begin = time.monotonic()
        _, report = self.received('--time', '1s', '--rate', 100, '--sessions', 4)
        self.assertTrue(0.9 < time.monotonic() - begin < 4)
        self.assertTrue(80 <= report['accepted'] <= 101, report['accepted'])

    def first_commands(self, offer, *arguments):
        """What it says behind EHLO before anything is answered."""
        with socket.socket() as listener:
            listener.bind(('127.0.0.1', 0))
            listener.listen()
            process = subprocess.Popen([LOAD, f'smtp://127.0.0.1:{listener.getsockname()[1]}', *arguments],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.addCleanup(self.end, process)
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(10)
                peer.sendall(b'220 here\r\n')
                peer.recv(1000)
                peer.sendall(b'250-here\r\n250 %s\r\n' % offer)
                got = peer.recv(10000)
                time.sleep(0.2)
                peer.setblocking(False)
                try:
                    got += peer.recv(10000)
                except BlockingIOError:
                    pass
        return [line.split(b' ')[0] for line in got.splitlines()]

    def test_pipelining(self):
        together = [b'MAIL', b'RCPT', b'RCPT', b'DATA']
        self.assertEqual(self.first_commands(b'PIPELINING', '--recipients', '2'), together)
        self.assertEqual(self.first_commands(b'PIPELINING', '--pipeline', 'no'), [b'MAIL'])
        self.assertEqual(self.first_commands(b'8BITMIME'), [b'MAIL'])

    def test_record(self):
        path = self.directory / 'record'
        hop = self.next_hop({'dot': times(2, '451 not now')})
        self.run_load(hop.port, '--messages', 5, '--sessions', 1, '--record', path, code=1)
        lines = [line.split(' ') for line in path.read_text().splitlines()]
        self.assertEqual([outcome for _, outcome in lines], ['refused'] * 2 + ['accepted'] * 3)
        self.assertEqual([int(number.rpartition('-')[2]) for number, _ in lines], [1, 1, 1, 2, 3])

    def test_stopped_early(self):
        hop = self.next_hop()
        process = subprocess.Popen([LOAD, f'smtp://127.0.0.1:{hop.port}', '--time', '60s', '--json'],
                                   stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.end, process)
        self.wait_for(lambda: len(hop.messages) > 10, 'some messages')
        process.send_signal(signal.SIGTERM)
        report = json.loads(process.communicate(timeout=20)[0])
        self.assertEqual(process.returncode, 0)
        self.assertEqual(report['accepted'], len(hop.messages))

    def test_text_report(self):
        hop = self.next_hop({'rcpt': times(1, '550 5.1.1 no such user')})
        done = subprocess.run([LOAD, f'smtp://127.0.0.1:{hop.port}', '--messages', '3', '--progress'],
                              capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 1)
        for line in (r'^2 messages accepted in ', r'refused 1 ', r'connect to 220 +p50 \d', r'dot to 250 ',
                     r'replies .* 550: 1', r'error at rcpt +1 x 550 no such user', r'own CPU '):
            self.assertRegex(done.stdout, re.compile(line, re.M))


class Answers(Tools):
    """What servers may do wrong, or right but seldom."""

    def run_script(self, answers, *arguments, code=1, **options):
        hop = self.next_hop(answers, **options)
        return hop, self.run_load(hop.port, '--sessions', 1, '--messages', 4, '--messages-per-session', 0, *arguments,
                                  code=code)

    def test_refusals(self):
        for pipeline in ('yes', 'no'):
            for stage, number in (('mail', 451), ('rcpt', 550), ('data', 451), ('dot', 554), ('dot', 452)):
                with self.subTest(stage=stage, number=number, pipeline=pipeline):
                    hop, report = self.run_script({stage: times(2, f'{number} 4.0.0 no')}, '--pipeline', pipeline)
                    self.assertEqual((report['accepted'], report['refused']), (2, 2))
                    self.assertEqual(self.error(report, 'reply', stage, number), 2)
                    self.assertEqual(len(hop.connections), 1)
                    self.assertEqual(len(hop.messages), 2)
                    self.assertEqual(hop.orphans, [])

    def test_421_in_the_middle(self):
        for pipeline in ('yes', 'no'):
            for stage in ('connect', 'ehlo', 'mail', 'rcpt', 'data', 'dot'):
                with self.subTest(stage=stage, pipeline=pipeline):
                    hop, report = self.run_script({stage: times(1, ['421 4.3.2 going down', DROP])}, '--pipeline',
                                                  pipeline)
                    self.assertEqual((report['accepted'], report['unknown']), (3, 0))
                    self.assertEqual(report['refused'] + report['unsent'], 1)
                    self.assertEqual(len(hop.connections), 2)
                    name = 'greeting' if stage == 'connect' else stage
                    self.assertEqual(self.error(report, 'reply', name, 421), 1)

    def test_connection_lost(self):
        for how in (DROP, RESET):
            for stage in ('connect', 'ehlo', 'mail', 'rcpt', 'data', 'dot'):
                with self.subTest(stage=stage, how=how):
                    _, report = self.run_script({stage: times(1, how)}, '--pipeline', 'no')
                    self.assertEqual(report['accepted'], 3)
                    self.assertEqual((report['unknown'], report['unsent']), (1, 0) if stage == 'dot' else (0, 1))
                    name = 'greeting' if stage == 'connect' else stage
                    self.assertEqual(self.error(report, 'closed', name) + self.error(report, 'system', name), 1)

    def test_closed_between_messages(self):
        """A server may end a session that has nothing to say: 421 behind the 250, or just the end."""
        for answer in (['250 2.0.0 taken\r\n421 4.7.0 enough\r\n', DROP], ['250 2.0.0 taken', DROP]):
            _, report = self.run_script({'dot': times(1, answer)})
            self.assertGreaterEqual(report['accepted'], 3)
            self.assertEqual(report['unknown'], 0)

    def test_silence(self):
        for stage in ('connect', 'mail', 'dot', 'quit'):
            with self.subTest(stage=stage):
                begin = time.monotonic()
                _, report = self.run_script({stage: times(1, STALL)}, '--timeout', '1s', '--messages', 1,
                                            code=0 if stage == 'quit' else 1)
                self.assertTrue(0.9 < time.monotonic() - begin < 10)
                name = {'connect': 'greeting'}.get(stage, stage)
                self.assertEqual(self.error(report, 'timeout', name), 0 if stage == 'quit' else 1)

    def test_no_replies(self):
        for words in ('hello there', '25x ok', '250', 'x' * 100000, '\0\0\0\0'):
            with self.subTest(words=words[:20]):
                _, report = self.run_script({'mail': times(1, words)}, '--timeout', '2s',
                                            code=1 if words != '250' else 0)
                self.assertEqual(report['accepted'], 3 if words != '250' else 4)

    def test_a_reply_to_nothing(self):
        _, report = self.run_script({'mail': times(1, '250 2.1.0 ok\r\n250 2.1.0 once more')}, '--pipeline', 'no')
        self.assertEqual(report['accepted'], 3)
        self.assertEqual(sum(e['count'] for e in report['errors'] if e['kind'] == 'protocol'), 1)

    def test_354_for_nobody(self):
        """RFC 2920 3.1: all recipients are refused, and still the server asks for the message: it gets a dot."""
        hop, report = self.run_script({'rcpt': times(2, '550 5.1.1 no'), 'data': times(2, '354 go on')})
        self.assertEqual((report['accepted'], report['refused']), (2, 2))
        self.assertEqual([m.octets for m in hop.orphans], [b'', b''])

    def test_some_recipients(self):
        hop, report = self.run_script({'rcpt': times(3, '550 5.1.1 no')}, '--recipients', 5)
        self.assertEqual((report['accepted'], report['recipients_accepted'], report['recipients_refused']), (4, 17, 3))
        self.assertEqual(sum(len(m.recipients) for m in hop.messages), 17)

    def test_server_goes_away_for_good(self):
        hop = self.next_hop({'mail': lambda event: hop.refuse() if event.connection.number == 3 else None})
        report = self.run_load(hop.port, '--sessions', 1, '--messages', 6, code=1)
        self.assertEqual(report['accepted'], 3)
        self.assertEqual(self.error(report, 'system', 'connect'), 3)


class Tls(Tools):
    """Both tools under TLS, with each other and with a server and a client that are not ours."""

    def pair(self, kind='ecdsa'):
        return self.authority.issue('mx.test', kind=kind)

    def test_load(self):
        for how in ('starttls', 'implicit'):
            with self.subTest(how):
                hop = self.next_hop(tls=self.pair().server_context(), implicit=how == 'implicit')
                report = self.run_load(hop.port, '--messages', 20, '--sessions', 4, '--tls', how, '--tls-name', 'mx.test',
                                       '--size', '100K')
                self.assertEqual((len(hop.messages), report['handshakes'], report['resumed']), (20, 20, 0))
                self.assertEqual({m.connection.tls for m in hop.messages}, {'TLSv1.3'})
                self.assertEqual(set(hop.sni), {'mx.test'})

    def test_resumption(self):
        hop = self.next_hop(tls=self.pair().server_context())
        report = self.run_load(hop.port, '--messages', 20, '--sessions', 1, '--tls', 'starttls', '--tls-resume', 'yes')
        self.assertEqual(report['resumed'], 19)
        self.assertEqual([c.resumed for c in hop.connections], [False] + [True] * 19)

    def test_old_version(self):
        hop = self.next_hop(tls=self.pair().server_context(maximum_version=ssl.TLSVersion.TLSv1_2))
        self.run_load(hop.port, '--messages', 2, '--tls', 'starttls')
        self.assertEqual({m.connection.tls for m in hop.messages}, {'TLSv1.2'})

    def test_refused(self):
        """454 to STARTTLS, and a connection closed in the handshake: messages unsent, and said so."""
        for answers, kinds, stage in (({'starttls': '454 4.7.0 not now'}, ['reply'], 'starttls'),
                                      ({'handshake': DROP}, ['closed', 'system'], 'tls'),
                                      ({'handshake': b'no TLS'}, ['tls', 'protocol'], 'tls')):
            with self.subTest(str(answers)):
                hop = self.next_hop(answers, tls=self.pair().server_context())
                report = self.run_load(hop.port, '--messages', 2, '--sessions', 1, '--tls', 'starttls', code=1)
                self.assertEqual((report['unsent'], sum(self.error(report, kind, stage) for kind in kinds)), (2, 2),
                                 report['errors'])

    def test_sink(self):
        for kind, how in (('ecdsa', 'starttls'), ('rsa', 'implicit')):
            with self.subTest(how):
                pair = self.pair(kind)
                sink, port = self.start_sink('--tls-certificate', pair.certificate, '--tls-key', pair.key, '--tls', how,
                                             '--verify')
                context = ssl.create_default_context(cafile=self.authority.certificate)
                with Client(port, tls=context if how == 'implicit' else None, name='mx.test') as client:
                    if how == 'starttls':
                        client.starttls(context, 'mx.test')
                    self.assertNotIn('STARTTLS', client.extensions)
                    client.quit()
                self.run_load(port, '--messages', 50, '--sessions', 5, '--tls', how, '--tls-resume', 'yes', '--size', '1K-1M')
                seen = self.stop_sink(sink)
                self.assertEqual((seen['messages'], seen['handshakes'], seen['resumed']), (50, 51, 45))
                self.assertTrue(seen['verify']['good'])

    def test_sink_and_plaintext_behind_starttls(self):
        """Commands that came in the clear behind STARTTLS are never answered."""
        pair = self.pair()
        sink, port = self.start_sink('--tls-certificate', pair.certificate, '--tls-key', pair.key)
        with Client(port) as client:
            client.send(b'STARTTLS\r\nMAIL FROM:<evil@b.test>\r\n')
            with self.assertRaises((OSError, Closed)):
                client.expect(220)
                client.wrap()
        seen = self.stop_sink(sink)
        self.assertEqual((seen['handshakes'], seen['handshakes_failed']), (0, 1))

    def test_wrong_usage(self):
        for arguments in (['--tls', 'starttls'], ['--tls-key', '/x'], ['--tls-certificate', '/nowhere', '--tls-key', '/x'],
                          ['--tls', 'yes']):
            done = subprocess.run([SINK, 'smtp://127.0.0.1:0', *arguments], capture_output=True, text=True, timeout=20)
            self.assertEqual(done.returncode, 64, done.stderr)
            self.assertLessEqual(done.stderr.count('\n'), 2)     # and where help is


class Sink(Tools):
    def test_counts(self):
        sink, port = self.start_sink('--threads', 2)
        report = self.run_load(port, '--messages', 500, '--recipients', 2, '--messages-per-session', 5)
        seen = self.stop_sink(sink)
        for ours, theirs in (('messages', 'accepted'), ('recipients', 'recipients_accepted'), ('sessions', 'sessions')):
            self.assertEqual(seen[ours], report[theirs])
        self.assertLess(seen['bytes'], report['bytes'])       # dots are stuffed on the way

    def test_dialog(self):
        _, port = self.start_sink('--hostname', 'other.test', '--pipelining', 'no', '--size', '1K')
        with Client(port, greet=False) as client:
            self.assertEqual(client.expect(220).lines[0].split()[0], 'other.test')
            client.ehlo()
            self.assertNotIn('PIPELINING', client.extensions)
            self.assertEqual(client.extensions['SIZE'], '1024')
            client.command('RCPT TO:<a@b.test>', 503)
            client.message('a@b.test', ['c@d.test'], b'Subject: x\r\n\r\n' + b'x' * 2000 + b'\r\n', 552)
            client.message('', ['c@d.test', '"odd one"@d.test'], b'.\r\n..\r\n')
            client.command('RSET', 250)
            client.quit()

    def test_ends_after(self):
        sink, port = self.start_sink('--messages', 7)
        self.run_load(port, '--messages', 7, '--sessions', 1)
        self.assertEqual(self.sink_report(sink)['messages'], 7)

    def test_faults(self):
        for stage, code in (('connect', 554), ('ehlo', 421), ('mail', 451), ('rcpt', 550), ('data', 451), ('dot', 554)):
            with self.subTest(stage=stage):
                sink, port = self.start_sink('--fail', f'{stage}=40:{code}', '--seed', 5)
                report = self.run_load(port, '--messages', 60, code=1)
                seen = self.stop_sink(sink)
                self.assertGreater(seen['refused'][stage], 5)
                self.assertEqual(report['replies'][str(code)], seen['refused'][stage])
                self.assertEqual(report['accepted'], seen['messages'])

    def test_drops(self):
        for stage in ('connect', 'mail', 'dot'):
            with self.subTest(stage=stage):
                sink, port = self.start_sink('--drop', f'{stage}=30')
                report = self.run_load(port, '--messages', 60, '--pipeline', 'no', code=1)
                seen = self.stop_sink(sink)
                self.assertGreater(seen['dropped'][stage], 5)
                self.assertEqual(report['unknown' if stage == 'dot' else 'unsent'], seen['dropped'][stage])
                self.assertEqual(report['accepted'], seen['messages'])

    def test_delays(self):
        for stage in ('connect', 'ehlo', 'mail', 'rcpt', 'data', 'dot'):
            _, port = self.start_sink('--delay', f'{stage}=300ms')
            report = self.run_load(port)
            self.assertGreater(report['times_us']['message']['p50'], 299000, stage)
            where = {'connect': 'connect', 'dot': 'dot'}.get(stage)
            if where:
                self.assertGreater(report['times_us'][where]['p50'], 299000, stage)

    def test_limit_rate(self):
        _, port = self.start_sink('--limit-rate', 50)
        report = self.run_load(port, '--messages', 50, '--messages-per-session', 0)
        self.assertTrue(0.9 < report['seconds'] < 3, report['seconds'])

    def test_record_and_dump(self):
        path, dump = self.directory / 'record', self.directory / 'dump'
        dump.mkdir()
        sink, port = self.start_sink('--record', path, '--dump', dump)
        self.run_load(port, '--messages', 3, '--sessions', 1, '--recipients', 2, '--dots')
        with Client(port) as client:
            client.message('a@b.test', ['c@d.test'], b'.Subject: x\r\n\r\n.\r\n')
            client.quit()
        lines = self.wait_for(lambda: len(path.read_text().splitlines()) == 4 and path.read_text().splitlines(),
                              'the record')
        for number, line in enumerate(lines[:3]):
            self.assertRegex(line, r'^\d{4}-\d\d-\d\dT[\d:.]+Z [0-9a-f]{8}-0-%d \d+ good accepted '
                             r'user%d@sink\.test,user%d@sink\.test$' % (number + 1, number * 2, number * 2 + 1))
        self.assertRegex(lines[3], r' - 18 none accepted c@d\.test$')
        files = sorted(dump.iterdir())
        self.assertEqual([f.name for f in files], ['000001.eml', '000002.eml', '000003.eml', '000004.eml'])
        self.assertEqual(files[3].read_bytes(), b'.Subject: x\r\n\r\n.\r\n')
        self.assertIn(b'\r\n.', files[0].read_bytes())
        self.stop_sink(sink)

    def test_a_client_that_leaves(self):
        sink, port = self.start_sink()
        with Client(port) as client:
            client.envelope('a@b.test', 'c@d.test')
            client.command('DATA', 354)
            client.send(b'Subject: half')
        time.sleep(0.2)
        seen = self.stop_sink(sink)
        self.assertEqual((seen['cut'], seen['messages']), (1, 0))

    def test_cut_at_the_end(self):
        sink, port = self.start_sink()
        with Client(port) as client:
            client.envelope('a@b.test', 'c@d.test')
            self.stop_sink(sink)
            with self.assertRaises((Closed, ConnectionError)):
                client.command('NOOP')


class Verify(Tools):
    """Messages of mailring-load, caught and sent on with something done to them."""

    def setUp(self):
        super().setUp()
        hop = NextHop()
        self.record = self.directory / 'record'
        self.run_load(hop.port, '--messages', 20, '--sessions', 2, '--record', self.record)
        hop.close()
        self.caught = [m.octets for m in hop.messages]

    def verify(self, messages, *arguments, code=1, recipients=('a@b.test',)):
        sink, port = self.start_sink('--verify', *arguments)
        with Client(port) as client:
            for octets in messages:
                client.message('load@load.test', list(recipients), octets)
            client.quit()
        seen = self.stop_sink(sink, code)['verify']
        self.assertEqual(seen['good'], code == 0)
        return {name: seen[name] for name in ('unmarked', 'altered', 'duplicates', 'missing', 'lost') if seen[name]}

    def test_good(self):
        self.assertEqual(self.verify(reversed(self.caught), '--expect', self.record, code=0), {})
        trace = [b'Received: from a by b;\r\n\tsome day\r\n' + octets for octets in self.caught]
        self.assertEqual(self.verify(trace, code=0), {})

    def test_lost(self):
        self.assertEqual(self.verify(self.caught[:5] + self.caught[6:]), {'missing': 1})
        self.assertEqual(self.verify(self.caught[:-2], code=0), {})         # the end: only the record tells
        self.assertEqual(self.verify(self.caught[:-2], '--expect', self.record), {'lost': 2})

    def test_duplicate(self):
        self.assertEqual(self.verify(self.caught + self.caught[3:5]), {'duplicates': 2})

    def test_other_recipients_are_no_duplicates(self):
        sink, port = self.start_sink('--verify')
        with Client(port) as client:
            for octets in self.caught:
                client.message('load@load.test', ['a@b.test', 'b@b.test'], octets)
                client.message('load@load.test', ['c@b.test'], octets)
            client.message('load@load.test', ['d@b.test', 'B@B.test'], self.caught[0])
            client.quit()
        self.assertEqual(self.stop_sink(sink, 1)['verify']['duplicates'], 1)

    def test_altered(self):
        first = self.caught[0]
        at = len(first) // 2
        for change in (first[:at] + b'#' + first[at + 1:],       # an octet
                       first[:at] + first[at + 1:],              # one less
                       first + b'\r\n',                          # a line more
                       first.partition(b'\r\n\r\n')[0] + b'\r\n\r\n' + self.caught[1].partition(b'\r\n\r\n')[2]):
            self.assertEqual(self.verify([change] + self.caught[1:]), {'altered': 1})

    def test_unmarked(self):
        self.assertEqual(self.verify(self.caught + [b'Subject: from somebody else\r\n\r\n']), {'unmarked': 1})

    def test_record_cannot_be_read(self):
        self.assertEqual(self.verify(self.caught, '--expect', '/nonexistent'), {'lost': 1})


if __name__ == '__main__':
    main()
