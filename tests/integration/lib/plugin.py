"""pytest's side of the test library: fixtures, the shared broker, the closing line."""

import contextlib
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import pytest

from lib.features import Features
from lib.function import Function
from lib.jars import kafka_jars
from lib.kafka import Kafka, shared_cluster
from lib.machine import BUILD
from lib.rabbitmq import RabbitServer, shared_server
from lib.sluice import PROGRAM, Sluice, merge, quick_rules
from lib.sqs_servers import ElasticMq, shared_sqs

_names = itertools.count()


# ---- the session ----

class Session:
    """What the first process of a session owns: the scratch directory and the shared broker."""

    def __init__(self):
        # Short, as Unix sockets live in it.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="sl-", dir="/tmp"))
        self.broker = self.rabbit = None
        os.environ["SLUICE_TEST_SCRATCH"] = str(self.directory)

    def start_broker(self):
        if not self.broker:
            home = self.directory / "kafka"
            home.mkdir()
            self.broker = Kafka(home, kafka_jars(), memory="512m")
            self.broker.start()
            self.broker.publish()

    def launch_rabbit(self):
        """It gets ready while tests of other things run."""
        if not self.rabbit:
            home = self.directory / "rabbitmq"
            home.mkdir()
            self.rabbit = RabbitServer(home)
            self.rabbit.launch()
            self.rabbit.publish()

    def end(self):
        for server in (self.broker, self.rabbit):
            if server:
                server.stop()
        for pid in self.directory.glob("*/server.pid"):  # those that tests started, for all
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(pid.read_text()), signal.SIGKILL)
        os.environ.pop("SLUICE_TEST_KAFKA", None)
        os.environ.pop("SLUICE_TEST_RABBITMQ", None)
        if not os.environ.get("SLUICE_KEEP"):
            shutil.rmtree(self.directory, ignore_errors=True)


_session = None


def _is_worker(config):
    return hasattr(config, "workerinput")


def pytest_configure(config):
    """Before workers start, so that they inherit the environment."""
    global _session
    if _is_worker(config) or config.option.collectonly or config.option.help:
        return
    _session = Session()
    config.features = Features()
    config.pluginmanager.register(config.features)
    if getattr(config.option, "numprocesses", None):
        _session.launch_rabbit()
        _session.start_broker()


def pytest_addoption(parser):
    parser.addoption("--write-features", action="store_true",
                     help="write the table of connectors/README.md from this run")


def pytest_sessionfinish(session, exitstatus):
    features = getattr(session.config, "features", None)
    if features is None:
        return
    if session.config.option.write_features:
        if not features.write():
            session.exitstatus = 1
    elif features.differs():
        session.config.stale_features = True
        session.exitstatus = session.exitstatus or 1


def pytest_unconfigure(config):
    global _session
    if _session:
        _session.end()
        _session = None
    if hasattr(config, "closing_line"):
        print(config.closing_line, flush=True)  # the last line, for programs to read


def pytest_collection_modifyitems(items):
    """Tests marked `alone` come last; with workers they stay together on one."""
    items.sort(key=lambda item: item.get_closest_marker("alone") is not None)


def pytest_terminal_summary(terminalreporter, config):
    """Counts for the closing line."""
    stats = terminalreporter.stats
    failed = {report.nodeid for kind in ("failed", "error") for report in stats.get(kind, ())}
    if getattr(config, "stale_features", False):
        failed.add("features")
        terminalreporter.write_line("connectors/README.md: its table of features is not what this run "
                                    "shows; tests/integration/features writes it")
    config.closing_line = (f"{len(stats.get('passed', ()))} passed, {len(failed)} failed, "
                           f"{len(stats.get('skipped', ()))} skipped")


# ---- fixtures ----

@pytest.fixture(scope="session")
def cluster():
    """The session's broker. Never kill it, and use topics and groups of your own."""
    if _session:
        _session.start_broker()
        yield _session.broker
    else:
        shared = shared_cluster()
        yield shared
        shared.close()


@pytest.fixture(scope="session")
def rabbit():
    """The session's RabbitMQ. Never kill it, and use queues of your own."""
    if _session:
        _session.launch_rabbit()
    return shared_server()


@pytest.fixture(scope="session")
def elasticmq():
    """The session's ElasticMQ. Use queues of your own."""
    return shared_sqs(ElasticMq)


@pytest.fixture
def private_rabbit(directory):
    """Makes RabbitMQ servers that a test may kill, to be started; see RabbitServer for settings."""
    made = []

    def make(**settings):
        home = directory / f"rabbitmq{len(made)}"
        home.mkdir()
        made.append(RabbitServer(home, **settings))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def directory(request):
    """An empty directory with a short path; kept with SLUICE_KEEP=1."""
    base = pathlib.Path(os.environ["SLUICE_TEST_SCRATCH"])
    path = pathlib.Path(tempfile.mkdtemp(prefix=f"{next(_names)}-", dir=base))
    if os.environ.get("SLUICE_KEEP"):
        print(f"{request.node.nodeid}: {path}")
    yield path


