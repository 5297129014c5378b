"""What stores arrays without loss, each as two functions: to a file, and back to arrays.

nnpack's profiles, and their peers. A peer that codes buffers gets the simplest file: each array's
coded length, then its bytes; and memory for all arrays at once, if it can decode into some. Those
whose library is not installed are left out, and named.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Arrays = dict[str, np.ndarray]
LINE = 64
"""Bytes of which arrays in common memory begin at multiples."""


class Case(NamedTuple):
    """Arrays of one element type.

    Attributes:
        dtype: its name.
        arrays: as nnpack takes them.
        bits: the same bits in numpy's own types, for peers that know no other.
    """

    dtype: str
    arrays: Arrays
    bits: Arrays


class Peer(NamedTuple):
    """One way to store arrays; `load` takes the number of threads."""

    name: str
    save: Callable[[Path, Case], None]
    load: Callable[[Path, Case, int], Arrays]


def buffers(
    name: str,
    encode: Callable[[np.ndarray, Case], bytes],
    decode: Callable[[bytes, np.ndarray, int], np.ndarray],
) -> Peer:
    """Return the peer that codes each array as one buffer.

    `decode` gets the coded bytes, an array of the right shape and dtype to be filled, or only to be
    looked at, and the number of threads.
    """

    def save(path: Path, case: Case) -> None:
        with path.open("wb") as file:
            for array in case.bits.values():
                data = encode(array, case)
                file.write(struct.pack("<Q", len(data)))
                file.write(data)

    def load(path: Path, case: Case, threads: int) -> Arrays:
        found, at = {}, 0
        room = np.empty(sum(array.nbytes + LINE for array in case.bits.values()), np.uint8)
        with path.open("rb") as file:
            for key, array in case.bits.items():
                (size,) = struct.unpack("<Q", file.read(8))
                out = np.ndarray(array.shape, array.dtype, room, at)
                found[key] = decode(file.read(size), out, threads)
                at += -(-array.nbytes // LINE) * LINE
        return found

    return Peer(name, save, load)


def flat(array: np.ndarray) -> memoryview:
    """Return an array's bytes."""
    return array.reshape(-1).view(np.uint8).data


def shaped(data: Any, like: np.ndarray) -> np.ndarray:
    """Return bytes as an array like another."""
    return np.frombuffer(data, like.dtype).reshape(like.shape)


def made(package: str) -> list[Peer]:
    """Return the peers that a package makes; none if it is not installed."""
    try:
        return MAKERS[package]()
    except ImportError:
        return []


def versions() -> str:
    """Return the versions of what is compared."""
    absent = {"nnpack", *missing()}
    return ", ".join(f"{name} {version(name)}" for name in MAKERS if name not in absent)


def missing() -> list[str]:
    """Return the packages that are not installed."""
    return [name for name in MAKERS if not made(name)]


def _nnpack() -> list[Peer]:
    import nnpack
    from nnpack.profiles import PROFILES

    def make(profile: str) -> Peer:
        def save(path: Path, case: Case) -> None:
            # Into a file object, without the fsync that a path gets and that no peer does.
            with (
                path.open("wb", buffering=0) as file,
                nnpack.Writer(file, profile=profile, threads=1) as writer,
            ):
                for name, array in case.arrays.items():
                    writer.add(name, array)

        def load(path: Path, _case: Case, threads: int) -> Arrays:
            return nnpack.load_file(path, threads=threads)

        return Peer(f"nnpack {profile}", save, load)

    return [make(profile) for profile in PROFILES]


def _safetensors() -> list[Peer]:
    import safetensors.numpy as st

    return [
        Peer(
            "safetensors",
            lambda path, case: st.save_file(case.bits, path),
            lambda path, _case, _threads: st.load_file(path),
        )
    ]


def _numpy() -> list[Peer]:
    def load(path: Path, _case: Case, _threads: int) -> Arrays:
        with path.open("rb") as stream, np.load(stream) as file:
            return dict(file)

    def save(write: Callable[..., None]) -> Callable[[Path, Case], None]:
        def run(path: Path, case: Case) -> None:
            with path.open("wb") as file:
                write(file, **case.bits)

        return run

    return [
        Peer("numpy savez", save(np.savez), load),
        Peer("numpy savez_compressed", save(np.savez_compressed), load),
    ]


