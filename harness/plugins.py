"""One registry for every kind of part.

Parts are entry points (`harness.sources`, `.classifiers`, `.backends`, `.explainers`, `.metrics`,
`.scorers`, `.units`, `.views`); the built-in ones register in `pyproject.toml` like a third
party's. A suite may also name `./file.py:Class` (beside the suite) or `package.module:Class`.
Nothing is imported before it is asked for.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Set
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from harness.records import HarnessError
from harness.secrets import conceal, is_part, reveal

KINDS = (
    "sources", "classifiers", "backends", "explainers", "metrics", "scorers", "units", "views",
)  # fmt: skip


@cache
def registered(kind: str) -> dict[str, EntryPoint]:
    """The entry points of a kind by name. Raises `HarnessError` for an unknown kind."""
    if kind not in KINDS:
        raise HarnessError(f"there is no kind '{kind}'; kinds are {', '.join(KINDS)}")
    return {point.name: point for point in entry_points(group=f"harness.{kind}")}


def load(kind: str, name: str, beside: Path | None = None) -> Any:
    """The class or function that `name` stands for.

    `beside` is the folder that a `./file.py:Class` is relative to. Raises `HarnessError` with the
    nearest registered name where there is no such part, and with the cause where its code fails.
    """
    points = registered(kind)
    if name in points:
        return _import(name, points[name].load)
    if ":" in name:
        module, _, attribute = name.partition(":")
        if module.endswith(".py"):
            path = ((beside or Path.cwd()) / module).resolve()
            return _import(name, lambda: getattr(_module_from_file(path), attribute))
        return _import(name, lambda: getattr(importlib.import_module(module), attribute))
    near = difflib.get_close_matches(name, points, 1, 0.4)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(sorted(points))}"
    raise HarnessError(f"there is no {kind.removesuffix('s')} '{name}'; {hint}")


def code(kind: str, name: str, beside: Path | None = None) -> str | None:
    """A hash of the code of the part `name`, `None` for the harness's own (see `plugin_code`)."""
    point = registered(kind).get(name)
    if point is not None and point.value.startswith("harness."):
        return None  # without importing it
    from harness.plugin_code import code_as_named

    part = load(kind, name, beside)
    return code_as_named(_module_of(kind, name, beside), part)


def _module_of(kind: str, name: str, beside: Path | None) -> str:
    """The name of the module that offers the part `name`, which was loaded."""
    point = registered(kind).get(name)
    module = point.module if point is not None else name.partition(":")[0]
    if not module.endswith(".py"):
        return module
    return str(_module_from_file(((beside or Path.cwd()) / module).resolve()).__name__)


def takes(kind: str, name: str, option: str, beside: Path | None = None) -> bool:
    """Whether the part `name` has this field."""
    part = load(kind, name, beside)
    if not callable(part):
        return True  # `create` says what is wrong with it
    parameters = inspect.signature(part).parameters
    return option in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def by_name(parts: Any) -> dict[str, Any]:
    """One part or several, each a name or an object, by what they are called."""
    if isinstance(parts, Mapping):
        return dict(parts)
    several = list(parts) if isinstance(parts, (list, tuple)) else [parts]
    return {one if isinstance(one, str) else _own_name(one): one for one in several}


