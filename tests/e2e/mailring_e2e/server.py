# SPDX-License-Identifier: GPL-2.0-or-later
"""A mailring of one's own: configuration, start, stop, kill, and what its admin commands say."""

import atexit
import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

from .maildir import Maildir
from .paths import MAILRING, free_port
from .wait import Late, wait_for


_started = []       # processes that must not outlive the tests


def _end():
    for process in _started:
        if process.poll() is None:
            process.kill()


def _terminated(_number, _frame):
    raise KeyboardInterrupt


# A test that takes too long is ended with SIGTERM; its servers, in sessions of their own, end with it.
atexit.register(_end)
signal.signal(signal.SIGTERM, _terminated)


class Died(AssertionError):
    """The server ended by itself."""


def render(settings, indent=''):
    """A configuration text. {'hostname': 'x', ('domain', 'a.test'): {…}, 'retry': {…}}: numbers and
    text are settings, lists are lists, dicts are sections, a pair is a section with a title."""
    lines = []
    for key, value in settings.items():
        if value is None:
            continue
        if isinstance(value, dict):
            head = f'{key[0]} "{key[1]}"' if isinstance(key, tuple) else key
            lines += [f'{indent}{head} {{', render(value, indent + '    '), f'{indent}}}']
        elif isinstance(value, (list, tuple)):
            lines.append(f'{indent}{key} = {{' + ', '.join(f'"{v}"' for v in value) + '}')
        elif isinstance(value, int):
            lines.append(f'{indent}{key} = {value}')
        else:
            lines.append(f'{indent}{key} = "{value}"')
    return '\n'.join(lines)


