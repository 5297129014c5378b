"""The commands: exit codes, what goes where, and that nothing in a file reaches a terminal raw."""
# ruff: noqa: S602, S603, S607

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from click.testing import CliRunner

import nnpack
from nnpack import __version__, cli, describe, profiles, render, testing
from nnpack.cli import Exit, main
from tests import assemble as a
from tests.test_damage import FILES, everything

ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)
CODES = nnpack.Dense(np.arange(8, dtype=np.uint8).reshape(2, 4), "uint4")
LONG = "model.layers.31.self_attn." + 60 * "very_" + "long.weight"
ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def damaged(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder, made the current one, with a few files."""
    monkeypatch.chdir(tmp_path)
    scale = np.ones((2, 1), np.float16)
    with nnpack.Writer("m.nnpk", digests=True) as writer:
        writer.add("w", ROWS)
        writer.add("half", np.array([1, -2.5], ml_dtypes.bfloat16))
        writer.add("codes", nnpack.Dense(np.array([-8, 7], np.int8), "int4"))
        writer.add(
            "q", nnpack.Quantized(nnpack.Codebook(np.arange(8, dtype=np.int8), CODES), scale)
        )
        writer.add("parts", nnpack.Concat([nnpack.Quantized(CODES, scale)] * 3, 0))
        writer.add("zeros", nnpack.Constant(np.float32(0), (9, 9)))
        writer.add(LONG, np.float64(1))
        writer.add("[red]evil[/red]\u200b\u00ad", np.uint8([1]))
        writer.add_alias("tied", "w")
        writer.add_blob("tokenizer.json", b'{"a": 1}')
        writer.set_metadata({"note": "two\nlines [bold]\x1b[31m\u202e", "n": {"x": 1}})
    whole = tmp_path.joinpath("m.nnpk").read_bytes()
    files = {
        "damaged.nnpk": damaged(whole, nnpack.open(whole).sections[0].payload_offset),
        "cut.nnpk": whole[:500],
        "foreign.txt": b"no nnpack file at all",
        "header.nnpk": damaged(whole, 3),
        "behind.nnpk": whole + b"<html>",
        "inserted.nnpk": whole[:160] + b"\n" + whole[160:],
        "short.safetensors": b"\x40" + bytes(7) + b"{",
        "newer.nnpk": whole[:8] + b"\2\0" + bytes(300),
        "plain.nnpk": a.assemble(a.floats("w", 1, 2)),
        "private.nnpk": FILES["private"],
        "opaque.nnpk": FILES["opaque"],
    }
    for name, data in files.items():
        tmp_path.joinpath(name).write_bytes(data)
    np.savez("a.npz", w=ROWS, b=np.float32([1, 2]))
    tmp_path.joinpath("short.npz").write_bytes(tmp_path.joinpath("a.npz").read_bytes()[:-9])
    return tmp_path


def run(*args, stdin=None):
    result = CliRunner().invoke(main, [*map(str, args)], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def real(*args, **options):
    """Run the command as a process."""
    command = [sys.executable, "-m", "nnpack", *args]
    return subprocess.run(command, env=ENV, capture_output=True, check=False, **options)


@pytest.mark.parametrize(
    ("code", "args", "says"),
    [
        (Exit.FINE, ["info", "m.nnpk"], None),
        (Exit.FINE, ["verify", "m.nnpk"], None),
        (Exit.FINE, ["verify", "private.nnpk"], None),
        (Exit.FINE, ["explain", "m.nnpk"], None),
        (Exit.DAMAGED, ["verify", "damaged.nnpk"], "salvage damaged.nnpk -o NEW"),
        (Exit.DAMAGED, ["verify", "header.nnpk"], "salvage header.nnpk -o NEW"),
        (Exit.DAMAGED, ["verify", "plain.nnpk", "--expect", "0" * 64], None),
        (Exit.DAMAGED, ["salvage", "damaged.nnpk", "-o", "new"], None),
        (Exit.USAGE, ["verify"], "Missing argument"),
        (Exit.USAGE, ["nonsense"], "No such command"),
        (Exit.USAGE, ["verify", "m.nnpk", "--expect", "12"], "64 hex digits"),
        (Exit.USAGE, ["extract", "m.nnpk", "w", "a:b", "-o", "x"], "not made of numbers"),
        (Exit.USAGE, ["extract", "m.nnpk", "w", "9", "-o", "x"], "index 9 is out of range"),
        (Exit.USAGE, ["extract", "m.nnpk", "nope", "-o", "x"], "no tensor or blob is called"),
        (
            Exit.USAGE,
            ["extract", "m.nnpk", "tokenizer.json", "0:3", "-o", "x"],
            "is a blob, which has no slices",
        ),
        (
            Exit.USAGE,
            ["convert", "a.npz", "x.nnpk", "--profile", "tiny"],
            "'raw', 'fast', 'balanced', 'small'",
        ),
        (Exit.USAGE, ["convert", "a.npz", "x.nnpk", "--include", "W"], "there are 'w', 'b'"),
        (Exit.USAGE, ["convert", "a.npz", "x.nnpk", "--exclude", "?"], "exclude='?' leaves no"),
        (Exit.USAGE, ["convert", "a.npz", "x.unknown"], "does not tell its format"),
        (Exit.UNREADABLE, ["info", "cut.nnpk"], "nnpk: truncated: "),
        (Exit.UNREADABLE, ["info", "foreign.txt"], "nnpack convert"),
        (Exit.UNREADABLE, ["verify", "foreign.txt"], "not-nnpack: the file does not start with"),
        (Exit.UNREADABLE, ["verify", "a.npz"], "`nnpack convert` makes an nnpack file of it"),
        (Exit.UNREADABLE, ["info", "header.nnpk"], "`nnpack verify header.nnpk` lists all"),
        (Exit.UNREADABLE, ["info", "behind.nnpk"], "truncated: 6 bytes after the trailer"),
        (Exit.UNREADABLE, ["explain", "cut.nnpk"], None),
        (Exit.UNREADABLE, ["explain", "foreign.txt"], None),
        (Exit.UNREADABLE, ["extract", "damaged.nnpk", "w", "-o", "x"], "bad-checksum"),
        (Exit.UNREADABLE, ["convert", "damaged.nnpk", "x.nnpk"], "damaged.nnpk: bad-checksum"),
        (Exit.UNREADABLE, ["salvage", "foreign.txt", "-o", "x"], "foreign.txt: not-nnpack"),
        (Exit.UNSUPPORTED, ["info", "newer.nnpk"], "unsupported-version"),
        (Exit.UNSUPPORTED, ["verify", "newer.nnpk"], "unsupported-version"),
        (Exit.UNSUPPORTED, ["extract", "private.nnpk", "w", "-o", "x"], "org.example"),
        (Exit.UNSUPPORTED, ["extract", "opaque.nnpk", "w", "-o", "x"], "org.example"),
        (Exit.IO, ["info", "absent.nnpk"], "absent.nnpk: No such file"),
        (Exit.IO, ["verify", "."], "Is a directory"),
        (Exit.IO, ["convert", "a.npz", "m.nnpk"], "--overwrite replaces it"),
        (
            Exit.IO,
            ["convert", "a.npz", "absent/x.nnpk"],
            "absent/x.nnpk: there is no folder 'absent'",
        ),
        (Exit.IO, ["convert", "a.npz", "/absent/x.nnpk"], "there is no folder '/absent'"),
        (Exit.IO, ["extract", "m.nnpk", "w", "-o", "absent/x"], "absent/x: there is no folder"),
        (Exit.IO, ["salvage", "cut.nnpk", "-o", "absent/x"], "absent/x: there is no folder"),
        (Exit.IO, ["convert", "a.npz", ".", "--to", "npz"], ".: a folder: name a file in it"),
        (Exit.IO, ["convert", "a.npz", ".", "--to", "npz", "--overwrite"], ".: a folder"),
        (Exit.IO, ["extract", "m.nnpk", "w", "-o", "."], ".: a folder: name a file in it"),
        (Exit.IO, ["salvage", "cut.nnpk", "-o", "."], ".: a folder: name a file in it"),
        (Exit.IO, ["extract", "m.nnpk", "w", "-o", "m.nnpk"], "--overwrite replaces it"),
        (
            Exit.IO,
            ["salvage", "cut.nnpk", "-o", "m.nnpk"],
            "m.nnpk: it exists; nothing is replaced: name another",
        ),
    ],
)
def test_exit_codes(folder, code, args, says):
    before = sorted(folder.iterdir())
    result = run(*args)
    assert result.exit_code == code, result.output
    assert says is None or says in result.stderr
    assert "Traceback" not in result.output
    if says and not result.stderr.startswith("Usage"):
        assert result.stderr.startswith("nnpack: ")
        assert len(result.stderr.splitlines()) == 1
    left = {path.name for path in folder.iterdir()} - {path.name for path in before}
    assert left == ({"new"} if "new" in args else set())


@pytest.mark.parametrize("args", [["info"], ["convert"], ["verify"], ["salvage"], ["explain"]])
@pytest.mark.parametrize("name", ["short.safetensors", "short.npz"])
def test_a_damaged_file_of_another_format_gets_no_advice_for_nnpack(folder, name, args):
    more = {"convert": ["x.nnpk"], "salvage": ["-o", "x.nnpk"]}.get(args[0], [])
    result = run(*args, name, *more)
    assert result.exit_code == Exit.UNREADABLE
    assert "salvage" not in result.output
    assert "nnpack verify" not in result.output
    foreign = args[0] in {"verify", "salvage"}
    assert ("`nnpack convert` makes" in result.stderr) == foreign


def test_info_shows_all_that_is_in_a_file(folder):
    lines = run("info", "m.nnpk").stdout.splitlines()
    assert lines[0].split() == ["name", "kind", "dtype", "shape", "size", "stored", "ratio"]
    assert lines[1].split()[:4] == ["w", "dense", "float32", "3×4"]
    assert "quantized(scale=float16, codes=codebook(table=int8, indices=uint4))" in lines[4]
    assert "concat(3 of quantized(scale=float16, codes=uint4))" in lines[5]
    assert lines[6].split()[-3:] == ["0", "B", "all"]
    assert lines[7].startswith(LONG + " ")
    assert lines[7].split()[1:4] == ["dense", "float64", "scalar"]
    assert lines[9].startswith("8 tensors, ")
    assert lines[10:14] == [
        "alias     tied -> w",
        "blob      tokenizer.json: 8 B stored in 8 B",
        "metadata  note: two\\nlines [bold]\\x1b[31m\\u202e",
        'metadata  n: {"x": 1}',
    ]
    assert lines[14] == f"root      {nnpack.open('m.nnpk').root}"
    ends = {len(line) for line in lines[:9]}
    assert len(ends) == 1  # right-aligned


def test_info_as_json_is_complete(folder):
    about = json.loads(run("info", "m.nnpk", "--json").stdout)
    assert about["schema"] == "nnpack.info/1"
    assert about["size"] == folder.joinpath("m.nnpk").stat().st_size
    assert (about["aliases"], about["metadata"]["n"], about["faults"]) == (
        {"tied": "w"},
        {"x": 1},
        [],
    )
    tensors = {row["name"]: row for row in about["tensors"]}
    assert [*tensors][:3] == ["w", "half", "codes"]
    assert tensors["w"]["shape"] == [3, 4]
    assert tensors["w"]["size"] == 48
    indices = tensors["q"]["tree"]["parts"]["codes"]["parts"]["indices"]
    assert (indices["dtype"], indices["codecs"], indices["shape"]) == ("uint4", ["raw"], [2, 4])
    assert about["totals"]["tensors"] == 8


def test_a_long_table_is_quick(folder, monkeypatch):
    """What is alike is described once, and a terminal gets the plain table."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    data = testing.file_of({f"layer.{i}": np.float32([i, 1]) for i in range(render.FITTED + 1)})
    calls = []
    parse = describe.parse_payload
    monkeypatch.setattr(describe, "parse_payload", lambda s: calls.append(s) or parse(s))
    monkeypatch.setenv("COLUMNS", "20")
    with nnpack.open(data) as reader:
        tensors = describe.describe(reader)["tensors"]
    assert [row["name"] for row in tensors] == [f"layer.{i}" for i in range(render.FITTED + 1)]
    assert len({row["offset"] for row in tensors}) == len(tensors)
    assert all(row["shape"] == [2] and row["stored"] == 8 for row in tensors)
    assert len(calls) == 1
    out = Terminal()
    render.print_tensors(tensors, out)
    assert len(out.getvalue().splitlines()) == 1 + len(tensors)
    assert "\x1b" not in out.getvalue()


def test_info_of_unknown_and_damaged_parts(folder):
    line = run("info", "private.nnpk").stdout.splitlines()[1]
    assert line.split()[:3] == ["w", "dense", "(unsupported)"]
    about = json.loads(run("info", "private.nnpk", "--json").stdout)
    assert about["names"] == [{"class": "codec", "id": 200, "name": "org.example.run"}]
    assert about["tensors"][0]["tree"]["codecs"] == ["org.example.run"] * 2
    data = everything()
    at = next(s.payload_offset for s in nnpack.open(data).sections if s.label == "(metadata)")
    folder.joinpath("bad").write_bytes(damaged(data, at))
    result = run("info", "bad")
    assert result.exit_code == Exit.UNREADABLE
    assert "damaged   bad-checksum" in result.stdout
    assert "alias     w2 -> w" in result.stdout


def test_info_of_other_formats(folder):
    lines = run("info", "a.npz").stdout.splitlines()
    assert [line.split()[:4] for line in lines[1:3]] == [
        ["w", "dense", "float32", "3×4"],
        ["b", "dense", "float32", "2"],
    ]
    about = json.loads(
        run("info", "-", "--json", stdin=folder.joinpath("a.npz").read_bytes()).stdout
    )
    assert (about["format"], about["totals"]["tensors"]) == ("npz", 2)


def test_names_are_shown_harmlessly(folder):
    for args in (["info", "m.nnpk"], ["explain", "m.nnpk"]):
        output = run(*args).stdout
        assert "[red]evil[/red]\\u200b\\xad" in output
        assert not {"\u200b", "\u00ad", "\x1b"} & {*output}
    assert "\\x1b[31m\\u202e" in run("info", "m.nnpk").stdout
    assert not {"\u200b", "\x1b"} & {*run("convert", "m.nnpk", "x.nnpk").output}


def test_names_in_errors_are_escaped(folder):
    data = a.assemble(a.floats("[red]\u200b", 1))
    folder.joinpath("bad.nnpk").write_bytes(damaged(data, data.index(b"\0\0\x80\x3f")))
    for args in (["verify", "bad.nnpk"], ["extract", "bad.nnpk", "[red]\u200b", "-o", "x"]):
        output = run(*args).output
        assert "[red]\\u200b" in output
        assert "\u200b" not in output
    assert "\x1b" not in run("info", "\x1b[31m").output


def test_a_terminal_gets_a_table_that_fits(folder, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    for columns in (60, 100, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        out = Terminal()
        with nnpack.open("m.nnpk") as reader:
            render.print_tensors(describe.describe(reader)["tensors"], out)
        text = out.getvalue()
        assert "[red]" in text.replace("\n", "") or columns < 99
        assert (
            max(map(len, text.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()))
            <= columns
        )
    assert "quantized(scale=float16" not in text
    assert "quantized(" in text


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (99, "quantized(scale=float16, codes=codebook(table=int8, indices=uint4))"),
        (60, "quantized(scale=float16, codes=codebook(…))"),
        (42, "quantized(…, codes=codebook(…))"),
        (12, "quantized(…)"),
        (0, "quantized(…)"),
    ],
)
def test_kinds_get_shorter(folder, width, text):
    with nnpack.open("m.nnpk") as reader:
        tree = describe.describe(reader)["tensors"][3]["tree"]
    assert render.kind_text(tree, width) in {text, "quantized(…, codes=codebook(…, indices=uint4))"}


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B  "),
        (1023, "1023 B  "),
        (1024, "1.0 KiB"),
        (1 << 20, "1.0 MiB"),
        (999 << 30, "999.0 GiB"),
    ],
)
def test_sizes_are_human(size, text):
    assert render.human(size) == text


