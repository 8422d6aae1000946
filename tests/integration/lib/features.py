"""The table of features in connectors/README.md: written from a run of test_every_connector.py, and held
against each run of the whole of it."""

import ast
import pathlib

from lib.sources import ABILITIES, SOURCES, abilities

CASES = pathlib.Path(__file__).parents[1] / "test_every_connector.py"
README = pathlib.Path(__file__).parents[3] / "connectors/README.md"
BEGIN, END = "<!-- features: begin -->\n", "<!-- features: end -->\n"


def _cases():
    """(name, title, abilities that it needs) of each case, as the file has them."""
    for node in ast.parse(CASES.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            needs = [argument.value for mark in node.decorator_list if isinstance(mark, ast.Call)
                     for argument in mark.args]
            yield node.name, ast.get_docstring(node).splitlines()[0], needs


class Features:
    """Takes note of the outcomes of one run. A plugin of the session's first process."""

    def __init__(self):
        self._outcomes = {}  # (case, source) -> passed so far

    def pytest_runtest_logreport(self, report):
        file, _, test = report.nodeid.partition("::")
        if file.endswith(CASES.name):
            cell = tuple(test.rstrip("]").split("[", 1))
            self._outcomes[cell] = self._outcomes.get(cell, True) and report.outcome == "passed"

    def table(self):
        """The table, or None where a case is missing or did not pass."""
        notes = []
        lines = [["", *SOURCES], ["---"] * (1 + len(SOURCES))]
        for name, title, needs in _cases():
            line = [title]
            for source in SOURCES:
                missing = [ability for ability in needs if ability not in abilities(source)]
                if missing:
                    reason = ABILITIES[missing[0]]
                    if reason not in notes:
                        notes.append(reason)
                    line.append(f"– <sup>{notes.index(reason) + 1}</sup>")
                elif self._outcomes.get((name, source)):
                    line.append("yes")
                else:
                    return None
            lines.append(line)
        table = "".join("| " + " | ".join(line) + " |\n" for line in lines)
        return table + "\n" + "".join(f"{number}. {note[0].upper()}{note[1:]}.\n"
                                      for number, note in enumerate(notes, 1))

    def differs(self):
        """Whether this run was whole and README says something else."""
        table = self.table()
        return table is not None and table != _parts()[1]

    def write(self):
        table = self.table()
        if table is None:
            return False
        before, _, after = _parts()
        README.write_text(f"{before}{BEGIN}{table}{END}{after}")
        return True


def _parts():
    before, _, rest = README.read_text().partition(BEGIN)
    table, _, after = rest.partition(END)
    return before, table, after
