# SPDX-License-Identifier: GPL-2.0-or-later
"""Groups of processes, where they run, and the CPU time and memory that they take, those that have ended included."""

import itertools
import mmap
import os
import resource
import signal
import socket
import statistics
import subprocess
import time
from pathlib import Path

TICKS = os.sysconf('SC_CLK_TCK')
_numbers = itertools.count()

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def cpus():
    """The CPU for the server and the one for everything else; the same if there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[1 % len(allowed)]


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def wait_until(fact, what, timeout=60.0, interval=0.02):
    deadline = time.monotonic() + timeout
    while not fact():
        if time.monotonic() > deadline:
            raise TimeoutError(f'{what}: not within {timeout:g} s')
        time.sleep(interval)


def answers(port):
    try:
        with socket.create_connection(('127.0.0.1', port), 1) as probe:
            probe.settimeout(5)
            return probe.recv(3) == b'220'
    except OSError:
        return False


def sync_ms(directory, count=100):
    """Median time of a synced write of 8 KiB: 0.3 ms on a disk that is idle says nothing about one that is not."""
    path = Path(directory, 'sync')
    block = mmap.mmap(-1, 8192)     # aligned, as direct writes need it
    times = []
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600)
    except OSError:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)   # a file system without direct writes
    try:
        for sync in (0, os.RWF_DSYNC):          # first onto new blocks, which is another matter
            for at in range(count):
                begin = time.monotonic()
                os.pwritev(fd, [block], at * 8192, sync)
                if sync:
                    times.append((time.monotonic() - begin) * 1000)
    finally:
        os.close(fd)
        path.unlink()
    return statistics.median(times)


def cgroup_root():
    """Where version 2 control groups are mounted and may be made; None if nowhere."""
    for line in Path('/proc/mounts').read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == 'cgroup2' and os.access(where, os.W_OK) and Path(where, 'cpu.stat').exists():
            return Path(where)
    return None


class Group:
    """Processes that are started together and counted together. A control group counts all of them exactly; without
    one, /proc does, with what children left behind when they ended (a child that nobody waited for is lost)."""

    def __init__(self, cpu=None):
        self.cgroup = None
        self.allowed = cpu
        self.leaders = []

    def _make(self):
        root = cgroup_root()
        if root is None or self.leaders:
            return
        path = root / f'mailring-bench-{os.getpid()}-{next(_numbers)}'
        try:
            path.mkdir()
            self.cgroup = path
        except OSError:
            pass    # then /proc has to do

    def start(self, command, **options):
        self._make()

        def enter():
            if self.cgroup:
                (self.cgroup / 'cgroup.procs').write_text(str(os.getpid()))
            if self.allowed is not None:
                os.sched_setaffinity(0, self.allowed)
        process = subprocess.Popen([str(word) for word in command], preexec_fn=enter, start_new_session=True,
                                   stdin=subprocess.DEVNULL, **options)
        self.leaders.append(process)
        return process

    def pids(self):
        if self.cgroup:
            return [int(pid) for pid in (self.cgroup / 'cgroup.procs').read_text().split()]
        parents = {}
        for entry in Path('/proc').iterdir():
            if entry.name.isdigit():
                fields = read_stat(entry.name)
                if fields:
                    parents.setdefault(int(fields[1]), []).append(int(entry.name))
        found, todo = [], [leader.pid for leader in self.leaders if leader.poll() is None]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += parents.get(pid, [])
        return found

    def cpu_seconds(self):
        """User and system time of all of them so far."""
        if self.cgroup:
            lines = (self.cgroup / 'cpu.stat').read_text().splitlines()
            return int(dict(line.split() for line in lines)['usage_usec']) / 1e6
        total = 0
        for pid in self.pids():
            fields = read_stat(pid)
            if fields:
                total += sum(int(ticks) for ticks in fields[11:15])   # with those of children that were waited for
        return total / TICKS

    def memory(self):
        """Bytes in memory, what is shared counted by its share."""
        total = 0
        for pid in self.pids():
            try:
                for line in Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines():
                    if line.startswith('Pss:'):
                        total += int(line.split()[1]) * 1024
            except OSError:
                pass
        return total

    def finish(self):
        """Ends what is left, and removes the group."""
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for leader in self.leaders:
            leader.wait()
        if self.cgroup:
            for _ in range(200):
                try:
                    self.cgroup.rmdir()
                    break
                except OSError:
                    time.sleep(0.02)
            self.cgroup = None
        self.leaders = []


def read_stat(pid):
    """The fields of /proc/PID/stat behind the name; None if it is gone."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    except OSError:
        return None
