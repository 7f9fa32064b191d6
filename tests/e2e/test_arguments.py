# SPDX-License-Identifier: GPL-2.0-or-later
"""Each mistake on the command line of mailring: its exit code, one clear line, nothing on standard output."""

import re
import subprocess

from mailring_e2e import MAILRING, Case, main

USAGE, UNAVAILABLE, CONFIG = 64, 69, 78


class Arguments(Case):
    def run_words(self, *words):
        return subprocess.run([MAILRING, *words], capture_output=True, text=True, timeout=20)

    def check(self, words, code, says):
        done = self.run_words(*words)
        self.assertEqual(done.returncode, code, (words, done.stdout, done.stderr))
        self.assertEqual(done.stdout, '', words)
        self.assertRegex(done.stderr, rf'^mailring: [^\n]*{re.escape(says)}[^\n]*\n$', words)

    def test_mistakes(self):
        for words, says in (
                ('what', 'unknown command what'),
                ('Serve', 'unknown command Serve'),
                ('serve -c', '-c needs a file'),
                ('serve --what', 'unknown option --what'),
                ('serve -x', 'unknown option -x'),
                ('serve now', 'serve takes no "now"'),
                ('check some.conf', 'check takes no "some.conf"; a configuration is named with -c'),
                ('status all', 'status takes no "all"'),
                ('version 1', 'version takes no "1"'),
                ('serve --log-level=loud', '--log-level=loud: known are debug, info, notice, warning and error'),
                ('serve --log-level=', '--log-level=: known are'),
                ('serve --log-format=xml', '--log-format=xml: known are text and json'),
                ('spool', 'usage: mailring spool verify'),
                ('spool verify all', 'usage: mailring spool verify'),
                ('spool eat', 'usage: mailring spool verify'),
                ('spool dump 1 2', 'usage: mailring spool verify'),
                ('spool dump x', '"x" is not a message id')):
            self.check(words.split(), USAGE, says)

    def test_help(self):
        none, *asked = (self.run_words(*words) for words in ((), ('help',), ('--help',), ('-h',)))
        self.assertEqual((none.returncode, none.stdout), (USAGE, ''))
        for done in asked:
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, none.stderr, ''))
        for command in ('serve', 'check', 'status', 'queue', 'spool', 'version', '-c FILE', '--json', '--log-level'):
            self.assertRegex(none.stderr, rf'(?m)^  {command}\b')

    def test_no_configuration(self):
        missing = str(self.directory / 'missing.conf')
        for words, code in (('serve', CONFIG), ('check', 1), ('status', CONFIG), ('queue list', CONFIG),
                            ('spool verify', CONFIG)):
            done = self.run_words(*words.split(), '-c', missing)
            self.assertEqual((done.returncode, done.stdout), (code, ''), (words, done.stderr))
            self.assertRegex(done.stderr, rf'^[^\n]*{re.escape(missing)}[^\n]*No such file[^\n]*\n$', words)

    def test_no_server(self):
        server = self.make_server()
        for words in (['status'], ['queue', 'list'], ['queue', 'delete', 'all', '--json']):
            self.check([*words, '-c', server.config], UNAVAILABLE, 'no server answers at')

    def test_options_may_stand_anywhere(self):
        server = self.make_server()
        for words in (['check', '-c', server.config], ['check', '--json', '-c', server.config, '--log-level=info']):
            done = self.run_words(*words)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, f'{server.config}: fine\n', ''))


if __name__ == '__main__':
    main()