def test_verify_says_how_far_a_file_can_be_trusted(folder):
    root = nnpack.open("m.nnpk").root
    plain, pinned = run("verify", "m.nnpk"), run("verify", "m.nnpk", "--expect", root)
    assert plain.stdout.startswith("m.nnpk: intact: 12 sections")
    assert f"root {root}" in plain.stdout
    assert pinned.stdout.startswith("m.nnpk: authentic: ")
    assert "safe" not in plain.output + pinned.output
    bad = run("verify", "damaged.nnpk").stdout
    assert bad.startswith("damaged.nnpk: damaged: 2 faults; 10 of 12 sections intact")
    assert "section 'w', byte" in bad
    cut = run("verify", "cut.nnpk").stdout
    assert "along their heads these sections are intact:\n  w\n  half\n" in cut
    other = run("verify", "m.nnpk", "--expect", "0" * 64)
    assert other.stdout.startswith("m.nnpk: not the expected file, though its own checksums match")
    assert "damaged" not in other.output
    assert "salvage" not in other.output
    behind = run("verify", "behind.nnpk").stdout
    assert behind.splitlines()[1].startswith("  truncated: 6 bytes after the trailer, which ends")
    assert "root " not in behind
    inserted = run("verify", "inserted.nnpk").stdout
    assert "are whole but not in their place, to which they are bound: 1 byte was ins" in inserted
    assert "not decoded" in run("verify", "private.nnpk").stdout


