"""No test sleeps: it waits for the event it needs, with a deadline."""

import pathlib
import re
import subprocess
import sys

# Written so that this file does not find itself.
CALLS = re.compile(r"\b(time\.sle" + r"ep\(|asyncio\.sle" + r"ep\(|(?<![\w.])u?sle" + r"ep\("
                   r"|nanosle" + r"ep\()|^\s*sle" + r"ep\s+[\d.$]|[;&|]\s*sle" + r"ep\s+[\d.$]")


def main():
    complaints = []
    names = subprocess.run(["git", "ls-files", "tests", ".ci"], check=True, text=True,
                           stdout=subprocess.PIPE).stdout.split()
    for name in names:
        try:
            lines = pathlib.Path(name).read_text().splitlines()
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        for number, line in enumerate(lines, 1):
            if CALLS.search(line):
                complaints.append(f"{name}:{number}: {line.strip()}")
    print("\n".join(complaints))
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())
