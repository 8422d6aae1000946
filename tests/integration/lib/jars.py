"""Apache Kafka's jars, fetched once from Maven Central into the cache."""

import fcntl
import pathlib
import shutil
import subprocess
import tempfile

from lib.machine import cache_directory
from lib.waiting import until

KAFKA = "4.3.1"
OLD_KAFKA = "3.9.1"  # librdkafka before 2.6.1 sends a SCRAM nonce that 4.x refuses (its #4895)
FEWEST = 40  # the server has 46; a copy that was cut short has fewer
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>sluice</groupId>
  <artifactId>tests</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>VERSION</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"""


def kafka_jars(version=KAFKA):
    """The directory that holds them."""
    home = cache_directory()
    home.mkdir(parents=True, exist_ok=True)
    ready = home / f"kafka-{version}"
    with open(home / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (ready / "complete").exists():
            print(f"fetching Apache Kafka {version} (54 MB) from Maven Central ...", flush=True)
            _fetch(home, ready, version)
    return ready


def _fetch(home, ready, version):
    last = [""]
    work = pathlib.Path(tempfile.mkdtemp(dir=home))

    def attempt():
        (work / "pom.xml").write_text(POM.replace("VERSION", version))
        done = subprocess.run(
            ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime",
             "-DoutputDirectory=" + str(work / "libs")],
            cwd=work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=600)
        count = len(list((work / "libs").glob("*.jar")))
        last[0] = f"mvn ended with {done.returncode}, {count} jars\n{done.stdout[-3000:]}"
        return done.returncode == 0 and count >= FEWEST

    try:
        # Maven Central is slow or refuses now and then: more than one try.
        until(attempt, 120, lambda: "fetching Kafka: " + last[0], every=5)
        (work / "libs" / "complete").touch()
        shutil.rmtree(ready, ignore_errors=True)
        (work / "libs").rename(ready)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    print(kafka_jars())