def test_pipes_are_read_whole(folder):
    data = folder.joinpath("m.nnpk").read_bytes()
    assert run("verify", "-", stdin=data).stdout.startswith("-: intact")
    assert run("info", "-", stdin=data).stdout == run("info", "m.nnpk").stdout
    assert run("explain", "-", stdin=data).stdout == run("explain", "m.nnpk").stdout
    assert run("salvage", "-", "-o", "new", stdin=data[:-1]).exit_code == Exit.FINE
    os.mkfifo("fifo")
    with subprocess.Popen(["sh", "-c", "cat m.nnpk > fifo"]):
        assert run("verify", "fifo").stdout.startswith("fifo: intact")
    result = run("info", "-", stdin=data[:50])
    assert result.stderr.startswith("nnpack: standard input: truncated")


def test_extract_writes_what_numpy_reads(folder):
    assert run("extract", "m.nnpk", "w", "-o", "w.npy").exit_code == Exit.FINE
    assert np.array_equal(np.load("w.npy"), ROWS)
    for index, expected in {
        "1": ROWS[1],
        "-1,::2": ROWS[-1, ::2],
        "0:2,...,3": ROWS[0:2, ..., 3],
        "...": ROWS,
        "2,3": ROWS[2, 3],
        ":,1:": ROWS[:, 1:],
    }.items():
        result = run("extract", "m.nnpk", "tied", index, "-o", "-")
        found = np.load(io.BytesIO(result.stdout_bytes))
        assert found.shape == expected.shape
        assert np.array_equal(found, expected)
    assert run("extract", "m.nnpk", "zeros", "-o", "w.npy", "--overwrite").exit_code == Exit.FINE
    assert np.load("w.npy").shape == (9, 9)
    result = run("extract", "m.nnpk", "tokenizer.json", "-o", "-")
    assert result.stdout_bytes == b'{"a": 1}'


