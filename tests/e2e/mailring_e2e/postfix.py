# SPDX-License-Identifier: GPL-2.0-or-later
"""A Postfix of one's own: configuration, queue and port in a folder; the machine's Postfix is not touched."""

import atexit
import os
import shutil
import subprocess
import unittest
from pathlib import Path

from .paths import free_port
from .wait import wait_for

POSTFIX = '/usr/sbin/postfix'

MASTER = '''\
{address}:{port} inet n - n - - smtpd
pickup    unix  n       -       n       60      1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
verify    unix  -       -       n       -       1       verify
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
showq     unix  n       -       n       -       -       showq
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
virtual   unix  -       n       n       -       -       virtual
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
postlog   unix-dgram n  -       n       -       1       postlogd
'''


class Postfix:
    """Takes mail from loopback for any domain and relays it to 127.0.0.1:`relay_to` (None: to the MX), unchanged but
    for its own trace field."""

    def __init__(self, directory, relay_to, settings=None, *, address='127.0.0.1', port=None):
        if os.getuid() != 0 or not os.access(POSTFIX, os.X_OK):
            raise unittest.SkipTest('needs Postfix, and root to start it')
        self.directory = Path(directory)
        self.etc = self.directory / 'etc'
        self.address = address
        self.port = port or free_port()
        for part in (self.directory, self.etc, self.directory / 'queue', self.directory / 'data'):
            part.mkdir(exist_ok=True)
            part.chmod(0o755)
        shutil.chown(self.directory / 'data', 'postfix')
        main = {
            'compatibility_level': '3.6',
            'queue_directory': self.directory / 'queue',
            'data_directory': self.directory / 'data',
            'maillog_file': self.directory / 'log',
            'maillog_file_prefixes': self.directory,
            'myhostname': 'postfix.test',
            'mydestination': '',
            'inet_interfaces': '127.0.0.1',
            'inet_protocols': 'ipv4',
            'mynetworks': '127.0.0.0/8',
            'relayhost': f'[127.0.0.1]:{relay_to}' if relay_to else '',
            'alias_maps': '', 'alias_database': '', 'local_recipient_maps': '',
            'smtp_dns_support_level': 'disabled',
            'local_header_rewrite_clients': 'static:none',
            'disable_mime_output_conversion': 'yes',
            'message_size_limit': '0', 'mailbox_size_limit': '0',
            'minimal_backoff_time': '1s', 'queue_run_delay': '1s', 'maximal_backoff_time': '2s',
            'smtp_tls_security_level': '', 'smtpd_tls_security_level': '',
            'smtpd_client_connection_count_limit': '0',
            **(settings or {}),
        }
        (self.etc / 'main.cf').write_text(''.join(f'{k} = {v}\n' for k, v in main.items()))
        (self.etc / 'master.cf').write_text(MASTER.format(address=self.address, port=self.port))

    def _postfix(self, word):
        return subprocess.run([POSTFIX, '-c', self.etc, word], capture_output=True, text=True, timeout=60)

    def start(self):
        done = self._postfix('start')
        if done.returncode != 0:
            raise AssertionError(f'postfix start: {done.stdout}{done.stderr}{self.log()}')
        atexit.register(self.stop)
        wait_for(lambda: 'daemon started' in self.log(), lambda: f'Postfix: {self.log()}')
        return self

    def stop(self):
        pid = (self.directory / 'queue' / 'pid' / 'master.pid')
        if not pid.exists():
            return
        atexit.unregister(self.stop)
        self._postfix('stop')
        number = pid.read_text().strip()
        wait_for(lambda: not Path(f'/proc/{number}').exists(), 'Postfix gone')

    def log(self):
        path = self.directory / 'log'
        return path.read_text(errors='replace') if path.exists() else ''

    def queued(self):
        """Names of the queue files."""
        return [f.name for part in ('maildrop', 'incoming', 'active', 'deferred')
                for f in (self.directory / 'queue' / part).rglob('*') if f.is_file()]
