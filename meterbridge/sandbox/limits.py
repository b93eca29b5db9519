"""Rate limits by sliding window, on the virtual clock."""

from __future__ import annotations

from collections import deque


class Window:
    """Counts what was let through in the last `span_ms`."""

    def __init__(self, span_ms: int) -> None:
        self._span_ms = span_ms
        self._let_through: deque[int] = deque()

    def wait_ms(self, now_ms: int, limit: int) -> int:
        """0 and counted when there is room; else milliseconds until there is."""
        if limit <= 0:
            return 0
        while self._let_through and self._let_through[0] <= now_ms - self._span_ms:
            self._let_through.popleft()
        if len(self._let_through) < limit:
            self._let_through.append(now_ms)
            return 0
        return max(1, self._let_through[0] + self._span_ms - now_ms)
