# SPDX-License-Identifier: GPL-2.0-or-later
"""When it cannot start: one clear line, an exit code, nothing touched. When there is no room: 452, until there is."""

import ctypes
import os
import pwd
import re
import socket
import struct
import subprocess

from mailring_e2e import (MAILRING, Case, Client, free_port, main, numbered, sample, send_message,
                          split_trace, stuff)

GOOD = '''\
hostname = "mx.test"
spool    = "{spool}"
control  = "{control}"
listener "mx" {{ address = {{"127.0.0.1:{port}"}}  role = mx }}
domain "local.test" {{ to = "maildir:{mail}/%d/%u" }}
'''


class Configuration(Case):
    def write(self, text):
        path = self.directory / 'mailring.conf'
        path.write_text(text)
        return path

    def good(self):
        return GOOD.format(spool=self.directory / 'spool', control=self.directory / 'control.sock',
                           port=free_port(), mail=self.directory / 'mail')

    def run_it(self, *arguments):
        return subprocess.run([MAILRING, *arguments], capture_output=True, text=True, timeout=30,
                              cwd=self.directory)

    def test_good(self):
        path = self.write(self.good())
        done = self.run_it('check', '-c', path)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertFalse((self.directory / 'spool').exists(), 'check touches nothing')

    def test_smallest(self):
        """A hostname and a domain are enough."""
        done = self.run_it('check', '-c', self.write(
            'hostname = "mx.test"\ndomain "local.test" { to = "maildir:/var/mail/%d/%u" }\n'))
        self.assertEqual(done.returncode, 0, done.stderr)

    # What is wrong, in the line after the five good ones; a word that must be in the message.
    BAD = [
        ('no_such_setting = 5', 'no_such_setting'),
        ('shards = "many"', 'many|shards'),
        ('shards = -1', 'shards|-1'),
        ('spool_segment = "64Q"', '64Q|spool_segment'),
        ('spool_segment = "5000"', 'spool_segment|5000'),
        ('relay_from = {"10.0.0.0/33"}', '10.0.0.0/33'),
        ('relay_from = {"not-a-network"}', 'not-a-network'),
        ('listener "b" { address = {"127.0.0.1:99999"} }', '99999'),
        ('listener "b" { address = {"somewhere:25"} }', 'somewhere'),
        ('listener "b" { role = mx }', 'address'),
        ('listener "b" { address = {"127.0.0.1:2526"}  role = postbox }', 'postbox'),
        ('listener "b" { address = {"127.0.0.1:2526"}  colour = "red" }', 'colour'),
        ('domain "b.test" { to = "pigeon:home" }', 'pigeon'),
        ('domain "b.test" { }', 'to'),
        ('domain "b..test" { to = "discard" }', r'b\.\.test'),
        ('domain "local.test" { to = "discard" }', r'local\.test'),
        ('route "a.test" { to = "smtp://" }', 'smtp://'),
        ('route "a.test" { to = "smtp://host:0" }', 'host:0'),
        ('route "*.*" { to = "mx" }', r'\*\.\*'),
        ('route "a.test" { to = "mx"  timeout { connect = "5 parsecs" } }', 'parsecs'),
        ('retry { intervals = {"0s"} }', '0s|intervals'),
        ('retry { intervals = {"soon"} }', 'soon'),
        ('retry { jitter = 200 }', '200|jitter'),
        ('limits { message_size = "1" }', 'message_size|1'),
        ('limits { timeout { command = "-5s" } }', '-5s|command'),
        ('dns { servers = {"localhost"} }', 'localhost'),
            ('user = ""', 'user'),
        ('limits {', '.'),
        ('}', '.'),
        ('hostname "x"', '.'),
        ('hostname = "a b"', 'a b|hostname'),
    ]

    def test_bad(self):
        for text, word in self.BAD:
            with self.subTest(text):
                path = self.write(self.good() + text + '\n')
                done = self.run_it('check', '-c', path)
                self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
                errors = (done.stderr + done.stdout).strip().splitlines()
                self.assertTrue(all(re.match(rf'{re.escape(str(path))}:\d+: \S', e) for e in errors), errors)
                lines = {int(e[len(str(path)) + 1:].split(':')[0]) for e in errors}
                self.assertTrue(lines & {6, 7} or 'local.test' in text, errors)
                self.assertRegex('\n'.join(errors), word)

    def test_all_errors_at_once(self):
        path = self.write(self.good() + 'shards = -1\nspool_segment = "64Q"\nretry { jitter = 200 }\n')
        done = self.run_it('check', '-c', path)
        text = done.stderr + done.stdout
        for line in (6, 7, 8):
            self.assertIn(f'{path}:{line}: ', text)

    def test_no_hostname(self):
        path = self.write('domain "local.test" { to = "discard" }\n')
        done = self.run_it('check', '-c', path)
        self.assertEqual(done.returncode, 1)
        self.assertIn('hostname', done.stderr + done.stdout)

    def test_no_file(self):
        for command in ('check', 'serve'):
            done = self.run_it(command, '-c', self.directory / 'missing.conf')
            self.assertNotEqual(done.returncode, 0)
            self.assertIn('missing.conf', done.stderr)
            self.assertLessEqual(len(done.stderr.splitlines()), 2)

    def test_serve_refuses_what_check_refuses(self):
        path = self.write(self.good() + 'no_such_setting = 5\n')
        done = self.run_it('serve', '-c', path)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(f'{path}:6: ', done.stderr)
        self.assertFalse((self.directory / 'spool').exists(), 'nothing touched')

    def test_include(self):
        part = self.directory / 'part.conf'
        part.write_text('domain "part.test" { to = "discard" }\n\nno_such_setting = 1\n')
        path = self.write(self.good() + f'include("{part}")\n')
        done = self.run_it('check', '-c', path)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f'{part}:3: ', done.stderr + done.stdout)
        part.write_text('domain "part.test" { to = "discard" }\n')
        self.assertEqual(self.run_it('check', '-c', path).returncode, 0)

    def test_usage(self):
        for arguments in ((), ('dance',), ('queue', 'dance'), ('serve', '--no-such-option')):
            done = self.run_it(*arguments)
            self.assertNotEqual(done.returncode, 0, arguments)
            self.assertTrue((done.stdout + done.stderr).strip(), arguments)