@pytest.fixture
def private_broker(directory):
    """Makes brokers that a test may kill: private_broker(**properties) -> Kafka."""
    made = []

    def make(jars=None, **properties):
        home = directory / f"kafka{len(made)}"
        home.mkdir()
        broker = Kafka(home, jars or kafka_jars(), memory="320m", **properties)
        made.append(broker)
        return broker

    yield make
    for broker in made:
        broker.stop()


@pytest.fixture
def make_function():
    made = []

    def make(**options):
        made.append(Function(**options))
        return made[-1]

    yield make
    for function in made:
        function.close()


@pytest.fixture
def function(make_function):
    return make_function()


@pytest.fixture
def make_sluice(directory, request):
    """Makes sluices, each with its own configuration and state; stops them at the end. Fails the
    test if one ended by itself."""
    if not PROGRAM.exists():
        pytest.fail(f"{PROGRAM} is not built")
    made = []

    def make():
        home = directory / f"s{len(made)}"
        home.mkdir()
        made.append(Sluice(home))
        return made[-1]

    yield make
    problems = []
    for sluice in made:
        try:
            sluice.close()
        except AssertionError as problem:
            problems.append(str(problem))
        problems += [f"sanitizer: {line}" for line in sluice.lines
                     if "ERROR: AddressSanitizer" in line or "runtime error:" in line
                     or "WARNING: ThreadSanitizer" in line]
    report = getattr(request.node, "rep_call", None)
    if report is not None and report.failed:
        for sluice in made:
            print(f"--- log of {sluice.directory.name}\n{sluice.tail(60)}")
    assert not problems, "\n".join(problems)


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, f"rep_{call.when}", outcome.get_result())


@pytest.fixture
def sluice(make_sluice):
    return make_sluice()


@pytest.fixture
def mapping_for(cluster, function):
    """A working mapping as a dict, with quick retries: mapping_for(topic, {changes})."""
    def make(topic, changes=None, **sections):
        base = {
            "source": {"kafka": {"brokers": cluster.address(), "topic": topic,
                                 "group": f"g-{topic}", "start": "earliest",
                                 "session_timeout": "6s", "commit_interval": "200ms"}},
            "order": "lane",
            "idempotency": {"token": "position"},
        }
        return merge(merge({**quick_rules(function), **base}, changes or {}), sections)

    return make


@pytest.fixture
def rabbit_mapping(function):
    """A working mapping of queues as a dict, with quick retries:
    rabbit_mapping(server, queue, {changes})."""
    def make(server, queue, changes=None, **sections):
        base = {
            "source": {"rabbitmq": {"hosts": server.address(), "queue": queue,
                                    "connect_timeout": "3s", "heartbeat": "5s"}},
            "idempotency": {"token": "message_id", "on_missing": "position"},
        }
        return merge(merge({**quick_rules(function), **base}, changes or {}), sections)

    return make


@pytest.fixture
def idle_source(directory, sluice):
    """A source without a broker, which delivers nothing and whose thread hangs while the file
    directory/"wedge" exists. Mappings of `sluice` may then have no other."""
    plugins = directory / "plugins"
    plugins.mkdir()
    build_connector("wedge", plugins)
    sluice.settings(connector_directory=str(plugins))
    return {"wedge": {"wedge": str(directory / "wedge")}}


def build_connector(name, directory):
    """Compiles tools/NAME.c as a connector."""
    root = pathlib.Path(__file__).parents[3]
    subprocess.run([os.environ.get("CC", "cc"), "-std=gnu11", "-shared", "-fPIC",
                    f"-I{root}/include", "-o", directory / f"sluice-{name}.so",
                    root / f"tests/integration/tools/{name}.c"], check=True)


def group_of(topic):
    return f"g-{topic}"


def build_tool():
    """Compiles kafka_tool if it is missing or older than its source."""
    source = pathlib.Path(__file__).parents[1] / "tools/kafka_tool.c"
    program = BUILD / "tests/kafka_tool"
    if program.exists() and program.stat().st_mtime >= source.stat().st_mtime:
        return
    program.parent.mkdir(parents=True, exist_ok=True)
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "rdkafka", "jansson"], check=True,
                           stdout=subprocess.PIPE, text=True).stdout.split()
    part = program.with_suffix(f".{os.getpid()}")
    subprocess.run([os.environ.get("CC", "cc"), "-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-o",
                    part, source, *flags], check=True)
    part.rename(program)


def numbered(count, keys=None, size=0, prefix="m", partitions=None):
    """Messages with ids PREFIX-0, PREFIX-1, ... as JSON, each with its number in "n"."""
    for n in range(count):
        value = {"id": f"{prefix}-{n}", "n": n}
        if size:
            value["pad"] = "x" * max(0, size - len(json.dumps(value)) - 11)
        message = {"value": json.dumps(value)}
        if keys:
            message["key"] = f"k{n % keys}"
        if partitions:
            message["partition"] = n % partitions
        yield message


def with_message_ids(messages):
    """The same, each with its id as message_id."""
    for message in messages:
        yield {**message, "message_id": json.loads(message["value"])["id"]}


def ids(count, prefix="m"):
    return [f"{prefix}-{n}" for n in range(count)]
