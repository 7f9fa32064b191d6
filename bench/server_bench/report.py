# SPDX-License-Identifier: GPL-2.0-or-later
"""Collected figures as a table, and each target with what came of it."""

import statistics


class Results:
    def __init__(self):
        self.figures = {}    # (row name, server name) -> list of figures of one repetition
        self.verdicts = []   # (what, measured, target, met: True, False or None, why)

    def add(self, row, server, figures):
        self.figures.setdefault((row.name, server), []).append(figures)

    def median(self, row_name, server, key):
        values = [figures[key] for figures in self.figures.get((row_name, server), [])]
        return statistics.median(values) if values else None

    def spread(self, row_name, server, key='cpu_us'):
        """The distance of the extremes from the median, in percent."""
        values = [figures[key] for figures in self.figures.get((row_name, server), [])]
        if len(values) < 2:
            return None
        middle = statistics.median(values)
        return max(abs(max(values) - middle), abs(min(values) - middle)) / middle * 100

    def judge(self, row):
        """The targets of a row, once it is measured."""
        cpu = self.median(row.name, 'mailring', 'cpu_us')
        if cpu is None:
            return
        if row.size >= 1 << 20:
            self.verdict(row.name, f'{cpu / (row.size >> 20):.0f} us/MB', f'{row.target_us:.0f} us/MB',
                         cpu / (row.size >> 20) <= row.target_us)
            return
        if row.target_us:
            self.verdict(row.name, f'{cpu:.0f} us', f'{row.target_us:.0f} us', cpu <= row.target_us)
        other = self.median(row.name, 'postfix', 'cpu_us')
        if row.target_ratio and other is not None:
            self.verdict(row.name, f'1/{other / cpu:.1f} of Postfix', f'1/{row.target_ratio:.0f}',
                         other / cpu >= row.target_ratio)
        rate, other = (self.median(row.name, name, 'rate') for name in ('mailring', 'postfix'))
        if row.target_speed and other is not None:
            self.verdict(row.name, f'{rate / other:.1f} x messages/s of Postfix', f'{row.target_speed:.0f} x',
                         rate / other >= row.target_speed)

    def verdict(self, what, measured, target, met, why='-'):
        """met: True, False, or None, and then `why` says why there is no verdict."""
        self.verdicts.append((what, measured, target, met, why))


def cell(value, text='{:.0f}'):
    return '-' if value is None else text.format(value)


def table(results, rows, servers):
    """Markdown, aligned, so that it reads as plain text too."""
    lines = [['work', *(f'{server}: us CPU, msg/s (spread)' for server in servers), 'mailring to Postfix']]
    for row in rows:
        line = [row.name]
        for server in servers:
            cpu, rate = (results.median(row.name, server, key) for key in ('cpu_us', 'rate'))
            spread = results.spread(row.name, server)
            line.append('-' if cpu is None else f'{cpu:.1f}, {rate:.0f}' + (f' ({spread:.0f} %)' if spread else ''))
        ours, theirs = (results.median(row.name, server, 'cpu_us') for server in ('mailring', 'postfix'))
        line.append(f'1/{theirs / ours:.1f}' if ours and theirs else '-')
        lines.append(line)
    return align(lines)


def targets(results):
    words = {True: 'met', False: 'not met'}
    lines = [['target', 'measured', 'at most / at least', 'verdict']]
    for what, measured, target, met, why in results.verdicts:
        lines.append([what, measured, target, why if met is None else words[met]])
    return align(lines)


def align(lines):
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    out = []
    for number, line in enumerate(lines):
        out.append('| ' + ' | '.join(text.ljust(width) for text, width in zip(line, widths)) + ' |')
        if number == 0:
            out.append('|' + '|'.join('-' * (width + 2) for width in widths) + '|')
    return '\n'.join(out)
