#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What `./bootstrap demo` shows: a mail server of its own in a temporary folder, real mail through it, a kill -9 in
between, and everything delivered. Ends with 0 only if all of that happened."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mailring_e2e import MAILRING, Client, NextHop, Server, free_port, sample, wait_for

PORT = 2525
COLOUR = sys.stdout.isatty()


def say(text=''):
    print(text, flush=True)


def step(text):
    say()
    say(f'\033[1m== {text}\033[0m' if COLOUR else f'== {text}')


def show(text, prefix='   | '):
    for line in text.rstrip('\n').splitlines():
        say(prefix + line[:150])


def port_is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(('127.0.0.1', port))
        except OSError:
            return False
    return True


def send(sender, recipient, subject, text):
    """With swaks if it is installed, else with a client of our own; shows what was said."""
    if shutil.which('swaks'):
        done = subprocess.run(
            ['swaks', '--server', f'127.0.0.1:{PORT}', '--helo', 'laptop.example.com', '--from', sender, '--to',
             recipient, '--header', f'Subject: {subject}', '--body', text, '--hide-informational'],
            capture_output=True, text=True, timeout=30)
        show(done.stdout, '   ')
        if done.returncode != 0:
            raise SystemExit(f'swaks failed: {done.stderr}')
        return
    with Client(PORT) as client:
        reply = client.message(sender, recipient, sample(subject, text + '\r\n', sender))
        client.quit()
    say(f'   message for {recipient}: {reply.octets.decode().strip()}')


def demo(directory):
    other = NextHop()
    server = Server(directory, {
        'hostname': 'mx.example.org',
        ('listener', 'mx'): {'address': [f'127.0.0.1:{PORT}'], 'role': 'mx'},
        ('domain', 'local.test'): None,
        ('domain', 'example.org'): {'to': f'maildir:{directory}/mail/%d/%u'},
        ('route', 'example.net'): {'to': f'smtp://127.0.0.1:{other.port}'},
        'relay_from': ['127.0.0.0/8'],
        'retry': {'intervals': ['1s'], 'expire': '1h'},
    })
    server.port = PORT
    try:
        play(server, other)
    finally:
        if server.running():
            server.kill()
        other.close()


def play(server, other):
    step('A configuration, and the server')
    show(server.config.read_text())
    server.start()
    say(f'   mailring runs as process {server.pid} and listens on 127.0.0.1:{PORT}.')

    step('Mail for a mailbox: ann@example.org, delivered into a Maildir')
    send('bob@example.com', 'ann@example.org', 'first mail', 'Hello Ann, this came by SMTP.')
    box = server.maildir('ann', 'example.org')
    wait_for(lambda: len(box) == 1, 'the message in the mailbox')
    say(f'   The file {box.files()[0].relative_to(server.directory)}:')
    show(box.raw()[0].decode())

    step('Mail for elsewhere: carl@example.net, passed on to another SMTP server')
    send('bob@example.com', 'carl@example.net', 'second mail', 'Hello Carl, this goes one hop further.')
    wait_for(lambda: other.messages, 'the message at the other server')
    message = other.messages[0]
    say(f'   The other server got, from <{message.sender}> for <{message.recipients[0]}>:')
    show(message.octets.decode())

    step('The other server goes down; mail for it waits in the queue')
    other.refuse()
    other.drop_all()
    send('bob@example.com', 'dora@example.net', 'third mail', 'Accepted while the next hop is down.')
    wait_for(lambda: server.status()['queue'] == 1, 'the message in the queue')
    say('   $ mailring queue list')
    show(server.run('queue', 'list').stdout)

    step('kill -9, at once after another 250')
    with Client(PORT) as client:
        reply = client.message('bob@example.com', ['dora@example.net', 'ann@example.org'],
                               sample('fourth', 'Accepted, then kill -9.\r\n', 'bob@example.com'))
        server.kill()
    say(f'   The client was told "{reply.octets.decode().strip()}", and the server was killed.')
    say('   250 means that the message is on stable storage. So: start it again,')
    server.start()
    say(f'   now as process {server.pid}, and the other server comes back too.')
    other.listen()
    wait_for(lambda: sum('dora@example.net' in m.recipients for m in other.messages) >= 2,
             'both waiting messages at the other server', 30)
    wait_for(lambda: len(box) >= 2, 'the message in the mailbox')
    server.wait_drained()
    say('   Both messages for dora@example.net arrived, and the one for ann@example.org:')
    for message in other.messages[1:]:
        subject = next(row for row in message.octets.decode().split('\r\n') if row.startswith('Subject:'))
        say(f'   | to {message.recipients[0]}: {subject}')
    if not any(b'Accepted, then kill -9.' in octets for octets in box.raw()):
        raise SystemExit('the message that was accepted before kill -9 is not in the mailbox')

    step('A thousand messages in one go')
    before = server.status()['delivered']
    started = time.monotonic()
    one = (b'MAIL FROM:<bob@example.com>\r\nRCPT TO:<many@example.org>\r\nDATA\r\n'
           + sample('many', 'One of a thousand.\r\n') + b'.\r\n')
    with Client(PORT, timeout=60) as client:
        for _ in range(10):
            client.send(one * 100)
            for _ in range(100):
                for code in (250, 250, 354, 250):
                    client.expect(code)
    accepted = time.monotonic() - started
    wait_for(lambda: server.status()['delivered'] >= before + 1000, 'a thousand delivered', 60)
    say(f'   Accepted, each on stable storage, in {accepted:.2f} s by one client; delivered'
        f' {time.monotonic() - started:.2f} s after the first.')

    step('What the server says about itself')
    say('   $ mailring status')
    show(server.run('status').stdout)
    say('   $ mailring queue list')
    show(server.run('queue', 'list').stdout or '(nothing is queued)')

    step('The end: SIGTERM')
    server.process.send_signal(signal.SIGTERM)
    server.expected_end = True
    code = server.process.wait(30)
    say(f'   It finished what it was doing and ended with {code}.')
    if code != 0:
        raise SystemExit('it should have ended with 0')


def main():
    if not os.access(MAILRING, os.X_OK):
        raise SystemExit(f'{MAILRING} is not built: run ./bootstrap build')
    global PORT
    if not port_is_free(PORT):
        say(f'Port {PORT} is in use; taking another.')
        PORT = free_port()
    directory = Path(tempfile.mkdtemp(prefix='mailring-demo-'))
    directory.chmod(0o755)
    try:
        demo(directory)
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        say()
        raise SystemExit(f'the demonstration failed: {error}') from None
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    say()
    say('Everything shown happened: mail received, stored, delivered, and kept through kill -9.')
    say('Next: README.md; ./bootstrap test runs all tests.')


if __name__ == '__main__':
    main()
