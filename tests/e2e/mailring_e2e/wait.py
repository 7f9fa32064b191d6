# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting for a fact, never for a time."""

import time


class Late(AssertionError):
    """Something did not become true in time."""


def wait_for(fact, what, timeout=15.0, interval=0.02):
    """Asks `fact` until it says yes, and returns what it said. `what` says what is missing: text or
    a function that makes it."""
    deadline = time.monotonic() + timeout
    while True:
        answer = fact()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise Late(f'{what() if callable(what) else what}: not within {timeout:g} s')
        time.sleep(interval)