def test_types_that_npy_does_not_have(folder):
    result = run("extract", "m.nnpk", "half", "-o", "x.npy")
    assert result.stderr == (
        "nnpack: note: .npy has no bfloat16: written as uint16, the same bits; "
        ".view(ml_dtypes.bfloat16) brings it back\n"
    )
    assert np.load("x.npy").tolist() == [0x3F80, 0xC020]
    result = run("extract", "m.nnpk", "codes", "-o", "y.npy")
    assert result.stderr == "nnpack: note: .npy has no int4: written as int8, the same values\n"
    assert np.load("y.npy").tolist() == [-8, 7]


def test_convert_shows_what_was_saved(folder):
    result = run("convert", "a.npz", "x.nnpk", "--digests", "--exclude", "b*")
    lines = result.stdout.splitlines()
    assert lines[1].split()[:4] == ["w", "dense", "float32", "3×4"]
    assert lines[2].startswith("1 tensor, 48 B stored in ")
    assert lines[3] == f"root {nnpack.open('x.nnpk').root}"
    assert result.stderr == ""
    result = run("convert", "x.nnpk", "x.npz", "--include", "w", "--threads", "1")
    assert result.stdout == "1 tensor written as npz\n"
    assert np.array_equal(np.load("x.npz")["w"], ROWS)


