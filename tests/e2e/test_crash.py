# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 under load, again and again: what got its 250 arrives, whole, and nearly always once."""

import random
import re
import time
from collections import Counter

from mailring_e2e import Case, Load, main, numbered, send_message, token_of


class Crash(Case):
    # A recipient may be served twice if its outcome was not stable yet when the server died: what was
    # in flight, and one commit. (The clients make a few hundred messages a second.)
    DUPLICATES_PER_KILL = 25

    def sessions(self):
        return 20

    def begin(self, shards=1, **settings):
        self.hop = self.next_hop()
        self.server = self.start_server({
            'relay_from': ['127.0.0.0/8'], 'shards': shards,
            ('route', 'sink.test'): {'to': f'smtp://127.0.0.1:{self.hop.port}'},
            ('domain', 'local.test'): {'to': f'maildir:{self.directory}/server0/mail/%d/%u'},
            **settings})
        self.kills = 0

    def recipients(self, token):
        """A third to a mailbox, a third to the next hop, a third to both."""
        box, away = f'box{sum(token.encode()) % 10}@local.test', 'any@sink.test'
        return ([box], [away], [box, away])[random.Random(token).randrange(3)]

    def kill_and_start(self, rng, longest=0.8, **settings):
        pause = time.monotonic() + rng.uniform(0.1, longest)
        self.wait_for(lambda: time.monotonic() >= pause, 'the moment')
        self.server.kill()
        self.kills += 1
        if settings:
            self.server.configure(settings)
        if rng.randrange(3) == 0:
            # Once more, while it recovers.
            self.server.start(wait=False)
            pause = time.monotonic() + rng.uniform(0.0, 0.1)
            self.wait_for(lambda: time.monotonic() >= pause, 'the moment')
            self.server.kill()
            self.kills += 1
        self.server.start()

    def check(self, load, least=50):
        """Everything acknowledged is there, at each of its recipients, as it was sent."""
        load.stop()
        self.server.wait_drained(60)
        local, away = Counter(), Counter()
        for n in range(10):
            box = self.server.maildir(f'box{n}')
            for octets in box.messages():
                token = token_of(octets, load.make)
                self.assertIn(f'box{n}@local.test', self.recipients(token))
                local[token] += 1
        for message in self.hop.messages:
            token = token_of(message.octets, load.make)
            self.assertIn('any@sink.test', self.recipients(token))
            away[token] += 1
        lost = [token for token in load.acknowledged
                if (any('local' in r for r in self.recipients(token)) and not local[token])
                or (any('sink' in r for r in self.recipients(token)) and not away[token])]
        duplicates = sum(n - 1 for counter in (local, away) for n in counter.values())
        print(f'# {len(load.acknowledged)} acknowledged of {load.attempted}, {self.kills} kills,'
              f' {duplicates} duplicates')
        self.assertEqual(lost, [], f'{len(lost)} lost of {len(load.acknowledged)}')
        self.assertGreater(len(load.acknowledged), least * (self.kills + 1), 'too little load')
        self.assertLessEqual(duplicates, self.DUPLICATES_PER_KILL * self.kills)
        self.assertEqual(load.refused, [])
        self.check_log()

    def check_log(self):
        """Recovery found nothing damaged: what a kill leaves unfinished is a torn tail, no more."""
        lines = self.server.log_path.read_text().splitlines()
        damaged = [line for line in lines if 'damaged' in line]
        for identity in re.findall(r'message=(\w+)', '\n'.join(damaged)):
            damaged += [line for line in lines if f'message={identity}' in line and line not in damaged]
        self.assertFalse(damaged, '\n'.join(line[:200] for line in damaged[:20]))

    def test_one_shard(self):
        self.begin()
        load = Load(self.server.port, self.recipients, self.sessions(), pause=0.02)
        rng = random.Random(1)
        for _ in range(8):
            self.kill_and_start(rng)
        self.check(load)

    def test_two_shards(self):
        self.begin(shards=2)
        load = Load(self.server.port, self.recipients, self.sessions(), pause=0.02)
        rng = random.Random(2)
        for _ in range(6):
            self.kill_and_start(rng)
        self.check(load)

    def test_changing_number_of_shards(self):
        self.begin(shards=2)
        load = Load(self.server.port, self.recipients, self.sessions(), pause=0.02)
        rng = random.Random(3)
        for shards in (3, 1, 4, 2, 1):
            self.kill_and_start(rng, shards=shards)
        self.check(load)

    def test_small_segments(self):
        """Segments that fill, die and are recycled every few messages."""
        self.begin(spool_segment='256K')
        load = Load(self.server.port, self.recipients, self.sessions(), pause=0.02)
        rng = random.Random(4)
        for _ in range(6):
            self.kill_and_start(rng)
        self.check(load)

    def test_next_hop_down(self):
        """Everything piles up, the server dies twice, then the next hop comes back."""
        self.begin(shards=2)
        self.hop.refuse()
        self.hop.drop_all()
        load = Load(self.server.port, lambda token: ['any@sink.test'], 10, pause=0.01)
        self.recipients = lambda token: ['any@sink.test']
        rng = random.Random(5)
        self.wait_for(lambda: len(load.acknowledged) > 300, 'a queue')
        for _ in range(2):
            self.kill_and_start(rng)
        load.stop()
        self.assertGreaterEqual(self.server.status()['queue'], len(load.acknowledged))
        self.server.kill()
        self.kills += 1
        self.server.start()
        self.hop.listen()
        self.check(load)

    def test_large_messages(self):
        """Killed in the middle of large bodies, and just after their 250."""
        self.begin()
        sizes = {f'large-{n}': n * 2_000_000 + 1_000_000 for n in range(6)}
        bodies = {token: numbered(token, size) for token, size in sizes.items()}
        for token, body in bodies.items():
            send_message(self.server.port, 'load@client.test', ['any@sink.test', 'large@local.test'], body,
                         timeout=60)
            self.server.kill()
            self.server.start()
        self.server.wait_drained(60)
        self.check_log()
        at_hop = [m.octets for m in self.hop.messages]
        in_box = self.server.maildir('large').messages()
        for token, body in bodies.items():
            for place in (at_hop, in_box):
                self.assertIn(sum(octets.endswith(body) for octets in place), (1, 2), token)

    def test_bodies_over_several_segments(self):
        """Bodies larger than a segment: none of its segments is recycled before the outcome is stable."""
        self.begin(spool_segment='256K')
        load = Load(self.server.port, self.recipients, 6, pause=0.02,
                    make=lambda token: numbered(token, random.Random(token).randrange(200_000, 1_500_000)))
        rng = random.Random(7)
        for _ in range(5):
            self.kill_and_start(rng, 2.0)
        self.check(load, 3)

    def test_outcomes_survive(self):
        """What was delivered long before the kill is not delivered again."""
        self.begin()
        for n in range(20):
            send_message(self.server.port, 'load@client.test', ['any@sink.test', 'box0@local.test'],
                         numbered(f'old-{n}'))
        self.server.wait_drained()
        for _ in range(3):
            self.server.kill()
            self.server.start()
            self.assertEqual(self.server.status()['queue'], 0)
        self.server.stop()
        self.server.start()
        self.assertEqual(len(self.hop.messages), 20)
        self.assertEqual(len(self.server.maildir('box0')), 20)

    def test_stop_and_start_under_load(self):
        """SIGTERM instead of SIGKILL: nothing lost and no duplicates at all."""
        self.begin(shards=2)
        load = Load(self.server.port, self.recipients, self.sessions(), pause=0.02)
        rng = random.Random(6)
        for _ in range(4):
            pause = time.monotonic() + rng.uniform(0.2, 0.6)
            self.wait_for(lambda: time.monotonic() >= pause, 'the moment')
            self.server.stop()
            self.server.start()
        load.stop()
        load.refused = [r for r in load.refused if 'got <421 ' not in r]
        self.DUPLICATES_PER_KILL = 0
        self.kills = 1
        self.check(load)


if __name__ == '__main__':
    main()
