"""Python files that are found by their names, run as modules: methods, launchers, readers of datasets."""

from __future__ import annotations

import contextlib
import importlib.util
import marshal
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import MAGIC_NUMBER, cache_from_source, source_hash
from pathlib import Path
from types import CodeType, ModuleType

from bench.errors import InputError

HASH_IS_CHECKED = 0b11
"""What says, in a file of compiled code, that it names the bytes of its source, and is held against them (PEP 552)."""


def load_file(kind: str, path: Path, means: str) -> ModuleType:
    """Run a file as the module ``bench.KIND.NAME``, once as long as the digest of its code (``means``) is the same.

    Whatever running the file raises is raised; ``RuntimeError`` where it would end the process.
    """
    name = f"bench.{kind}.{path.stem}"
    loaded = sys.modules.get(name)
    if loaded and (loaded.__file__, getattr(loaded, "MEANS", means)) == (str(path), means):
        return loaded
    spec = importlib.util.spec_from_file_location(name, path, loader=_AsWritten(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    module.MEANS = means  # type: ignore[attr-defined]
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SystemExit as error:
        del sys.modules[name]
        raise RuntimeError(f"{path}: running the file ends the process: sys.exit({error.code!r})") from error
    except BaseException:
        del sys.modules[name]
        raise
    return module


class _AsWritten(SourceFileLoader):
    """Runs a file as it is now: code that Python keeps of a file may be older where two have one time and size.

    What is kept of these files names the bytes that it was made of, in place of their time (PEP 552).
    """

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        kept, source = cache_from_source(path), self.get_data(path)
        head = MAGIC_NUMBER + HASH_IS_CHECKED.to_bytes(4, "little") + source_hash(source)
        with contextlib.suppress(OSError, EOFError, ValueError, TypeError):
            content = self.get_data(kept)
            code = marshal.loads(content[len(head) :]) if content.startswith(head) else None
            if isinstance(code, CodeType) and code.co_filename == path:  # else the folder has another name now
                return code
        code = self.source_to_code(source, path)
        if not sys.dont_write_bytecode:
            self.set_data(kept, head + marshal.dumps(code))
        return code


def load_checked(kind: str, path: Path, means: str) -> ModuleType:
    """As ``load_file``, where a file that cannot be run is bad input. Raises ``InputError``."""
    try:
        return load_file(kind, path, means)
    except Exception as error:  # somebody's file: whatever it does is told the same way
        raise InputError(f"{path}: cannot be loaded: {type(error).__name__}: {error}") from error
