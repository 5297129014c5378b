"""What must hold for any bytes: which errors, how much time and memory, and that readers agree."""

from __future__ import annotations

import io
import random
import resource
import signal
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import nnpack
from fuzz.values import Laid
from nnpack.container import METADATA
from nnpack.errors import ERROR_CLASSES, FormatError, LimitError, NnpackError, UnsupportedError
from nnpack.limits import Limits
from nnpack.metadata import is_key
from nnpack.tensor import Tensor
from nnpack.verify import Report, verify

SECONDS, SECONDS_PER_BYTE = 0.5, 8e-6
"""Of the processor, for a run and for each byte of input and of declared charge. lzw, in Python,
takes about 1e-6 a byte, and a target decodes a tensor up to eight times."""
PEAK, PEAK_PER_BYTE = 8 << 20, 24
"""Bytes that Python and numpy hold at most, for a run and for each byte of input and charge; JSON
takes about 18 times its text (SPEC 15.2)."""
RESIDENT = 64 << 20
"""Bytes that the process may grow by besides, libraries' own memory included."""
SLICES = 3
"""Drawn of each tensor."""
SOME = 4
"""One input in so many is read twice in the same way, one is written anew."""
HANG = 20.0
"""Seconds of the processor after which a run is interrupted."""


class Finding(Exception):  # noqa: N818 - it is found, and often no error was raised
    """Something that must hold does not.

    Attributes:
        kind: exception, class, offset, time, memory, hang or disagreement.
    """

    def __init__(self, kind: str, message: str) -> None:
        """Say what."""
        super().__init__(f"{kind}: {message}")
        self.kind = kind


class _HangError(BaseException):
    """Raised by the timer; no handler of the package takes it for its own."""


class Budget(Limits):
    """Limits that add up the charges that they let pass."""

    __slots__ = ("charged",)

    charged: int

    def charge(self, size: int) -> None:
        """Add a charge."""
        object.__setattr__(self, "charged", self.charged + size)

    def reset(self) -> None:
        """Begin with none."""
        object.__setattr__(self, "charged", 0)

    def check_expansion(self, charge: int, stored: int) -> None:
        """Check, then add."""
        super().check_expansion(charge, stored)
        self.charge(charge)


LIMITS = Budget(directory_bytes=1 << 20, sections=1 << 12, json_bytes=1 << 16,
                tensor_bytes=1 << 19, memory=1 << 19, expansion_bytes=1 << 19)  # fmt: skip
"""Small, so that no run is long; what the bounds count is what passes them."""
LIMITS.reset()
READING: dict[str, Any] = {"limits": LIMITS}


def gate(run: Callable[[bytes], None], data: bytes, *, traced: bool = False) -> str:
    """Run a target, and return "accept" or the class of its error.

    Args:
        run: the target.
        data: its input.
        traced: whether Python's allocations are added up: exact, but several times slower. Runs
            that are not traced are held to what the process grows by, which the kernel knows at no
            cost; what libraries allocate on their own is in it as well.

    Raises:
        Finding: a bound or a rule does not hold.
    """
    LIMITS.reset()
    resident = _peak()
    start = time.process_time()
    with _timer(), _tracing(traced):
        try:
            run(data)
        except NnpackError as bad:
            verdict = _known(bad, len(data))
        except Finding:
            raise
        except _HangError:
            raise Finding("hang", f"no end within {HANG:.0f} s of processor time") from None
        except Exception as bad:
            raise Finding("exception", f"{type(bad).__name__}: {bad}") from bad
        else:
            verdict = "accept"
        taken = time.process_time() - start
        size = len(data) + LIMITS.charged
        if traced and (peak := tracemalloc.get_traced_memory()[1]) > PEAK + PEAK_PER_BYTE * size:
            raise Finding("memory", f"{peak:,} bytes for {size:,} of input and charge")
    seconds = SECONDS + SECONDS_PER_BYTE * size
    if not traced and taken > seconds and _again(run, data) > seconds:
        raise Finding("time", f"{taken:.2f} s for {size:,} bytes of input and charge")
    grown = _peak() - resident
    allowed = RESIDENT + PEAK_PER_BYTE * size
    if grown > allowed and (again := _grown(run, data)) > allowed:
        raise Finding("memory", f"{again:,} bytes more for {size:,} of input and charge")
    return verdict


