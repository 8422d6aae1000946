"""Waiting for events, always with a deadline and a name for what was waited for."""

import threading
import time


class Timeout(AssertionError):
    """What was waited for did not happen in time."""


class Changes:
    """A lock with a "something changed" event; what it guards is changed within `with`."""

    def __init__(self):
        self._condition = threading.Condition()
        self._waiters = 0

    def __enter__(self):
        self._condition.acquire()
        return self

    def __exit__(self, *_):
        if self._waiters:
            self._condition.notify_all()
        self._condition.release()

    def wait(self, predicate, timeout, what):
        """Returns the predicate's first true value; evaluates it with the lock held."""
        deadline = time.monotonic() + timeout
        with self._condition:
            self._waiters += 1
            try:
                while True:
                    value = predicate()
                    if value:
                        return value
                    left = deadline - time.monotonic()
                    if left <= 0:
                        raise Timeout(f"{_text(what)} did not happen within {timeout} s")
                    self._condition.wait(min(left, 0.2))
            finally:
                self._waiters -= 1


_tick = threading.Event()  # never set: a pause that is no sleep of a fixed time for an event


def until(predicate, timeout, what, every=0.05):
    """Asks `predicate` (of an outside thing that tells nobody of its changes) until it is true."""
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise Timeout(f"{_text(what)} did not happen within {timeout} s")
        _tick.wait(every)


def stays(predicate, seconds, what, every=0.1):
    """Checks that `predicate` is true all the time for `seconds`: for what must not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert predicate(), _text(what)
        _tick.wait(every)


def _text(what):
    return what() if callable(what) else what
