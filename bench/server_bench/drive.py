# SPDX-License-Identifier: GPL-2.0-or-later
"""mailring-load and mailring-sink, on the CPU that the server does not have."""

import json
import signal
import subprocess
import time

from .process import Group, cpus, free_port, wait_until


class Failed(Exception):
    """Some messages were not taken."""


class Sink:
    def __init__(self, build, port=None, arguments=()):
        self.group = Group({cpus()[1]})
        self.port = port or free_port()
        self.process = self.group.start(
            [build / 'mailring-sink', f'smtp://127.0.0.1:{self.port}', '--json', *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.process.stderr.readline()   # "listening on"

    def wait(self, timeout):
        """Until it ends by itself (--messages); what it says then."""
        return self._report(timeout)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self._report(20)

    def _report(self, timeout):
        try:
            output, errors = self.process.communicate(timeout=timeout)
        finally:
            self.group.finish()
        if not output:
            raise Failed(f'mailring-sink: {errors.decode()}')
        return json.loads(output)


def load(build, port, *arguments, must_succeed=True):
    """Runs mailring-load to its end; its report."""
    group = Group({cpus()[1]})
    process = group.start([build / 'mailring-load', f'smtp://127.0.0.1:{port}', '--json', *arguments],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        output, errors = process.communicate(timeout=600)
    finally:
        group.finish()
    if not output:
        raise Failed(f'mailring-load: {errors.decode()}')
    report = json.loads(output)
    if must_succeed and not report['good']:
        raise Failed(f'mailring-load {" ".join(map(str, arguments))}: {report["errors"]}')
    return report


def settle(server, timeout=120):
    """Until the server has nothing left to do."""
    wait_until(server.drained, f'{server.name} has emptied its queue', timeout, 0.05)


class Timer:
    """CPU time of a server, and time, from here on."""

    def __init__(self, server):
        self.server = server
        self.cpu = server.group.cpu_seconds()
        self.at = time.monotonic()

    def seconds(self):
        return time.monotonic() - self.at

    def cpu_seconds(self):
        return self.server.group.cpu_seconds() - self.cpu
