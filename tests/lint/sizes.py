"""Files under about 600 lines, functions under about 60; "about" is a tenth more, and for tests, whose
tables are long, a half. A longer one carries a comment `long: REASON` in its first lines, or just
above the function."""

import pathlib
import re
import sys

FILE, FUNCTION = 600, 60
SKIPPED = {"build"}


def functions(lines):
    """(first line, last line, name) of each function body; relies on braces in the first column."""
    begin = None
    for number, line in enumerate(lines, 1):
        if line.startswith("{"):
            begin = number
        elif line.startswith("}") and begin:
            # A body follows a parameter list, an initialiser follows `=`.
            head = " ".join(lines[max(0, begin - 6):begin - 1])
            names = re.findall(r"(\w+)\s*\(", head)
            if line.rstrip() == "}" and names:
                yield begin, number, names[-1]
            begin = None


def main():
    complaints = []
    for pattern in ("src/**/*.[ch]", "connectors/**/*.[ch]", "include/**/*.h", "tests/**/*.[ch]",
                    "tests/**/*.py"):
        for path in sorted(pathlib.Path(".").glob(pattern)):
            if path.parts[0] in SKIPPED:
                continue
            lines = path.read_text(errors="replace").splitlines()
            about = 1.5 if path.parts[0] == "tests" else 1.1
            if len(lines) > FILE * about and not any("long:" in line for line in lines[:12]):
                complaints.append(f"{path}: {len(lines)} lines")
            if path.suffix != ".c":
                continue
            for begin, end, name in functions(lines):
                excused = any("long:" in line for line in lines[max(0, begin - 8):begin])
                if end - begin - 1 > FUNCTION * about and not excused:
                    complaints.append(f"{path}:{begin}: {name} has {end - begin - 1} lines")
    print("\n".join(complaints))
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())
