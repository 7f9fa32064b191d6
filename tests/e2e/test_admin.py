# SPDX-License-Identifier: GPL-2.0-or-later
"""The operator's side: status, queue, version, spool, signals, user, logs."""

import json
import os
import pwd
import re
import signal
import socket
import subprocess
import threading
import time

from mailring_e2e import (MAILRING, STALL, Case, Client, Dsn, free_port, main, numbered, sample, send_message,
                          split_trace, stuff, times)


class Status(Case):
    def test_totals_and_shards(self):
        hop = self.next_hop({'rcpt': lambda e: {'bad': '550 5.1.1 no', 'later': '451 4.3.0 later'}.get(
            e.address.split('@')[0])})
        server = self.start_server({
            'shards': 2, 'relay_from': ['127.0.0.0/8'],
            'retry': {'intervals': ['1h'], 'expire': '1d', 'jitter': 0},
            ('route', 'sink.test'): {'to': f'smtp://127.0.0.1:{hop.port}'}})
        fresh = server.status()
        for name in ('sessions', 'accepted', 'delivered', 'deferred', 'bounced', 'queue'):
            self.assertEqual(fresh[name], 0, name)
        for n in range(10):
            send_message(server.port, '', 'box@local.test', sample(f'box{n}'))
        send_message(server.port, '', ['a@sink.test', 'bad@sink.test', 'later@sink.test'], sample('three'))
        self.wait_for(lambda: server.status()['deferred'] and server.status()['bounced'], 'outcomes')
        server.wait_mail('box', 10)
        self.wait_for(lambda: server.status()['delivered'] >= 11, 'delivered counted')
        status = server.status()
        self.assertEqual({k: status[k] for k in ('accepted', 'delivered', 'deferred', 'bounced', 'queue')},
                         {'accepted': 11, 'delivered': 11, 'deferred': 1, 'bounced': 1, 'queue': 1})
        self.assertEqual(len(status['shards']), 2)
        for name in ('sessions', 'accepted', 'delivered', 'deferred', 'bounced', 'queue'):
            self.assertEqual(sum(shard[name] for shard in status['shards']), status[name], name)

    def test_more_numbers(self):
        """Messages a commit, the wait for it, buffers, octets by the way they were sent."""
        hop = self.next_hop()
        server = self.start_server({'relay_from': ['127.0.0.0/8'],
                                    ('route', '*'): {'to': f'smtp://127.0.0.1:{hop.port}'}})
        for n in range(5):
            send_message(server.port, '', f'x{n}@sink.test', sample(f'x{n}', 'y' * 500 + '\r\n'))
        self.wait_for(lambda: len(hop.messages) == 5, 'five')
        server.wait_drained()
        text = json.dumps(server.status())
        for word in ('commit', 'buffer', 'sent|bytes'):
            self.assertRegex(text, rf'"[a-z_]*({word})[a-z_]*":')

    def test_for_people(self):
        server = self.start_server()
        send_message(server.port, '', 'box@local.test', sample('box'))
        server.wait_mail('box')
        text = server.run('status').stdout
        self.assertRegex(text, r'(?i)accepted\D+1\b')
        self.assertLess(max(map(len, text.splitlines())), 160)

    def test_open_sessions(self):
        """`sessions` counts; after all are gone, the buffers and sessions are free again."""
        server = self.start_server()
        clients = [Client(server.port) for _ in range(7)]
        self.assertGreaterEqual(server.status()['sessions'], 7)
        for client in clients:
            client.quit()

    def test_nobody_there(self):
        server = self.make_server()
        for command in (('status',), ('status', '--json'), ('queue', 'list')):
            done = server.run(*command, code=None)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(str(server.control), done.stderr)
            self.assertLessEqual(len(done.stderr.splitlines()), 2)

    def test_control_socket_is_private(self):
        server = self.start_server()
        self.assertEqual(server.control.stat().st_mode & 0o007, 0)

    def test_status_under_load(self):
        """Asked from ten sides while mail flows; every answer is whole."""
        server = self.start_server({'shards': 2})
        asking = [subprocess.Popen([MAILRING, 'status', '--json', '-c', server.config],
                                   stdout=subprocess.PIPE) for _ in range(10)]
        for n in range(50):
            send_message(server.port, '', 'box@local.test', sample(f'n{n}'))
        for process in asking:
            out, _ = process.communicate(timeout=20)
            self.assertEqual(process.returncode, 0)
            json.loads(out)

    def test_garbage_on_the_control_socket(self):
        server = self.start_server()
        for octets in (b'', b'\0' * 10000, b'dance\n', b'x' * 100000, b'{"a":', b'\n' * 5000):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(server.control))
                client.settimeout(0.3)
                try:
                    client.sendall(octets)
                    client.recv(4096)
                except OSError:
                    pass
        held = []
        for _ in range(50):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(2)
            try:
                client.connect(str(server.control))
            except OSError:
                client.close()
                break
            held.append(client)
        send_message(server.port, '', 'box@local.test', sample('box'))
        for client in held:
            client.close()
        self.wait_for(lambda: server.run('status', '--json', code=None).returncode == 0, 'status')


