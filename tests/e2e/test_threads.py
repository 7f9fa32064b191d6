# SPDX-License-Identifier: GPL-2.0-or-later
"""The real server with several shards: tasks, calls and counters cross threads in both directions while it
is loaded, asked, stopped and killed. In the builds for it a sanitizer looks on, and any word of it is a failure."""

import json
import os
import re
import signal
import subprocess
import threading
import unittest

from mailring_e2e import BUILD, Authority, Case, free_port, main

LOAD, SINK = BUILD / 'mailring-load', BUILD / 'mailring-sink'
SITES = 3
COMPLAINT = re.compile(r'Sanitizer|runtime error:|assertion|not as promised')
# A complaint ends the process; at the end it says what nobody holds any more.
CHECKED = {'ASAN_OPTIONS': 'detect_leaks=1:detect_stack_use_after_return=1',
           'UBSAN_OPTIONS': 'print_stacktrace=1:halt_on_error=1',
           'TSAN_OPTIONS': 'halt_on_error=1:second_deadlock_stack=1'}


class Threads(Case):
    amount = 150    # messages a load: what costs milliseconds elsewhere takes seconds under a sanitizer

    def setUp(self):
        super().setUp()
        if not LOAD.exists() or not SINK.exists():
            self.skipTest('mailring-load and mailring-sink are not built')
        for name, value in CHECKED.items():
            before = os.environ.get(name)
            os.environ[name] = f'{before}:{value}' if before else value
            self.addCleanup(self.restore, name, before)
        self.ports = [free_port() for _ in range(SITES)]
        self.sinks = {}
        self.addCleanup(self.end_sinks)

    @staticmethod
    def restore(name, before):
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before

    # ---- the other programs

    def start_sink(self, site, *arguments):
        self.sinks[site] = subprocess.Popen(
            [SINK, f'smtp://127.0.0.1:{self.ports[site]}', '--json', '--verify', '--threads', '2', *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertIn('listening', self.sinks[site].stderr.readline())

    def stop_sink(self, site):
        """Its report."""
        sink = self.sinks.pop(site)
        sink.send_signal(signal.SIGTERM)
        output, errors = sink.communicate(timeout=20)
        self.assertNotRegex(errors, COMPLAINT)
        return json.loads(output)

    def end_sinks(self):
        for sink in self.sinks.values():
            sink.kill()
            sink.communicate()

    def begin_load(self, server, domain, messages=None, **options):
        arguments = {'messages': messages or self.amount, 'sessions': 6, 'messages-per-session': 20,
                     'size': '200,4K,120K', 'threads': 2, 'to': f'user%d@{domain}', 'addresses': 50, **options}
        words = [f'--{name}' if value is None else f'--{name}={value}' for name, value in arguments.items()]
        return subprocess.Popen([LOAD, f'smtp://127.0.0.1:{server.port}', '--json', '--timeout=30s', *words],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def end_load(self, load, whole=True):
        """How many messages were taken; with `whole` all of them must have been."""
        output, errors = load.communicate(timeout=50)
        self.assertNotRegex(errors, COMPLAINT)
        report = json.loads(output)
        if whole:
            self.assertTrue(report['good'], output)
        return report['accepted']

    # ---- the server

    def begin(self, shards):
        settings = {'shards': shards, 'relay_from': ['127.0.0.0/8'],
                    'retry': {'intervals': ['1s'], 'expire': '10m', 'jitter': 50},
                    ('domain', 'away.test'): {'to': 'discard'}}
        for site, port in enumerate(self.ports):
            settings['route', f's{site}.test'] = {'to': f'smtp://127.0.0.1:{port}'}
        return self.start_server(settings)

    def check_log(self, server):
        self.assertNotRegex(server.log_path.read_text(errors='replace'), COMPLAINT)

    def ask(self, server, end):
        """All requests, again and again; some of them act on messages that are on their way."""
        while not end.wait(0.05):
            server.status()
            server.run('status')
            server.run('queue', 'list')
            ids = [str(m['id']) for m in server.queue()[:5]]
            if ids:                                          # they may be gone by now: any exit code
                server.run('queue', 'show', *ids, code=None)
                server.run('queue', 'retry', *ids, code=None)

    def asked(self, server):
        """`with`: meanwhile somebody asks."""
        return Asking(self, server)

    def loads(self, server, **options):
        return {domain: self.begin_load(server, domain, **options)
                for domain in ['local.test', 'away.test'] + [f's{site}.test' for site in range(SITES)]}

    # ---- scenarios

    def test_all_ways_at_once(self):
        """Two shards; one of the sites is down at first. Each message arrives once."""
        server = self.begin(2)
        for site in range(1, SITES):
            self.start_sink(site)
        with self.asked(server):
            loads = self.loads(server, dots=None)
            self.wait_for(lambda: server.status()['deferred'] > 0, 'a site that is down')
            self.start_sink(0, '--fail', 'rcpt=10:450', '--drop', 'dot=2')
            accepted = {domain: self.end_load(load) for domain, load in loads.items()}
            server.run('queue', 'retry', 'all', code=None)
            server.wait_drained(40)
        status = server.status()
        self.assertGreater(status['posted'], self.amount // 4, 'tasks for other shards')
        self.assertTrue(all(shard['posted'] > 0 for shard in status['shards']), 'both ways')
        for site in range(1, SITES):
            verify = self.stop_sink(site)['verify']
            self.assertEqual((verify['marked'], verify['altered'], verify['duplicates']),
                             (accepted[f's{site}.test'], 0, 0))
        verify = self.stop_sink(0)['verify']
        self.assertGreaterEqual(verify['marked'], accepted['s0.test'])
        self.assertEqual(verify['altered'], 0)
        server.stop()
        self.check_log(server)

    def test_killed_and_stopped_under_load(self):
        """Three shards, kill -9, two, SIGTERM under load, three: what was acknowledged arrives."""
        server = self.begin(3)
        accepted = 0
        for shards in (2, 3):
            loads = self.loads(server, sessions=4)
            self.wait_for(lambda: server.status()['accepted'] >= self.amount // 2, 'under load')
            if shards == 2:
                server.kill()
            else:
                server.stop()
            accepted += sum(self.end_load(load, whole=False)
                            for domain, load in loads.items() if domain.endswith('s1.test'))
            for load in loads.values():
                if load.returncode is None:
                    load.communicate(timeout=50)
            server.configure({'shards': shards})
            server.start()
            if shards == 2:
                for site in range(SITES):
                    self.start_sink(site)
        ids = [m['id'] for m in server.queue() if 's2.test' in str(m['recipients'])][:20]
        if ids:
            server.run('queue', 'delete', *ids, code=None)
        server.wait_drained(40)
        verify = self.stop_sink(1)['verify']
        self.assertGreaterEqual(verify['marked'], accepted)
        self.assertEqual(verify['altered'], 0)
        server.stop()
        self.check_log(server)

    def test_reloaded_under_load(self):
        """Two shards with TLS; routes change, certificates too, and nobody notices."""
        authority = Authority(self.directory / 'ca')
        pairs = [authority.issue('mx.test'), authority.issue('mx.test', kind='rsa')]
        server = self.begin(2)
        for site in range(SITES):
            self.start_sink(site)
        server.configure({'tls': {'certificate': [pairs[0].certificate], 'key': [pairs[0].key]}})
        server.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: 'event=reloaded' in server.log(), 'TLS is offered')
        loads = self.loads(server, tls='starttls')
        for n in range(25):
            pair = pairs[n % 2]
            server.configure({'tls': {'certificate': [pair.certificate], 'key': [pair.key]},
                              ('route', 's0.test'): {'to': f'smtp://127.0.0.1:{self.ports[0]}', 'connections': 2 + n % 3}})
            server.process.send_signal(signal.SIGHUP)
            server.status()
        accepted = {domain: self.end_load(load) for domain, load in loads.items()}
        server.wait_drained(40)
        for site in range(SITES):
            verify = self.stop_sink(site)['verify']
            self.assertEqual((verify['marked'], verify['altered'], verify['duplicates']),
                             (accepted[f's{site}.test'], 0, 0))
        self.assertGreater(server.status()['tls_sessions'], 10)
        self.assertGreater(server.log().count('event=reloaded'), 5)
        self.assertNotIn('event=reload-failed', server.log())
        server.stop()
        self.check_log(server)


class Asking:
    def __init__(self, case, server):
        self.case, self.server = case, server
        self.end = threading.Event()
        self.error = None

    def _run(self):
        try:
            self.case.ask(self.server, self.end)
        except Exception as error:  # noqa: BLE001  (shown by the test's own thread)
            self.error = error

    def __enter__(self):
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def __exit__(self, kind, *_):
        self.end.set()
        self.thread.join(30)
        if kind is None and self.error is not None:
            raise self.error


if __name__ == '__main__':
    main()
