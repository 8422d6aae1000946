"""Every option of a connector is mentioned in a sample mapping or its manual page, and the manual
page has no mistakes that mandoc sees."""

import pathlib
import re
import shutil
import subprocess
import sys

# What groff puts into one pair of quotes, or prints with one dash.
MARKED = re.compile(r'^\.(?:Pq )?Ql \S+ (?:[,;] \S|(?:No|Ql)\b).*|^\.Fl -\S+ , [a-z].*', re.MULTILINE)
OPTION = re.compile(r'^\s*\{\s*(?:\.name\s*=\s*)?"([a-z][a-z0-9_.]*)",\s*(?:\.type\s*=\s*)?SLUICE_',
                    re.MULTILINE)


def main():
    complaints = []
    samples = "\n".join(path.read_text() for path in pathlib.Path("config").rglob("*.yaml"))
    for directory in sorted(pathlib.Path("connectors").glob("*/")):
        sources = "\n".join(path.read_text() for path in directory.glob("*.c"))
        manuals = [*directory.glob("*.[1-8]"), *directory.glob("*.md")]
        text = samples + "\n".join(path.read_text() for path in manuals)
        text = text.replace("\\-", "-")
        for option in OPTION.findall(sources):
            if option.split(".")[-1] not in text:
                complaints.append(f"{directory}: option {option} is in no sample and no manual")
    pages = [str(path) for path in pathlib.Path(".").rglob("*.[1-8]")
             if path.parts[0] not in ("build", ".git") and path.read_text().startswith((".", "'\\"))]
    for page in pages:
        complaints += [f"{page}: each on a line of its own: {found.group()}"
                       for found in MARKED.finditer(pathlib.Path(page).read_text())]
    if pages and shutil.which("mandoc"):
        done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *pages], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            complaints.append(done.stdout)
    print("\n".join(complaints))
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())