class Queue(Case):
    def setUp(self):
        super().setUp()
        self.hop = self.next_hop({'rcpt': '451 4.7.1 greylisted for an hour'})
        self.server = self.start_server({
            'relay_from': ['127.0.0.0/8'], 'shards': 2,
            'retry': {'intervals': ['1h'], 'expire': '5d', 'jitter': 0},
            ('route', '*'): {'to': f'smtp://127.0.0.1:{self.hop.port}'}})
        with Client(self.server.port) as client:
            client.message('ann@client.test', ['x@one.test', 'y@one.test'], sample('first'))
            client.message('bob@client.test', 'z@two.test', sample('second'))
            client.message('', 'w@two.test', sample('third'))
            client.quit()
        self.wait_for(lambda: self.server.status()['deferred'] >= 4, 'all deferred')

    def by_sender(self, sender):
        found = [m for m in self.server.queue() if m['sender'] == sender]
        self.assertEqual(len(found), 1, self.server.queue())
        return found[0]

    def test_list(self):
        messages = self.server.queue()
        self.assertEqual(len(messages), 3)
        self.assertEqual(sorted(m['sender'] for m in messages), ['', 'ann@client.test', 'bob@client.test'])
        self.assertEqual(len({m['id'] for m in messages}), 3)
        first = json.dumps(self.by_sender('ann@client.test'))
        for word in ('x@one.test', 'y@one.test'):
            self.assertIn(word, first)
        text = self.server.run('queue', 'list').stdout
        for message in messages:
            self.assertIn(str(message['id']), text)
        self.assertIn('ann@client.test', text)

    def test_show(self):
        for sender in ('ann@client.test', ''):
            identity = str(self.by_sender(sender)['id'])
            text = self.server.run('queue', 'show', identity).stdout
            self.assertIn(identity, text)
            self.assertIn('greylisted for an hour', text)
            self.assertIn('x@one.test' if sender else 'w@two.test', text)
        done = self.server.run('queue', 'show', 'no-such-id', code=None)
        self.assertNotEqual(done.returncode, 0)
        self.assertTrue(done.stderr)

    def test_retry_one(self):
        self.hop.answers.clear()
        identity = str(self.by_sender('bob@client.test')['id'])
        self.server.run('queue', 'retry', identity)
        self.wait_for(lambda: self.hop.messages, 'retried')
        self.wait_for(lambda: self.server.status()['queue'] == 2, 'gone from the queue')
        self.assertEqual([m.sender for m in self.hop.messages], ['bob@client.test'])
        split_trace(self.hop.messages[0].octets, sample('second'))

    def test_retry_of_a_site_that_rests(self):
        """The next hop was down and is up again: who asks for a retry gets one at once. Mail that comes
        meanwhile and waits for the end of the pause has made no attempt."""
        port = free_port()
        server = self.start_server({
            'relay_from': ['127.0.0.0/8'], 'retry': {'intervals': ['1h'], 'expire': '5d', 'jitter': 0},
            ('route', '*'): {'to': f'smtp://127.0.0.1:{port}'}})
        send_message(server.port, 'ann@client.test', 'x@down.test', sample('first'))
        self.wait_for(lambda: server.status()['deferred'] == 1, 'deferred')
        send_message(server.port, 'ann@client.test', 'y@down.test', sample('second'))
        self.wait_for(lambda: server.status()['deferred'] == 2, 'deferred too')
        self.assertEqual(server.status()['connections_failed'], 1, 'the second one did not connect')
        attempts = {r['address']: r['attempts'] for m in server.queue() for r in m['recipients']}
        self.assertEqual(attempts, {'x@down.test': 0, 'y@down.test': 0}, 'a refused connection is no attempt')
        hop = self.next_hop(port=port)
        server.run('queue', 'retry', 'all')
        self.wait_for(lambda: len(hop.messages) == 2, 'both delivered')

    def test_retry_all(self):
        self.hop.answers.clear()
        self.server.run('queue', 'retry', *(str(m['id']) for m in self.server.queue()))
        self.wait_for(lambda: self.server.status()['queue'] == 0, 'all retried')
        self.assertEqual(sum(len(m.recipients) for m in self.hop.messages), 4)

    def test_delete(self):
        identity = str(self.by_sender('ann@client.test')['id'])
        self.server.run('queue', 'delete', identity)
        self.wait_for(lambda: self.server.status()['queue'] == 2, 'deleted')
        self.assertNotEqual(self.server.run('queue', 'show', identity, code=None).returncode, 0)
        self.server.kill()
        self.server.start()
        self.assertEqual(len(self.server.queue()), 2, 'deleted stays deleted')
        self.hop.answers.clear()
        self.server.run('queue', 'retry', *(str(m['id']) for m in self.server.queue()))
        self.server.wait_drained()
        self.assertEqual({m.sender for m in self.hop.messages}, {'bob@client.test', ''})
        self.assertEqual(self.server.status()['bounced'], 0)

    def test_survives_restart(self):
        """The queue is the same after a restart, due times included: nothing is tried at once."""
        before = {m['id'] for m in self.server.queue()}
        connections = len(self.hop.connections)
        self.server.stop()
        self.server.start()
        self.assertEqual({m['id'] for m in self.server.queue()}, before)
        text = self.server.run('queue', 'show', str(self.by_sender('ann@client.test')['id'])).stdout
        self.assertIn('x@one.test', text)
        started = time.monotonic()
        self.wait_for(lambda: time.monotonic() - started > 1, 'a second', interval=0.1)
        self.assertEqual(len(self.hop.connections), connections, 'not due yet')

    def test_long_list(self):
        """Two thousand messages are listed whole."""
        with Client(self.server.port) as client:
            for n in range(900):
                client.message(f's{n}@client.test', f'r{n}@three.test', sample(f'n{n}'))
            client.quit()
        with Client(self.server.port) as client:
            for n in range(900, 1500):
                client.message(f's{n}@client.test', f'r{n}@three.test', sample(f'n{n}'))
            client.quit()
        self.assertEqual(len(self.server.queue()), 1503)
        self.assertEqual(len({m['id'] for m in self.server.queue()}), 1503)


