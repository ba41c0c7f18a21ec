"""What code a plug-in consists of, as one hash: other code gives other answers and other scores.

The harness's own parts have none: their behaviour is versioned with the package, and keys of
requests outlive its releases.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.metadata
import importlib.util
import json
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.identity import digest, file_hash

_OWN = "harness"
_STDLIB = Path(sysconfig.get_path("stdlib")).resolve()
_MARK = "_harness_code"  # of an object that was made by another file than the one of its class


def code_of(part: Any) -> str | None:
    """A hash of the code of a class or function, or of an object's class; `None` for the harness's.

    Of an installed distribution it is name and version, of one that is installed for editing and of
    a file the contents of the file and of all that it imports beside it.
    """
    marked = getattr(part, "__dict__", {}).get(_MARK)
    kind = _kind(part)
    return marked or _code_of(str(kind.__module__), kind.__qualname__)


def code_as_named(module: str, part: Any) -> str | None:
    """The same of what a module offers, which may be imported, bound or made elsewhere."""
    own = code_of(part)
    if module.partition(".")[0] == _OWN or _kind(part).__module__ == module:
        return own
    there = _code_of(module, "")
    return there if own in (None, there) else digest([there, own])


def code_named(name: str, beside: Path) -> str | None:
    """A hash of the files that `./file.py:name` or `package.module:name` stands for.

    They are not loaded. `None` for a text that names none.
    """
    module, _, attribute = name.partition(":")
    if not attribute.isidentifier():
        return None
    if module.endswith(".py"):
        path: Path | None = (beside / module).resolve()
    else:
        path = _found(module)
    if path is None or not path.is_file():
        return None
    return digest([file_hash(file) for file in own_files(path, module)])


def own_files(path: Path, module: str = "") -> list[Path]:
    """A file with those that it imports beside it; itself alone where it is installed."""
    root = path.parent if module.endswith(".py") else _root(module, path)
    installed = next(root.glob("*.dist-info"), None) is not None or path.is_relative_to(_STDLIB)
    return [path] if installed else files_of(path, root)


def _found(module: str) -> Path | None:
    with contextlib.suppress(ImportError, ValueError, AttributeError):
        spec = importlib.util.find_spec(module)
        return None if spec is None or not spec.has_location else Path(str(spec.origin)).resolve()
    return None


def mark(made: Any, module: str) -> None:
    """Keeps with an object the code of the module that made it, where its class is another's."""
    code = code_as_named(module, made)
    if code != code_of(made):
        with contextlib.suppress(AttributeError, TypeError):  # one with slots has no place for it
            object.__setattr__(made, _MARK, code)


def _kind(part: Any) -> Any:
    while isinstance(part, functools.partial):
        part = part.func
    return part if hasattr(part, "__qualname__") else type(part)


def _code_of(module: str, name: str) -> str | None:
    if module.partition(".")[0] == _OWN:
        return None
    where = getattr(sys.modules.get(module), "__file__", None)
    if where is None:  # written at a prompt: nothing can be read of it
        return digest(["module", module, name])
    path = Path(where).resolve()
    root = _root(module, path)
    if next(root.glob("*.dist-info"), None) is not None:  # what is looked up below takes long
        installed = _distribution(module.partition(".")[0])
        if installed is not None:
            return digest(["distribution", *installed])
    return digest(["files", _as_loaded(files_of(path, root))])


def _as_loaded(files: list[Path]) -> list[str]:
    """The hashes of files, and of what Python has imported as it was when first asked for: an edit
    since then is not what runs in this process."""
    specs = {
        str(where): spec
        for module in list(sys.modules.values())
        if (where := getattr(module, "__file__", None)) is not None
        and (spec := getattr(module, "__spec__", None)) is not None
    }
    found = []
    for file in files:
        held = vars(specs[str(file)]) if str(file) in specs else {}  # a reload makes another
        found.append(held.setdefault(_MARK, file_hash(file)))
    return found


def _root(module: str, path: Path) -> Path:
    """The folder that a module's full name is looked up in."""
    steps = 0 if module.startswith("_") else module.count(".")
    return path.parents[steps + (path.name == "__init__.py")]


def files_of(path: Path, root: Path | None = None) -> list[Path]:
    """A Python file and those that it imports beside it, through one another, in a fixed order.

    `root` is the folder that full names are looked up in, the file's own unless given.
    """
    found: dict[Path, None] = {}
    waiting = [path]
    while waiting:
        one = waiting.pop(0)
        if one in found:
            continue
        found[one] = None
        waiting += _beside(one, root or path.parent)
    return list(found)


def _beside(path: Path, root: Path) -> Iterator[Path]:
    """The files that a file imports from its own folder or from the folder of the whole."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        folders = (path.parent, root)
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            names = [start, *(f"{start}.{alias.name}".strip(".") for alias in node.names)]
            if node.level:
                folders = (path.parents[node.level - 1], path.parents[node.level - 1])
        for name in filter(None, names):
            for folder in dict.fromkeys(folders):
                yield from _modules(folder, name.split("."))


def _modules(folder: Path, steps: list[str]) -> Iterator[Path]:
    """The files of a dotted name below a folder: the packages on the way and the module."""
    for i, step in enumerate(steps):
        package = folder / step / "__init__.py"
        if package.is_file():
            yield package
        if i == len(steps) - 1 and (module := folder / f"{step}.py").is_file():
            yield module
        folder = folder / step


def _distribution(package: str) -> tuple[str, str] | None:
    """Name and version of what installed a package; `None` for what is being edited or is none."""
    names = _packages().get(package, [])
    if not names:
        return None
    found = importlib.metadata.distribution(names[0])
    direct = found.read_text("direct_url.json")
    if direct is not None and json.loads(direct).get("dir_info", {}).get("editable"):
        return None
    return names[0], found.version


@functools.cache
def _packages() -> dict[str, list[str]]:
    return {
        name: list(names) for name, names in importlib.metadata.packages_distributions().items()
    }