def _h5py() -> list[Peer]:
    import h5py

    def save(path: Path, case: Case) -> None:
        with h5py.File(path, "w") as file:
            for key, array in case.bits.items():
                options = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
                file.create_dataset(key, data=array, fletcher32=True, **options)

    def load(path: Path, _case: Case, _threads: int) -> Arrays:
        with h5py.File(path) as file:
            found: Arrays = {}
            file.visititems(lambda key, item: _collect(found, key, item))
            return found

    def _collect(found: Arrays, key: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[key] = item[...]

    return [Peer("h5py shuffle + gzip 1", save, load)]


def _zstandard() -> list[Peer]:
    import zstandard

    params = zstandard.ZstdCompressionParameters.from_level(3, write_checksum=True)
    coder = zstandard.ZstdCompressor(compression_params=params)
    decoder = zstandard.ZstdDecompressor()
    return [
        buffers(
            "zstd 3",
            lambda array, _: coder.compress(flat(array)),
            lambda data, like, _: shaped(decoder.decompress(data), like),
        )
    ]


def _lz4() -> list[Peer]:
    import lz4.frame

    return [
        buffers(
            "lz4",
            lambda array, _: lz4.frame.compress(flat(array), content_checksum=True),
            lambda data, like, _: shaped(lz4.frame.decompress(data), like),
        )
    ]


def _blosc2() -> list[Peer]:
    import blosc2

    def make(name: str, codec: Any, level: int, transform: Any) -> Peer:
        def encode(array: np.ndarray, _case: Case) -> bytes:
            blosc2.set_nthreads(1)
            return blosc2.compress2(
                array.reshape(-1),
                codec=codec,
                clevel=level,
                filters=[transform],
                typesize=array.itemsize,
            )

        def decode(data: bytes, out: np.ndarray, threads: int) -> np.ndarray:
            blosc2.decompress2(data, dst=out, nthreads=threads)
            return out

        return buffers(name, encode, decode)

    filters = blosc2.Filter
    return [
        make("blosc2 shuffle + zstd 5", blosc2.Codec.ZSTD, 5, filters.SHUFFLE),
        make("blosc2 bitshuffle + lz4", blosc2.Codec.LZ4, 5, filters.BITSHUFFLE),
    ]


def _pcodec() -> list[Peer]:
    from pcodec import ChunkConfig, standalone

    def encode(array: np.ndarray, _case: Case) -> bytes:
        return standalone.simple_compress(array.reshape(-1), ChunkConfig(compression_level=8))

    def decode(data: bytes, out: np.ndarray, _threads: int) -> np.ndarray:
        standalone.simple_decompress_into(data, out.reshape(-1))
        return out

    return [buffers("pcodec 8", encode, decode)]


def _openzl() -> list[Peer]:
    import openzl.ext as zl

    nodes = {
        "bfloat16": zl.nodes.BFloat16Deconstruct,
        "float16": zl.nodes.Float16Deconstruct,
        "float32": zl.nodes.Float32Deconstruct,
    }

    def make(name: str, entropy: Callable[[], Any]) -> Peer:
        made: dict[str, Any] = {}

        def encode(array: np.ndarray, case: Case) -> bytes:
            if case.dtype not in made:
                compressor = made[case.dtype] = zl.Compressor()
                compressor.set_parameter(zl.CParam.FormatVersion, zl.MAX_FORMAT_VERSION)
                graph = entropy()
                if case.dtype in nodes:
                    node = nodes[case.dtype]()
                    graph = node(compressor, sign_frac=zl.graphs.Store(), exponent=graph)
                    compressor.select_starting_graph(graph)
                else:
                    compressor.select_starting_graph(graph(compressor))
            context = zl.CCtx()
            context.ref_compressor(made[case.dtype])
            kind = zl.Type.Numeric if case.dtype in nodes else zl.Type.Serial
            flat = array.reshape(-1)
            flat = flat.view(f"u{array.itemsize}") if case.dtype in nodes else flat.view(np.uint8)
            return context.compress([zl.Input(kind, flat)])

        def decode(data: bytes, like: np.ndarray, _threads: int) -> np.ndarray:
            (output,) = zl.DCtx().decompress(data)
            return shaped(output.content.as_nparray(), like)

        return buffers(name, encode, decode)

    return [
        make("openzl deconstruct + Huffman", zl.graphs.Huffman),
        make("openzl deconstruct + FSE", zl.graphs.Fse),
    ]


def _zipnn() -> list[Peer]:
    import zipnn

    known = {"bfloat16", "float16", "float32"}

    def coder(dtype: str, threads: int) -> Any:
        kind = dtype if dtype in known else "bfloat16"
        return zipnn.ZipNN(input_format="byte", bytearray_dtype=kind, threads=threads)

    def encode(array: np.ndarray, case: Case) -> bytes:
        return coder(case.dtype, 1).compress(bytearray(flat(array)))

    def decode(data: bytes, like: np.ndarray, threads: int) -> np.ndarray:
        return shaped(coder("bfloat16", threads).decompress(data), like)

    return [buffers("zipnn", encode, decode)]


MAKERS: dict[str, Callable[[], list[Peer]]] = {
    "nnpack": _nnpack,
    "safetensors": _safetensors,
    "numpy": _numpy,
    "h5py": _h5py,
    "zstandard": _zstandard,
    "lz4": _lz4,
    "blosc2": _blosc2,
    "pcodec": _pcodec,
    "openzl": _openzl,
    "zipnn": _zipnn,
}
"""What makes the peers of each package."""
