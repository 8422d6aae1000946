"""Who may include whom.

base < core < io < service < cli; a layer includes itself and those below. base and core have no
outside library but jansson (core). Connectors see include/sluice, libc and their own libraries, as
named in their connector.mk; nothing of ours includes a connector."""

import pathlib
import re
import sys

LAYERS = ["base", "core", "io", "service", "cli"]
THIRD_PARTY = {  # pkg-config name: how its headers begin
    "rdkafka": "librdkafka/", "libcurl": "curl/", "jansson": "jansson.h", "lmdb": "lmdb.h",
    "sqlite3": "sqlite3.h", "libmicrohttpd": "microhttpd.h", "yaml-0.1": "yaml.h",
    "yajl": "yajl/", "libxxhash": "xxhash.h", "libcrypto": "openssl/", "libssl": "openssl/",
    "uthash": ("uthash.h", "utlist.h", "utarray.h"), "librabbitmq": ("amqp", "rabbitmq-c/")}
ALLOWED = {"base": (), "core": ("jansson",), "include": ()}  # the others: any
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.MULTILINE)


def library(header):
    for name, starts in THIRD_PARTY.items():
        if header.startswith(starts):
            return name
    return None


def check_ours(path, layer, quote, header):
    if quote == '"':
        part = header.split("/")[0]
        if part not in LAYERS:
            return f'"{header}" is not LAYER/NAME.h'
        if LAYERS.index(part) > LAYERS.index(layer):
            return f'{layer} includes "{header}" of a higher layer'
        return None
    name = library(header)
    if name and layer in ALLOWED and name not in ALLOWED[layer]:
        return f"{layer} includes <{header}> of {name}"
    return None


def check_connector(path, packages, quote, header):
    if quote == '"':
        if not (path.parent / header).exists():
            return f'a connector includes "{header}", which is not its own'
        return None
    name = library(header)
    if name and name not in packages and name != "uthash":
        return f"a connector includes <{header}>, and {name} is not in its connector.mk"
    return None


def packages_of(directory):
    makefile = directory / "connector.mk"
    return set(re.findall(r"[\w.+-]+", makefile.read_text())) if makefile.exists() else set()


def main():
    complaints = []
    for path in sorted([*pathlib.Path(".").glob("src/**/*.[ch]"),
                        *pathlib.Path(".").glob("include/**/*.h"),
                        *pathlib.Path(".").glob("connectors/**/*.[ch]")]):
        text = path.read_text()
        for match in INCLUDE.finditer(text):
            quote, header = match.groups()
            if path.parts[0] == "src":
                problem = check_ours(path, path.parts[1], quote, header)
            elif path.parts[0] == "connectors":
                problem = check_connector(path, packages_of(path.parent), quote, header)
            elif quote == '"' or library(header):
                problem = f"a public header includes {header}"
            else:
                problem = None
            if problem:
                line = text.count("\n", 0, match.start(2)) + 1
                complaints.append(f"{path}:{line}: {problem}")
    print("\n".join(complaints))
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())
