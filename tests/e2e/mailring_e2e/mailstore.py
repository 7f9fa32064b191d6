# SPDX-License-Identifier: GPL-2.0-or-later
"""A Dovecot of one's own that takes mail by LMTP and shows it by IMAP."""

import atexit
import imaplib
import os
import subprocess
import unittest
from pathlib import Path

from .dovecot import DOVECOT
from .paths import free_port
from .wait import wait_for

LMTPD = '/usr/lib/dovecot/lmtp'
IMAPD = '/usr/lib/dovecot/imap'
PASSWORD = 'store secret'

CONFIG = '''\
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/log
instance_name = mailring-store
protocols = lmtp imap
ssl = {ssl}
{certificate}
disable_plaintext_auth = no
auth_mechanisms = plain
auth_username_chars =
hostname = store.test
postmaster_address = postmaster@store.test
recipient_delimiter = +
lmtp_save_to_detail_mailbox = yes
lda_mailbox_autocreate = yes
mail_location = maildir:{directory}/mail/%u
mail_plugins = quota
default_vsz_limit = 0
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {directory}/users
}}
userdb {{
  driver = passwd-file
  args = {directory}/users
}}
plugin {{
  quota = count:User quota
  quota_vsizes = yes
  quota_grace = 0
}}
first_valid_uid = 1
service lmtp {{
  unix_listener {socket} {{
    mode = 0666
  }}
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp_port}
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    address = 127.0.0.1
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
'''


class MailStore:
    """`users`: addresses, each with its quota in octets, or None. `socket` and `port` are where it listens for
    LMTP. `pair` (certs.Pair): offers STARTTLS with it."""

    def __init__(self, directory, users, pair=None):
        if os.getuid() != 0 or not all(os.access(path, os.X_OK) for path in (DOVECOT, LMTPD, IMAPD)):
            raise unittest.SkipTest('needs Dovecot with LMTP and IMAP, and root to start it')
        self.directory = Path(directory)
        self.directory.mkdir(exist_ok=True)
        self.directory.chmod(0o755)
        self.socket = self.directory / 'lmtp'
        self.port, self.imap_port = free_port(), free_port()
        self.process = None
        self.config = self.directory / 'dovecot.conf'
        self.config.write_text(CONFIG.format(
            directory=self.directory, socket=self.socket, lmtp_port=self.port, imap_port=self.imap_port,
            ssl='yes' if pair else 'no',
            certificate=f'ssl_cert = <{pair.certificate}\nssl_key = <{pair.key}' if pair else ''))
        rows = []
        for user, quota in users.items():
            extra = f'userdb_quota_rule=*:bytes={quota}' if quota else ''
            rows.append(f'{user}:{PASSWORD}:65534:65534::{self.directory}/mail/{user}::{extra}\n')
        (self.directory / 'users').write_text(''.join(rows))
        (self.directory / 'mail').mkdir(exist_ok=True)
        os.chown(self.directory / 'mail', 65534, 65534)

    def start(self):
        self.said = len(self.log())
        self.process = subprocess.Popen([DOVECOT, '-F', '-c', self.config], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, start_new_session=True)
        atexit.register(self.stop)
        wait_for(self._ready, lambda: f'Dovecot: {self.log()}')
        return self

    def _ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f'Dovecot ended with {self.process.returncode}: {self.log()}')
        return self.socket.exists() and 'starting up' in self.log()[self.said:]

    def stop(self):
        """Its processes end; the socket is gone."""
        if self.process is None:
            return
        atexit.unregister(self.stop)
        self.process.terminate()
        self.process.wait(20)
        self.process = None

    def log(self):
        path = self.directory / 'log'
        return path.read_text(errors='replace') if path.exists() else ''

    def messages(self, user, folder='INBOX'):
        """All of a folder, as octets, by IMAP; none if there is no such folder."""
        with imaplib.IMAP4('127.0.0.1', self.imap_port) as imap:
            imap.login(user, PASSWORD)
            if imap.select(f'"{folder}"', readonly=True)[0] != 'OK':
                return []
            numbers = imap.search(None, 'ALL')[1][0].split()
            return [imap.fetch(number, '(BODY.PEEK[])')[1][0][1] for number in numbers]

    def wait_messages(self, user, count=1, folder='INBOX', timeout=20.0):
        """Those of a folder, once there are `count`; fails if there are more."""
        found = wait_for(lambda: (m := self.messages(user, folder)) and len(m) >= count and m,
                         lambda: f'{count} messages for {user}\n{self.log()[-2000:]}', timeout)
        if len(found) != count:
            raise AssertionError(f'{len(found)} messages for {user}, expected {count}')
        return found
