# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts test cases in meson's testlog.json files: `N passed, N failed[, N skipped]` as the last line.

    count.py [--add 'N passed, N failed'] TESTLOG...

A program that speaks TAP counts with each of its cases; one that ended badly without saying which case
failed (a crash, a time-out, a plan not kept) counts as one failure more. Every other program is one case.
The exit status is 1 if anything failed, or if nothing ran at all.
"""

import argparse
import json
import re
import sys

CASE = re.compile(r'^(not )?ok\b(.*)$')
SUMMARY = re.compile(r'(\d+) (passed|failed|skipped)')


def count_tap(text):
    counts = {'passed': 0, 'failed': 0, 'skipped': 0}
    for line in text.splitlines():
        case = CASE.match(line)
        if not case:
            continue
        if re.search(r'#\s*skip', case.group(2), re.IGNORECASE):
            counts['skipped'] += 1
        else:
            counts['failed' if case.group(1) else 'passed'] += 1
    return counts


def count_program(entry):
    """One line of testlog.json."""
    result = entry['result']
    counts = count_tap(entry.get('stdout') or '')
    if sum(counts.values()) == 0:
        kind = {'OK': 'passed', 'EXPECTEDFAIL': 'passed', 'SKIP': 'skipped'}.get(result, 'failed')
        counts[kind] = 1
    elif result not in ('OK', 'SKIP', 'EXPECTEDFAIL') and counts['failed'] == 0:
        counts['failed'] = 1
    return counts


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--add', action='append', default=[])
    parser.add_argument('logs', nargs='*')
    arguments = parser.parse_args()

    total = {'passed': 0, 'failed': 0, 'skipped': 0}
    for line in arguments.add:
        for number, kind in SUMMARY.findall(line):
            total[kind] += int(number)
    for path in arguments.logs:
        with open(path, encoding='utf-8') as log:
            for line in log:
                for kind, number in count_program(json.loads(line)).items():
                    total[kind] += number

    summary = '{passed} passed, {failed} failed'.format(**total)
    if total['skipped']:
        summary += ', {skipped} skipped'.format(**total)
    print(summary)
    return 1 if total['failed'] or not total['passed'] else 0


if __name__ == '__main__':
    sys.exit(main())