def test_convert_between_pipes(folder):
    result = run("convert", "-", "-", stdin=folder.joinpath("a.npz").read_bytes())
    assert [*nnpack.open(result.stdout_bytes)] == ["w", "b"]
    assert [line.split()[:1] for line in result.stderr.splitlines()[:3]] == [["name"], ["w"], ["b"]]
    result = run("convert", "private.nnpk", "-")
    assert nnpack.open(result.stdout_bytes)["w"].shape == (80,)
    assert "dense (unsupported)" in result.stderr
    data = folder.joinpath("m.nnpk").read_bytes()
    result = run("convert", "-", "-", stdin=data)
    assert [*nnpack.open(result.stdout_bytes)] == [*nnpack.open(data)]
    assert len(result.stderr.splitlines()) == 1 + 1 + 8 + 1  # a note, the table, the total
    result = run(
        "convert",
        "-",
        "-",
        "--to",
        "npz",
        "--from",
        "npz",
        stdin=folder.joinpath("a.npz").read_bytes(),
    )
    assert np.array_equal(np.load(io.BytesIO(result.stdout_bytes))["w"], ROWS)


def test_convert_names_what_is_lost(folder):
    result = run("convert", "m.nnpk", "m.npz", "--include", "[wqzpt]*")
    assert "nnpack: lost: blob: tokenizer.json\n" in result.stderr
    assert "nnpack: note: " in result.stderr
    result = run("convert", "m.nnpk", "again.nnpk")
    note = "nnpack: note: the digests of the source are left out; --digests makes new ones\n"
    assert result.stderr == note
    assert run("convert", "m.nnpk", "new.nnpk", "--digests").stderr == ""


