# SPDX-License-Identifier: GPL-2.0-or-later
"""Each violation of the layer table is caught, and the message says what and where.

Builds a tiny project with the real meson.build but a table of its own: a function a layer.
"""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

# queue sees spool and not io, which spool sees.
LAYERS = {'base': [], 'smtp': ['base'], 'io': ['base'], 'spool': ['base', 'io'], 'queue': ['base', 'spool']}
TOP = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ('DESTDIR', 'MESON_BUILD_ROOT')}


class TestLayers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = pathlib.Path(tempfile.mkdtemp(prefix='layers-'))
        cls.addClassCleanup(shutil.rmtree, cls.root)
        for name in ('meson.build', 'meson_options.txt', 'tests/meson.build', 'tests/layers', 'tests/check_main.c.in'):
            (cls.root / name).parent.mkdir(exist_ok=True)
            (shutil.copytree if (TOP / name).is_dir() else shutil.copy)(TOP / name, cls.root / name)
        rules = (cls.root / 'meson.build').read_text(encoding='utf-8')
        rules, found = re.subn(r'(?ms)^layers = \{$.*?^\}$', f'layers = {LAYERS}', rules)
        assert found == 1, 'no table in meson.build'
        cls.write('meson.build', rules)
        for layer, sees in LAYERS.items():
            cls.write(f'include/{layer}/{layer}_one.h', f'#pragma once\nint {layer}_one(void);\n')
            cls.write(f'src/{layer}/meson.build', f"layer_sources = files('{layer}_one.c')\n")
            cls.write_body(layer, ''.join(f'#include "{seen}_one.h"\n' for seen in sees),
                           ' + '.join(['1'] + [f'{seen}_one()' for seen in sees]))
        run = cls.command('meson', 'setup', 'build', '-Dwolfssl_prefix=none')
        assert run.returncode == 0, run.stdout

    @classmethod
    def write(cls, name, text):
        path = cls.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')

    @classmethod
    def write_body(cls, layer, top, expression):
        cls.write(f'src/{layer}/{layer}_one.c',
                  f'#include "{layer}_one.h"\n{top}\nint {layer}_one(void)\n{{\n    return {expression};\n}}\n')

    @classmethod
    def command(cls, *words):
        return subprocess.run(words, cwd=cls.root, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=300)

    def change(self, name, text):
        """A file for the time of one test."""
        path = self.root / name
        before = path.read_text(encoding='utf-8') if path.exists() else None
        self.write(name, text)
        if before is None:
            self.addCleanup(path.unlink)
        else:
            self.addCleanup(self.write, name, before)

    def violate(self, layer, top, expression):
        self.addCleanup(self.write, f'src/{layer}/{layer}_one.c',
                        (self.root / f'src/{layer}/{layer}_one.c').read_text(encoding='utf-8'))
        self.write_body(layer, top, expression)

    def build(self):
        return self.command('ninja', '-C', 'build', '-j2', '-k0')

    def check(self):
        built = self.build()
        self.assertEqual(built.returncode, 0, built.stdout)
        return self.command('meson', 'test', '-C', 'build', '--no-rebuild', '-v', 'layers')

    def assert_caught(self, run, *words):
        self.assertNotEqual(run.returncode, 0, run.stdout)
        self.assertTrue(any(all(word in line for word in words) for line in run.stdout.splitlines()),
                        f'no line says {words}:\n{run.stdout}')

    def test_clean_tree_passes(self):
        run = self.check()
        self.assertEqual(run.returncode, 0, run.stdout)

    # Include paths.
    def test_header_of_a_layer_not_seen_is_not_found(self):
        self.violate('smtp', '#include "io_one.h"\n', 'io_one()')
        self.assert_caught(self.build(), 'src/smtp/smtp_one.c:2', 'io_one.h')

    def test_private_header_of_another_layer_is_not_found(self):
        self.change('src/spool/spool_priv.h', 'int spool_private(void);\n')
        self.violate('queue', '#include "spool_priv.h"\n', '1')
        self.assert_caught(self.build(), 'src/queue/queue_one.c:2', 'spool_priv.h')

    def test_include_by_path(self):
        self.violate('smtp', '#include "../../include/io/io_one.h"\n', '1')
        self.assert_caught(self.check(), 'src/smtp/smtp_one.c:2', 'include by bare name')

    # A library a layer.
    def test_source_of_another_layer_in_the_library(self):
        self.change('src/io/io_two.c', 'int io_two(void);\nint io_two(void)\n{\n    return 2;\n}\n')
        self.change('src/io/meson.build', "layer_sources = files('io_one.c', 'io_two.c')\n")
        self.change('src/queue/meson.build', "layer_sources = files('queue_one.c', '../io/io_two.c')\n")
        run = self.check()
        self.assert_caught(run, 'src/io/io_two.c', 'library of queue')
        self.assert_caught(run, 'io_two is defined twice')

    def test_source_in_no_library(self):
        self.change('src/queue/queue_two.c', 'int queue_two;\n')
        self.assert_caught(self.check(), 'src/queue/queue_two.c', 'in no library')

    # The closure link.
    def test_call_upwards_does_not_link(self):
        self.violate('io', 'int spool_one(void);\n', 'spool_one()')
        self.assert_caught(self.build(), 'io_one.c', 'spool_one', 'undefined reference')

    # Symbols.
    def test_call_past_the_layer_between(self):
        self.violate('queue', 'int io_one(void);\n#include "spool_one.h"\n', 'io_one() + spool_one()')
        self.assert_caught(self.check(), 'src/queue/queue_one.c uses io_one of layer io', 'queue may not see')

    def test_pure_layer_allocates(self):
        self.violate('smtp', '#include <stdlib.h>\nvoid *smtp_p;\n', '(smtp_p = malloc(1)) != NULL')
        self.assert_caught(self.check(), 'src/smtp/smtp_one.c uses malloc', 'not for layer smtp')

    def test_pure_layer_reads_the_clock(self):
        self.violate('smtp', '#include <time.h>\n', '(int)time(NULL)')
        self.assert_caught(self.check(), 'src/smtp/smtp_one.c uses time', 'not for layer smtp')

    def test_kernel_is_called_outside_io(self):
        self.violate('spool', '#include <unistd.h>\n', 'fsync(0)')
        self.assert_caught(self.check(), 'src/spool/spool_one.c uses fsync', 'not for layer spool')

    def test_io_may_call_the_kernel(self):
        self.violate('io', '#include <unistd.h>\n', 'fsync(0)')
        run = self.check()
        self.assertEqual(run.returncode, 0, run.stdout)


if __name__ == '__main__':
    from tap import main
    main()
