# SPDX-License-Identifier: GPL-2.0-or-later
"""mailring-load and mailring-sink against Postfix's smtp-source and smtp-sink, a connection a message, each against the
same partner: the sources send to bench_floor, or without it to mailring-sink; the sinks take from mailring-load."""

import shutil
import statistics
import subprocess

from .drive import Sink, load
from .process import Group, cpus, free_port, wait_until, answers
from .servers import Floor

SESSIONS = 20


def _run(command):
    """CPU seconds of a command on the load's CPU."""
    group = Group({cpus()[1]})
    try:
        process = group.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        errors = process.communicate(timeout=300)[1]
        if process.returncode != 0:
            raise RuntimeError(f'{command[0]}: {errors.decode()}')
        return group.cpu_seconds()
    finally:
        group.finish()


def _sources(build, directory, count):
    """mailring-load, the same pipelined, smtp-source."""
    floor = Floor(directory / 'tools', build).start()
    ours = [build / 'mailring-load', f'smtp://127.0.0.1:{floor.port}', '--sessions', SESSIONS, '--messages', count,
            '--size', 4096, '--pipeline']
    theirs = ['smtp-source', '-s', SESSIONS, '-m', count, '-l', 4096, '-f', 'a@load.test', '-t', 'b@sink.test',
              f'127.0.0.1:{floor.port}']
    try:
        return [_run(command) * 1e6 / count for command in (ours + ['no'], ours + ['yes'], theirs)]
    finally:
        floor.stop()
        floor.remove()


def _their_sink(build, count):
    group = Group({cpus()[0]})
    port = free_port()
    try:
        group.start(['smtp-sink', '-u', 'nobody', '-p', f'127.0.0.1:{port}', '1000'], stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL)
        wait_until(lambda: answers(port), 'smtp-sink answers')
        before = group.cpu_seconds()
        load(build, port, *_load_arguments(count))
        return (group.cpu_seconds() - before) * 1e6 / count
    finally:
        group.finish()


def _our_sink(build, count):
    sink = Sink(build)
    before = sink.group.cpu_seconds()
    load(build, sink.port, *_load_arguments(count))
    cpu = sink.group.cpu_seconds() - before
    sink.stop()
    return cpu * 1e6 / count


def _load_arguments(count):
    return ['--sessions', SESSIONS, '--messages', count, '--pipeline', 'no']


def compare(build, directory, count, repeat):
    """What is compared -> (ours, theirs), µs of CPU a message; medians. Empty without Postfix's tools."""
    if not shutil.which('smtp-source') or not shutil.which('smtp-sink'):
        return {}
    sources = [_sources(build, directory, count) for _ in range(repeat)]
    sinks = [(_our_sink(build, count), _their_sink(build, count)) for _ in range(repeat)]

    def median(figures, index):
        return statistics.median(figure[index] for figure in figures)
    return {
        'mailring-load against smtp-source': (median(sources, 0), median(sources, 2)),
        'mailring-load, pipelined, against smtp-source': (median(sources, 1), median(sources, 2)),
        'mailring-sink against smtp-sink': (median(sinks, 0), median(sinks, 1)),
    }
