# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory of idle sessions and of queued messages, and how long a start takes with a full queue."""

import os
import selectors
import socket
import subprocess
import time

from .drive import Sink, load
from .process import wait_until
from .servers import Mailring


class IdleSessions:
    """Connections that have said EHLO and nothing more."""

    def __init__(self, port, count, at_once=200):
        self.sockets = []
        while len(self.sockets) < count:
            part = [socket.socket() for _ in range(min(at_once, count - len(self.sockets)))]
            for one in part:
                one.connect(('127.0.0.1', port))
            self._talk(part, b'220 ')
            for one in part:
                one.sendall(b'EHLO idle.test\r\n')
            self._talk(part, b'250 ')
            self.sockets += part

    @staticmethod
    def _talk(part, last_line):
        """Reads from all until each has said its last line."""
        with selectors.DefaultSelector() as selector:
            for one in part:
                selector.register(one, selectors.EVENT_READ, bytearray())
            deadline = time.monotonic() + 60
            while selector.get_map():
                if time.monotonic() > deadline:
                    raise TimeoutError('idle sessions: no answer')
                for key, _ in selector.select(1):
                    got = key.fileobj.recv(4096)
                    key.data.extend(got)
                    if not got:
                        raise ConnectionError(f'idle session: closed after {bytes(key.data)!r}')
                    if key.data.endswith(b'\n') and last_line in key.data:
                        selector.unregister(key.fileobj)

    def close(self):
        for one in self.sockets:
            one.close()


def settled_memory(server, tries=20):
    """Once it no longer changes."""
    before = -1
    for _ in range(tries):
        now = server.group.memory()
        if abs(now - before) < 65536:
            return now
        before = now
        time.sleep(0.2)
    return before


def measure_idle(build, server, count):
    """Bytes a session, of all processes of the server; the kernel's share is not in it. What a server takes once
    (receive buffers, logs) is in use before: some messages over two connections see to that."""
    load(build, server.port, '--sessions', 2, '--messages-per-session', 0, '--messages', 2000, '--pipeline', 'no',
         '--to', 'user%d@discard.test')
    time.sleep(0.3)
    before = settled_memory(server)
    sessions = IdleSessions(server.port, count)
    after = settled_memory(server)
    sessions.close()
    return {'sessions': count, 'bytes': (after - before) / count}


def restart(server):
    """Starts again on the same spool; how long until it answers, from the start of the process."""
    begin = time.monotonic()
    again = Mailring(server.directory, server.sink_port, server.build, server.shards, retry=server.retry)
    again.port = server.port
    again.start()
    return again, time.monotonic() - begin


def seconds_of(server, *command):
    """How long an operator waits for `mailring COMMAND`."""
    begin = time.monotonic()
    subprocess.run([server.build / 'mailring', *command, '-c', server.directory / 'mailring.conf'], check=True,
                   stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


def latency_ms(build, server, messages):
    """From the final dot to 250, for mail that is taken meanwhile: median and 99 of 100."""
    times = load(build, server.port, '--sessions', 2, '--messages-per-session', 0, '--messages', messages, '--rate', 500,
                 '--size', 4096, '--to', 'user%d@discard.test')['times_us']['dot']
    return times['p50'] / 1000, times['p99'] / 1000


def measure_queue(build, directory, count, dead_port, quick=False):
    """A queue of `count` messages for a next hop that refuses connections: memory after a restart, when no body is in
    memory any more and nothing is being tried, against a restart with an empty queue; and the time until the first
    delivery of a start when all of them are due, with the next hop back."""
    retry = 4 if quick else 60 + count // 5000
    server = Mailring(directory, dead_port, build, retry=f'{retry}s').start()
    server.stop()
    server, _ = restart(server)
    empty = settled_memory(server)
    load(build, server.port, '--sessions', 20, '--messages-per-session', 0, '--size', 256, '--messages', count,
         '--to', 'user%d@sink.test')
    due = time.monotonic() + retry + 1
    queued = server.status()['queue']
    full = settled_memory(server)
    server.stop()
    server, seconds = restart(server)
    restarted = settled_memory(server)
    few = 50 if quick else 2000
    figures = {'list_seconds': seconds_of(server, 'queue', 'list', '--json'),
               'summary_seconds': seconds_of(server, 'queue', 'summary'),
               'latency_at_rest_ms': latency_ms(build, server, few)}
    server.stop()
    time.sleep(max(0, due - time.monotonic()))
    record = os.path.join(directory, 'sink-record')
    sink = Sink(build, dead_port, ['--record', record])
    begin = time.monotonic()
    server, _ = restart(server)
    wait_until(lambda: os.path.getsize(record) > 0, 'the first delivery', 120, 0.005)
    first = time.monotonic() - begin
    figures['latency_retrying_ms'] = latency_ms(build, server, few)
    server.stop()
    sink.stop()
    return {'messages': queued, 'bytes': (restarted - empty) / max(1, queued),
            'bytes_before_restart': (full - empty) / max(1, queued),
            'start_seconds': seconds, 'first_delivery_seconds': first, **figures}
