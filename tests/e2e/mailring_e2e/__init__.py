# SPDX-License-Identifier: GPL-2.0-or-later
"""What the end-to-end tests share. Each test file runs by itself and speaks TAP; one case of
it runs with `cd tests/e2e && python3 -m unittest test_x.Class.test_name`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tap import main  # noqa: E402  (tests/tap.py)

from .case import Case  # noqa: E402
from .certs import Authority, Pair, openssl  # noqa: E402
from .dns import (EMPTY, GARBAGE, HALF, LOOP, NXDOMAIN, OTHER_NAME, OTHER_QUESTION, REFERRAL, REFUSED,  # noqa: E402
                  SECURE, SERVFAIL, TIMEOUT, TRUNCATE, WRONG_ID, DnsServer)
from .dnssec import BOGUS, EXPIRED, SIGNED, UNSIGNED, SignedDns  # noqa: E402
from .dovecot import Dovecot  # noqa: E402
from .dsn import Dsn  # noqa: E402
from .exim import Exim  # noqa: E402
from .load import Load, Prober, numbered, token_of  # noqa: E402
from . import namespace  # noqa: E402
from .maildir import Maildir, as_wire  # noqa: E402
from .mailstore import MailStore  # noqa: E402
from .nexthop import (DROP, RESET, STALL, Endless, NextHop, Pieces, times)  # noqa: E402
from .opensmtpd import OpenSmtpd  # noqa: E402
from .outbound import Outbound  # noqa: E402
from .paths import (BUILD, MAILRING, ROOT, SANITIZED, VECTORS, free_port,  # noqa: E402
                    loopback_address)
from .postfix import Postfix  # noqa: E402
from .server import Died, Server, render  # noqa: E402
from .smtp import (Client, Closed, Reply, any_certificate, crlf, sample, send_message, split_trace,  # noqa: E402
                   stuff)
from .wait import Late, wait_for  # noqa: E402

__all__ = [
    'Authority', 'BOGUS', 'BUILD', 'Case', 'Client', 'Closed', 'DROP', 'Died', 'DnsServer', 'Dovecot', 'Dsn', 'EMPTY', 'HALF', 'LOOP', 'OTHER_NAME', 'OTHER_QUESTION', 'REFERRAL', 'WRONG_ID',
    'Endless',
    'EXPIRED', 'Exim', 'GARBAGE', 'Late', 'Load', 'MAILRING', 'MailStore', 'Maildir', 'NXDOMAIN', 'NextHop', 'OpenSmtpd', 'Outbound', 'Pair', 'Pieces', 'Postfix',
    'Prober', 'REFUSED', 'RESET', 'ROOT', 'Reply', 'SANITIZED', 'SECURE', 'SERVFAIL', 'SIGNED', 'STALL', 'Server', 'SignedDns',
    'TIMEOUT', 'TRUNCATE', 'UNSIGNED', 'VECTORS', 'any_certificate', 'as_wire', 'crlf', 'free_port', 'loopback_address',
    'main', 'namespace', 'numbered', 'openssl', 'render', 'sample', 'send_message', 'split_trace', 'stuff', 'times',
    'token_of', 'wait_for',
]
