#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A long run, by hand and not part of the tests:

    tests/e2e/soak.py --minutes 60 [--shards 2] [--sessions 20] [--rate 200] [--seed 1] [--keep]

Mail flows all the time, to mailboxes and to a next hop that misbehaves at random (refuses, defers, stalls, drops
connections, goes down for seconds). The server is killed, stopped and restarted at random moments, sometimes with
another number of shards. A line every ten seconds says how it goes. At the end everything becomes well-behaved, the
queue drains, and each acknowledged message must have one outcome: delivered as it was sent or bounced to its sender.
The lines show memory, file descriptors and the spool's size: look whether they grow. Exit code 0 if all of this
holds."""

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from mailring_e2e import (DROP, RESET, STALL, Dsn, Load, NextHop, Server, sample, send_message, token_of, wait_for)


class Soak:
    def __init__(self, arguments):
        self.arguments = arguments
        self.rng = random.Random(arguments.seed)
        self.directory = Path(tempfile.mkdtemp(prefix='mailring-soak-'))
        self.directory.chmod(0o755)
        self.misbehave = True
        self.hop = NextHop({stage: self.fault for stage in ('connect', 'mail', 'rcpt', 'data', 'body', 'dot')})
        self.got, self.boxed, self.bounced = Counter(), Counter(), Counter()
        self.problems = []
        self.kills = self.stops = 0
        self.server = Server(self.directory, {
            'relay_from': ['127.0.0.0/8'], 'shards': arguments.shards, 'spool_segment': '8M',
            'retry': {'intervals': ['1s', '2s', '5s'], 'expire': '1d', 'jitter': 20},
            ('domain', 'load.test'): {'to': f'maildir:{self.directory}/mail/%d/%u'},
            ('route', 'sink.test'): {'to': f'smtp://127.0.0.1:{self.hop.port}',
                                     'timeout': {'response': '3s', 'data': '3s', 'idle': '2s'}}})

    FAULTS = {'connect': (DROP, RESET, STALL, '421 4.3.2 busy'), 'mail': (DROP, '451 4.3.0 later'),
              'rcpt': ('450 4.2.1 later', DROP), 'data': ('451 4.3.0 later', RESET), 'body': (DROP, STALL),
              'dot': (DROP, '451 4.3.0 later', STALL)}

    def fault(self, event):
        if not self.misbehave:
            return None
        if event.stage == 'rcpt' and event.address.startswith('bad'):
            return '550 5.1.1 no such user'
        return random.choice(self.FAULTS[event.stage]) if random.random() < 0.01 else None

    @staticmethod
    def recipients(token):
        kind = random.Random(token).randrange(20)
        return ['bad@sink.test'] if kind == 0 else ['any@sink.test'] if kind < 10 else \
            [f'box{kind % 5}@load.test'] if kind < 16 else ['any@sink.test', 'box0@load.test']

    def collect(self):
        """Takes what arrived out of the sink and the mailboxes, and checks it."""
        while len(self.hop.messages) > 0:
            self.check(self.hop.messages.pop().octets, self.got)
        for n in range(5):
            for file in self.server.maildir(f'box{n}', 'load.test').files():
                octets = file.read_bytes()
                file.unlink()
                self.check(octets if b'\r\n' in octets else octets.replace(b'\n', b'\r\n'), self.boxed)
        box = self.server.maildir('load', 'client.test')
        for file, octets in zip(box.files(), box.messages()):
            file.unlink()
            try:
                dsn = Dsn(octets)
                token = dsn.returned.partition(b'Subject: ')[2].partition(b'\r\n')[0].decode()
                self.bounced[token] += 1
            except (AssertionError, KeyError) as error:
                self.problems.append(f'bounce: {error}')

    def check(self, octets, counter):
        try:
            counter[token_of(octets)] += 1
        except AssertionError as error:
            self.problems.append(str(error))

    def disturb(self, deadline):
        """Kills, stops and outages, at random moments."""
        while time.monotonic() < deadline:
            wake = time.monotonic() + self.rng.uniform(2, 20)
            wait_for(lambda: time.monotonic() >= min(wake, deadline), 'the moment', 60, 0.1)
            kind = self.rng.randrange(4)
            if kind == 0:
                self.hop.refuse()
                self.hop.drop_all()
                wake = time.monotonic() + self.rng.uniform(0.5, 8)
                wait_for(lambda: time.monotonic() >= wake, 'the moment', 60, 0.1)
                self.hop.listen()
                continue
            self.server.check_alive()
            if kind == 1:
                self.server.stop(60)
                self.stops += 1
            else:
                self.server.kill()
                self.kills += 1
            if self.rng.randrange(4) == 0:
                self.server.configure({'shards': self.rng.randrange(1, 5)})
            self.server.start()

    def report(self, started, load):
        text = ''
        try:
            memory = self.server.memory() / 2**20
            spool = sum(f.stat().st_size for f in self.server.spool.rglob('*') if f.is_file()) / 2**20
            text = f', {memory:.0f} MiB, {self.server.descriptors()} descriptors, spool {spool:.0f} MiB'
        except OSError:
            text = ', restarting'
        print(f'{time.monotonic() - started:6.0f} s: {len(load.acknowledged)} acknowledged,'
              f' {sum(self.got.values())} at the sink, {sum(self.boxed.values())} in mailboxes,'
              f' {sum(self.bounced.values())} bounced, {self.kills} kills, {self.stops} stops{text}', flush=True)

    def run(self):
        self.server.configure({('domain', 'client.test'): {'to': f'maildir:{self.directory}/mail/%d/%u'}})
        self.server.start()
        started = time.monotonic()
        deadline = started + self.arguments.minutes * 60
        load = Load(self.server.port, self.recipients, self.arguments.sessions,
                    pause=self.arguments.sessions / self.arguments.rate)
        failure = []

        def disturb():
            try:
                self.disturb(deadline)
            except BaseException as error:
                failure.append(error)
        thread = threading.Thread(target=disturb, daemon=True)
        thread.start()
        next_report = started + 10
        while thread.is_alive():
            thread.join(1)
            self.collect()
            if time.monotonic() >= next_report:
                next_report += 10
                self.report(started, load)
        load.stop()
        if failure:
            raise failure[0]
        self.misbehave = False
        # What must bounce must bounce: the rule for `bad` stays.
        self.hop.answers = {'rcpt': lambda e: '550 5.1.1 no such user' if e.address.startswith('bad') else None}
        send_message(self.server.port, 'load@client.test', 'any@sink.test', sample('end'))
        self.server.wait_drained(300)
        self.hop.messages = [m for m in self.hop.messages if b'Subject: end\r\n' not in m.octets]
        self.collect()
        self.report(started, load)
        self.server.stop(60)
        return self.verdict(load)

    def verdict(self, load):
        lost = []
        for token in load.acknowledged:
            wanted = self.recipients(token)
            if any(r.startswith('bad') for r in wanted) and not self.bounced[token]:
                lost.append(token)
            if any(r.startswith('any') for r in wanted) and not self.got[token]:
                lost.append(token)
            if any(r.startswith('box') for r in wanted) and not self.boxed[token]:
                lost.append(token)
        duplicates = sum(n - 1 for c in (self.got, self.boxed, self.bounced) for n in c.values())
        print(f'{len(load.acknowledged)} acknowledged, {len(lost)} lost, {duplicates} duplicates,'
              f' {len(self.problems)} altered or unreadable, {len(load.refused)} refused')
        for problem in self.problems[:10] + lost[:10] + load.refused[:10]:
            print('   ', problem[:300])
        return not lost and not self.problems and duplicates <= 200 * (self.kills + 1)


def main():
    parser = argparse.ArgumentParser(description='A long run with faults; see the head of this file.')
    parser.add_argument('--minutes', type=float, default=10)
    parser.add_argument('--shards', type=int, default=2)
    parser.add_argument('--sessions', type=int, default=20)
    parser.add_argument('--rate', type=float, default=200, help='messages a second, about')
    parser.add_argument('--seed', type=int, default=int(time.time()))
    parser.add_argument('--keep', action='store_true', help='keep the folder')
    arguments = parser.parse_args()
    print(f'seed {arguments.seed}')
    soak = Soak(arguments)
    good = False
    try:
        good = soak.run()
    finally:
        if soak.server.running():
            soak.server.kill()
        soak.hop.close()
        if not good:
            print(soak.server.tail(60))
        if arguments.keep:
            print(soak.directory)
        else:
            shutil.rmtree(soak.directory, ignore_errors=True)
    sys.exit(0 if good else 1)


if __name__ == '__main__':
    main()
