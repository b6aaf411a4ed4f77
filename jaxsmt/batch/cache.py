"""The start-up cache: what earlier processes traced and compiled.

A program is kept in two parts. What tracing makes of it (`jax.export`) is a file of the cache; what the compiler makes
of that is an entry of JAX's persistent compilation cache. Each kind of processor has a folder of its own. Both parts
have digests, and what does not match is thrown away. So the cache can make a process slower, but not its numbers wrong.
"""

from __future__ import annotations

import hashlib
import os
import platform
import stat
import tempfile
import threading
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jaxlib
import numpy as np

from ..errors import JaxsmtWarning
from .fingerprint import Unknown, fingerprint, of_package

#: A folder for the cache, or "off".
VARIABLE = "JAXSMT_CACHE"
#: The most that it may hold, in MB.
VARIABLE_SIZE, _SIZE = "JAXSMT_CACHE_SIZE", 1024
# Options of JAX.
_FOLDER, _ENABLED = "jax_compilation_cache_dir", "jax_enable_compilation_cache"
_LEAST, _PRECISION = "jax_persistent_cache_min_compile_time_secs", "jax_default_matmul_precision"
_SMALL = 1 << 16  # bytes of an entry that is checked before JAX reads it
_ZSTD = bytes.fromhex("28b52ffd")  # how entries begin if that package is installed
_HIT = "/jax/compilation_cache/cache_hits"
# Functions that compile in half the time without a part of XLA that makes others up to three times faster.
_PLAIN = ("uncertainties", "sigmas", "signals_of_means")


@dataclass(frozen=True)
class Cache:
    """A folder of programs for processors like this one. compiled: JAX's folder in it; None: the user has set one."""

    folder: Path
    compiled: Path | None

    def size(self) -> int:
        """Bytes in it."""
        return sum(size for _, size, _ in _files(self.folder))

    def load(self, name: str) -> bytes | None:
        """The content of a file, or None if there is none that is whole."""
        path = self.folder / name
        try:
            content = path.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            _discard(path)
            return None
        _touch(path)
        return content[32:]

    def store(self, name: str, content: bytes) -> None:
        """Write a file in one step, so that nobody reads half of it."""
        try:
            with tempfile.NamedTemporaryFile(dir=self.folder, prefix="new-", delete=False) as file:
                try:
                    file.write(hashlib.sha256(content).digest() + content)
                    file.close()
                    os.replace(file.name, self.folder / name)
                except BaseException:
                    _discard(Path(file.name))
                    raise
            self._prune()
        except OSError as error:
            if self.compiled is not None:
                jax.config.update(_LEAST, float("inf"))  # JAX need not try
            _say(f"the start-up cache {self.folder} cannot be written ({error.strerror}): the next start will be slow")

    def entries(self, name: str) -> list[Path]:
        """JAX's entries for the program of this name."""
        return [] if self.compiled is None else sorted(self.compiled.glob(f"jit_{name}-*-cache"))

    def check(self, name: str) -> bool:
        """Whether JAX's entry for a program is as it was written; one that is not is removed."""
        entries = self.entries(name)
        if not entries:
            return False
        good = self.load(f"{name}.digest") == _digest(entries)
        for entry in entries:
            if good:
                _touch(entry)
            else:
                _discard(entry)
        return good

    def seal(self, name: str) -> None:
        """Remember what JAX's entry for a program is like."""
        if entries := self.entries(name):
            self.store(f"{name}.digest", _digest(entries))

    def _prune(self) -> None:
        """Remove what was not used for longest, if there is too much for all kinds of processors together."""
        files = sorted(file for folder in self.folder.parent.glob("programs-*") for file in _files(folder))
        total, most = sum(size for _, size, _ in files), _most_bytes()
        for _, size, path in files:
            if total <= most:
                break
            _discard(path)
            total -= size


def _files(folder: Path) -> list[tuple[float, int, Path]]:
    """Of each file in a folder: when it was used last, its size, and where it is."""
    files = []
    for path in folder.rglob("*"):
        with suppress(OSError):
            if stat.S_ISREG((found := path.lstat()).st_mode):
                files.append((found.st_mtime, found.st_size, path))
    return files