class Program(Case):
    def test_version(self):
        server = self.make_server()
        done = subprocess.run([MAILRING, 'version'], capture_output=True, text=True, timeout=10)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r'mailring \d+\.\d+')
        self.assertIn(os.uname().release, done.stdout)
        self.assertRegex(done.stdout, r'(?i)liburing|io_uring|multishot')
        del server

    def test_spool_verify_and_dump(self):
        hop = self.next_hop()
        hop.refuse()
        server = self.start_server({
            'relay_from': ['127.0.0.0/8'], 'retry': {'intervals': ['1h'], 'expire': '5d', 'jitter': 0},
            ('route', '*'): {'to': f'smtp://127.0.0.1:{hop.port}'}})
        for n in range(20):
            send_message(server.port, 'ann@client.test', f'x{n}@sink.test', numbered(f'verify-{n}'))
        server.stop()
        done = server.run('spool', 'verify')
        self.assertTrue(done.stdout.strip() or done.stderr.strip())
        dump = server.run('spool', 'dump').stdout
        self.assertGreaterEqual(dump.count('@sink.test'), 20)
        self.assertEqual(server.run('spool', 'dump', 'no-id!', code=None).returncode, 64)
        # One octet of a body changes: found, and named.
        needle = numbered('verify-7')[-60:-20]
        for path in sorted(p for p in server.spool.rglob('*') if p.is_file()):
            octets = path.read_bytes()
            at = octets.find(needle)
            if at >= 0:
                with open(path, 'r+b') as file:
                    file.seek(at)
                    file.write(bytes((octets[at] ^ 1,)))
                break
        else:
            self.fail('the body is in no file of the spool as it is')
        done = server.run('spool', 'verify', code=None)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(path.name, done.stdout + done.stderr)
        # The server starts all the same, says so, and keeps the others.
        server.start()
        self.assertGreaterEqual(server.status()['queue'], 19)
        server.wait_log(r'(?i)checksum|bad_record|corrupt|damaged')

    def test_verify_of_a_running_server(self):
        """Refused in one line, and not as if the spool were damaged."""
        server = self.start_server()
        send_message(server.port, '', 'box@local.test', sample('box'))
        done = server.run('spool', 'verify', code=69)
        self.assertIn('stop it first', done.stderr)
        self.assertNotIn('bad records', done.stdout)
        self.assertIn('box@local.test', server.run('spool', 'dump').stdout, 'dump only reads')
        send_message(server.port, '', 'box@local.test', sample('box'))
        server.wait_mail('box', 2)