def _known(bad: NnpackError, size: int) -> str:
    """Return an error's class, which must be a known one, at a place inside the input."""
    if bad.error_class not in ERROR_CLASSES:
        raise Finding("class", f"unknown class {bad.error_class}") from bad
    if bad.offset is not None and not 0 <= bad.offset <= size:
        raise Finding("offset", f"{bad} in {size} bytes") from bad
    return bad.error_class


@contextmanager
def _timer() -> Iterator[None]:
    """Interrupt Python code that does not end; the driver's parent watches over libraries."""

    def interrupt(*_: object) -> None:
        raise _HangError

    before = signal.signal(signal.SIGPROF, interrupt)
    signal.setitimer(signal.ITIMER_PROF, HANG)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def _tracing(traced: bool) -> Iterator[None]:
    if not traced:
        yield
        return
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def _quietly(run: Callable[[bytes], None], data: bytes) -> None:
    """Run once more; what it raises was judged the first time."""
    with suppress(Exception):
        run(data)


def _again(run: Callable[[bytes], None], data: bytes) -> float:
    """Return the processor time of a second run: the first may have imported something."""
    start = time.process_time()
    _quietly(run, data)
    return time.process_time() - start


def _peak() -> int:
    """Return the most memory that the process ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def _grown(run: Callable[[bytes], None], data: bytes) -> int:
    """Return what the process grows by in a second run, its high-water mark set back."""
    reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    if not reset.exists():
        return 0

    def resident(what: str) -> int:
        row = next(row for row in status.read_text().splitlines() if row.startswith(what))
        return int(row.split()[1]) << 10

    _quietly(run, data)
    reset.write_text("5")
    before = resident("VmRSS")
    _quietly(run, data)
    return resident("VmHWM") - before


class Seen(NamedTuple):
    """What a reader says of one tensor; None where it cannot decode it."""

    dtype: str
    shape: tuple[int, ...]
    cells: bytes | None
    digest: str | None


class Model:
    """What a reader handed out, and the fault that it ended with."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.tensors: dict[str, Seen] = {}
        self.others: dict[tuple[str, str], Any] = {}
        self.fault: NnpackError | None = None


def seen(tensor: Tensor) -> Seen:
    """Decode a tensor in every way, and hold these against each other."""
    if not tensor.supported:
        return Seen(tensor.dtype, tensor.shape, None, None)
    try:
        value = tensor.value()
    except FormatError:
        _refuse_slices(tensor)
        raise
    if tensor.kind == "opaque":
        return Seen(tensor.dtype, tensor.shape, value.data.to_numpy().tobytes(), tensor.digest())
    if any(node.kind == nnpack.Opaque.id for node in tensor.head.walk()):
        return Seen(tensor.dtype, tensor.shape, None, tensor.digest())
    array = tensor.read()
    rng = random.Random(zlib.crc32(array.tobytes()))
    for _ in range(SLICES):
        key = tuple(_drawn(rng, dim) for dim in tensor.shape)
        with suppress(LimitError):  # what lies between elements counts as well
            _same(tensor[key].tobytes(), array[key].tobytes(), f"the slice {key} and the whole")
    _same(value.to_numpy().tobytes(), array.tobytes(), "value() and read()")
    return Seen(tensor.dtype, tensor.shape, array.tobytes(), tensor.digest())


def _drawn(rng: random.Random, dim: int) -> slice | int:
    """Return an index or a slice of an axis, of any step."""
    start, stop = (rng.choice((None, *[rng.randint(-dim, dim) for _ in range(3)])) for _ in "ab")
    one = slice(start, stop, rng.choice((None, 1, 2, 7, -1, -3)))
    return rng.randrange(-dim, dim) if dim and rng.random() < 0.2 else one


def _refuse_slices(tensor: Tensor) -> None:
    """Hold a slice of everything against a read, where that is refused."""
    try:
        tensor.read()
    except FormatError as bad:
        with suppress(NnpackError):
            tensor[...]
            raise Finding("disagreement", f"a slice of what is refused: {bad}") from bad


def _same(a: Any, b: Any, what: str) -> None:
    if a != b:
        raise Finding("disagreement", f"{what}: {str(a)[:200]} and {str(b)[:200]}")


