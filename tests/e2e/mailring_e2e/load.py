# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients in threads: one that shows that others are still served, and many that make load and remember what was
acknowledged."""

import random
import threading
import time
import zlib

from .smtp import Client, sample


class Prober:
    """`with Prober(server): …`: somebody who behaves, meanwhile. At the end each of its messages must
    have been taken within `patience` seconds, and there must be at least one."""

    def __init__(self, server, patience=5.0, recipient='probe@local.test', source='127.0.0.77'):
        self.server = server
        self.patience = patience
        self.recipient = recipient
        self.source = source
        self.sent = 0
        self.slowest = 0.0
        self.error = None
        self._stop = threading.Event()

    def _run(self):
        while not (self._stop.is_set() and self.sent):
            started = time.monotonic()
            try:
                with Client(self.server.port, source=self.source, timeout=self.patience) as client:
                    client.message('probe@client.test', self.recipient, sample(f'probe{self.sent}'))
                    client.quit()
            except (OSError, AssertionError) as error:
                self.error = error
                return
            self.sent += 1
            self.slowest = max(self.slowest, time.monotonic() - started)
            self._stop.wait(0.05)

    def __enter__(self):
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        self._stop.set()
        self._thread.join(self.patience + 5)
        if kind is not None:
            return
        if self.error is not None:
            raise AssertionError(f'meanwhile a client was not served: {self.error!r}\n{self.server.tail(20)}')
        if not self.sent or self.slowest > self.patience:
            raise AssertionError(f'meanwhile: {self.sent} sent, the slowest in {self.slowest:.1f} s')


def numbered(token, size=None):
    """The message with this name: its text follows from the name, so that it can be checked later.
    One in sixteen is large."""
    rng = random.Random(token)
    size = size or (rng.randrange(20000, 200000) if rng.randrange(16) == 0 else rng.randrange(0, 6000))
    line = rng.randbytes(36).hex().encode()
    if size > 16000:
        line = b'\r\n'.join([line] * 64)         # fewer numbers: it is made again for each comparison
    step = len(line) + 9
    body = b''.join(b'%s%06d %s\r\n' % (b'.' * (n % 7 == 0), n, line) for n in range(size // step))
    return (b'From: <load@client.test>\r\nSubject: %s\r\nX-Sum: %08x\r\n\r\n' % (
        token.encode(), zlib.crc32(body)) + body)


def token_of(octets, make=numbered):
    """The name of a numbered message; fails unless all of it is as it was made."""
    start = octets.find(b'From: <load@client.test>\r\nSubject: ')
    token = octets[start + 35:].partition(b'\r\n')[0].decode('ascii', 'replace')
    if start < 0 or octets[start:] != make(token):
        raise AssertionError(f'not as it was sent: {octets[:300]!r}… ({len(octets)} octets)')
    return token


class Load:
    """`sessions` clients that send numbered messages until stop(), and connect again when the server
    went away. `acknowledged`: names of the messages that got their 250; `attempted`: all."""

    def __init__(self, port, recipients, sessions=20, per_connection=10, pause=0.0, prefix='m',
                 make=numbered):
        self.port = port
        self.recipients = recipients        # function of the name: list of recipients
        self.per_connection = per_connection
        self.pause = pause
        self.prefix = prefix
        self.make = make                    # the message of a name
        self.acknowledged = set()
        self.refused = []                   # replies that were no 250
        self.attempted = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._session, args=(n,), daemon=True)
                         for n in range(sessions)]
        for thread in self._threads:
            thread.start()

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            if thread.is_alive():
                raise AssertionError('a client hangs')

    def _session(self, number):
        count = 0
        while not self._stop.is_set():
            try:
                with Client(self.port, timeout=30) as client:
                    for _ in range(self.per_connection):
                        if self._stop.is_set():
                            break
                        token = f'{self.prefix}-{number}-{count}'
                        count += 1
                        self.attempted += 1
                        client.message('load@client.test', self.recipients(token), self.make(token))
                        self.acknowledged.add(token)
                        if self.pause:
                            self._stop.wait(self.pause)
                    client.quit()
            except AssertionError as error:
                self.refused.append(str(error))
                self._stop.wait(0.05)
            except OSError:
                self._stop.wait(0.02)       # until it is back
