# SPDX-License-Identifier: GPL-2.0-or-later
"""Compiles each public header alone, with the flags of its layer (TAP).

    check_headers.py --source TOP --build BUILD LAYER:SEES,...:LIBRARY...

The flags are those of a source file of the layer, from the build's compile_commands.json.
"""

import argparse
import json
import pathlib
import shlex
import subprocess
import sys


def layer_flags(build):
    """The compiler and its flags, by layer."""
    flags = {}
    for entry in json.loads((build / 'compile_commands.json').read_text(encoding='utf-8')):
        prefix = 'libmailring_'
        output = entry.get('output', '')
        if not output.startswith(prefix):
            continue
        words, kept = iter(shlex.split(entry['command'])), []
        for word in words:
            if word in ('-o', '-MF', '-MQ', '-MT'):
                next(words)
            elif word not in ('-c', '-MD', entry['file']):
                kept.append(word)
        flags[output[len(prefix):].split('.')[0]] = kept
    return flags


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--source', type=pathlib.Path, required=True)
    parser.add_argument('--build', type=pathlib.Path, required=True)
    parser.add_argument('layers', nargs='*')
    arguments = parser.parse_args()

    flags = layer_flags(arguments.build)
    number = 0
    failed = False
    for layer in (argument.split(':')[0] for argument in arguments.layers):
        for header in sorted((arguments.source / 'include' / layer).glob('*.h')):
            number += 1
            run = subprocess.run(flags[layer] + ['-fsyntax-only', '-x', 'c', '-'], cwd=arguments.build,
                                 input=f'#include "{header.name}"\n', capture_output=True, text=True)
            failed |= run.returncode != 0
            print(f'{"not ok" if run.returncode else "ok"} {number} - {layer}/{header.name}')
            for line in run.stderr.splitlines():
                print(f'# {line}')
    print(f'1..{number}' if number else '1..0 # SKIP no headers')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
