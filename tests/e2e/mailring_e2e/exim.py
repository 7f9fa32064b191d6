# SPDX-License-Identifier: GPL-2.0-or-later
"""An Exim of one's own. Debian's package excludes other mail servers, so ./bootstrap only unpacks it."""

import atexit
import os
import subprocess
import unittest
from pathlib import Path

from .namespace import enter_mounts
from .paths import ROOT, free_port
from .wait import wait_for

EXIM = Path(os.environ.get('MAILRING_CACHE', ROOT / '.cache')) / 'exim/usr/sbin/exim4'
USER, NUMBER = 'Debian-exim', 64999

CONFIG = '''\
primary_hostname = exim.test
exim_path = {exim}
spool_directory = {directory}/spool
log_file_path = {directory}/log-%slog
pid_file_path = {directory}/pid
exim_user = {number}
exim_group = {number}
trusted_users = root
never_users =
keep_environment =
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
host_lookup =
rfc1413_query_timeout = 0s
accept_8bitmime = true
smtp_accept_max = 100
remote_max_parallel = 20
queue_run_in_order = false
log_selector = +tls_peerdn +tls_certificate_verified +tls_sni
acl_smtp_rcpt = acl_accept
acl_smtp_data = acl_accept
{tls}
{main}
begin acl
acl_accept:
  accept
{acls}begin routers
all:
  driver = manualroute
  route_list = * {relay_host} byname
  transport = out
  self = send
begin transports
out:
  driver = smtp
  port = {relay_port}
  allow_localhost
  hosts_try_prdr =
{transport}
begin retry
* * F,1h,1s
'''


class Exim:
    """Takes mail from loopback for any domain and relays it to relay_host:relay_to. `pair` (certs.Pair): offers
    STARTTLS with it. `main`, `acls`, `transport`: more lines for these parts."""

    def __init__(self, directory, relay_to, *, pair=None, relay_host='127.0.0.1', main='', acls='', transport=''):
        if os.getuid() != 0 or not os.access(EXIM, os.X_OK):
            raise unittest.SkipTest('needs Exim (./bootstrap test unpacks it), and root to start it')
        self.directory = Path(directory)
        self.directory.mkdir(exist_ok=True)
        self.port = free_port()
        tls = ''
        if pair:
            certificate, key = self.directory / 'certificate.pem', self.directory / 'key.pem'
            certificate.write_bytes(pair.certificate.read_bytes())
            key.write_bytes(pair.key.read_bytes())
            os.chown(key, NUMBER, NUMBER)
            tls = f'tls_advertise_hosts = *\ntls_certificate = {certificate}\ntls_privatekey = {key}'
        else:
            tls = 'tls_advertise_hosts ='
        self.config = self.directory / 'exim.conf'
        self.config.write_text(CONFIG.format(
            directory=self.directory, exim=EXIM, number=NUMBER, port=self.port, tls=tls, main=main, acls=acls, relay_host=relay_host,
            relay_port=relay_to, transport=transport))
        (self.directory / 'spool').mkdir(exist_ok=True)
        os.chown(self.directory, NUMBER, NUMBER)
        os.chown(self.directory / 'spool', NUMBER, NUMBER)
        self.process = None

    def _accounts(self):
        """The machine's accounts and one more, for the program looks for it."""
        files = []
        for name, row in (('passwd', f'{USER}:x:{NUMBER}:{NUMBER}::/nonexistent:/bin/false\n'),
                          ('group', f'{USER}:x:{NUMBER}:\n')):
            text = Path('/etc', name).read_text()
            copy = self.directory / name
            copy.write_text(text if f'\n{USER}:' in text else text + row)
            copy.chmod(0o644)
            files.append((copy, f'/etc/{name}'))
        return files

    def start(self):
        files = self._accounts()
        with open(self.directory / 'output', 'ab') as output:
            self.process = subprocess.Popen(
                [EXIM, '-C', self.config, '-bdf', '-q2s'], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, preexec_fn=lambda: enter_mounts(files))
        atexit.register(self.stop)
        wait_for(lambda: self._listening(), lambda: f'Exim: {self.log()}')
        return self

    def _listening(self):
        if self.process.poll() is not None:
            raise AssertionError(f'Exim ended with {self.process.returncode}: {self.log()}')
        return 'daemon started' in self.log()

    def stop(self):
        atexit.unregister(self.stop)
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)

    def log(self):
        return ''.join(path.read_text(errors='replace')
                       for name in ('output', 'log-mainlog', 'log-paniclog')
                       if (path := self.directory / name).exists())
