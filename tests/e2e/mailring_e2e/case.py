# SPDX-License-Identifier: GPL-2.0-or-later
"""The test case that all end-to-end tests are made of."""

import os
import resource
import shutil
import tempfile
import unittest
from pathlib import Path

from .certs import Authority
from .dns import DnsServer
from .nexthop import NextHop
from .paths import MAILRING, SANITIZED
from .server import Server
from .wait import wait_for

# Thousands of connections need as many descriptors.
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (_hard, _hard))


class Case(unittest.TestCase):
    """Has a folder of its own; stops what it started. At the end of each test every server that runs
    must still be alive and stop properly; when the test failed, the log's end is shown."""

    maxDiff = 2000

    @classmethod
    def setUpClass(cls):
        if not os.access(MAILRING, os.X_OK):
            raise AssertionError(f'{MAILRING} is not built')

    def run(self, result=None):
        self._result = result
        self._failures_before = self._failures()
        return super().run(result)

    def _failures(self):
        return len(self._result.failures) + len(self._result.errors) if self._result else 0

    def setUp(self):
        self.directory = Path(tempfile.mkdtemp(prefix='mailring-e2e-'))
        self.directory.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.servers = []

    def make_server(self, settings=None, name=None, **options):
        """A server that was not started."""
        directory = self.directory / (name or f'server{len(self.servers)}')
        directory.mkdir(exist_ok=True)
        server = Server(directory, settings, **options)
        self.servers.append(server)
        self.addCleanup(self._finish, server)
        return server

    def start_server(self, settings=None, **options):
        return self.make_server(settings, **options).start()

    def next_hop(self, answers=None, **options):
        hop = NextHop(answers, **options)
        self.addCleanup(hop.close)
        return hop

    @property
    def authority(self):
        """A CA of the test's own."""
        if not hasattr(self, '_authority'):
            self._authority = Authority(self.directory / 'ca')
        return self._authority

    def dns_server(self, zone, **options):
        dns = DnsServer(zone, **options)
        self.addCleanup(dns.close)
        return dns

    def _finish(self, server):
        try:
            if server.process is not None:
                server.check_alive()
                if server.running():
                    server.stop()
        except BaseException:
            self._show(server)
            raise
        finally:
            if server.process is not None and server.process.poll() is None:
                server.kill()
        if self._failures() > self._failures_before:
            self._show(server)

    def _show(self, server):
        print(f'# log of {self.id()}:')
        for line in server.tail(40).splitlines():
            print(f'#   {line[:400]}')

    def wait_for(self, fact, what, timeout=15.0, interval=0.02):
        """As wait.wait_for, and fails early if a server died."""
        def asked():
            for server in self.servers:
                server.check_alive()
            return fact()
        return wait_for(asked, what, timeout, interval)

    def assert_memory(self, used, most, what):
        if not SANITIZED:
            self.assertLessEqual(used, most, f'{what}: {used / 2**20:.1f} MiB')