_opening = threading.Lock()


def turn_off() -> None:
    """Keep nothing between processes from now on, and start from nothing that was kept."""
    os.environ[VARIABLE] = "off"
    jax.config.update(_ENABLED, False)


def hits() -> int:
    """How many programs this process has had from the cache so far."""
    return len(_programs_from_cache)


def find() -> Cache | None:
    """The cache of this user; None: it is off, or cannot be trusted, which a warning says."""
    setting = os.environ.get(VARIABLE, "")
    with _opening:
        folder = os.path.expanduser(setting) or _default()
        return None if folder == "off" or folder.startswith("~") else _open(folder)


def compiled(
    function: Any,
    static: dict[str, Any],
    shapes: Any,
    device: jax.Device,
    tracing: threading.Lock,
) -> Callable[..., Any]:
    """The executable of a jitted `function(*shapes, **static)`, from the cache if it is there.

    Args:
        shapes: `jax.ShapeDtypeStruct`s, a tuple of pytrees. tracing: held while Python traces.
    """
    kept = find()
    try:
        name = None if kept is None else _name(function, static, shapes, device)
    except Unknown:
        name = None
    if kept is None or name is None:
        with tracing:
            lowered = function.lower(*shapes, **static)
        executable: Callable[..., Any] = lowered.compile(compiler_options(device, function.__name__))
        return executable
    options = compiler_options(device, function.__name__)
    return _from(kept, name, partial(function, **static), shapes, device, tracing, options)


def _from(
    kept: Cache,
    name: str,
    function: Callable[..., Any],
    shapes: Any,
    device: jax.Device,
    tracing: threading.Lock,
    options: dict[str, bool | str] | None,
) -> Callable[..., Any]:
    """The executable of the program of this name. options: of the compiler."""
    leaves, tree = jax.tree.flatten(shapes)

    def flat(*leaves: Any) -> Any:
        return function(*jax.tree.unflatten(tree, leaves))

    with tracing:
        exported = _exported(kept, name, flat, leaves, device)
        lowered = jax.jit(_named(name, flat if exported is None else exported.call)).lower(*leaves)
    expected, before = kept.check(name), _hits()
    entries = kept.entries(name)
    executable = lowered.compile(options)
    if _hits() > before:
        _programs_from_cache.append(name)
    else:
        kept.seal(name)
        # With other options of the compiler there would be another entry.
        if expected and kept.entries(name) == entries and getattr(jax.config, _ENABLED):
            _say(
                "this processor does not accept programs of the start-up cache, so they are compiled anew each time "
                f"({VARIABLE}=off silences this)"
            )
    return lambda *arguments: executable(*jax.tree.leaves(arguments))


def _exported(kept: Cache, name: str, flat: Callable[..., Any], leaves: list[Any], device: jax.Device) -> Any:
    """What tracing makes of a function, if it can be kept."""
    from jax import export

    if (traced := kept.load(f"{name}.program")) is not None:
        with suppress(Exception):  # written by a development version of JAX with the same number
            return export.deserialize(bytearray(traced))
    try:
        # JAX may change these kernels with its version, which is in the name.
        unstable = [export.DisabledSafetyCheck.custom_call("__gpu$xla.gpu.triton")]
        exported = export.export(jax.jit(flat), platforms=[_platform(device)], disabled_checks=unstable)(*leaves)
        kept.store(f"{name}.program", bytes(exported.serialize()))
    except (ValueError, NotImplementedError):  # it calls functions that JAX does not keep between versions
        return None
    return exported


def compiler_options(device: jax.Device, function: str = "") -> dict[str, bool | str] | None:
    """Of the compiler, for a function of this name. On a CPU more optimisation takes a third longer for nothing."""
    level, emitters = "xla_backend_optimization_level", "xla_cpu_use_fusion_emitters"
    if device.platform != "cpu" or level in os.environ.get("XLA_FLAGS", ""):
        return None
    options: dict[str, bool | str] = {level: "1"}
    return options | {emitters: False} if function in _PLAIN and jax.__version_info__ < (0, 11) else options