class CannotStart(Case):
    def fails(self, server, *words):
        """Ends soon, not with 0, not by a signal, and says why in a line or two."""
        server.start(wait=False)
        server.expected_end = True
        code = server.process.wait(20)
        log = server.log()
        self.assertGreater(code, 0, log)
        loud = [line for line in log.splitlines() if not re.search(r'level=(info|debug|notice)\b', line)]
        self.assertTrue(1 <= len(loud) <= 3, log)
        for word in words:
            self.assertRegex('\n'.join(loud), word)
        return loud

    def test_spool_is_a_file(self):
        server = self.make_server()
        server.spool.write_text('precious')
        self.fails(server, re.escape(str(server.spool)))
        self.assertEqual(server.spool.read_text(), 'precious')

    def test_spool_below_a_file(self):
        server = self.make_server()
        (server.directory / 'file').write_text('')
        server.configure({'spool': server.directory / 'file' / 'spool'})
        self.fails(server, 'file/spool|file')

    def test_spool_not_writable(self):
        if os.getuid() == 0:
            try:
                nobody = pwd.getpwnam('nobody')
            except KeyError:
                self.skipTest('no user nobody')
            server = self.make_server()
            server.log_path.write_text('')
            os.chown(server.directory, nobody.pw_uid, nobody.pw_gid)

            def drop():
                os.setgid(nobody.pw_gid)
                os.setuid(nobody.pw_uid)
            server.preexec = drop
            if subprocess.run([MAILRING, 'version'], preexec_fn=drop, capture_output=True,
                              cwd='/').returncode != 0:
                self.skipTest('nobody may not run the program where it lies')
        else:
            server = self.make_server()
        server.spool.mkdir(mode=0o500)          # root's, or nobody may write in it
        self.fails(server, re.escape(str(server.spool)))

    def test_port_in_use(self):
        server = self.make_server()
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(('127.0.0.1', server.port))
            other.listen()
            self.fails(server, f'127.0.0.1:{server.port}|{server.port}')

    def test_port_of_another_mailring(self):
        """Shards share a port; two servers do not, whatever the kernel would allow."""
        first = self.start_server({'shards': 2})
        second = self.make_server()
        second.configure({('listener', 'mx'): first.settings['listener', 'mx']})
        self.fails(second, str(first.port))
        send_message(first.port, 'a@client.test', 'box@local.test', sample('first'))
        first.wait_mail('box')

    def test_second_server_on_a_spool(self):
        first = self.start_server()
        second = self.make_server({'spool': first.spool})
        self.fails(second, f'{re.escape(str(first.spool))}.*pid {first.pid}')
        self.assertFalse(second.control.exists(), 'a control socket is left')
        send_message(first.port, 'a@client.test', 'box@local.test', sample('first'))
        first.wait_mail('box')
        first.stop()
        second.start()

    def test_control_socket_of_another(self):
        """A living server's control socket is not taken away."""
        first = self.start_server()
        second = self.make_server({'control': first.control})
        self.fails(second, re.escape(str(first.control)))
        self.assertEqual(first.status()['queue'], 0)

    def test_unknown_user(self):
        server = self.make_server({'user': 'no-such-user-here'})
        self.fails(server, 'no-such-user-here')
        self.assertFalse(server.spool.exists(), 'nothing touched')

    def seccomp(self, error):
        """What runs before exec in the child: io_uring_setup answers `error`."""
        libc = ctypes.CDLL(None, use_errno=True)
        load, jeq, ret = 0x20, 0x15, 0x06
        rows = [(load, 0, 0, 0), (jeq, 0, 1, 425), (ret, 0, 0, 0x00050000 | error), (ret, 0, 0, 0x7fff0000)]
        code = b''.join(struct.pack('=HBBI', *row) for row in rows)
        keep = ctypes.create_string_buffer(code, len(code))
        program = struct.pack('HxxxxxxP', len(rows), ctypes.addressof(keep))

        def install():
            if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, program, 0, 0) != 0:
                os._exit(99)
        self.keep = (keep, program, libc)
        return install

    def test_without_io_uring(self):
        """A container's seccomp profile, or an old kernel: says so, with the remedy."""
        for error, name in ((1, 'EPERM'), (38, 'ENOSYS')):
            with self.subTest(name):
                server = self.make_server(name=name)
                server.preexec = self.seccomp(error)
                loud = self.fails(server, 'io_uring')
                self.assertNotEqual(server.process.returncode, 99)
                self.assertGreater(len(' '.join(loud)), 40, 'a remedy')
                self.assertFalse(server.spool.exists(), 'nothing touched')
                self.assertFalse(server.control.exists())

    def test_privileged_port(self):
        if os.getuid() != 0:
            self.skipTest('needs root to become nobody')
        server = self.make_server()
        server.log_path.write_text('')
        nobody = pwd.getpwnam('nobody')

        def drop():
            os.setgroups([])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
        if subprocess.run([MAILRING, 'version'], preexec_fn=drop, capture_output=True,
                          cwd='/').returncode != 0:
            self.skipTest('nobody may not run the program where it lies')
        with open('/proc/sys/net/ipv4/ip_unprivileged_port_start', encoding='ascii') as start:
            if int(start.read()) <= 25:
                self.skipTest('anybody may bind port 25 here')
        os.chown(server.directory, nobody.pw_uid, nobody.pw_gid)
        server.configure({('listener', 'mx'): {'address': ['127.0.0.1:25']}})
        server.preexec = drop
        self.fails(server, '127.0.0.1:25')


