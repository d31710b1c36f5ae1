"""No import runs up, no file holds two things. The order of the subpackages stands in `kvae/__init__.py`."""

import ast
import collections
import graphlib
import pathlib
import re

import tensorflow as tf

import kvae

PACKAGE = pathlib.Path(kvae.__file__).parent
ROOT = PACKAGE.parent
LEAVES = {"networks", "plots"}  # imported by `kvae/__init__.py` alone
BEHIND = {"_environment"}  # below all of them: it needs nothing
UPWARD = {("models.vae", "export"), ("data.tables", "likelihoods")}  # inside VAE.export and Table.likelihood


def subpackages() -> list[list[str]]:
    """The subpackages from top to bottom; those of one line stand side by side."""
    lines = re.findall(r"^    ([a-z]+(?:, [a-z]+)*)  ", kvae.__doc__, flags=re.MULTILINE)
    return [line.split(", ") for line in lines]


def modules() -> dict[str, pathlib.Path]:
    """Name, such as `data.splits`, to file; a subpackage's `__init__` has its name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: pathlib.Path, known: set[str]) -> set[str]:
    """The modules of kvae that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("kvae.")}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "kvae":
            for alias in node.names:  # a module of a package, or a name in one
                inner = f"{node.module}.{alias.name}".removeprefix("kvae.")
                found.add(f"kvae.{inner}" if inner in known else node.module)
    return {name.removeprefix("kvae").removeprefix(".") for name in found}


class ArchitectureTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.modules = modules()
        self.imports = {name: imports(path, set(self.modules)) for name, path in self.modules.items()}

    def test_every_subpackage_is_named_once(self):
        named = [one for line in subpackages() for one in line]
        standing = {name.split(".")[0] for name in self.modules} - {"", "__main__"} - BEHIND
        self.assertCountEqual(named, standing)

    def test_the_document_has_the_same_order(self):
        text = (ROOT / "docs" / "architecture.md").read_text()
        rows = re.findall(r"^\| (`[a-z]+`(?:, `[a-z]+`)*) \|", text, flags=re.MULTILINE)
        self.assertEqual([re.findall(r"[a-z]+", row) for row in rows], subpackages())

    def test_no_subpackage_imports_one_above_or_beside_it(self):
        height = {one: number for number, line in enumerate(reversed(subpackages())) for one in line}
        seen = set()
        for name, imported in self.imports.items():
            own = name.split(".")[0]
            if own in ("", "__main__"):
                continue
            for other in {module.split(".")[0] for module in imported} - {own} - BEHIND:
                self.assertNotIn(other, LEAVES, f"{name} imports {other}, which is for users")
                if (name, other) in UPWARD:
                    seen.add((name, other))
                else:
                    self.assertLess(height[other], height[own], f"{name} imports {other}")
        self.assertEqual(seen, UPWARD)

    def test_no_circle(self):
        graph = {name: {o for o in imported if (name, o.split(".")[0]) not in UPWARD} - {name}
                 for name, imported in self.imports.items()}  # fmt: skip
        tuple(graphlib.TopologicalSorter(graph).static_order())

    def test_files_do_not_import_their_own_subpackage_as_a_whole(self):
        """A file imports from its own subpackage file by file: through the `__init__` it would import itself."""
        for name, imported in self.imports.items():
            self.assertNotIn(name.split(".")[0], imported - {name}, name)

    def test_no_file_holds_two_things(self):
        for folder in ("kvae", "examples", "benchmarks"):
            for path in (ROOT / folder).rglob("*.py"):
                self.assertLessEqual(len(path.read_text().splitlines()), 300, f"{path} holds two things")

    def test_parts_have_a_file_each(self):
        for part in (kvae.likelihoods, kvae.posteriors, kvae.priors, kvae.objectives, kvae.networks):
            files = collections.Counter(getattr(part, name).__module__ for name in part.__all__)
            self.assertEqual(set(files.values()), {1}, files)
