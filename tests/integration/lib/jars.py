"""Jars of servers, fetched once from Maven Central into the cache."""

import fcntl
import pathlib
import shutil
import subprocess
import tempfile

from lib.machine import cache_directory
from lib.waiting import until

KAFKA = "4.3.1"
OLD_KAFKA = "3.9.1"  # librdkafka before 2.6.1 sends a SCRAM nonce that 4.x refuses (its #4895)
ELASTICMQ = "1.6.14"
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>sluice</groupId>
  <artifactId>tests</artifactId>
  <version>1</version>
  <dependencies>
    {}
  </dependencies>
</project>
"""


def kafka_jars(version=KAFKA):
    """The directory that holds them."""
    return _jars(f"Apache Kafka {version} (54 MB)", f"kafka-{version}", 40, [
        ("org.apache.kafka", "kafka_2.13", version), ("org.slf4j", "slf4j-simple", "1.7.36")])


def elasticmq_jars(version=ELASTICMQ):
    return _jars(f"ElasticMQ {version} (37 MB)", f"elasticmq-{version}", 30, [
        ("org.elasticmq", "elasticmq-server_2.13", version)])


def _jars(title, name, fewest, dependencies):
    """`fewest`: a copy that was cut short has fewer."""
    home = cache_directory()
    home.mkdir(parents=True, exist_ok=True)
    ready = home / name
    with open(home / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (ready / "complete").exists():
            print(f"fetching {title} from Maven Central ...", flush=True)
            _fetch(home, ready, title, fewest, dependencies)
    return ready


def _fetch(home, ready, title, fewest, dependencies):
    last = [""]
    work = pathlib.Path(tempfile.mkdtemp(dir=home))

    def attempt():
        (work / "pom.xml").write_text(POM.format("\n    ".join(
            f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
            f"<version>{version}</version></dependency>" for group, artifact, version in dependencies)))
        done = subprocess.run(
            ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime",
             "-DoutputDirectory=" + str(work / "libs")],
            cwd=work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=600)
        count = len(list((work / "libs").glob("*.jar")))
        last[0] = f"mvn ended with {done.returncode}, {count} jars\n{done.stdout[-3000:]}"
        return done.returncode == 0 and count >= fewest

    try:
        # Maven Central is slow or refuses now and then: more than one try.
        until(attempt, 120, lambda: f"fetching {title}: " + last[0], every=5)
        (work / "libs" / "complete").touch()
        shutil.rmtree(ready, ignore_errors=True)
        (work / "libs").rename(ready)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    print(kafka_jars())
