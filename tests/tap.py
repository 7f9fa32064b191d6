# SPDX-License-Identifier: GPL-2.0-or-later
"""unittest programs that report TAP: `from tap import main; main()` in place of unittest.main()."""

import sys
import unittest


class TapResult(unittest.TestResult):
    """Prints a line a case as it ends; tracebacks as comments."""

    number = 0

    def _line(self, good, test, rest='', details=''):
        self.number += 1
        name = test.id().removeprefix('__main__.').replace('#', '')
        print(f'{"ok" if good else "not ok"} {self.number} - {name}{rest}')
        for line in details.splitlines():
            print(f'# {line}')
        sys.stdout.flush()

    def addSuccess(self, test):
        super().addSuccess(test)
        self._line(True, test)

    def addError(self, test, err):
        super().addError(test, err)
        self._line(False, test, details=self.errors[-1][1])

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._line(False, test, details=self.failures[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            details = (self.failures + self.errors)[-1][1] if self.failures or self.errors else ''
            self._line(False, subtest, details=details)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._line(True, test, f' # SKIP {reason}')

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self._line(True, test)

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._line(False, test, details='was expected to fail')


def main():
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules['__main__'])
    result = TapResult()
    suite.run(result)
    print(f'1..{result.number}')
    sys.exit(0 if result.wasSuccessful() else 1)
