"""Builds an image's root directory from a Dockerfile, without an engine or a registry: the few
instructions that ours has, each done as the reference of Dockerfiles says. What it does not know it
refuses. `FROM debian:RELEASE-slim` is a bare Debian made from packages."""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess

from lib.machine import cache_directory

ROOT = pathlib.Path(__file__).parents[2]
CONTAINER = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit"]


def bare_root(release):
    packed = cache_directory() / f"{release}-bare.tar"
    if not packed.exists():
        part = packed.with_suffix(f".{os.getpid()}.tar")
        subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", release, part],
                       check=True)
        part.rename(packed)
    return packed


def instructions(path):
    """(WORD, text) of each, lines joined."""
    text = re.sub(r"^[ \t]*#.*\n", "", path.read_text(), flags=re.M).replace("\\\n", " ")
    for line in text.splitlines():
        if line.strip():
            word, rest = line.split(None, 1)
            yield word.upper(), rest.strip()


class Stage:
    def __init__(self, root):
        self.root = root
        self.environment = {}
        self.user, self.directory = "root", "/"
        self.entrypoint, self.command, self.health = [], [], None

    def inherit(self, other):
        for name in ("environment", "user", "directory", "entrypoint", "command", "health"):
            setattr(self, name, getattr(other, name))
        self.environment = dict(other.environment)


class Image:
    """All stages of the Dockerfile, up to `target`, below `directory`; `stage` is the last."""

    def __init__(self, dockerfile, directory, target, **arguments):
        self.directory = pathlib.Path(directory)
        self.stages = {}
        self.arguments = {}
        for word, text in instructions(dockerfile):
            if word == "FROM" and target in self.stages:
                break
            getattr(self, f"_{word.lower()}")(text, **(arguments if word == "ARG" else {}))
        self.stage = self.stages[target]

    def _expand(self, text):
        return re.sub(r"\$\{(\w+)\}", lambda match: self.arguments[match[1]], text)

    def _arg(self, text, **given):
        name, default = text.split("=")
        self.arguments[name] = given.get(name, default)

    def _from(self, text):
        base, _, name = re.fullmatch(r"(\S+)( AS (\S+))", self._expand(text)).groups()
        self.stage = Stage(self.directory / name)
        self.stage.root.mkdir()
        if base in self.stages:
            subprocess.run(["cp", "-a", f"{self.stages[base].root}/.", self.stage.root], check=True)
            self.stage.inherit(self.stages[base])
        else:
            release = re.fullmatch(r"debian:(\w+)-slim", base)[1]
            subprocess.run(["tar", "-xf", bare_root(release), "-C", self.stage.root], check=True)
        self.stages[name] = self.stage

    def _copy(self, text):
        words = text.split()
        source = ROOT
        if words[0].startswith("--from="):
            source = self.stages[words.pop(0).removeprefix("--from=")].root
        source = source / words[0].lstrip("/")
        target = self.stage.root / words[1].lstrip("/")
        if source == ROOT:  # what .dockerignore leaves, which git knows too
            names = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"],
                                   check=True, stdout=subprocess.PIPE).stdout
            target.mkdir(parents=True)
            pack = subprocess.Popen(["tar", "-C", ROOT, "--owner=0", "--group=0", "-cf", "-", "-T", "-"],
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            unpack = subprocess.Popen(["tar", "-C", target, "-xf", "-"], stdin=pack.stdout)
            pack.stdin.write(names)
            pack.stdin.close()
            assert (unpack.wait(), pack.wait()) == (0, 0)
        elif source.is_dir():
            # Bare Debians link /lib and the like into /usr: through them, not over them.
            target.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", "--no-preserve=ownership", f"{source}/.", target], check=True)
        else:
            shutil.copy(source, target)

    def _run(self, text):
        assert self.stage.user == "root"
        settings = [f"--setenv={name}={value}" for name, value in self.stage.environment.items()]
        done = subprocess.run([*CONTAINER, "--pipe", "--resolv-conf=copy-host", *settings,
                               f"--chdir={self.stage.directory}", "-D", self.stage.root, "/bin/sh",
                               "-c", text], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, f"RUN {text}\n{done.stdout[-4000:]}"

    def _env(self, text):
        self.stage.environment.update(pair.split("=", 1) for pair in shlex.split(text))

    def _user(self, text):
        self.stage.user = text

    def _workdir(self, text):
        self.stage.directory = text

    def _entrypoint(self, text):
        self.stage.entrypoint = [str(word) for word in json.loads(text)]

    def _cmd(self, text):
        self.stage.command = [str(word) for word in json.loads(text)]

    def _healthcheck(self, text):
        self.stage.health = text.split(" CMD ", 1)[1]

    def _nothing(self, _):
        """Says something to an engine, and nothing about files."""

    _label = _volume = _stopsignal = _nothing