def test_a_link_into_no_folder_names_the_folder(folder):
    folder.joinpath("link.nnpk").symlink_to(folder / "gone" / "x.nnpk")
    result = run("convert", "a.npz", "link.nnpk", "--overwrite")
    assert result.exit_code == Exit.IO
    assert f"there is no folder '{folder / 'gone'}'" in result.output


def test_the_profiles_are_offered(folder):
    assert cli.PROFILES == profiles.PROFILES
    text = " ".join(run("convert", "--help").output.split())
    assert "[raw|fast|balanced|small]" in text
    assert "C order, little-endian and uncompressed" in text


def test_salvage_lists_what_is_lost(folder):
    result = run("salvage", "damaged.nnpk", "-o", "new.nnpk")
    assert result.stdout.splitlines()[0] == "new.nnpk: 9 sections kept, 2 lost"
    assert "  lost: w at byte 16: bad-checksum" in result.stdout
    assert "digests are left out" in result.stdout
    result = run("salvage", "cut.nnpk", "-o", "cut2.nnpk")
    assert "cannot be known" in result.stdout
    assert "--overwrite" not in run("salvage", "--help").output


def test_help_and_version_need_no_numpy():
    code = "import sys; from nnpack.cli import main; main(sys.argv[1:], standalone_mode=False); print({'numpy', 'rich'} & {*sys.modules})"
    commands = [[], *([name] for name in main.commands)]
    for args in [[*command, "--help"] for command in commands] + [["--version"]]:
        done = subprocess.run(
            [sys.executable, "-c", code, *args], env=ENV, capture_output=True, text=True, check=True
        )
        assert done.stdout.endswith("\nset()\n"), args
    assert real("--version").stdout.decode() == f"nnpack {__version__}\n"


def test_help_has_no_line_that_is_cut():
    output = run("--help").output
    assert "..." not in output.split("\n", 1)[1]
    assert all(f"  {code.value}  " in output for code in Exit if code != Exit.INTERRUPTED)


