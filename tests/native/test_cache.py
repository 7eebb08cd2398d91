"""Machine code on disk: found again, never believed where it is damaged or somebody else's; and the loader."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
import sys

import numpy as np
import pytest

import chainrule as cr
from chainrule import native
from chainrule.native import cache, loader
from chainrule.native.linking import _in_libraries

POSIX = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owners here")
ENTRY = cache.Entry({"arena_bytes": 3, "names": ["a"]}, b"\x00code\xff" * 100)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    place = tmp_path / "cache"
    monkeypatch.setenv("CHAINRULE_CACHE", str(place))
    return place


def program(k=2.0):
    return cr.trace(lambda x: np.sum(np.exp(x) * k), np.ones(5))


def test_what_is_put_is_found(folder):
    assert cache.get("key") is None
    cache.put("key", ENTRY)
    assert cache.get("key") == ENTRY
    assert cache.get("other") is None
    assert [one.name for one in folder.iterdir()] == ["key"]


@POSIX
def test_only_the_owner_can_enter(folder):
    cache.put("key", ENTRY)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600


def test_every_damaged_byte_is_noticed(folder):
    cache.put("key", cache.Entry({"a": 1}, b"code"))
    path = folder / "key"
    sound = path.read_bytes()
    for place in range(len(sound)):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        assert cache.get("key") is None
        path.write_bytes(sound[:place])
        assert cache.get("key") is None
    path.write_bytes(sound + b"more")
    assert cache.get("key") is None
    path.write_bytes(sound)
    assert cache.get("key") is not None
    (folder / "other").write_bytes(sound)
    assert cache.get("other") is None


@POSIX
def test_what_others_can_write_to_is_not_believed(folder):
    cache.put("key", ENTRY)
    path = folder / "key"
    path.chmod(0o666)
    assert cache.get("key") is None
    path.chmod(0o600)
    (folder / "link").symlink_to(path)
    assert cache.get("link") is None
    (folder / "folder").mkdir()
    assert cache.get("folder") is None
    folder.chmod(0o777)
    assert cache.directory() is None
    assert cache.get("key") is None
    cache.put("key", ENTRY)


@POSIX
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_a_foreign_entry_is_not_believed(folder):
    cache.put("key", ENTRY)
    os.chown(folder / "key", 12345, 12345)
    assert cache.get("key") is None
    cache.put("key", ENTRY)
    assert cache.get("key") == ENTRY


def test_a_cache_that_can_not_be_is_no_harm(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    for place in (blocked, blocked / "inside", "/proc/none", "\0"):
        monkeypatch.setenv("CHAINRULE_CACHE", str(place).replace("\0", "nul"))
        if str(place) != "\0":
            assert cache.directory() is None
            cache.put("key", ENTRY)
            assert cache.get("key") is None
    for off in ("off", "OFF", "0", "no"):
        monkeypatch.setenv("CHAINRULE_CACHE", off)
        assert cache.directory() is None


def test_the_oldest_go_first(folder, monkeypatch):
    for number in range(10):
        cache.put(f"k{number}", ENTRY)
        os.utime(folder / f"k{number}", (number, number))
    assert cache.get("k0") is not None
    monkeypatch.setattr(cache, "LIMIT", 5 * (folder / "k0").stat().st_size)
    cache._shrink(folder)
    assert sorted(one.name for one in folder.iterdir()) == ["k0", "k7", "k8", "k9"]


def test_keys_tell_programs_apart():
    made = [
        cr.trace(lambda x: x * 2.0, 1.0),
        cr.trace(lambda x: x * 3.0, 1.0),
        cr.trace(lambda x: x * 0.0, 1.0),
        cr.trace(lambda x: x * -0.0, 1.0),
        cr.trace(lambda x: x * 2, np.ones(2)),
        cr.trace(lambda x: x * 2, np.ones(3)),
        cr.trace(lambda x: x * 2, np.ones(3, np.float32)),
        cr.trace(lambda x: x[:2], np.ones(3)),
        cr.trace(lambda x: x[1:], np.ones(3)),
        cr.trace(lambda x: x[np.array([0, 1])], np.ones(3)),
        cr.trace(lambda x: x * 2 if x > 0 else x * 2 + 1, 1.0),
        cr.trace(lambda x: x * 2 if x < 5 else x * 2 + 1, 1.0),
    ]
    keys = [cache.key_of(one) for one in made]
    assert None not in keys
    assert len(set(keys)) == len(keys)

    def named(other_name):
        return other_name * 2.0

    assert cache.key_of(cr.trace(named, 1.0)) == keys[0]


def test_a_program_is_built_from_the_cache_and_rebuilt_where_that_is_damaged(folder):
    def run():
        native._BUILT.clear()
        made = native.build(program(1.25))
        np.testing.assert_allclose(made.run([np.ones(5)]), [1.25 * 5 * np.e])

    run()
    (path,) = folder.iterdir()
    sound = path.read_bytes()
    path.write_bytes(sound[:-7])
    run()
    assert path.read_bytes() == sound


def test_a_second_process_needs_no_compiler(folder):
    script = (
        "import sys, numpy as np, chainrule as cr\n"
        "g = cr.compile(cr.grad(lambda x: np.sum(np.exp(x) * np.sin(x))))\n"
        "print(repr(g(np.linspace(0, 1, 5)).tolist()), 'llvmlite' in sys.modules)\n"
    )
    env = {**os.environ, "CHAINRULE_CACHE": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    said = [
        subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert said[0].rpartition(" ")[0] == said[1].rpartition(" ")[0]
    assert said[0].split()[-1] == "True"
    if sys.platform == "linux" and os.uname().machine == "x86_64":
        assert said[1].split()[-1] == "False"


def test_the_loader_knows_what_it_does_not_know():
    code = native.build(program(1.5)).object_code
    if loader.load(code, ["kernel"], _in_libraries) is None:
        pytest.skip("there is no loader for this platform")
    for cut in range(0, len(code), 97):
        loader.load(code[:cut], ["kernel"], lambda name: None)
    assert loader.load(code, ["absent"], _in_libraries) is None
    assert loader.load(code, ["kernel"], lambda name: None) is None or b"exp" not in code
    assert loader.load(b"", [], lambda name: None) is None
    other = bytearray(code)
    struct.pack_into("<H", other, 18, 183)
    assert loader.load(bytes(other), ["kernel"], lambda name: None) is None
