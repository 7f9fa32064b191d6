# SPDX-License-Identifier: GPL-2.0-or-later
"""Namespaces for programs that want the whole machine: their own files in place of those in /etc, their own
loopback with all its ports. Linux only, and root."""

import ctypes
import fcntl
import os
import socket
import struct
import unittest

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result, what):
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f'{what}: {os.strerror(error)}')


def _unshare(flags):
    _check(_libc.unshare(flags), 'unshare')


def bind(source, target):
    """`target` shows what `source` is, in this namespace alone."""
    _check(_libc.mount(os.fsencode(source), os.fsencode(target), None, MS_BIND, None), f'mount {target}')


def enter_mounts(files=()):
    """Mounts of the calling process's own; pairs of (source, target) to begin with. Fit for preexec_fn."""
    _unshare(CLONE_NEWNS)
    _check(_libc.mount(b'none', b'/', None, MS_REC | MS_PRIVATE, None), 'mount /')
    for source, target in files:
        bind(source, target)


def enter_network():
    """A network of the calling process's own: nothing but loopback, all of whose ports are free. Before any thread
    or socket is made. Skips where that is not allowed."""
    try:
        _unshare(CLONE_NEWNET)
    except OSError as error:
        raise unittest.SkipTest(f'no network namespace: {error}') from None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack('16sh14x', b'lo', 0)
        flags = struct.unpack('16sh14x', fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack('16sh14x', b'lo', flags | IFF_UP))
