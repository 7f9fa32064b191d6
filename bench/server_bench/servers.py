# SPDX-License-Identifier: GPL-2.0-or-later
"""The servers that are measured, each set up as somebody would who wants it to be fast and safe.

All of them take mail from loopback. What is for discard.test is put on stable storage and then discarded; what is for
sink.test is relayed to the sink."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

from .process import Group, answers, cpus, free_port, wait_until


class Server:
    """start(), then .port; drained() says whether everything that was accepted is gone again."""

    name = ''
    relays = True        # can do the rows that need a queue
    many_sessions = True  # sessions cost it no process each

    def __init__(self, directory, sink_port, cpu=None, pair=None):
        self.directory = Path(directory)
        self.pair = pair     # paths of a certificate and its key: STARTTLS is offered
        self.sink_port = sink_port
        self.port = free_port()
        self.group = Group({cpus()[0]} if cpu is None else cpu)
        self.log_path = self.directory / 'log'

    def start(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        self.launch()
        try:
            wait_until(lambda: self.check() and answers(self.port), f'{self.name} answers')
        except BaseException:
            self.group.finish()
            raise
        return self

    def check(self):
        if self.process.poll() is not None:
            raise RuntimeError(f'{self.name} ended with {self.process.returncode}:\n{self.log_tail()}')
        return True

    def log_tail(self):
        return self.log_path.read_text(errors='replace')[-2000:] if self.log_path.exists() else ''

    def stop(self):
        try:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
        finally:
            self.group.finish()

    def drained(self):
        return True

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)


class Mailring(Server):
    name = 'mailring'

    CONFIGURATION = '''\
hostname = "mx.test"
spool    = "{directory}/spool"
control  = "{directory}/control.sock"
shards   = {shards}
{extra_top}
listener "mx" {{ address = {{"127.0.0.1:{port}"}}  role = mx }}
relay_from = {{"127.0.0.0/8"}}
domain "discard.test" {{ to = "discard" }}
route "sink.test" {{ to = "smtp://127.0.0.1:{sink_port}" }}
{tls}
limits {{ connections_per_client = 50000  messages_per_connection = 1000000000 }}
retry {{ intervals = {{"{retry}"}}  expire = "5d"  jitter = 0 }}
'''

    def __init__(self, directory, sink_port, build, shards=1, cpu=None, retry='5m', pair=None):
        super().__init__(directory, sink_port, cpu, pair)
        self.build = Path(build)
        self.shards = shards
        self.retry = retry

    def launch(self):
        configuration = self.directory / 'mailring.conf'
        configuration.write_text(self.CONFIGURATION.format(
            directory=self.directory, port=self.port, sink_port=self.sink_port, shards=self.shards,
            retry=self.retry, extra_top='',
            tls='tls {{ certificate = "{}"  key = "{}" }}'.format(*self.pair) if self.pair else ''))
        with open(self.log_path, 'ab') as log:
            self.process = self.group.start([self.build / 'mailring', 'serve', '-c', configuration],
                                            stdout=log, stderr=log)

    def status(self):
        done = subprocess.run([self.build / 'mailring', 'status', '--json', '-c', self.directory / 'mailring.conf'],
                              capture_output=True, text=True, timeout=30, check=True)
        return json.loads(done.stdout)

    def drained(self):
        return self.status()['queue'] == 0


class Floor(Server):
    """bench_floor: a server on the same struct io that only answers. Nothing is kept."""

    name = 'floor'
    relays = False

    def __init__(self, directory, build):
        super().__init__(directory, 0)
        self.build = Path(build)

    def launch(self):
        with open(self.log_path, 'ab') as log:
            self.process = self.group.start([self.build / 'bench/bench_floor', self.port], stdout=log, stderr=log)


class Postfix(Server):
    """A private instance: its own configuration, queue and port; the machine's is not touched. Name lookups are off,
    process and concurrency limits are above the load, connections to the next hop are kept, no content is looked at."""

    name = 'postfix'
    many_sessions = False

    PROGRAM = '/usr/sbin/postfix'
    MAIN = '''\
compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
maillog_file = {directory}/log
maillog_file_prefixes = {directory}
myhostname = mx.test
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relay_domains = discard.test, sink.test
transport_maps = inline:{{ discard.test=discard:, sink.test=smtp:[127.0.0.1]:{sink_port} }}
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions =
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
default_process_limit = 400
in_flow_delay = 0
local_header_rewrite_clients = static:none
disable_dns_lookups = yes
default_destination_concurrency_limit = 100
initial_destination_concurrency = 20
smtp_connection_cache_destinations = [127.0.0.1]:{sink_port}
qmgr_message_active_limit = 20000
smtp_tls_security_level =
{tls}
message_size_limit = 104857600
mailbox_size_limit = 0
'''
    MASTER = '''\
127.0.0.1:{port} inet n - n - - smtpd
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
verify    unix  -       -       n       -       1       verify
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
postlog   unix-dgram n  -       n       -       1       postlogd
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
'''

    @classmethod
    def available(cls):
        return os.getuid() == 0 and os.access(cls.PROGRAM, os.X_OK)

    @staticmethod
    def version():
        done = subprocess.run(['/usr/sbin/postconf', '-dh', 'mail_version'], capture_output=True, text=True)
        return done.stdout.strip()

    def tls(self):
        if not self.pair:
            return 'smtpd_tls_security_level ='
        return ('smtpd_tls_security_level = may\nsmtpd_tls_chain_files = {1}, {0}\n'.format(*self.pair)
                + 'smtpd_tls_session_cache_database =\nsmtpd_tls_loglevel = 0')

    def launch(self):
        for part in ('etc', 'queue', 'data'):
            (self.directory / part).mkdir(exist_ok=True)
            (self.directory / part).chmod(0o755)
        shutil.chown(self.directory / 'data', 'postfix')
        for name, text in (('main.cf', self.MAIN), ('master.cf', self.MASTER)):
            (self.directory / 'etc' / name).write_text(
                text.format(directory=self.directory, port=self.port, sink_port=self.sink_port, tls=self.tls()))
        with open(self.directory / 'output', 'ab') as output:
            self.process = self.group.start([self.PROGRAM, '-c', self.directory / 'etc', 'start-fg'],
                                            stdout=output, stderr=output)

    def log_tail(self):
        return (self.directory / 'output').read_text(errors='replace')[-1000:] + super().log_tail()

    def drained(self):
        return not any(next(os.scandir(self.directory / 'queue' / part), None) is not None
                       for part in ('incoming', 'active'))
