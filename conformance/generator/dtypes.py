"""Data types (SPEC 6.1), and cells as images and packed (SPEC 2.4, 7)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

IDS = {
    "bool": 0x01,
    **{f"uint{n}": 0x10 | n for n in range(1, 9)},
    "uint16": 0x19, "uint32": 0x1A, "uint64": 0x1B,
    **{f"int{n}": 0x20 | n for n in range(2, 9)},
    "int16": 0x29, "int32": 0x2A, "int64": 0x2B,
    "float16": 0x39, "float32": 0x3A, "float64": 0x3B,
    "bfloat16": 0x49,
    "complex64": 0x5B, "complex128": 0x5C,
    "float4_e2m1fn": 0x64, "float6_e2m3fn": 0x66, "float6_e3m2fn": 0x6E,
    "float8_e3m4": 0x70, "float8_e4m3": 0x71, "float8_e4m3b11fnuz": 0x72, "float8_e4m3fn": 0x73,
    "float8_e4m3fnuz": 0x74, "float8_e5m2": 0x75, "float8_e5m2fnuz": 0x76, "float8_e8m0fnu": 0x77,
}  # fmt: skip
_WIDE = {9: 16, 10: 32, 11: 64, 12: 128}
_BY_HAND = {0x64: 4, 0x66: 6, 0x6E: 6}


def bits(dtype: str) -> int:
    """Return the width of a cell."""
    code = IDS[dtype]
    if code >> 4 in {6, 7}:
        return _BY_HAND.get(code, 8)
    return _WIDE.get(code & 15, code & 15)


def width(dtype: str) -> int:
    """Return the bytes of an element in an image."""
    return (bits(dtype) + 7) // 8


def signed(dtype: str) -> bool:
    """Return whether cells are two's complement integers."""
    return IDS[dtype] >> 4 == 2


def image(dtype: str, cells: Iterable[int]) -> bytes:
    """Return elements as an image: bit patterns or, for signed integers, values as well."""
    size, wide = bits(dtype), width(dtype)
    out = bytearray()
    for cell in cells:
        if not -(1 << (size - 1)) <= cell < 1 << size:
            raise ValueError(f"{cell} is no {dtype}")
        pattern = cell & ((1 << size) - 1)
        if signed(dtype) and pattern >> (size - 1):
            pattern |= (1 << 8 * wide) - (1 << size)
        out += pattern.to_bytes(wide, "little")
    return bytes(out)


def cells(dtype: str, image: bytes) -> list[int]:
    """Return the bit patterns of an image."""
    wide, mask = width(dtype), (1 << bits(dtype)) - 1
    return [
        int.from_bytes(image[at : at + wide], "little") & mask for at in range(0, len(image), wide)
    ]


def pack(dtype: str, image: bytes) -> bytes:
    """Return packed cells: cell i in the bits [i w, (i + 1) w)."""
    size = bits(dtype)
    if size >= 8:
        return image
    found, out = cells(dtype, image), bytearray()
    for at in range(0, len(found), 1024):
        some = found[at : at + 1024]
        whole = sum(cell << size * i for i, cell in enumerate(some))
        out += whole.to_bytes((len(some) * size + 7) // 8, "little")
    return bytes(out)


def count(shape: Sequence[int]) -> int:
    """Return the number of elements."""
    product = 1
    for dim in shape:
        product *= dim
    return product
