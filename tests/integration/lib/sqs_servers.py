"""Two other people's implementations of SQS, started once a session when a test asks for them."""

import fcntl
import json
import os
import pathlib
import shutil
import subprocess
import urllib.error
import urllib.request
import uuid

from lib.jars import elasticmq_jars
from lib.machine import PATIENCE, cache_directory, free_port, java, stop_process, tail
from lib.waiting import until

MOTO = "5.2.5"
_COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible",
           "ApproximateNumberOfMessagesDelayed")


class SqsError(Exception):
    def __init__(self, status, body):
        super().__init__(f"{status} {body}")
        self.status, self.body = status, body


class SqsServer:
    """`region`: what requests must be signed for, if it looks at all."""
    region = "us-east-1"

    def __init__(self, directory, port=None):
        """`port`: that of one that another process started in this directory."""
        self.directory = pathlib.Path(directory)
        self.port = port or free_port()
        self.log = self.directory / "server.log"
        self.process = None

    @property
    def origin(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), cwd=self.directory, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, start_new_session=True)
        self.wait_ready()
        return self

    def wait_ready(self):
        def answers():
            code = self.process and self.process.poll()
            assert code is None, f"{type(self).__name__} ended with {code}:\n{tail(self.log)}"
            try:
                self.call("ListQueues")
                return True
            except (OSError, SqsError):
                return False
        until(answers, 60 * PATIENCE, lambda: f"start of {type(self).__name__}\n{tail(self.log)}", every=0.1)

    def stop(self):
        if self.process:
            stop_process(self.process)

    # -- as a client --

    def call(self, action, **body):
        request = urllib.request.Request(self.origin + "/", json.dumps(body).encode(), {
            "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AmazonSQS.{action}",
            "Authorization": f"AWS4-HMAC-SHA256 Credential=x/20260101/{self.region}/sqs/aws4_request, "
                             "SignedHeaders=host, Signature=x"})
        try:
            with urllib.request.urlopen(request, timeout=30 * PATIENCE) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            raise SqsError(error.code, error.read()) from None

    def queue(self, name=None, fifo=False, **attributes):
        """Makes one and returns its URL."""
        name = name or f"q-{uuid.uuid4().hex[:12]}" + (".fifo" if fifo else "")
        if name.endswith(".fifo"):
            attributes["FifoQueue"] = "true"
        made = self.call("CreateQueue", QueueName=name, Attributes=attributes)
        return made["QueueUrl"]

    def send(self, url, body, **options):
        return self.call("SendMessage", QueueUrl=url, MessageBody=body, **options)

    def produce(self, url, bodies, group=None):
        bodies = list(bodies)
        for begin in range(0, len(bodies), 10):
            entries = [{"Id": str(number), "MessageBody": body,
                        **({"MessageGroupId": group(body) if callable(group) else group,
                            "MessageDeduplicationId": uuid.uuid4().hex} if group else {})}
                       for number, body in enumerate(bodies[begin:begin + 10])]
            answer = self.call("SendMessageBatch", QueueUrl=url, Entries=entries)
            assert not answer.get("Failed"), answer

    def receive(self, url, **options):
        return self.call("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10,
                         MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"],
                         **options).get("Messages", [])

    def left(self, url):
        found = self.call("GetQueueAttributes", QueueUrl=url, AttributeNames=list(_COUNTS))["Attributes"]
        return [int(found[name]) for name in _COUNTS]

    def wait_settled(self, url, timeout=20):
        until(lambda: not any(self.left(url)), timeout * PATIENCE,
              lambda: f"settlement of all ({self.left(url)} left)", every=0.1)

    def source(self, url):
        return {"dialect": "sqs", "url": self.origin, "sqs": {
            "queue": url.rsplit("/", 1)[1], "region": self.region, "access_key_id": "AKIDEXAMPLE",
            "secret_access_key": "s3cr3t-of-tests"}}


class ElasticMq(SqsServer):
    region = "elasticmq"
    memory = "256m"

    def command(self):
        (self.directory / "elasticmq.conf").write_text(f"""
            include classpath("application.conf")
            node-address {{ protocol = http, host = "127.0.0.1", port = {self.port}, context-path = "" }}
            rest-sqs {{ enabled = true, bind-port = {self.port}, bind-hostname = "127.0.0.1"
                        sqs-limits = strict }}
            rest-stats {{ enabled = false }}
        """)
        return [java(), f"-Xmx{self.memory}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                "-Dconfig.file=elasticmq.conf", "-cp", f"{elasticmq_jars()}/*", "org.elasticmq.server.Main"]


class Moto(SqsServer):
    def command(self):
        return [str(moto_environment() / "bin/moto_server"), "-H", "127.0.0.1", "-p", str(self.port)]


def moto_environment():
    """A virtual environment with moto, made once in the cache."""
    home = cache_directory()
    home.mkdir(parents=True, exist_ok=True)
    ready = home / f"moto-{MOTO}"
    with open(home / f"moto-{MOTO}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (ready / "complete").exists():
            print(f"fetching moto {MOTO} (106 MB) from PyPI ...", flush=True)
            shutil.rmtree(ready, ignore_errors=True)
            last = []

            def attempt():
                for command in (["/usr/bin/python3", "-m", "venv", ready],
                                [ready / "bin/pip", "-q", "install", "--no-compile", f"moto=={MOTO}", "flask",
                                 "flask-cors"]):
                    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                          stderr=subprocess.STDOUT, text=True, timeout=600)
                    last[:] = [done.stdout[-3000:]]
                    if done.returncode:
                        return False
                return True
            until(attempt, 120, lambda: f"fetching moto: {last}", every=5)
            (ready / "complete").touch()
    return ready


def shared_sqs(kind):
    """The session's server of this class: its first user starts it, the session ends it. Never stop it, and
    use queues of your own."""
    home = pathlib.Path(os.environ["SLUICE_TEST_SCRATCH"]) / kind.__name__.lower()
    home.mkdir(exist_ok=True)
    with open(home / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "port").exists():
            server = kind(home).start()
            (home / "server.pid").write_text(str(server.process.pid))
            (home / "port").write_text(str(server.port))
        return kind(home, int((home / "port").read_text()))
