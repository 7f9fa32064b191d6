#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures what mailring takes of the machine beside Postfix and beside a server that only answers (bench_floor), as
docs/benchmarks.md explains.

    bench/run_server.py [--build build] [--repeat 3] [--seconds 4] [--only TEXT] [--json FILE]

Works in a folder on a real disk (--directory); Postfix needs root. --quick does next to nothing, to see that it works."""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from server_bench import memory, report, rows, tls, tools
from server_bench.process import cgroup_root, cpus, free_port, sync_ms
from server_bench.servers import Floor, Mailring, Postfix


def say(text=''):
    print(text, flush=True)


def fs_type(directory):
    best = ('', '?')
    for line in Path('/proc/mounts').read_text().splitlines():
        _, where, kind, *_ = line.split()
        if (str(directory) + '/').startswith(where.rstrip('/') + '/') and len(where) > len(best[0]):
            best = (where, kind)
    return best[1]


def describe(options):
    model = [line.split(':')[1].strip() for line in Path('/proc/cpuinfo').read_text().splitlines()
             if line.startswith('model name')]
    server, others = cpus()
    say(f'{os.cpu_count()} x {model[0] if model else "?"}, kernel {os.uname().release}, '
        f'{fs_type(options.directory)}; CPU time by {"cgroup" if cgroup_root() else "/proc"}; '
        f'server on CPU {server}, load and sink on {others}')
    conditions(options)
    if Postfix.available():
        say(f'Postfix {Postfix.version()}')
    if fs_type(options.directory) in ('tmpfs', 'overlay'):
        say(f'warning: {options.directory} is {fs_type(options.directory)}: what is written there is not durable')


def conditions(options):
    """Said before and after: whether the machine had something else to do."""
    say(f'load average {os.getloadavg()[0]:.1f}, a synced write takes {sync_ms(options.directory):.2f} ms')


def make_servers(options, number, sink_port, pair=None):
    directory = options.directory
    yield Mailring(directory / f'mailring-{number}', sink_port, options.build, pair=pair)
    if not options.no_postfix and Postfix.available():
        yield Postfix(directory / f'postfix-{number}', sink_port, pair=pair)
    if pair is None and (options.build / 'bench/bench_floor').exists():
        yield Floor(directory / f'floor-{number}', options.build)


def matches(options, text):
    return not options.only or any(word in text for word in options.only)


def measure_rows(options, results):
    """The servers take turns within a repetition, and the first one changes."""
    wanted = [row for row in (*rows.ROWS, rows.BODY_ROW) if matches(options, row.name)]
    if options.quick:
        wanted = [row for row in wanted if row.sessions != 200]
    for number in range(options.repeat if wanted else 0):
        servers = list(make_servers(options, number, free_port()))
        turn = number % len(servers)
        for server in servers[turn:] + servers[:turn]:
            server.start()
            try:
                for row in wanted:
                    if (row.relay and not server.relays) or (row is rows.BODY_ROW and server.name == 'postfix'):
                        continue
                    figures = rows.measure(options.build, server, row, options.seconds,
                                           60 if options.quick else 200000)
                    results.add(row, server.name, figures)
                    say(f'  {number + 1}. {server.name:8} {row.name:48} {figures["cpu_us"]:8.1f} us '
                        f'{figures["rate"]:8.0f} /s   dot p50 {figures["dot_p50_us"] / 1000:.2f} '
                        f'p99 {figures["dot_p99_us"] / 1000:.2f} ms  busy {figures["busy"] * 100:.0f} %')
            finally:
                server.stop()
                server.remove()
    for row in wanted:
        results.judge(row)
    return wanted


def measure_shards(options, results):
    """CPU time a message of two shards against one, both free to use both CPUs: the load takes its part of them."""
    if len(os.sched_getaffinity(0)) < 2:
        results.verdict('2 shards against 1', '-', 'within 10 %', None, 'not measured: one CPU')
        return
    row = rows.Row('accept, 200 sessions, kept, shards', 200, True, False)
    count = 100 if options.quick else 40000
    figures = {1: [], 2: []}
    for _ in range(options.repeat):
        for shards in (1, 2):
            server = Mailring(options.directory / f'shards-{shards}', 1, options.build, shards,
                              cpu=set(list(os.sched_getaffinity(0))[:shards])).start()
            try:
                rows.measure_accept(options.build, server, row, count // 4)
                figures[shards].append(rows.measure_accept(options.build, server, row, count)['cpu_us'])
            finally:
                server.stop()
                server.remove()
    one, two = (sorted(figures[shards])[options.repeat // 2] for shards in (1, 2))
    results.verdict('2 shards against 1', f'{two:.1f} us against {one:.1f} us', 'within 10 %', two <= one * 1.1)


def measure_idle(options, results):
    counts = {'mailring': 200 if options.quick else 5000, 'postfix': 10 if options.quick else 200}
    for server in make_servers(options, 'idle', 1):
        if server.name not in counts:
            continue
        server.start()
        try:
            figures = memory.measure_idle(options.build, server, counts[server.name])
        finally:
            server.stop()
            server.remove()
        ours = server.name == 'mailring'
        results.verdict(f'memory of an idle session, {server.name}, of {figures["sessions"]}',
                        f'{figures["bytes"]:.0f} bytes', '1024 bytes' if ours else '-',
                        figures['bytes'] <= 1024 if ours else None, 'for comparison')


def measure_tls_idle(options, results):
    counts = {'mailring': 20 if options.quick else 1000, 'postfix': 5 if options.quick else 100}
    for server in make_servers(options, 'tls-idle', 1, tls.make_pair(options.directory, 'p256')):
        server.start()
        try:
            figures = tls.measure_idle(options.build, server, counts[server.name])
        finally:
            server.stop()
            server.remove()
        ours = server.name == 'mailring'
        results.verdict(f'memory of an idle session under TLS, {server.name}, of {figures["sessions"]}',
                        f'{figures["bytes"]:.0f} bytes', '24576 bytes' if ours else '-',
                        figures['bytes'] <= 24576 if ours else None, 'for comparison')


def measure_queue(options, results):
    count = 200 if options.quick else options.queued
    directory = options.directory / 'queue'
    figures = memory.measure_queue(options.build, directory, count, free_port(), options.quick)
    results.verdict(f'memory of a queued message, of {figures["messages"]}, after a restart',
                    f'{figures["bytes"]:.0f} bytes', '256 bytes', figures['bytes'] <= 256)
    results.verdict('the same before the restart, bodies that are still in memory included',
                    f'{figures["bytes_before_restart"]:.0f} bytes', '-', None, 'for comparison')
    results.verdict(f'restart with {figures["messages"]} queued until the first delivery',
                    f'{figures["first_delivery_seconds"]:.2f} s ({figures["start_seconds"]:.2f} s to the greeting)',
                    '3 s with 1,000,000', figures['first_delivery_seconds'] <= 3 if count >= 1000000 else None,
                    'not measured: --queued 1000000')
    for name, key in ('queue list --json', 'list_seconds'), ('queue summary', 'summary_seconds'):
        results.verdict(f'mailring {name} of {figures["messages"]}', f'{figures[key]:.2f} s', '-', None, 'for comparison')
    for name, key in ('at rest', 'latency_at_rest_ms'), ('while they are retried', 'latency_retrying_ms'):
        results.verdict(f'dot to 250 with {figures["messages"]} queued, {name}',
                        'p50 {:.2f} ms, p99 {:.2f} ms'.format(*figures[key]), '-', None, 'for comparison')


def measure_generator(options, results):
    """mailring-load and mailring-sink against Postfix's smtp-source and smtp-sink, a connection a message."""
    figures = tools.compare(options.build, options.directory, 200 if options.quick else 20000, options.repeat)
    for name, (ours, theirs) in figures.items():
        results.verdict(name.partition(' against')[0].rstrip(','), f'{ours:.1f} us', '80 us', ours <= 80)
        results.verdict(name, f'{theirs:.1f} us: 1/{theirs / ours:.1f}', '1/3', ours * 3 <= theirs)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--build', type=Path, default=os.environ.get('MAILRING_BUILD', 'build'))
    parser.add_argument('--directory', type=Path, default='/var/tmp', help='a folder on a real disk')
    parser.add_argument('--repeat', type=int, default=3)
    parser.add_argument('--seconds', type=float, default=4, help='of each measurement')
    parser.add_argument('--queued', type=int, default=100000, help='messages for the queue rows')
    parser.add_argument('--only', action='append', help='only what has this text in its name: "accept, 20", "relay", '
                                                        '"1 MiB", "idle", "queue", "shards", "tls", "tools"')
    parser.add_argument('--no-postfix', action='store_true')
    parser.add_argument('--json', type=Path, help='all figures, for later')
    parser.add_argument('--quick', action='store_true', help='tiny, to see that everything works')
    options = parser.parse_args()
    options.build = Path(options.build).resolve()
    if options.quick:
        options.repeat, options.seconds = 1, 0.05
    return options


