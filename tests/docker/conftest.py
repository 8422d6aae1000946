import os
import pathlib
import shutil
import tempfile

import pytest

from image import ROOT, Image


@pytest.fixture(scope="session", params=os.environ.get("SLUICE_RELEASES", "bookworm").split())
def image(request):
    if os.getuid() != 0 or not shutil.which("mmdebstrap"):
        pytest.skip("needs root and mmdebstrap: `make test-docker` installs it")
    # Not below /tmp, which systemd-nspawn covers in the machine it makes.
    directory = pathlib.Path(tempfile.mkdtemp(prefix="sluice-image-", dir="/var/tmp"))
    yield Image(ROOT / "docker/Dockerfile", directory, "demo", DEBIAN=request.param)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def state(image):
    path = pathlib.Path(tempfile.mkdtemp(prefix="state-", dir=image.directory))
    os.chown(path, 64000, 64000)
    path.chmod(0o700)
    return path
