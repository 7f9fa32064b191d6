# SPDX-License-Identifier: GPL-2.0-or-later
"""A Dovecot of one's own that does nothing but check passwords, for who asks at its socket."""

import atexit
import os
import subprocess
import unittest
from pathlib import Path

from .wait import wait_for

DOVECOT = '/usr/sbin/dovecot'

CONFIG = '''\
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/log
instance_name = mailring-test
protocols =
ssl = no
auth_mechanisms = {mechanisms}
auth_verbose = yes
disable_plaintext_auth = no
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {directory}/users
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home=/nonexistent
}}
service auth {{
  unix_listener {directory}/client {{
    mode = 0666
  }}
}}
'''


class Dovecot:
    """`client` is the path of the socket for others' servers."""

    def __init__(self, directory, users, mechanisms=('plain', 'login', 'scram-sha-1', 'scram-sha-256')):
        if os.getuid() != 0 or not os.access(DOVECOT, os.X_OK):
            raise unittest.SkipTest('needs Dovecot, and root to start it')
        self.directory = Path(directory)
        self.directory.mkdir(exist_ok=True)
        self.directory.chmod(0o755)
        self.client = self.directory / 'client'
        self.process = None
        config = self.directory / 'dovecot.conf'
        config.write_text(CONFIG.format(directory=self.directory, mechanisms=' '.join(mechanisms)))
        passwords = self.directory / 'users'
        passwords.write_text(''.join(f'{user}:{password}\n' for user, password in users.items()))
        self.config = config

    def start(self):
        self.process = subprocess.Popen([DOVECOT, '-F', '-c', self.config], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, start_new_session=True)
        atexit.register(self.stop)
        wait_for(lambda: self.client.exists() or self.process.poll() is not None, lambda: f'Dovecot: {self.log()}')
        if self.process.poll() is not None:
            raise AssertionError(f'Dovecot: {self.log()}')
        return self

    def stop(self):
        if self.process is None:
            return
        atexit.unregister(self.stop)
        self.process.terminate()
        self.process.wait(20)
        self.process = None

    def log(self):
        path = self.directory / 'log'
        return path.read_text(errors='replace') if path.exists() else ''
