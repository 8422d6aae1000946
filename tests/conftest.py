"""Loads the test library (tests/integration/lib) for all Python tests."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "integration"))
pytest_plugins = ["lib.plugin"]
