"""A background thread that works ahead of its consumer."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from deepcore.errors import ArgumentError, Error

T = TypeVar("T")


class Prefetch(Iterator[T]):
    """Iterate over what `make()` yields, computed by a thread at most `depth` items ahead.

    An error in the thread is raised to the consumer in its place. The thread ends when the items are used up, after an
    error, on `close()`, or when this object is dropped.
    """

    def __init__(self, make: Callable[[], Iterator[T]], depth: int) -> None:
        if depth < 1:
            raise ArgumentError(f"Prefetch: expected depth >= 1, got {depth}")
        self._channel: _Channel[T] = _Channel(depth)
        self._process = os.getpid()
        # The thread knows the channel only, so that dropping this object is noticed.
        self.thread = threading.Thread(target=_fill, args=(make, self._channel), name="deepcore-prefetch", daemon=True)
        self._finalizer = weakref.finalize(self, self._channel.stop)
        self.thread.start()

    def __iter__(self) -> Prefetch[T]:
        """The iterator itself."""
        return self

    def __next__(self) -> T:
        """The next item, waiting for it if need be."""
        if os.getpid() != self._process:
            raise Error("Prefetch: expected the process that started the iteration, got a fork of it; start a new one")
        return self._channel.take()

    def close(self) -> None:
        """Stop the thread and wait for its end."""
        self._finalizer()
        if os.getpid() == self._process and self.thread is not threading.current_thread():
            self.thread.join()


class _Channel(Generic[T]):
    """A bounded queue that either side can end."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._finished = False
        self._stopped = False
        self._error: BaseException | None = None

    def put(self, item: T) -> bool:
        """Wait for room and add the item; False once nobody wants any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._items) < self._depth)
            if not self._stopped:
                self._items.append(item)
                self._changed.notify_all()
            return not self._stopped

    def take(self) -> T:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._finished or bool(self._items))
            if self._items and not self._stopped:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopIteration

    def finish(self, error: BaseException | None) -> None:
        with self._changed:
            self._finished = True
            self._error = error
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._items.clear()
            self._error = None
            self._changed.notify_all()


def _fill(make: Callable[[], Iterator[T]], channel: _Channel[T]) -> None:
    try:
        for item in make():
            if not channel.put(item):
                break
            del item  # or it would live until the next one is ready
    except BaseException as error:  # handed to the consumer, whatever it is
        channel.finish(error)
    else:
        channel.finish(None)


__all__ = ["Prefetch"]