class NoRoom(Case):
    """The disk is full, or the queue's limit is reached: 452, nothing accepted is lost, and it goes on
    by itself when there is room again."""

    def small_disk(self, megabytes):
        if os.getuid() != 0:
            self.skipTest('needs root to mount a small disk')
        image, folder = self.directory / 'disk', self.directory / 'small'
        folder.mkdir()
        with open(image, 'wb') as disk:
            disk.truncate(megabytes * 2**20)
        for command in (['mkfs.ext4', '-q', '-m', '0', '-O', '^has_journal', image],
                        ['mount', '-o', 'loop', image, folder]):
            try:
                done = subprocess.run(command, capture_output=True, text=True)
            except FileNotFoundError:
                self.skipTest(f'no {command[0]}')
            if done.returncode != 0:
                self.skipTest(f'{command[0]}: {done.stderr.strip()}')
        self.addCleanup(subprocess.run, ['umount', '-l', folder])
        return folder

    def fill(self, server, most=400):
        """Sends messages of 100 kB until one is not taken: {name: size}."""
        taken = {}
        while len(taken) < most:
            name = f'fill-{len(taken)}'
            code = self.offer(server, name, 100000)
            if code != 250:
                self.assertEqual(code, 452)
                self.assertGreater(len(taken), 20)
                return taken
            taken[name] = 100000
        self.fail(f'{most} messages of 100 kB did not fill it')

    def arrived(self, server, hop, sizes):
        """{name: size}: each arrives once, as it was sent."""
        hop.listen()
        self.wait_for(lambda: len(hop.messages) >= len(sizes),
                      lambda: f'{len(sizes)} arrived; {len(hop.messages)} did\n{server.tail(20)}', 60)
        server.wait_drained(30)
        for message in hop.messages:
            name = re.search(rb'Subject: (\S+)', message.octets).group(1).decode()
            split_trace(message.octets, numbered(name, sizes.pop(name)))
        self.assertEqual(sizes, {}, 'lost')

    def offer(self, server, name, size):
        """The last reply to one message."""
        with Client(server.port) as client:
            for line in ('MAIL FROM:<load@client.test>', 'RCPT TO:<x@sink.test>', 'DATA'):
                reply = client.command(line, (250, 354, 452, 451))
                if reply.code >= 400:
                    return reply.code
            client.send(stuff(numbered(name, size)) + b'.\r\n')
            return client.expect((250, 452, 451)).code

    def begin(self, **settings):
        hop = self.next_hop()
        hop.refuse()
        server = self.start_server({
            'relay_from': ['127.0.0.0/8'], 'spool_segment': '1M',
            ('route', 'sink.test'): {'to': f'smtp://127.0.0.1:{hop.port}'}, **settings})
        return server, hop

    def test_full_disk(self):
        folder = self.small_disk(48)
        ballast = folder / 'ballast'
        with open(ballast, 'wb') as file:
            file.write(bytes(24 * 2**20))
        server, hop = self.begin(spool=folder / 'spool')
        taken = self.fill(server)
        self.assertEqual(self.offer(server, 'again', 100000), 452)
        self.assertEqual(server.status()['queue'], len(taken))
        ballast.unlink()
        self.wait_for(lambda: self.offer(server, 'after', 50000) == 250, 'taken again by itself', 20, 0.2)
        self.arrived(server, hop, {**taken, 'after': 50000})

    def test_full_disk_and_kill(self):
        """Killed while it is full: it starts, and everything accepted is there."""
        server, hop = self.begin(spool=self.small_disk(32) / 'spool')
        taken = self.fill(server)
        server.kill()
        server.start()
        self.assertEqual(server.status()['queue'], len(taken))
        self.arrived(server, hop, taken)

    def test_queue_limit(self):
        server, hop = self.begin(limits={'queue': '8M'})
        taken = self.fill(server)
        used = sum(f.stat().st_size for f in server.spool.rglob('*') if f.is_file())
        self.assertLess(used, 20 * 2**20)
        self.arrived(server, hop, taken)
        self.assertEqual(self.offer(server, 'once', 100000), 250)


if __name__ == '__main__':
    main()
