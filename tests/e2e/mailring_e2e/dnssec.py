# SPDX-License-Identifier: GPL-2.0-or-later
"""Signed zones (NSD, ldns) behind a validating resolver (unbound), all on loopback and of the test's own.

    dns = SignedDns(directory, {
        'good.test': {'good.test': {'MX': [(10, 'mx.good.test')]}, 'mx.good.test': {'A': ['127.0.0.9']},
                      '_25._tcp.mx.good.test': {'TLSA': [pair.tlsa()]}}},
        how={'old.test': EXPIRED, 'bad.test': BOGUS, 'plain.test': UNSIGNED})
    dns.port                                            the resolver's, on 127.0.0.1

Zones that `how` does not name are signed, and the resolver trusts their keys. BOGUS: the data of the zone's TLSA
records (of all records, where there are none) is not what was signed.
"""

import atexit
import os
import re
import shutil
import socket
import subprocess
import unittest
from pathlib import Path

from .dns import DnsServer
from .paths import free_port
from .wait import wait_for

SIGNED, EXPIRED, BOGUS, UNSIGNED = 'SIGNED', 'EXPIRED', 'BOGUS', 'UNSIGNED'


def _find(program):
    path = shutil.which(program, path=os.environ['PATH'] + ':/usr/sbin:/sbin')
    if path is None:
        raise unittest.SkipTest(f'{program} is not installed')
    return path


def _row(name, kind, value):
    if kind == 'MX':
        data = f'{value[0]} {value[1]}.'
    elif kind == 'TLSA':
        data = f'{value[0]} {value[1]} {value[2]} {value[3].hex()}'
    elif kind == 'TXT':
        data = ' '.join(f'"{value[n:n + 255]}"' for n in range(0, len(value), 255))
    elif kind == 'CNAME':
        data = f'{value}.'
    else:
        data = value
    return f'{name}. 60 IN {kind} {data}\n'


class SignedDns:
    def __init__(self, directory, zones, how=None, port=None):
        how = how or {}
        self.programs = {name: _find(name) for name in ('nsd', 'unbound', 'ldns-keygen', 'ldns-signzone')}
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.processes = []
        kinds = (socket.SOCK_DGRAM, socket.SOCK_STREAM)
        self.authority_port = free_port('127.0.0.1', kinds)
        self.port = port or free_port('127.0.0.1', kinds)
        anchors = []
        for zone, names in zones.items():
            anchors += self._make_zone(zone, names, how.get(zone, SIGNED))
        atexit.register(self.close)
        self._start_nsd(zones)
        self._start_unbound(zones, anchors)

    def _run(self, program, *arguments):
        done = subprocess.run([self.programs[program], *map(str, arguments)], cwd=self.directory,
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(f'{program}: {done.stdout}{done.stderr}')
        return done.stdout.strip()

    def _make_zone(self, zone, names, how):
        """Writes ZONE.zone for NSD; returns the lines by which unbound trusts it."""
        plain, final = self.directory / f'{zone}.plain', self.directory / f'{zone}.zone'
        rows = [f'{zone}. 60 IN SOA ns.{zone}. hostmaster.{zone}. 1 3600 600 86400 60\n',
                f'{zone}. 60 IN NS ns.{zone}.\n', f'ns.{zone}. 60 IN A 127.0.0.1\n']
        for name, kinds in names.items():
            for kind, values in kinds.items():
                rows += [_row(name, kind, value) for value in
                         (values if isinstance(values, list) else [values])]
        plain.write_text(''.join(rows))
        if how == UNSIGNED:
            final.write_text(plain.read_text())
            return []
        key = self._run('ldns-keygen', '-a', 'ECDSAP256SHA256', '-k', zone)
        dates = ['-i', '20200101000000', '-e', '20200201000000'] if how == EXPIRED else []
        self._run('ldns-signzone', *dates, '-f', final, plain, key)
        if how == BOGUS:
            final.write_text(self._altered(final.read_text()))
        return [self.directory / f'{key}.key']

    @staticmethod
    def _altered(text):
        """Other data under the old signatures."""
        changed, count = re.subn(r'(\sIN\s+TLSA\s+\d+ \d+ \d+ )([0-9a-f]{2})',
                                 lambda m: f'{m[1]}{int(m[2], 16) ^ 255:02x}', text)
        if count == 0:
            changed = re.sub(r'(\sIN\s+A\s+127\.0\.0\.)(\d+)', lambda m: f'{m[1]}{int(m[2]) % 200 + 1}', text)
        return changed

    def _spawn(self, *arguments):
        with open(self.directory / 'log', 'ab') as log:
            self.processes.append(subprocess.Popen(list(map(str, arguments)), cwd=self.directory, stdout=log,
                                                   stderr=log, stdin=subprocess.DEVNULL))

    def _start_nsd(self, zones):
        config = self.directory / 'nsd.conf'
        config.write_text(
            f'server:\n ip-address: 127.0.0.1@{self.authority_port}\n username: ""\n chroot: ""\n'
            f' zonesdir: "{self.directory}"\n pidfile: "{self.directory}/nsd.pid"\n database: ""\n'
            f' xfrdfile: "{self.directory}/xfrd"\n zonelistfile: "{self.directory}/zonelist"\n'
            f' logfile: "{self.directory}/nsd.log"\n xfrdir: "{self.directory}"\n'
            f'remote-control:\n control-enable: no\n'
            + ''.join(f'zone:\n name: "{zone}"\n zonefile: "{zone}.zone"\n' for zone in zones))
        self._spawn(self.programs['nsd'], '-d', '-c', config)

    def _start_unbound(self, zones, anchors):
        config = self.directory / 'unbound.conf'
        config.write_text(
            f'server:\n interface: 127.0.0.1@{self.port}\n username: ""\n chroot: ""\n directory: "{self.directory}"\n'
            f' pidfile: ""\n use-syslog: no\n do-daemonize: no\n do-not-query-localhost: no\n do-ip6: no\n'
            f' module-config: "validator iterator"\n local-zone: "test." nodefault\n qname-minimisation: no\n'
            f' val-bogus-ttl: 1\n cache-max-negative-ttl: 1\n val-clean-additional: yes\n'
            f' access-control: 127.0.0.0/8 allow\n'
            + ''.join(f' trust-anchor-file: "{path}"\n' for path in anchors)
            + 'remote-control:\n control-enable: no\n'
            + ''.join(f'stub-zone:\n name: "{zone}"\n stub-addr: 127.0.0.1@{self.authority_port}\n' for zone in zones))
        self._spawn(self.programs['unbound'], '-d', '-c', config)
        zone = next(iter(zones))
        wait_for(lambda: self._answers(zone), lambda: f'name servers answer\n{self.log()}', 20)

    def _answers(self, zone):
        """Whether a question about the zone comes back."""
        if any(process.poll() is not None for process in self.processes):
            raise AssertionError(f'a name server ended:\n{self.log()}')
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(0.3)
            try:
                asker.connect(('127.0.0.1', self.port))
                asker.send(DnsServer.question(zone, 'SOA'))
                return len(asker.recv(4096)) > 12
            except OSError:
                return False

    def log(self):
        return ''.join((self.directory / name).read_text(errors='replace')[-1500:] for name in ('log', 'nsd.log')
                       if (self.directory / name).exists())

    def close(self):
        atexit.unregister(self.close)
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []
