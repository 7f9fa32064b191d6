# SPDX-License-Identifier: GPL-2.0-or-later
"""Where things are. The environment may say otherwise: MAILRING (the program), MAILRING_BUILD (the build
folder), MAILRING_VECTORS (public test messages), MAILRING_SANITIZED (memory is not measured)."""

import os
import random
import socket
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ.get('MAILRING_BUILD') or ROOT / 'build')
MAILRING = Path(os.environ.get('MAILRING') or BUILD / 'mailring')
VECTORS = Path(os.environ.get('MAILRING_VECTORS') or ROOT.parent / 'shared' / 'vectors')
SANITIZED = bool(os.environ.get('MAILRING_SANITIZED'))


def free_port(address='127.0.0.1', kinds=(socket.SOCK_STREAM,)):
    """A port below the ephemeral ones, so that no outgoing connection takes it meanwhile."""
    for _ in range(1000):
        port = random.randrange(10000, 30000)
        try:
            for kind in kinds:
                with socket.socket(socket.AF_INET, kind) as probe:
                    if kind == socket.SOCK_STREAM:
                        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((address, port))
        except OSError:
            continue
        return port
    raise OSError('no free port')


def loopback_address():
    """One of the sixteen million, so that servers on a fixed port do not meet."""
    return f'127.{random.randrange(16, 250)}.{random.randrange(1, 250)}.{random.randrange(1, 250)}'
