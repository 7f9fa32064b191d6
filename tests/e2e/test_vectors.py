# SPDX-License-Identifier: GPL-2.0-or-later
"""Hundreds of public messages, many of them odd, through a relay: each arrives unchanged or is refused."""

import json
import re
import threading
import unittest

from mailring_e2e import VECTORS, Case, Client, Closed, crlf, main, split_trace, stuff


class Messages(Case):
    CONNECTIONS = 8

    def load(self):
        index = VECTORS / 'mime' / 'INDEX.json'
        if not index.exists():
            raise unittest.SkipTest(f'no public vectors: {VECTORS.name}/mime is not there')
        messages = []
        for entry in json.loads(index.read_text()):
            octets = (VECTORS / entry['file']).read_bytes()
            nasty = entry['bare_cr'] or entry['nul'] or (entry['crlf'] and entry['bare_lf'])
            messages.append((entry['file'], octets, entry, bool(nasty)))
        for path in sorted((VECTORS / 'mime' / 'mimekit-mbox').glob('*.txt')):
            for n, octets in enumerate(re.split(rb'(?m)^From [^\r\n]*\r?\n', path.read_bytes())[1:]):
                messages.append((f'{path.name} {n}', octets, None, False))
        return messages

    def setUp(self):
        super().setUp()
        self.messages = self.load()
        self.hop = self.next_hop()
        self.server = self.start_server({
            'relay_from': ['127.0.0.0/8'],
            'limits': {'errors': 100000, 'messages_per_connection': 100000},
            ('route', 'sink.test'): {'to': f'smtp://127.0.0.1:{self.hop.port}'}})
        self.replies = {}

    def send_all(self, wires):
        """{number: (octets that end in CRLF, with BDAT or not)} over a few connections at once."""
        queue = list(wires.items())
        errors = []

        def session():
            client = None
            try:
                while queue:
                    try:
                        number, (octets, bdat) = queue.pop()
                    except IndexError:
                        break
                    if client is None:
                        client = Client(self.server.port, timeout=60)
                    client.envelope('ann@client.test', f'm{number}@sink.test')
                    if bdat:
                        client.send(b'BDAT %d LAST\r\n' % len(octets) + octets)
                    else:
                        client.command('DATA', 354)
                        client.send(stuff(octets) + b'.\r\n')
                    try:
                        self.replies[number] = client.reply()
                        if client.command('NOOP').code != 250:
                            raise AssertionError('out of step')
                    except Closed:
                        client.close()
                        client = None
                if client:
                    client.quit()
            except BaseException as error:
                errors.append(error)
        threads = [threading.Thread(target=session) for _ in range(self.CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def arrived(self, wires):
        accepted = {n for n, reply in self.replies.items() if reply.code == 250}
        self.wait_for(lambda: len(self.hop.messages) >= len(accepted), lambda: f'{len(accepted)} arrived; '
                      f'{len(self.hop.messages)} did', 60)
        self.server.wait_drained()
        got = {}
        for message in self.hop.messages:
            number = int(message.recipients[0][1:].split('@')[0])
            self.assertNotIn(number, got)
            got[number] = message.octets
        self.assertEqual(set(got), accepted)
        for number, octets in got.items():
            with self.subTest(self.messages[number][0]):
                split_trace(octets, wires[number][0])
        return accepted

    def test_as_a_client_sends_them(self):
        """Line ends made CRLF, as a client does with a file."""
        wires = {n: (crlf(octets), False) for n, (_, octets, _, _) in enumerate(self.messages)}
        self.send_all(wires)
        accepted = self.arrived(wires)
        for number, (name, _, entry, _) in enumerate(self.messages):
            reply = self.replies.get(number)
            wire = wires[number][0]
            with self.subTest(name):
                if number not in accepted:
                    self.assertIn(reply.code if reply else 0, range(500, 600), 'refused with a 5yz')
                    self.assertGreater(len(reply.text), 5, 'and a reason')
                proper = (max(map(len, wire.split(b'\r\n'))) <= 998 and b'\0' not in wire
                          and not re.search(rb'\r(?!\n)|(?<!\r)\n', wire))
                if proper and (entry is None or entry['has_from']):
                    self.assertIn(number, accepted, reply)
        print(f'# {len(accepted)} of {len(wires)} taken')
        self.assertGreater(len(accepted), 450)

    def test_nasty_ones_as_they_are(self):
        """Bare CR, bare LF, NUL sent as they stand: refused or unchanged, by DATA and by BDAT."""
        with Client(self.server.port) as client:
            chunking = 'CHUNKING' in client.extensions
        kinds = (False, True) if chunking else (False,)
        for bdat in kinds:
            self.hop.messages.clear()
            self.replies.clear()
            wires = {n: (octets if octets.endswith(b'\r\n') else octets + b'\r\n', bdat)
                     for n, (_, octets, entry, nasty) in enumerate(self.messages)
                     if entry and (nasty or entry['bare_lf']) and n % (1 if nasty else 10) == 0}
            self.assertGreater(len(wires), 30)
            self.send_all(wires)
            self.arrived(wires)
            for number, reply in self.replies.items():
                with self.subTest(self.messages[number][0]):
                    self.assertIn(reply.code, [250, *range(500, 600)])
                    if re.search(rb'(?<!\r)\n|\r(?!\n)', wires[number][0]):
                        self.assertIn(reply.code, range(500, 600), 'bare_newline = reject')


if __name__ == '__main__':
    main()