def _own_name(part: Any) -> str:
    """`KernelShap` is called kernel_shap."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(part).__name__).lower()


def create(kind: str, name: str, beside: Path | None = None, /, **options: Any) -> Any:
    """An instance of the part `name`; options it does not take are refused in one sentence.

    A part whose constructor has a parameter `beside` is told the folder of the suite. Secrets are
    filled in from the environment here, so that they stand nowhere else. An option that is a
    mapping with `kind` arrives made where its parameter's annotation names a contract (`Backend`).
    """
    part = load(kind, name, beside)
    where = f"{kind.removesuffix('s')} '{name}'"
    if not callable(part):
        raise HarnessError(f"{where} is {part!r:.40}, no class or function")
    taken = inspect.signature(part).parameters
    if beside is not None and "beside" in taken:
        options.setdefault("beside", str(beside))
    if not any(p.kind is p.VAR_KEYWORD for p in taken.values()):
        unknown = next((option for option in options if option not in taken), None)
        if unknown is not None:
            known = ", ".join(o for o in taken if o != "beside") or "no field"
            raise HarnessError(f"{where} has no field '{unknown}'; it takes {known}")
    missing = [
        option for option, p in taken.items()
        if p.default is p.empty and option not in options
        and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]  # fmt: skip
    if missing:
        raise HarnessError(f"{where} needs the field '{missing[0]}'")
    made = {
        option: _given(option, value, taken.get(option), where, beside)
        for option, value in options.items()
    }
    with blamed(f"{where} cannot be made"):
        found = part(**made)
    module = _module_of(kind, name, beside)
    if not module.startswith("harness."):
        from harness.plugin_code import mark

        mark(found, module)
    return found


# What the annotation of a part's field declares it to be, and where such a part is registered.
_DECLARED = {
    "Backend": "backends", "Classifier": "classifiers", "Source": "sources", "Scorer": "scorers",
    "EntailmentModel": "scorers", "UnitKind": "units", "View": "views",
}  # fmt: skip
_PLAIN = frozenset({"int", "float", "bool", "None", "Optional", "list", "tuple", "Sequence"})


def _given(
    name: str, value: Any, field: inspect.Parameter | None, where: str, beside: Path | None
) -> Any:
    """A field's value as the part declares it: a part within it made, its secrets filled in, and
    what the environment gives as text read as the number that it is."""
    declared = set(re.findall(r"[A-Za-z_]+", str(field.annotation))) if field is not None else set()
    kinds = {_DECLARED[name] for name in declared & _DECLARED.keys()}
    if is_part(value) and len(kinds) == 1 and not declared & {"Mapping", "dict"}:
        rest = {key: item for key, item in value.items() if key != "kind"}
        try:
            return create(kinds.pop(), value["kind"], beside, **rest)
        except HarnessError as error:
            raise type(error)(f"{where}: {name}: {error}") from error
    (value,) = reveal({name: value}).values()
    if declared and declared <= _PLAIN:
        return _number(value, declared)
    return value


def _number(value: Any, declared: Set[str]) -> Any:
    """A text that is a number, true, false or a list of these, as what it is; else as it came."""
    if isinstance(value, (list, tuple)):
        return type(value)(_number(item, declared) for item in value)
    if not isinstance(value, str) or not value.strip():
        return value
    from harness import documents

    try:
        found = documents.parse(value, "a field").value
    except HarnessError:
        return value
    fits = type(found).__name__ in declared or (type(found) is int and "float" in declared)
    return (
        found if fits or (isinstance(found, list) and declared & {"tuple", "Sequence"}) else value
    )


@contextlib.contextmanager
def blamed(what: str, kind: type[HarnessError] = HarnessError) -> Iterator[None]:
    """Turns whatever a part raises into one sentence of this kind that begins with `what`.

    A part that calls `sys.exit` has a mistake in it, and its exit code would be taken for one of
    the harness's: it becomes a `RuntimeError`, which ends a command as an internal error.
    """
    try:
        yield
    except HarnessError:
        raise
    except SystemExit as end:
        raise RuntimeError(f"{what}: it called sys.exit({end.code!r})") from end
    except Exception as error:
        said = f"{what}: {type(error).__name__}: {error} (HARNESS_DEBUG=1 shows where)"
        raise kind(conceal(said)) from error


def _import(name: str, get: Any) -> Any:
    with blamed(f"'{name}' cannot be loaded"):
        try:
            return get()
        except FileNotFoundError as error:
            raise HarnessError(f"'{name}': there is no file {error.filename}") from error
        except (ImportError, AttributeError, SyntaxError) as error:
            raise HarnessError(f"'{name}' cannot be loaded: {error}") from error


def _module_from_file(path: Path) -> Any:
    """The module in this file, loaded once for each place and content, and found by pickle.

    It may import files beside it; these are its own, so another file's of the same name are not
    mistaken for them, and it is loaded anew when one of them has changed.
    """
    from harness.plugin_code import files_of

    if not path.is_file():
        raise FileNotFoundError(2, "there is no such file", str(path))
    files = files_of(path)
    contents = b"".join(file.read_bytes() for file in files)
    digest = hashlib.sha256(str(path).encode() + contents).hexdigest()[:12]
    name = f"_harness_plugin_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise HarnessError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    before = set(sys.modules)
    sys.path.append(str(path.parent))
    importlib.invalidate_caches()
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(str(path.parent))
        for other in set(sys.modules) - before:
            if getattr(sys.modules[other], "__file__", None) in set(map(str, files[1:])):
                del sys.modules[other]
    return module
