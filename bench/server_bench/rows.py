# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured. A row is a kind of work; measure_*() does it once with a server and answers with figures:
cpu_us (of the server, a message) and rate (messages a second)."""

import dataclasses

from .drive import Failed, Sink, Timer, load, settle

SIZE = 4096


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    sessions: int
    kept: bool             # one session for all messages, else one for each
    pipelined: bool
    relay: bool = False
    size: int = SIZE
    tls: str = ''          # kind of the server's key: rsa, p256; '': in the clear
    resumed: bool = False  # the client resumes the session of its connection before
    target_us: float = 0   # DESIGN's budget; 0: none
    target_ratio: float = 0  # of Postfix's CPU time, at least
    target_speed: float = 0  # of Postfix's messages a second, at least

    def arguments(self):
        return ['--sessions', self.sessions, '--messages-per-session', 0 if self.kept else 1,
                '--pipeline', 'yes' if self.pipelined else 'no', '--size', self.size,
                '--to', f'user%d@{"sink" if self.relay else "discard"}.test', '--addresses', 1000,
                *(['--tls', 'starttls', '--tls-resume', 'yes' if self.resumed else 'no'] if self.tls else [])]


def _rows():
    for relay in (False, True):
        for sessions in (20, 200):
            for kept in (False, True):
                for pipelined in (False, True):
                    targets = {}
                    if sessions == 20 and not pipelined:
                        if relay and not kept:
                            targets = {'target_us': 200, 'target_ratio': 20, 'target_speed': 10}
                        elif not relay:
                            targets = ({'target_us': 60, 'target_ratio': 33} if kept
                                       else {'target_us': 130, 'target_ratio': 24})
                    yield Row(f'{"relay" if relay else "accept"}, {sessions} sessions, '
                              f'{"kept" if kept else "one a message"}{", pipelined" if pipelined else ""}',
                              sessions, kept, pipelined, relay, **targets)


ROWS = list(_rows())
TLS_ROWS = [Row(f'STARTTLS, {name}, 20 sessions, one a message{", resumed" if resumed else ""}', 20, False, False, tls=kind,
                resumed=resumed, target_us=0 if resumed else target)
            for kind, name, target in (('rsa', 'RSA-2048', 2000), ('p256', 'P-256', 800)) for resumed in (False, True)]
TLS_ROWS.append(Row('STARTTLS, P-256, 1 MiB bodies, 8 sessions, kept', 8, True, True, size=1 << 20, tls='p256'))
BODY_ROW = Row('accept, 1 MiB bodies, 8 sessions, kept', 8, True, True, size=1 << 20, target_us=500)


def _figures(timer, count, seconds, report):
    cpu = timer.cpu_seconds()
    return {'messages': count, 'cpu_us': cpu * 1e6 / count, 'rate': count / seconds,
            'busy': cpu / timer.seconds(), 'dot_p50_us': report['times_us']['dot']['p50'],
            'dot_p99_us': report['times_us']['dot']['p99'], 'load_cpu_us': report['cpu_us_per_message'],
            'resumed': report['resumed'] / max(1, report['handshakes'])}


def measure_accept(build, server, row, count):
    timer = Timer(server)
    report = load(build, server.port, *row.arguments(), '--messages', count)
    settle(server)
    return _figures(timer, report['accepted'], report['seconds'], report)


def measure_relay(build, server, row, count):
    """The clock stops when the sink has them all."""
    sink = Sink(build, server.sink_port, ['--messages', count, '--verify'])
    timer = Timer(server)
    report = load(build, server.port, *row.arguments(), '--messages', count)
    there = sink.wait(300)
    seconds = timer.seconds()
    settle(server)
    if not there['verify']['good']:
        raise Failed(f'{server.name}: what arrived is not what was sent: {there["verify"]}')
    figures = _figures(timer, there['messages'], seconds, report)
    figures['sink_cpu_us'] = there['cpu_us_per_message']
    return figures


def measure(build, server, row, seconds, count_max=200000):
    """Some messages to warm up and to see how many fit into the time; then those."""
    first = max(row.sessions, 50)
    run = measure_relay if row.relay else measure_accept
    rate = run(build, server, row, first)['rate']
    rate = run(build, server, row, max(first, min(count_max, int(rate * 0.5))))['rate']
    return run(build, server, row, max(first, min(count_max, int(rate * seconds))))
