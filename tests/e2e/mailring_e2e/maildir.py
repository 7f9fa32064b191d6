# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading Maildirs."""

from pathlib import Path


class Maildir:
    """The messages of one mailbox. Lines end in LF in a Maildir; `messages()` gives them as on the wire."""

    def __init__(self, path):
        self.path = Path(path)

    def files(self):
        return sorted(f for part in ('new', 'cur') for f in (self.path / part).glob('*'))

    def raw(self):
        return [f.read_bytes() for f in self.files()]

    def messages(self):
        return [as_wire(octets) for octets in self.raw()]

    def leftovers(self):
        """What is in tmp/."""
        return sorted((self.path / 'tmp').glob('*'))

    def __len__(self):
        return len(self.files())


def as_wire(octets):
    """A mailbox file with the line ends of the wire. (A bare CR or LF never gets in, so this is exact.)"""
    return octets if b'\r\n' in octets else octets.replace(b'\n', b'\r\n')
