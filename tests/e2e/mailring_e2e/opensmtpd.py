# SPDX-License-Identifier: GPL-2.0-or-later
"""An OpenSMTPD of one's own. Debian's package excludes other mail servers, so ./bootstrap only unpacks it; the folders
whose names are built into it are shown to it in a mount namespace."""

import atexit
import os
import socket
import subprocess
import unittest
from pathlib import Path

from .namespace import enter_mounts
from .paths import ROOT, free_port
from .wait import wait_for

SMTPD = Path(os.environ.get('MAILRING_CACHE', ROOT / '.cache')) / 'opensmtpd/usr/sbin/smtpd'
USERS = {'opensmtpd': 64997, 'opensmtpq': 64998}

CONFIG = '''\
smtp max-message-size 50M
listen on 127.0.0.1 port {port} hostname opensmtpd.test
action "out" relay host smtp://127.0.0.1:{relay_port} helo opensmtpd.test
match from any for any action "out"
'''


class OpenSmtpd:
    """Takes mail from loopback for any domain and relays it to 127.0.0.1:relay_to."""

    def __init__(self, directory, relay_to):
        if os.getuid() != 0 or not os.access(SMTPD, os.X_OK):
            raise unittest.SkipTest('needs OpenSMTPD (./bootstrap test unpacks it), and root to start it')
        self.directory = Path(directory)
        self.directory.mkdir(exist_ok=True)
        self.directory.chmod(0o755)
        self.port = free_port()
        self.config = self.directory / 'smtpd.conf'
        self.config.write_text(CONFIG.format(port=self.port, relay_port=relay_to))
        self.config.chmod(0o600)
        self.process = None

    def _mounts(self):
        pairs = []
        for name in ('passwd', 'group'):
            text = Path('/etc', name).read_text()
            for user, number in USERS.items():
                if f'\n{user}:' not in text:
                    text += f'{user}:x:{number}:' + (f'{number}::/var/lib/opensmtpd/empty:/bin/false' if name == 'passwd' else '') + '\n'
            copy = self.directory / name
            copy.write_text(text)
            copy.chmod(0o644)
            pairs.append((copy, f'/etc/{name}'))
        for name, target in (('spool', '/var/spool'), ('lib', '/var/lib'), ('run', '/run')):
            folder = self.directory / name
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
            pairs.append((folder, target))
        for part in ('lib/opensmtpd', 'lib/opensmtpd/empty', 'spool/smtpd'):
            (self.directory / part).mkdir(exist_ok=True)
            (self.directory / part).chmod(0o711 if part.startswith('spool') else 0o755)
        queue, everyone = self.directory / 'spool/smtpd', USERS['opensmtpq']
        for part, mode, user, group in (('offline', 0o770, 0, everyone), ('purge', 0o700, everyone, 0),
                                        ('queue', 0o700, everyone, 0), ('temporary', 0o700, everyone, 0),
                                        ('incoming', 0o700, everyone, 0), ('corrupt', 0o700, everyone, 0)):
            (queue / part).mkdir(exist_ok=True)
            os.chown(queue / part, user, group)
            (queue / part).chmod(mode)
        return pairs

    def start(self):
        mounts = self._mounts()
        with open(self.directory / 'log', 'ab') as log:
            self.process = subprocess.Popen([SMTPD, '-d', '-f', self.config], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True, preexec_fn=lambda: enter_mounts(mounts))
        atexit.register(self.stop)
        wait_for(self._listening, lambda: f'OpenSMTPD: {self.log()}')
        return self

    def _listening(self):
        if self.process.poll() is not None:
            raise AssertionError(f'OpenSMTPD ended with {self.process.returncode}: {self.log()}')
        with socket.socket() as probe:
            return probe.connect_ex(('127.0.0.1', self.port)) == 0

    def stop(self):
        atexit.unregister(self.stop)
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)

    def log(self):
        path = self.directory / 'log'
        return path.read_text(errors='replace') if path.exists() else ''
