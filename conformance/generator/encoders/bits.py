"""Bit strings (SPEC 2.3)."""

from __future__ import annotations


class Bits:
    """Bits from the lowest of the first byte on."""

    def __init__(self) -> None:
        """Begin with none."""
        self.value = self.count = 0

    def add(self, value: int, count: int) -> None:
        """Append a field, its lowest bit first."""
        if value >> count:
            raise ValueError(f"{value} has more than {count} bits")
        self.value |= value << self.count
        self.count += count

    def code(self, value: int, count: int) -> None:
        """Append a field, its highest bit first."""
        for bit in range(count - 1, -1, -1):
            self.add(value >> bit & 1, 1)

    def align(self) -> None:
        """Fill the byte with zeros."""
        self.count += -self.count % 8

    def bytes(self) -> bytes:
        """Return all, the last byte filled with zeros."""
        return self.value.to_bytes((self.count + 7) // 8, "little")
