"""Virtual time: all that happens is an entry of one queue, and nothing takes real time.

Whatever runs as code (an execution, a function) is a greenlet that lets time pass at its calls;
what is due meanwhile happens meanwhile. So the order of everything follows from the entries alone
and is the same each time.
"""

import heapq
from collections.abc import Callable
from typing import Any

from greenlet import getcurrent, greenlet

type Act = Callable[..., object]


class Entry:
    """Something that is due at a time. `background` is what goes on for ever, such as a clock."""

    __slots__ = ("act", "arguments", "background")

    def __init__(self, act: Act | None, arguments: tuple[Any, ...], background: bool) -> None:
        self.act, self.arguments, self.background = act, arguments, background


class Box:
    """What one process waits for; the first value that is put in stays."""

    __slots__ = ("full", "value", "waiter")

    def __init__(self) -> None:
        self.full, self.value, self.waiter = False, None, None  # type: bool, Any, Any


class Engine:
    """The queue. Times are seconds since 1970."""

    def __init__(self, start: float) -> None:
        self.now = start
        self._queue: list[tuple[float, int, Entry]] = []  # by time, then as they came
        self._priority = 0
        self.foreground = 0
        self._hub: Any = None

    def at(self, when: float, act: Act, *arguments: Any, background: bool = False) -> Entry:
        """Do something at a time."""
        self._priority += 1
        entry = Entry(act, arguments, background)
        heapq.heappush(self._queue, (max(when, self.now), self._priority, entry))
        self.foreground += not background
        return entry

    def after(self, seconds: float, act: Act, *arguments: Any, background: bool = False) -> Entry:
        """Do something some seconds from now."""
        return self.at(self.now + seconds, act, *arguments, background=background)

    def cancel(self, entry: Entry | None) -> None:
        """Do it not, if it was not done."""
        if entry and entry.act:
            entry.act = None
            self.foreground -= not entry.background

    def spawn(self, act: Act, *arguments: Any) -> None:
        """Run something as a process of its own, from now on."""
        self.after(0, _start, act, arguments)

    def pause(self, seconds: float) -> None:
        """Let time pass for the process that calls; what is due meanwhile happens."""
        due = self.now + seconds
        queue = self._queue
        while queue and queue[0][2].act is None:
            heapq.heappop(queue)
        if not queue or queue[0][0] > due:
            self.now = due
            return
        self.at(due, getcurrent().switch)
        self._hub.switch()

    def wait(self, box: Box, seconds: float | None = None) -> Any:
        """Wait for a box to be filled; None if it is not within the time."""
        if not box.full:
            box.waiter = getcurrent()
            alarm = None if seconds is None else self.after(seconds, self.fill, box, None)
            self._hub.switch()
            self.cancel(alarm)
        return box.value

    def fill(self, box: Box, value: Any) -> bool:
        """Put a value into a box; False if there is one already."""
        if box.full:
            return False
        box.full, box.value = True, value
        if box.waiter:
            self.after(0, box.waiter.switch)
            box.waiter = None
        return True

    def run(self, until: float, enough: Callable[[], bool]) -> None:
        """Let happen what is due until a time, or until it is enough."""
        self._hub = getcurrent()
        queue = self._queue
        while queue and not enough():
            when, command, entry = heapq.heappop(queue)
            if entry.act is None:
                continue
            if when > until:
                heapq.heappush(queue, (when, command, entry))
                break
            self.now = max(self.now, when)
            act, entry.act = entry.act, None
            self.foreground -= not entry.background
            act(*entry.arguments)
        else:
            return
        self.now = max(self.now, until)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_hub": None}


def _start(act: Act, arguments: tuple[Any, ...]) -> None:
    greenlet(act).switch(*arguments)