class Server:
    """`settings` is added to (and wins over) a configuration with one listener of role mx on
    127.0.0.1, the domain local.test in Maildirs, and short retries."""

    def __init__(self, directory, settings=None, *, text=None, program=MAILRING):
        self.directory = Path(directory)
        self.program = Path(program)
        self.config = self.directory / 'mailring.conf'
        self.log_path = self.directory / 'log'
        self.spool = self.directory / 'spool'
        self.control = self.directory / 'control.sock'
        self.mail = self.directory / 'mail'
        self.port = free_port()
        self.process = None
        self.expected_end = False
        self.preexec = None
        self._log_from = 0
        self.settings = {
            'hostname': 'mx.test',
            'spool': self.spool,
            'spool_segment': '4M',
            'control': self.control,
            'shards': 1,
            ('listener', 'mx'): {'address': [f'127.0.0.1:{self.port}'], 'role': 'mx'},
            ('domain', 'local.test'): {'to': f'maildir:{self.mail}/%d/%u'},
            'retry': {'intervals': ['1s'], 'expire': '60s', 'jitter': 0},
        }
        self.configure(settings or {})
        if text is not None:
            self.config.write_text(text)

    def configure(self, settings):
        """Changes settings and writes the file; None takes a setting away."""
        self.settings.update(settings)
        self.config.write_text(render(self.settings) + '\n')

    # ---- life

    def start(self, wait=True, arguments=()):
        self._log_from = self.log_path.stat().st_size if self.log_path.exists() else 0
        self.expected_end = False
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen(
                [self.program, 'serve', '-c', self.config, *arguments], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, cwd=self.directory, start_new_session=True,
                preexec_fn=self.preexec)
        _started.append(self.process)
        if wait:
            self.wait_ready()
        return self

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process is not None and self.process.poll() is None

    def wait_ready(self, timeout=30.0):
        """Until it says so."""
        def ready():
            if self.process.poll() is not None:
                raise Died(f'ended with {self.process.returncode} before it was ready:\n{self.tail()}')
            return any(re.search(r'\b(event=)?ready\b', line) for line in self.log_lines())
        try:
            wait_for(ready, lambda: f'server ready\n{self.tail()}', timeout, 0.01)
        except Late:
            self.kill()
            raise

    def stop(self, timeout=20.0):
        """SIGTERM, and then: exit code 0, no process of it left, nobody at its port."""
        self.check_alive()
        self.expected_end = True
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f'SIGTERM: still there after {timeout:g} s\n{self.tail()}') from None
        self.check_gone()
        if code != 0:
            raise AssertionError(f'SIGTERM: ended with {code}\n{self.tail()}')

    def kill(self):
        """kill -9."""
        self.expected_end = True
        self.process.kill()
        self.process.wait()

    def check_alive(self):
        """Fails if it ended by itself."""
        if self.process is not None and not self.expected_end and self.process.poll() is not None:
            raise Died(f'ended by itself with {self.process.returncode}:\n{self.tail()}')

    def check_gone(self):
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            pass
        else:
            raise AssertionError('a process of it is left')
        if self.control.exists():
            raise AssertionError('its control socket is left')
        with socket.socket() as probe:
            if probe.connect_ex(('127.0.0.1', self.port)) == 0:
                raise AssertionError('somebody is still at its port')

    # ---- what it says

    def log(self):
        """What it logged since the last start."""
        with open(self.log_path, 'rb') as log:
            log.seek(self._log_from)
            return log.read().decode('utf-8', 'replace')

    def log_lines(self):
        return self.log().splitlines()

    def wait_log(self, pattern, timeout=15.0):
        """Until the log has it: lines are written a moment after what they tell of. Returns the match."""
        return wait_for(lambda: re.search(pattern, self.log()), lambda: f'{pattern} in the log\n{self.tail(20)}', timeout)

    def tail(self, lines=12):
        if not self.log_path.exists():
            return ''
        return '\n'.join(line[:300] for line in
                         self.log_path.read_text(errors='replace').splitlines()[-lines:])

    def run(self, *arguments, timeout=30, code=0):
        """`mailring ARGUMENTS -c FILE`; its output, after checking the exit code (None: any)."""
        done = subprocess.run([self.program, *arguments, '-c', self.config], capture_output=True,
                              timeout=timeout, text=True, errors='replace')
        if code is not None and done.returncode != code:
            raise AssertionError(f'mailring {" ".join(map(str, arguments))}: exit code {done.returncode}, '
                                 f'expected {code}\n{done.stdout}{done.stderr}')
        return done

    def status(self):
        return json.loads(self.run('status', '--json').stdout)

    def queue(self, *filters):
        """`mailring queue list --json`, a list of messages."""
        text = self.run('queue', 'list', '--json', *filters).stdout.strip()
        if not text:
            return []
        try:
            answer = json.loads(text)
        except json.JSONDecodeError:
            return [json.loads(line) for line in text.splitlines()]
        if isinstance(answer, dict):
            return answer['messages'] if 'messages' in answer else [answer]
        return answer

    def wait_drained(self, timeout=20.0):
        """Until nothing is queued."""
        wait_for(lambda: self.status()['queue'] == 0,
                 lambda: f'queue empty: {self.queue()[:5]}\n{self.tail()}', timeout, 0.05)

    # ---- what it did

    def maildir(self, user, domain='local.test'):
        return Maildir(self.mail / domain / user)

    def wait_mail(self, user, count=1, domain='local.test', timeout=15.0):
        """The messages of a mailbox, once there are `count`; fails if there are more."""
        box = self.maildir(user, domain)
        wait_for(lambda: len(box) >= count, lambda: f'{count} messages for {user}@{domain} (there are '
                 f'{len(box)})\n{self.tail()}', timeout)
        messages = box.messages()
        if len(messages) != count:
            raise AssertionError(f'{len(messages)} messages for {user}@{domain}, expected {count}')
        return messages

    # ---- what it uses

    def memory(self, field='VmRSS', pid=None):
        """From /proc/PID/status, in octets."""
        text = Path(f'/proc/{pid or self.pid}/status').read_text()
        return int(re.search(rf'^{field}:\s+(\d+) kB', text, re.M).group(1)) * 1024

    def cpu_seconds(self):
        fields = Path(f'/proc/{self.pid}/stat').read_text().rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def descriptors(self):
        return len(os.listdir(f'/proc/{self.pid}/fd'))
