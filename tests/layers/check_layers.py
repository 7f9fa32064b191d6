# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the built library of each layer and says whether the layer keeps to itself (TAP).

    check_layers.py --source TOP LAYER:SEES,...:LIBRARY...

library   it holds what src/<layer> holds, all of it and nothing else, and no name that another has too
includes  own headers are included by bare name, so that the include paths of the layer decide
symbols   what it takes from elsewhere is defined in a layer that it may see, or is allowed in OUTSIDE

Include paths and the closure program (see meson.build) refuse the rest at build time.
"""

import argparse
import collections
import pathlib
import re
import subprocess
import sys

# Functions from outside the project that layers may call, as patterns of whole names.
PURE = (r'mem(cpy|ccpy|pcpy|move|set|cmp|chr|rchr|mem)|bcmp|explicit_bzero|bsearch|abort'
        r'|str(n?len|n?cmp|n?casecmp|chr|chrnul|rchr|n?cpy|c?spn|pbrk|str|casestr|toll?|toull?)')
PLAIN = PURE + r'|v?snprintf|strerror(desc|name)_np|qsort|inet_(ntop|pton)'
HEAP = r'malloc|calloc|realloc|reallocarray|aligned_alloc|posix_memalign|free'
FILES = (r'f(open|close|read|write|gets|puts|putc|printf|flush|error|eof|ileno)|vfprintf|getline|getc|setvbuf'
         r'|v?asprintf|open_memstream|std(in|out|err)|strn?dup|strerror|strtod|realpath|access|f?stat|glob(free)?')
ANY = r'.*'
OUTSIDE = collections.defaultdict(lambda: PLAIN, {
    'table': PLAIN + r'|open|read|close|f?stat|memfd_create|sendfile|clock_gettime|cdb_\w+',    # reads files
    'conf': PLAIN + '|' + HEAP + '|' + FILES + r'|cfg_\w+',     # reads its files, at start and reload
    'sasl': PURE,                               # messages in, challenges out
    'smtp': PURE,                               # bytes in, bytes out
    'mail': PURE,
    'io': ANY,                                  # the only one to talk to the kernel
    'tls': PLAIN + r'|(wolfSSL|wolfSSLv23|wolfCrypt|wc)_\w+',
    'work': PLAIN + r'|pthread_\w+',            # starts the helpers
    'http': PLAIN + r'|curl_\w+',                   # libcurl, on helper threads
    'report': PLAIN + r'|deflate\w*',                # zlib, on a helper thread
    'dns': PLAIN + r'|ares_\w+',
    'auth': PLAIN + '|' + FILES + r'|crypt_\w+|json_\w+',             # reads the users file, at start and reload
    'admin': PLAIN + r'|json_\w+',             # reads envelopes that come in
    'shard': PLAIN + r'|pthread_\w+|sched_\w+',                  # starts its thread
    'main': ANY,                                # privileges, signals, the start of it all
})
# What one file alone may call besides.
OUTSIDE_FILE = {
    'src/base/base_mem.c': HEAP + '|write',     # everybody allocates through it; last words when it fails
    'src/base/base_assert.c': 'write',          # last words before abort()
}
# What compilers, assert(), errno, stack protectors and sanitizers put in.
COMPILER = re.compile(r'_GLOBAL_OFFSET_TABLE_|__assert_fail|__errno_location|__stack_chk_fail|__tls_get_addr'
                      r'|__cpu_(model|indicator_init|features2)|__(pop)?c[lt]?z?(ount)?[dst]i2|__u?(div|mod)[dt]i[34]'
                      r'|__(a|t|ub|l|h)san_\w+|__sanitizer_\w+|__(start_|stop_)?_*sancov_\w+|__gcov_\w+|__llvm_\w+|\.L\w+')
PROGRAMS = {'mailring.c', 'mailring_load.c', 'mailring_sink.c'}     # each with a main(), in no library

Layer = collections.namedtuple('Layer', 'name sees library defines takes members')


def plain_name(symbol):
    """The function a programmer wrote: __memcpy_chk is memcpy, __isoc99_sscanf is sscanf, fopen64 is fopen."""
    symbol = re.sub(r'^__isoc\d\d_', '', symbol)
    symbol = re.sub(r'^(f?open|f?stat|lstat|fseeko|ftello|sendfile)64$', r'\1', symbol)
    return re.sub(r'^__(\w+)_chk$', r'\1', symbol)


def read_layer(argument):
    name, sees, library = argument.split(':', 2)
    defines, takes, members = {}, set(), set()
    listing = subprocess.run(['nm', '-A', '-P', library], check=True, capture_output=True, text=True)
    for line in listing.stdout.splitlines():
        match = re.match(r'.*\[(?:.*/)?(\S+?)\.o\]: (\S+) (\w)', line)
        if not match:
            continue
        member, symbol, kind = match.groups()
        members.add(member)
        if kind == 'U' or kind in 'vw':
            takes.add((member, symbol))
        elif kind.isupper():
            defines[symbol] = member
    names = subprocess.run(['ar', 't', library], check=True, capture_output=True, text=True)
    members |= {pathlib.PurePath(line).name[:-2] for line in names.stdout.splitlines()}
    return Layer(name, sees.split(',') if sees else [], library, defines, takes, members)


def source_of(member):
    """src_smtp_smtp_reply.c, as meson names the object, to src/smtp/smtp_reply.c."""
    return re.sub(r'^src_([a-z]+)_', r'src/\1/', member)


def check_library(layer, layers, source):
    folder = source / 'src' / layer.name
    there = {f'src_{layer.name}_{path.name}' for path in folder.glob('*.c')
             if layer.name != 'main' or path.name not in PROGRAMS}
    for member in sorted(layer.members - there):
        yield f'{source_of(member)} is in the library of {layer.name}: list only files of src/{layer.name}'
    for member in sorted(there - layer.members):
        yield f'{source_of(member)} is in no library: add it to src/{layer.name}/meson.build'
    for other in layers.values():
        for symbol in sorted(layer.defines.keys() & other.defines.keys()):
            if other.name < layer.name:
                yield f'{symbol} is defined twice: {source_of(layer.defines[symbol])} and ' \
                      f'{source_of(other.defines[symbol])}'


def check_includes(layer, source):
    for folder in ('include', 'src'):
        for path in sorted((source / folder / layer.name).glob('*.[ch]')):
            for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
                if re.match(r'\s*#\s*include\s*"[^"]*/', line):
                    yield f'{path.relative_to(source)}:{number}: include by bare name, not by path: {line.strip()}'


def check_symbols(layer, layers):
    allowed = re.compile(OUTSIDE[layer.name])
    owners = {symbol: other for other in layers.values() for symbol in other.defines}
    for member, symbol in sorted(layer.takes):
        if symbol in layer.defines or COMPILER.fullmatch(symbol):
            continue
        owner = owners.get(symbol)
        here = re.compile(OUTSIDE_FILE.get(source_of(member), '$'))
        if owner:
            if owner.name not in layer.sees:
                yield f'{source_of(member)} uses {symbol} of layer {owner.name}, which {layer.name} may not see' \
                      ' (table in meson.build)'
        elif not allowed.fullmatch(plain_name(symbol)) and not here.fullmatch(plain_name(symbol)):
            yield f'{source_of(member)} uses {symbol}, which is not for layer {layer.name}' \
                  ' (OUTSIDE in tests/layers/check_layers.py)'


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--source', type=pathlib.Path, required=True)
    parser.add_argument('layers', nargs='*')
    arguments = parser.parse_args()
    layers = {layer.name: layer for layer in map(read_layer, arguments.layers)}

    number = 0
    failed = False
    for layer in layers.values():
        for what, complaints in (('library', check_library(layer, layers, arguments.source)),
                                 ('includes', check_includes(layer, arguments.source)),
                                 ('symbols', check_symbols(layer, layers))):
            number += 1
            complaints = list(complaints)
            print(f'{"not ok" if complaints else "ok"} {number} - {layer.name}: {what}')
            for complaint in complaints:
                failed = True
                print(f'# {complaint}')
                print(complaint, file=sys.stderr)
    print(f'1..{number}' if number else '1..0 # SKIP no layers')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