class Signals(Case):
    def wait_exit(self, server, timeout=30):
        server.expected_end = True
        code = server.process.wait(timeout)
        self.assertEqual(code, 0, server.tail())
        server.check_gone()

    def test_term_with_idle_sessions(self):
        server = self.start_server()
        clients = [Client(server.port) for _ in range(50)]
        for client in clients:
            self.addCleanup(client.close)
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        self.wait_exit(server)
        self.assertLess(time.monotonic() - started, 10)
        for client in clients:
            self.assertRegex(client.closed(), rb'^(421 [^\r\n]*\r\n)?$')

    def test_term_of_idle_shards(self):
        """The shards wait for each other, and nobody for a timer."""
        server = self.start_server({'shards': 3})
        for _ in range(3):
            self.wait_for(lambda: server.status()['spool_spares'] >= 6, 'nothing left to do')
            started = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            self.wait_exit(server)
            self.assertLess(time.monotonic() - started, 4)
            server.start()

    def test_term_within_messages(self):
        """Each session that got its 250 has its message delivered after the next start; the others
        know that they have to try again."""
        server = self.start_server()
        clients = [Client(server.port) for _ in range(30)]
        for n, client in enumerate(clients):
            self.addCleanup(client.close)
            client.envelope('ann@client.test', f'in{n}@local.test')
            client.command('DATA', 354)
            client.send(sample(f'in{n}'))
        server.process.send_signal(signal.SIGTERM)
        taken = []
        for n, client in enumerate(clients):
            try:
                client.send(b'.\r\n')
            except OSError:
                continue
            if client.closed().startswith(b'250'):
                taken.append(n)
        self.wait_exit(server)
        server.start()
        server.wait_drained()
        for n in range(30):
            count = len(server.maildir(f'in{n}'))
            self.assertEqual(count, 1) if n in taken else self.assertLessEqual(count, 1)

    def test_term_during_deliveries(self):
        """Deliveries that wait for a slow answer end properly: nothing is delivered twice."""
        released = threading.Event()

        def slow(_event):
            released.wait(20)
        hop = self.next_hop({'dot': slow})
        server = self.start_server({'relay_from': ['127.0.0.0/8'],
                                    ('route', '*'): {'to': f'smtp://127.0.0.1:{hop.port}'}})
        with Client(server.port) as client:
            for n in range(40):
                client.message('', f'x{n}@sink.test', sample(f'slow{n}'))
            client.quit()
        self.wait_for(lambda: any({'DATA', 'BDAT'} & set(c.verbs) for c in hop.connections), 'deliveries under way')
        server.process.send_signal(signal.SIGTERM)
        self.wait_for(lambda: self.refused(server.port), 'no new sessions')
        released.set()
        self.wait_exit(server)
        server.start()
        server.wait_drained()
        self.assertEqual(sorted(r for m in hop.messages for r in m.recipients),
                         sorted(f'x{n}@sink.test' for n in range(40)))

    @staticmethod
    def refused(port):
        try:
            with Client(port, greet=False, timeout=5) as client:
                return client.reply().code == 421
        except OSError:
            return True

    def test_term_with_a_stalled_next_hop(self):
        """It does not wait for ever; the message stays in the queue."""
        hop = self.next_hop({'dot': times(1, STALL)})
        server = self.start_server({'relay_from': ['127.0.0.0/8'],
                                    ('route', '*'): {'to': f'smtp://127.0.0.1:{hop.port}'}})
        send_message(server.port, '', 'x@sink.test', sample('stalled'))
        self.wait_for(lambda: any({'DATA', 'BDAT'} & set(c.verbs) for c in hop.connections), 'stalled')
        server.process.send_signal(signal.SIGTERM)
        self.wait_exit(server, 60)
        server.start()
        self.wait_for(lambda: hop.messages, 'delivered after the restart')
        server.wait_drained()

    def test_term_twice_and_int(self):
        for signals in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGINT,)):
            server = self.start_server()
            for number in signals:
                if server.running():
                    server.process.send_signal(number)
            self.wait_exit(server)

    def test_term_at_start(self):
        """SIGTERM at any moment after exec: it ends, and never as if it had crashed."""
        for n in range(20):
            server = self.make_server(name='early')
            server.start(wait=False)
            server.expected_end = True
            moment = time.monotonic() + n * 0.004
            self.wait_for(lambda: time.monotonic() >= moment, 'the moment', interval=0.001)
            server.process.send_signal(signal.SIGTERM)
            self.assertIn(server.process.wait(20), (0, -signal.SIGTERM), server.tail())

    def test_hup_is_survived_and_answered(self):
        """The log says so, and the server goes on."""
        server = self.start_server()
        server.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: 'event=reloaded' in server.log(), 'the log says so')
        send_message(server.port, '', 'box@local.test', sample('box'))
        server.wait_mail('box')

    def test_pipe_and_usr(self):
        """A closed standard error or SIGPIPE does not end it."""
        server = self.start_server()
        server.process.send_signal(signal.SIGPIPE)
        send_message(server.port, '', 'box@local.test', sample('box'))
        server.wait_mail('box')