def main():
    options = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))     # so that what was started is stopped
    with tempfile.TemporaryDirectory(prefix='mailring-bench-', dir=options.directory) as directory:
        options.directory = Path(directory)
        options.directory.chmod(0o755)
        describe(options)
        results = report.Results()
        begin = time.monotonic()
        wanted = measure_rows(options, results)
        if matches(options, 'tls'):
            wanted = wanted + tls.measure_rows(
                options, results, lambda number, pair: make_servers(options, number, free_port(), pair), say)
        for word, measure in (('idle', measure_idle), ('queue', measure_queue), ('shards', measure_shards),
                              ('tls idle', measure_tls_idle), ('tools', measure_generator)):
            if matches(options, word):
                measure(options, results)
        conditions(options)
    say()
    if wanted:
        say(report.table(results, wanted, ['mailring', 'postfix', 'floor']))
        say()
    say(report.targets(results))
    say(f'\n{time.monotonic() - begin:.0f} s; medians of {options.repeat}; command: {" ".join(sys.argv)}')
    if options.json:
        options.json.write_text(json.dumps({
            'figures': [{'row': row, 'server': server, 'repetitions': figures}
                        for (row, server), figures in results.figures.items()],
            'verdicts': results.verdicts}, indent=1))
    return 0


if __name__ == '__main__':
    sys.exit(main())