def test_real_processes(folder):
    done = real("info", "m.nnpk")
    assert (done.returncode, done.stderr) == (Exit.FINE, b"")
    assert done.stdout.decode() == run("info", "m.nnpk").stdout
    assert real("info", "cut.nnpk").returncode == Exit.UNREADABLE
    done = subprocess.run(
        f"{sys.executable} -m nnpack explain m.nnpk | head -n 1", shell=True, env=ENV, capture_output=True, check=True
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (b"\n", b"")


@pytest.mark.parametrize(
    ("code", "args"),
    [
        (Exit.FINE, ["info", "m.nnpk"]),
        (Exit.FINE, ["info", "m.nnpk", "--json"]),
        (Exit.FINE, ["verify", "m.nnpk"]),
        (Exit.FINE, ["explain", "m.nnpk"]),
        (Exit.FINE, ["convert", "a.npz", "x.nnpk"]),
        (Exit.DAMAGED, ["verify", "damaged.nnpk"]),
        (Exit.DAMAGED, ["salvage", "damaged.nnpk", "-o", "new"]),
        (Exit.IO, ["convert", "m.nnpk", "-"]),
        (Exit.IO, ["extract", "m.nnpk", "w", "-o", "-"]),
        (Exit.IO, ["extract", "m.nnpk", "tokenizer.json", "-o", "-"]),
    ],
)
def test_a_closed_pipe_is_left_quietly(folder, code, args):
    """Who closes it early has seen enough of a text; data that nobody took are an error."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "nnpack", *args]
    done = subprocess.run(command, env=ENV, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    advice = b"nnpack: `nnpack salvage damaged.nnpk -o NEW` saves what is whole\n"
    assert (done.returncode, done.stderr) == (code, advice if args[-1] == "damaged.nnpk" else b"")


def test_a_terminal_gets_no_bytes(folder):
    for args in (["convert", "a.npz", "-"], ["extract", "m.nnpk", "w", "-o", "-"]):
        master, slave = os.openpty()
        command = [sys.executable, "-m", "nnpack", *args]
        done = subprocess.run(command, env=ENV, stdout=slave, stderr=subprocess.PIPE, check=False)
        os.close(master)
        os.close(slave)
        assert done.returncode == Exit.USAGE
        assert b"standard output is a terminal" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_told(folder):
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "nnpack", "info", "m.nnpk"]
        done = subprocess.run(command, env=ENV, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (Exit.IO, b"nnpack: No space left on device\n")


def test_ascii_output_escapes_what_it_cannot_show(folder):
    testing_file = testing.file_of({"层": ROWS})
    folder.joinpath("x.nnpk").write_bytes(testing_file)
    command = [sys.executable, "-m", "nnpack", "info", "x.nnpk"]
    env = ENV | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=env, capture_output=True, check=True)
    assert b"\\u5c42" in done.stdout


def test_progress_is_for_terminals_only(folder, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with render.progress_bar("verifying") as progress:
        progress(3, 4, "[red]\x1b[2J")
        progress(4, 4, "done")
    assert "verifying" in screen.getvalue()
    assert "\x1b[2J" not in screen.getvalue()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with render.progress_bar("verifying") as progress:
        assert progress is None


@pytest.mark.parametrize(
    ("bad", "code", "says"),
    [
        (ModuleNotFoundError("No module named 'torch'"), Exit.UNSUPPORTED, "torch"),
        (MemoryError(), Exit.IO, "not enough memory"),
        (KeyboardInterrupt(), Exit.INTERRUPTED, ""),
        (OSError(28, "No space left on device"), Exit.IO, "No space left"),
    ],
)
def test_what_can_happen_elsewhere(folder, monkeypatch, bad, code, says):
    def fail(*_, **__):
        raise bad

    monkeypatch.setattr("nnpack.verify.verify", fail)
    result = run("verify", "m.nnpk")
    assert (result.exit_code, says in result.stderr) == (code, True)


def test_bytes_are_not_written_to_a_terminal(tmp_path):
    path = tmp_path / "w.nnpk"
    nnpack.save_file({"w": np.arange(3)}, path)
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "nnpack", "extract", str(path), "w", "-o", "-"]
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, text=True, check=False)
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert "standard output is a terminal: redirect it" in done.stderr
