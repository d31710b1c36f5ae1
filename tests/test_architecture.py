"""The house: no import runs up, no file holds two things. The order of the wings stands in `kvae/__init__.py`."""

import ast
import graphlib
import pathlib
import re

import tensorflow as tf

import kvae

HOUSE = pathlib.Path(kvae.__file__).parent
LEAVES = {"networks", "plots"}  # imported by `kvae/__init__.py` alone
BEHIND = {"_environment"}  # below every wing: it needs nothing
UPWARD = {("models.vae", "export"), ("data.tables", "likelihoods")}  # inside VAE.export and Table.likelihood


def wings() -> list[list[str]]:
    """The wings from the roof to the ground; those of one line stand side by side."""
    lines = re.findall(r"^    ([a-z]+(?:, [a-z]+)*)  ", kvae.__doc__, flags=re.MULTILINE)
    return [line.split(", ") for line in lines]


def modules() -> dict[str, pathlib.Path]:
    """Name, such as `data.splits`, to file; a wing's `__init__` has the wing's name."""
    found = {}
    for path in HOUSE.rglob("*.py"):
        parts = path.relative_to(HOUSE).with_suffix("").parts
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

    def test_every_wing_is_named_once(self):
        named = [wing for line in wings() for wing in line]
        standing = {name.split(".")[0] for name in self.modules} - {"", "__main__"} - BEHIND
        self.assertCountEqual(named, standing)

    def test_no_wing_imports_one_above_or_beside_it(self):
        floor = {wing: number for number, line in enumerate(reversed(wings())) for wing in line}
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
                    self.assertLess(floor[other], floor[own], f"{name} imports {other}")
        self.assertEqual(seen, UPWARD)

    def test_no_circle(self):
        graph = {name: {o for o in imported if (name, o.split(".")[0]) not in UPWARD} - {name}
                 for name, imported in self.imports.items()}  # fmt: skip
        tuple(graphlib.TopologicalSorter(graph).static_order())

    def test_a_wing_is_entered_by_its_door_from_above(self):
        """A file imports from its own wing file by file: through the wing's `__init__` it would import itself."""
        for name, imported in self.imports.items():
            self.assertNotIn(name.split(".")[0], imported - {name}, name)

    def test_no_file_holds_two_things(self):
        for name, path in self.modules.items():
            self.assertLessEqual(len(path.read_text().splitlines()), 300, f"{name} holds two things")
