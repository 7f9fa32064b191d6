# SPDX-License-Identifier: GPL-2.0-or-later
"""STARTTLS sessions with one message, by kind of key, full handshakes and resumed ones; bulk; and what an idle session
costs in memory. Each kind has servers of its own, which have that one certificate."""

import socket
import ssl
import subprocess
import time

from . import rows
from .drive import load
from .memory import settled_memory

KINDS = {'rsa': ['rsa:2048'], 'p256': ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256']}


def make_pair(directory, kind):
    """A self-signed certificate; nobody looks at it."""
    certificate, key = directory / f'{kind}.pem', directory / f'{kind}.key'
    if not key.exists():
        subprocess.run(['openssl', 'req', '-x509', '-nodes', '-newkey', *KINDS[kind], '-subj', '/CN=mx.test', '-addext',
                        'subjectAltName=DNS:mx.test', '-days', '30', '-keyout', key, '-out', certificate],
                       check=True, capture_output=True)
        key.chmod(0o600)
    return certificate, key


def measure_rows(options, results, make_servers, say):
    """`make_servers(number, pair)` yields servers that were not started."""
    for number in range(options.repeat):
        for kind in KINDS:
            wanted = [row for row in rows.TLS_ROWS if row.tls == kind]
            servers = list(make_servers(number, make_pair(options.directory, kind)))
            turn = number % len(servers)
            for server in servers[turn:] + servers[:turn]:
                server.start()
                try:
                    for row in wanted:
                        figures = rows.measure(options.build, server, row, options.seconds, 60 if options.quick else 200000)
                        results.add(row, server.name, figures)
                        say(f'  {number + 1}. {server.name:8} {row.name:56} {figures["cpu_us"]:8.1f} us '
                            f'{figures["rate"]:8.0f} /s   resumed {figures["resumed"] * 100:.0f} %')
                finally:
                    server.stop()
                    server.remove()
    for row in rows.TLS_ROWS:
        if row.target_us:
            results.judge(row)
    return rows.TLS_ROWS


def _secured(port, context):
    """A connection that has said EHLO under TLS."""
    plain = socket.create_connection(('127.0.0.1', port), 60)
    stream = plain.makefile('rb')

    def reply():
        while True:
            line = stream.readline()
            if line[3:4] != b'-':
                return
    reply()
    for line in (b'EHLO idle.test\r\n', b'STARTTLS\r\n'):
        plain.sendall(line)
        reply()
    stream.close()
    secure = context.wrap_socket(plain)
    secure.sendall(b'EHLO idle.test\r\n')
    got = b''
    while b'\n250 ' not in got:
        got += secure.recv(4096)
    return secure


def measure_idle(build, server, count):
    """Bytes an idle session under TLS, of all processes of the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    load(build, server.port, '--sessions', 20, '--messages', 400, '--tls', 'starttls', '--to', 'user%d@discard.test')
    time.sleep(0.3)
    before = settled_memory(server)
    sessions = [_secured(server.port, context) for _ in range(count)]
    after = settled_memory(server)
    for session in sessions:
        session.close()
    return {'sessions': count, 'bytes': (after - before) / count}