def _named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def program(*arguments: Any) -> Any:
        return function(*arguments)

    program.__name__ = program.__qualname__ = name
    return program


def _name(function: Any, static: dict[str, Any], shapes: Any, device: jax.Device) -> str:
    """What identifies a program."""
    leaves, tree = jax.tree.flatten(shapes)
    what = (
        (of_package(), jax.__version__, jaxlib.__version__, np.__version__),
        (device.platform, device.device_kind, str(getattr(jax.config, _PRECISION))),
        (function.__wrapped__, static, str(tree)),
        [(leaf.shape, np.dtype(leaf.dtype)) for leaf in leaves],
    )
    return f"{function.__name__}_{fingerprint(what)[:32]}"


def _platform(device: jax.Device) -> str:
    """As `jax.export` calls it."""
    if device.platform != "gpu":
        return device.platform
    return "rocm" if "rocm" in device.client.platform_version.lower() else "cuda"


def _default() -> str:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "jaxsmt")


@cache
def _open(folder: str) -> Cache | None:
    """The cache in a folder, which is made if there is none; JAX's is in it, unless the user has set one."""
    path = Path(folder).absolute()
    programs = path / f"programs-{_processor()}"
    try:
        for each in (path, programs, programs / "compiled"):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _only_mine(each.stat()):
                _say(
                    f"the start-up cache {each} is not a folder that only you can write: it is not used; "
                    f"chmod go-w, or set {VARIABLE} to another folder"
                )
                return None
    except OSError as error:
        _say(f"no start-up cache in {path} ({error.strerror}): set {VARIABLE} to another folder, or to off")
        return None
    jax.monitoring.register_event_listener(_listen)
    if getattr(jax.config, _FOLDER) is not None:
        return Cache(programs, None)
    of_jax = programs / "compiled"
    _discard_broken(of_jax)
    jax.config.update(_FOLDER, str(of_jax))
    # Small programs are many, and each of them takes longer to compile than to read.
    jax.config.update(_LEAST, 0.0)
    return Cache(programs, of_jax)


def _only_mine(folder: os.stat_result) -> bool:
    """Whether nobody else can write a folder. Windows does not say."""
    return os.name != "posix" or (folder.st_uid == os.getuid() and not folder.st_mode & 0o022)


def _discard_broken(folder: Path) -> None:
    """Remove small entries of JAX that cannot be read, as it would not replace them."""
    for path in folder.glob("*-cache"):
        with suppress(OSError):
            if path.stat().st_size < _SMALL:
                content = path.read_bytes()
                try:
                    zlib.decompress(content)
                except zlib.error:
                    if not content.startswith(_ZSTD):
                        _discard(path)


def _processor() -> str:
    """A digest of what the compiler may use of this machine's processor; and of Python, as JAX packs entries by it."""
    features = platform.python_version() + platform.processor() + platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        entries = ("model name", "flags", "Features", "CPU part")
        features += "".join(sorted({line for line in lines if line.split("\t")[0].rstrip(": ") in entries}))
    return hashlib.sha256(features.encode()).hexdigest()[:16]


def _most_bytes() -> float:
    try:
        return float(os.environ.get(VARIABLE_SIZE, _SIZE)) * 1e6
    except ValueError:
        return _SIZE * 1e6


_of_thread = threading.local()
_programs_from_cache: list[str] = []  # names


def _listen(event: str, **_: Any) -> None:
    if event == _HIT:
        _of_thread.hits = _hits() + 1


def _hits() -> int:
    """How many programs this thread has had from JAX's cache, small ones too."""
    return getattr(_of_thread, "hits", 0)


def _digest(paths: list[Path]) -> bytes:
    digest = hashlib.sha256()
    for path in paths:
        with suppress(OSError):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.digest()


def _touch(path: Path) -> None:
    """Note that a file was used: those that were not for longest are removed first."""
    with suppress(OSError):
        os.utime(path)


def _discard(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


@cache
def _say(text: str) -> None:
    """Warn, once in a process."""
    warnings.warn(text, JaxsmtWarning, stacklevel=2)
