"""A bare Debian that systemd boots, with sluice installed in it: a container of systemd-nspawn that
shares this machine's network, so that brokers and functions of the tests are reached."""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess

from lib.machine import BUILD, PATIENCE, cache_directory
from lib.waiting import until

ROOT = pathlib.Path(__file__).parents[2]
LIBRARIES = {
    "bookworm": ("librdkafka1 librabbitmq4 libcurl4 libjansson4 libyajl2 libyaml-0-2 liblmdb0 libsqlite3-0 "
                 "libmicrohttpd12 libgnutls30 libxxhash0 libssl3"),
    "trixie": ("librdkafka1 librabbitmq4 libcurl4t64 libjansson4 libyajl2 libyaml-0-2 liblmdb0 libsqlite3-0 "
               "libmicrohttpd12t64 libgnutls30t64 libxxhash0 libssl3t64"),
}


def _packed(name, release, *arguments):
    """A packed root directory, made once (a minute)."""
    packed = cache_directory() / f"{name}.tar"
    if not packed.exists():
        part = packed.with_suffix(f".{os.getpid()}.tar")
        subprocess.run(["mmdebstrap", "--quiet", "--mode=root", *arguments, release, part], check=True)
        part.rename(packed)
    return packed


def base_root(release):
    """A Debian with systemd and our libraries."""
    include = ",".join(["systemd", "systemd-sysv", "dbus", *LIBRARIES[release].split()])
    return _packed(release, release, "--variant=minbase", f"--include={include}")


def plain_root(release):
    """A Debian with systemd, and nothing for us."""
    return _packed(f"{release}-plain", release, "--variant=minbase",
                   "--include=systemd,systemd-sysv,dbus,ca-certificates")


def build_root(release):
    """A Debian with what debian/control needs to build, and no more."""
    control = (ROOT / "debian/control").read_bytes()
    name = f"{release}-build-{hashlib.sha256(control).hexdigest()[:12]}"
    return _packed(name, release, "--variant=buildd", '--customize-hook=mkdir "$1/needs"',
                   f"--customize-hook=copy-in {ROOT}/debian /needs",
                   '--customize-hook=chroot "$1" apt-get -qq -y --no-install-recommends build-dep /needs')


def copy_source(target):
    """What git knows of the tree."""
    target.mkdir(parents=True)
    files = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"], check=True,
                           stdout=subprocess.PIPE).stdout
    pack = subprocess.Popen(["tar", "-C", ROOT, "--owner=0", "--group=0", "-cf", "-", "-T", "-"],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    unpack = subprocess.Popen(["tar", "-C", target, "-xf", "-"], stdin=pack.stdout)
    pack.stdin.write(files)
    pack.stdin.close()
    assert (unpack.wait(), pack.wait()) == (0, 0)


def build_packages(directory, release):
    """Builds the Debian packages on that release; {package: path of its .deb}."""
    root = pathlib.Path(directory) / "root"
    root.mkdir(parents=True)
    subprocess.run(["tar", "-xf", build_root(release), "-C", root], check=True)
    copy_source(root / "build/source")
    done = subprocess.run(["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--pipe",
                           "-D", root, "--chdir=/build/source",
                           "--setenv=DEB_BUILD_OPTIONS=nocheck noautodbgsym parallel=2",
                           "dpkg-buildpackage", "-b", "-us", "-uc"], text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout[-4000:]
    found = {}
    for path in (root / "build").glob("*.deb"):
        found[path.name.split("_")[0]] = pathlib.Path(shutil.move(path, directory))
    shutil.rmtree(root)
    return found


def with_version(package, version):
    """A copy of the package that says to be of another version, as do those it needs."""
    work = package.parent / f"{package.stem}-{version}"
    subprocess.run(["dpkg-deb", "-R", package, work], check=True)
    control = work / "DEBIAN/control"
    text = control.read_text()
    old = re.search(r"^Version: (\S+)", text, re.M)[1]
    control.write_text(text.replace(f"Version: {old}", f"Version: {version}").replace(
        f"(= {old})", f"(= {version})"))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", work, package.parent / f"{work.name}.deb"],
                   check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(work)
    return package.parent / f"{work.name}.deb"


class Machine:
    """`installed`: with sluice in it, by `make install`, and its libraries."""

    def __init__(self, directory, release, installed=True):
        self.root = pathlib.Path(directory) / "root"
        self.root.mkdir()
        packed = base_root(release) if installed else plain_root(release)
        subprocess.run(["tar", "-xf", packed, "-C", self.root], check=True)
        if installed:
            subprocess.run(["make", "-s", "-C", ROOT, "install",
                            f"B={os.path.relpath(BUILD, ROOT)}", f"DESTDIR={self.root}",
                            "PREFIX=/usr"], check=True, stdout=subprocess.DEVNULL)
        self._log = open(pathlib.Path(directory) / "console", "wb")
        self._process = None
        self._leader = None

    def boot(self):
        self._process = subprocess.Popen(
            ["systemd-nspawn", "--quiet", f"--directory={self.root}", "--boot", "--register=no",
             "--keep-unit", f"--machine=sluice-{os.getpid()}"],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        self._leader = until(self._find_leader, 20 * PATIENCE, "the machine's first process")
        until(lambda: self.run("systemctl", "is-system-running", check=False).strip() in
              ("running", "degraded"), 60 * PATIENCE, "systemd has booted")

    def _find_leader(self):
        """The child of systemd-nspawn, once it is the machine's init."""
        assert self._process.poll() is None, "systemd-nspawn ended"
        path = f"/proc/{self._process.pid}/task/{self._process.pid}/children"
        for child in pathlib.Path(path).read_text().split():
            if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return child
        return None

    def run(self, *command, check=True, with_code=False):
        """What the command in the machine prints; (code, text) if asked for."""
        done = subprocess.run(["nsenter", "-t", self._leader, "-m", "-u", "-i", "-p", "-C", "--",
                               *map(str, command)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=90 * PATIENCE, env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
                                                          "LC_ALL": "C.UTF-8"})
        if with_code:
            return done.returncode, done.stdout
        assert done.returncode == 0 or not check, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def show(self, unit, field):
        return self.run("systemctl", "show", unit, "--value", "-p", field).strip()

    def journal(self, unit="sluice"):
        return self.run("journalctl", "-u", unit, "--no-pager", "-o", "cat")

    def write(self, path, text):
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def drop_in(self, text, unit="sluice.service"):
        """Sets what is changed of the unit; "" for nothing."""
        self.write(f"/etc/systemd/system/{unit}.d/test.conf", text)
        self.run("systemctl", "daemon-reload")

    def close(self):
        if self._process and self._process.poll() is None:
            self.run("systemctl", "poweroff", "--no-block", check=False)
            try:
                self._process.wait(30 * PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()
        shutil.rmtree(self.root, ignore_errors=True)