class User(Case):
    def test_privileges_are_dropped(self):
        if os.getuid() != 0:
            self.skipTest('needs root')
        nobody = pwd.getpwnam('nobody')
        server = self.make_server({'user': 'nobody'})
        os.chown(server.directory, nobody.pw_uid, nobody.pw_gid)
        server.mail.mkdir()
        os.chown(server.mail, nobody.pw_uid, nobody.pw_gid)
        server.start()
        for task in os.listdir(f'/proc/{server.pid}/task'):
            with open(f'/proc/{server.pid}/task/{task}/status', encoding='ascii') as status:
                text = status.read()
            if re.search(r'^Name:\s+iou-', text, re.M):
                continue                                   # the kernel's helpers
            self.assertEqual(re.search(r'^Uid:\s+(.*)$', text, re.M).group(1).split(),
                             [str(nobody.pw_uid)] * 4, text)
            self.assertEqual(re.search(r'^Gid:\s+(.*)$', text, re.M).group(1).split(),
                             [str(nobody.pw_gid)] * 4)
            self.assertNotIn('0', re.search(r'^Groups:(.*)$', text, re.M).group(1).split())
            for kind in ('CapPrm', 'CapEff'):
                self.assertEqual(int(re.search(rf'^{kind}:\s+(\w+)', text, re.M).group(1), 16), 0, kind)
        send_message(server.port, '', 'box@local.test', sample('box'))
        server.wait_mail('box')
        box, = server.maildir('box').files()
        self.assertEqual(box.stat().st_uid, nobody.pw_uid)
        self.assertEqual(box.stat().st_mode & 0o077, 0, 'mail is private')
        for path in server.spool.rglob('*'):
            self.assertEqual(path.stat().st_uid, nobody.pw_uid, path)
            self.assertEqual(path.stat().st_mode & 0o007, 0, path)
        server.kill()
        server.start()
        server.stop()


class Log(Case):
    def test_lines(self):
        """One event a line; a message can be followed by its id from acceptance to delivery."""
        hop = self.next_hop()
        server = self.start_server({'relay_from': ['127.0.0.0/8'],
                                    ('route', '*'): {'to': f'smtp://127.0.0.1:{hop.port}'}})
        with Client(server.port) as client:
            client.command('NOOP a="b c" level=error\x01', (250, 500, 501))
            reply = client.message('ann@client.test', ['x@sink.test', 'box@local.test'], sample('log'))
            client.command(b'MAIL FROM:<"q\x01 event=fake"@client.test>', range(250, 600))
            client.quit()
        server.wait_drained()
        server.stop()
        lines = server.log_lines()
        for line in lines:
            self.assertRegex(line, r'^[a-z_]+=("([^"\\]|\\.)*"|[^ "=]*)( [a-z_]+=("([^"\\]|\\.)*"|[^ "]*))*$')
        ids = {m for line in lines if 'x@sink.test' in line for m in re.findall(r'\bmessage=(\w+)', line)}
        self.assertEqual(len(ids), 1, lines)
        self.assertIn(ids.pop(), reply.text, 'the client was told the id')
        self.assertFalse(any(re.search(r'(^| )event=fake\b', line) for line in lines))

    def test_json(self):
        server = self.make_server()
        server.start(arguments=['--log-format=json'])
        send_message(server.port, '', 'box@local.test', sample('json'))
        server.wait_mail('box')
        server.stop()
        for line in server.log_lines():
            self.assertIsInstance(json.loads(line), dict)

    def test_follows_bounces(self):
        server = self.start_server({('route', '*'): {'to': 'reject:closed for good'},
                                    'relay_from': ['127.0.0.0/8']})
        with Client(server.port) as client:
            client.command('MAIL FROM:<from@local.test>', 250)
            if client.command('RCPT TO:<x@gone.test>', (250, 550, 553, 554)).code != 250:
                return
            client.command('DATA', 354)
            client.send(stuff(sample('bounce')) + b'.\r\n')
            client.expect(250)
        dsn = Dsn(server.wait_mail('from')[0])
        self.assertIn('closed for good', dsn.recipients['x@gone.test']['diagnostic-code'])


if __name__ == '__main__':
    main()