def read_random(data: bytes) -> Model:
    """Read everything as a random-access reader does."""
    model = Model()
    try:
        with nnpack.open(data, threads=1, **READING) as reader:
            for name in reader:
                model.tensors[name] = seen(reader[name])
            for name, target in reader.aliases.items():
                model.others["alias", name] = target
            for kind, some in (("graph", reader.graphs), ("blob", reader.blobs)):
                for name in some:
                    model.others[kind, name] = _or_none(some.__getitem__, name)
            if METADATA in reader.directory.types:
                model.others["metadata", ""] = _or_none(lambda _: reader.metadata, "")
            model.others["root", ""] = reader.root
    except NnpackError as bad:
        model.fault = bad
    return model


def _or_none(read: Callable[[str], Any], name: str) -> Any:
    try:
        return read(name)
    except UnsupportedError:
        return None


def read_sequential(data: bytes) -> Model:
    """Read everything as it arrives."""
    model = Model()
    try:
        for kind, name, value in nnpack.read_stream(io.BytesIO(data), **READING):
            if kind == "tensor":
                model.tensors[name] = seen(value)
            else:
                model.others[kind, name] = value
                if kind == "alias":
                    model.tensors[name] = model.tensors[value]
    except NnpackError as bad:
        model.fault = bad
    return model


def check(data: bytes) -> Report:
    """Verify a file; raise its first fault."""
    report = verify(data, limits=LIMITS)
    for bad in report.faults:
        _known(bad, len(data))
    if report.faults:
        raise report.faults[0]
    return report


def agree(data: bytes) -> Model:
    """Read a file in every way, and return what they all say, or raise why it is refused.

    Raises:
        NnpackError: the fault that checking the whole file tells.
        Finding: two ways differ.
    """
    whole, stream = read_random(data), read_sequential(data)
    if zlib.crc32(data) % SOME == 1:
        _same(_said(whole), _said(read_random(data)), "reading twice")
    fault: NnpackError | None = None
    unchecked: tuple[NnpackError, ...] = ()
    try:
        unchecked = check(data).unchecked
    except NnpackError as bad:
        fault = bad
    faults = (fault, whole.fault, stream.fault, *unchecked)
    for bad in filter(None, faults):
        _known(bad, len(data))
    for name in whole.tensors.keys() & stream.tensors.keys():
        _same(whole.tensors[name], stream.tensors[name], f"{name!r} of two readers")
    if not any(isinstance(bad, LimitError) for bad in faults):
        _same(fault is None, stream.fault is None, f"verify and stream: {fault}, {stream.fault}")
        if fault is None or isinstance(whole.fault, FormatError):
            _same(fault is None, whole.fault is None, f"verify and open: {fault}, {whole.fault}")
    if fault is None and whole.fault is None and stream.fault is None:
        root = whole.others.pop(("root", ""), None)
        _same(whole.tensors, stream.tensors, "tensors of two readers")
        _same(whole.others, stream.others, "sections of two readers")
        if root is not None:
            nnpack.open(data, expect=root, threads=1, **READING).close()
    for bad in faults:
        if bad is not None and bad not in unchecked:
            raise bad
    return whole


def _said(model: Model) -> Any:
    fault = model.fault
    return model.tensors, model.others, fault and (fault.error_class, fault.offset)


def rewrite(data: bytes, before: Model, profile: str) -> None:
    """Write a valid file, which reads so, anew, and compare all that it says."""
    target = io.BytesIO()
    kept = {key: held for key, held in before.others.items()
            if key[0] in {"alias", "graph", "blob"} and held is not None}  # fmt: skip
    if held := before.others.get(("metadata", "")):
        kept["metadata", ""] = {key: held[key] for key in held if is_key(key)}
    with nnpack.open(data, threads=1, **READING) as reader:
        if not all(tensor.supported for tensor in reader.values()):
            return  # which only copying its bytes could keep
        with Laid(target, None, profile=profile, threads=1) as writer:
            aliases = reader.aliases
            for name in reader:
                if name in aliases:
                    writer.add_alias(name, aliases[name])
                else:
                    writer.add(name, reader[name])
            for (kind, name), held in kept.items():
                if kind == "graph":
                    writer.add_graph(name, held)
                elif kind == "blob":
                    writer.add_blob(name, held)
                elif kind == "metadata":
                    writer.set_metadata(held)
    after = read_random(target.getvalue())
    if after.fault:
        raise Finding("disagreement", f"what was written is refused: {after.fault}")
    _same(before.tensors, after.tensors, "a file and its rewritten form")
    for key, held in kept.items():
        _same(held, after.others.get(key), f"{key} and its rewritten form")
    check(target.getvalue())
