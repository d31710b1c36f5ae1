"""What kvae needs around it, and what it says where that is missing."""

import ast
import os
import pathlib
import subprocess
import sys
import textwrap

import tensorflow as tf

ROOT = pathlib.Path(__file__).resolve().parent.parent


def python(code, **environment):
    command = ["timeout", "-k", "5", "120", sys.executable, "-c", textwrap.dedent(code)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


class EnvironmentTest(tf.test.TestCase):
    HEAVY = {"matplotlib", "sklearn", "tensorflow_datasets"}

    def test_import_does_not_need_the_heavy_packages(self):
        """Keras itself imports scikit-learn and Matplotlib where they are installed; so they are blocked here."""
        done = python(f"""
            import sys

            class Block:
                def find_spec(self, name, path=None, target=None):
                    if name.split(".")[0] in {self.HEAVY}:
                        raise ImportError("blocked: " + name)

            sys.meta_path.insert(0, Block())
            import kvae
        """)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_no_module_imports_them_at_the_top(self):
        for path in (ROOT / "kvae").rglob("*.py"):
            for node in ast.parse(path.read_text()).body:
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", "")]
                self.assertFalse(self.HEAVY & {str(name).split(".")[0] for name in names}, path.name)

    def test_missing_tf_keras(self):
        done = python("""
            import importlib.util, sys
            find = importlib.util.find_spec
            importlib.util.find_spec = lambda name, *a: None if name == "tf_keras" else find(name, *a)
            import kvae
        """)
        self.assertNotEqual(done.returncode, 0)
        last = done.stderr.strip().splitlines()[-1]
        self.assertRegex(
            last, r'ImportError: .*tf_keras, which is not installed. Mend it with: pip install "tf_keras>='
        )

    def test_tf_keras_of_another_version(self):
        done = python("""
            from importlib import metadata
            version = metadata.version
            metadata.version = lambda name: "2.16.0" if name == "tf_keras" else version(name)
            import kvae
        """)
        self.assertRegex(
            done.stderr.strip().splitlines()[-1],
            r"ImportError: tf_keras 2.16 does not fit tensorflow " + ".".join(tf.__version__.split(".")[:2]),
        )

    def test_other_backend(self):
        done = python("import kvae", KERAS_BACKEND="jax")
        self.assertRegex(done.stderr.strip().splitlines()[-1], "ImportError: kvae runs on Keras' TensorFlow backend")
        done = python("""
            import keras
            keras.config.backend = lambda: "torch"
            import kvae
        """)
        self.assertRegex(done.stderr.strip().splitlines()[-1], "ImportError: .*set up for 'torch'")
