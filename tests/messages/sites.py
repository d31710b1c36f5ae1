"""Where kvae raises and warns, read from its syntax trees; and what a call raised, and where."""

import ast
import functools
import re
import sys
import traceback
import warnings
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import kvae

ROOT = Path(kvae.__file__).parent
LONG = 24  # a text of a function that raises, of this length and with a space, is part of a message


class Site(NamedTuple):
    """A `raise` or a `warnings.warn`: its place is the module and the function, such as "data.batch.unpack"."""

    place: str
    file: str
    first: int
    last: int


class Outcome(NamedTuple):
    """What a call raised, or the kvae's warning that it gave, and the site; None where it did neither."""

    kind: type | None
    message: str
    site: Site | None


@functools.cache
def functions(root: Path = ROOT) -> dict[str, tuple[str, ast.FunctionDef]]:
    """Place to file and tree, for all functions under a folder."""
    found: dict[str, tuple[str, ast.FunctionDef]] = {}

    def visit(node, place, file):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef):
                found[f"{place}.{child.name}"] = file, child
            elif isinstance(child, ast.ClassDef):
                visit(child, f"{place}.{child.name}", file)

    for path in sorted(root.rglob("*.py")):
        visit(ast.parse(path.read_text()), ".".join(path.relative_to(root).with_suffix("").parts), str(path))
    return found


@functools.cache
def sites(root: Path = ROOT) -> frozenset[Site]:
    """All of them, but for `raise NotImplementedError` and errors that are passed on as they came."""
    return frozenset(
        Site(place, file, node.lineno, node.end_lineno)
        for place, (file, tree) in functions(root).items()
        for node in ast.walk(tree)
        if _speaks(node)
    )


def texts() -> set[tuple[str, str]]:
    """Place and text, for the literals that messages are made of, also in functions that are called for one."""
    speaking = {site.place for site in sites()}
    called = set()
    for _, tree in functions().values():
        called |= {_name(call.func) for node in ast.walk(tree) if _speaks(node) for call in _calls(node)}
        called |= {_name(call.func) for node in ast.walk(tree) if _makes(node) for call in _calls(node)}
    making = {
        place for place, (_, tree) in functions().items() if tree.name in called or any(map(_makes, ast.walk(tree)))
    }
    found = set()
    for place in speaking | making:
        _, tree = functions()[place]
        documentation = ast.get_docstring(tree, clean=False)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value != documentation:
                text = node.value.strip()
                if len(text) >= LONG and " " in text:
                    found.add((place, text))
    return found


def outcome(call) -> Outcome:
    """Call it, and say what came of it."""
    warned: list[Outcome] = []

    def warn(message, category=None, stacklevel=1, **options):
        frame = sys._getframe(1)
        site = _site(frame.f_code.co_filename, frame.f_lineno)
        if site is not None:
            warned.append(Outcome(category or UserWarning, str(message), site))

    try:
        with mock.patch.object(warnings, "warn", warn):
            call()
    except (Exception, SystemExit) as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(str(ROOT))]
        site = _site(frames[-1].filename, frames[-1].lineno) if frames else None
        return Outcome(type(error), str(error), site)
    return warned[-1] if warned else Outcome(None, "", None)


def _site(file: str, line: int) -> Site | None:
    return next((one for one in sites() if one.file == file and one.first <= line <= one.last), None)


def _speaks(node) -> bool:
    """Whether it raises an error that is made there, or warns."""
    if isinstance(node, ast.Raise):
        made = isinstance(node.exc, ast.Call)
        return made or (isinstance(node.exc, ast.Name) and node.exc.id[0].isupper() and node.exc.id != _ABSTRACT)
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "warnings.warn"


_ABSTRACT = "NotImplementedError"


def _makes(node) -> bool:
    """Whether it returns an error for others to raise."""
    return (
        isinstance(node, ast.Return) and isinstance(node.value, ast.Call) and _name(node.value.func).endswith("Error")
    )


def _calls(node):
    return (inner for inner in ast.walk(node) if isinstance(inner, ast.Call))


def _name(function) -> str:
    return re.split(r"\W", ast.unparse(function))[-1]
