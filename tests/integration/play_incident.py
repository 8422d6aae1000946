"""The nights of sluice-incident(7) and of README.md and the examples of sluice-dlq(1), played with the real
servers (tests/integration/incident): prints the samples in their order. Not one of the tests that are always
run, as it types what a person types and takes fixed ports; but it fails where something that the pages say is
not so."""

import contextlib
import json
import re
import shlex
import textwrap

from lib.function import Answer
from lib.machine import PATIENCE, ROOT
from lib.rabbitmq import QUORUM
from lib.sluice import PROGRAM, run_cli
from lib.terminal import on_terminal
from lib.waiting import Timeout, until

ORDERS, BROKEN = 400, 131
SWISS = range(7, ORDERS, 50)
SWISS_AT_THE_END = [*SWISS[:6], ORDERS - 2, ORDERS - 1]
PORTS = {"orders": 18080, "shipments": 18081, "returns": 18081}
RULES = {"batch": {"size": 10, "window": "50ms"}, "retry": {"attempts": 3, "backoff": "100ms..2s"}}


def orders(letter, swiss=SWISS):
    """400 of them, eight to Switzerland, one broken in itself."""
    for n in range(ORDERS):
        yield {"id": f"{letter}-{1000 + n}", "customer": f"c-{n * 7 % 23}",
               "quantity": "two" if n == BROKEN else 1 + n % 3,
               "country": "CH" if n in swiss else ("DE", "AT", "FR")[n % 3]}


def ids(letter):
    return [order["id"] for order in orders(letter)]


def book(invocation, rates):
    """The function: books all orders of an invocation, or none."""
    for record in invocation.records:
        order = json.loads(record.value)
        if not isinstance(order["quantity"], int):
            return Answer(422, f"order {order['id']}: quantity must be a number")
        if order["country"] not in rates:
            return Answer(500, f"no VAT rate for {order['country']} (order {order['id']})")
    return Answer(200, delay=0.02)


def released(invocation):
    return book(invocation, {"DE": 19, "AT": 20, "FR": 20})


def mended(invocation):
    return book(invocation, {"DE": 19, "AT": 20, "FR": 20, "CH": 8.1})


def place(function, mapping):
    """Moves the function to where the page has it."""
    function.refuse()
    function.port = PORTS[mapping]
    function.behave = released
    function.listen()


def target(mapping):
    return {"http": {"url": f"http://127.0.0.1:{PORTS[mapping]}/{mapping}"}}


def lacks_currency(invocation):
    for record in invocation.records:
        order = json.loads(record.value)
        if "currency" not in order:
            return Answer(422, json.dumps({"error": f"order {order['id']} has no currency"}))
    return Answer(200)


def kafka_orders(cluster, topic, **sections):
    return {**RULES, "source": {"kafka": {"brokers": cluster.address(), "topic": topic, "group": topic,
                                          "start": "earliest"}},
            "idempotency": {"token": "/id"}, "target": target("orders"), **sections}


def fit(line, page):
    """As wide as the page: sentences are wrapped, rows of a table are cut."""
    if len(line) <= page:
        return line
    if "  " in line or line.startswith(" "):
        return line[:page - 3].rstrip(".") + "..."
    return textwrap.fill(line, page)


class Person:
    """Types commands beside a service, on a terminal of 80 columns."""

    def __init__(self, sluice, page=75):
        """`page`: the columns that there are for a sample."""
        self.sluice, self.page = sluice, page

    def type(self, *words, answers=()):
        """Prints the command and what came, and returns that."""
        config = ["--config", self.sluice.config] if "replay" in words else []
        code, seen = on_terminal([str(PROGRAM), *words, *config], *answers,
                                 environment={"STATE_DIRECTORY": str(self.sluice.state)})
        assert code == ("No dead letters match" in seen or "degraded" in seen), seen
        seen = re.sub(" --config [^ \n]*", "", seen.replace(str(self.sluice.state), "/var/lib/sluice"))
        seen = re.sub("[^\n]*\r", "", seen)  # progress, which is drawn over
        print(f"\n$ sluice {shlex.join(words)}")
        print("\n".join(fit(line.rstrip(), self.page) for line in seen.rstrip().split("\n")))
        return seen

    def dead(self, mapping):
        """What died there, oldest first."""
        return sorted((letter for letter in self.sluice.dead() if letter["mapping"] == mapping),
                      key=lambda letter: letter["id"])

    def repair_and_replay(self, mapping, function):
        """The broken one is edited, the function mended, and all are replayed."""
        broken = next(letter for letter in self.dead(mapping) if letter["status"] == 422)["id"]
        assert "two" in self.type("dlq", "show", "--payload", broken)
        assert '+  "quantity": 2,' in self.type("dlq", "edit", broken, "--set", "/quantity=2", "--yes")
        function.behave = mended
        self.type("dlq", "replay", "--mapping", mapping, "--dry-run")
        letters = len(self.dead(mapping))
        seen = self.type("dlq", "replay", "--mapping", mapping, "--one-first",
                         answers=[(rf"other {letters - 1}\? \[y/N\] ", "y\n")])
        assert f"{letters} replayed." in seen

    def wait_status(self, pattern):
        """Until it tells that: queues are counted anew every few seconds."""
        text = []

        def told():
            text[:] = [run_cli("status", "--state", self.sluice.state).stdout]
            return re.search(pattern, text[0])
        until(told, 60 * PATIENCE, lambda: f"status with {pattern}\n{text[0]}")

    def look(self, mapping):
        """What kinds of errors there are, and what became of one of the first kind."""
        self.type("dlq", "stats", mapping, "--by", "error")
        letters = [letter["id"] for letter in self.dead(mapping) if letter["status"] == 500]
        self.type("dlq", "show", self.refused_at_first(letters) or letters[-1])

    def refused_at_first(self, letters):
        """The newest that came while the function was being released."""
        return next((each for each in reversed(letters)
                     if self.sluice.dlq("show", each)["attempts"][0]["outcome"] == "unavailable"), None)


def booked_once(function, letter):
    assert function.done == {each: 1 for each in ids(letter)}


def test_with_kafka_and_rabbitmq(cluster, rabbit, make_function, sluice):
    person = Person(sluice)
    booking, shipping = make_function(), make_function()
    place(booking, "orders")
    place(shipping, "shipments")
    shipping.refuse()  # it is being released
    topic, queue = cluster.topic(1, "orders"), rabbit.queue("shipments", **QUORUM)
    cluster.produce(topic, [{"key": order["customer"], "value": json.dumps(order)}
                            for order in orders("o")])
    parcels = [{"message_id": order["id"], "content_type": "application/json",
                "value": json.dumps(order)} for order in orders("s", SWISS_AT_THE_END)]
    rabbit.produce(queue, parcels[:-2])
    sluice.mapping("orders", kafka_orders(cluster, topic))
    sluice.mapping("shipments", {
        **RULES, "source": {"rabbitmq": {"hosts": rabbit.address(), "queue": queue}},
        "idempotency": {"token": "message_id"}, "order": "none", "target": target("shipments")})
    sluice.start()
    sluice.wait_for_log("refused", 30)
    shipping.listen()
    for function in (booking, shipping):
        function.wait(lambda f: len(f.done) == ORDERS - 9, 60, "success of all good ones")
    until(lambda: len(person.dead("orders")) == 9 and
          len(person.dead("shipments")) + rabbit.unsettled(queue) == 7, 60 * PATIENCE, "all given up")
    rabbit.produce(queue, parcels[-2:])  # and nothing after them that could work
    shipping.wait(lambda f: min(f.seen.get(name, 0) for name in ids("s")[-2:]) >= 3, 60, "all attempts")

    person.type("dlq")
    person.look("orders")
    person.repair_and_replay("orders", booking)
    person.type("dlq", "log")
    person.type("dlq", "replay", "--mapping", "orders", "--yes")
    booked_once(booking, "o")

    person.type("dlq")
    person.wait_status(r"shipments +[a-z ]+ 2 ")
    person.type("status")
    assert rabbit.unsettled(queue) >= 2
    person.look("shipments")
    person.repair_and_replay("shipments", shipping)
    rabbit.wait_settled(queue)
    person.type("dlq")
    booked_once(shipping, "s")
    assert not sluice.dead()


def test_with_sqs(elasticmq, function, sluice):
    person = Person(sluice)
    place(function, "returns")
    url = elasticmq.queue("returns")
    bodies = [json.dumps(order) for order in orders("r")]
    elasticmq.produce(url, bodies[:-10])
    sluice.mapping("returns", {**RULES, "source": {"http": elasticmq.source(url)},
                               "idempotency": {"token": "message_id"}, "target": target("returns")})
    sluice.start()
    function.wait(lambda f: len(f.done) == ORDERS - 19, 60, "success of the good ones")

    def all_given_up():
        return len(person.dead("returns")) == 9
    for name, body in zip(ids("r")[-10:], bodies[-10:]):  # they show that the function works
        elasticmq.produce(url, [body])
        function.wait_done([name], 60)
        with contextlib.suppress(Timeout):
            until(all_given_up, 2 * PATIENCE, "all given up")
    assert all_given_up()
    person.look("returns")
    person.repair_and_replay("returns", function)
    elasticmq.wait_settled(url)
    assert "No dead letters" in person.type("dlq")
    booked_once(function, "r")
    assert not sluice.dead()


def test_of_the_readme(cluster, function, sluice):
    """Forty hit a bug of the function, eight lack a currency."""
    def divides(invocation):
        answer = lacks_currency(invocation)
        if answer.success and any(json.loads(record.value)["discount"] == 0 for record in invocation.records):
            return Answer(500, json.dumps({"error": "division by zero in discount()"}))
        return answer

    person = Person(sluice, page=80)
    place(function, "orders")
    function.behave = divides
    topic = cluster.topic(1, "sales")
    numbers = range(4300, 4300 + ORDERS)
    cluster.produce(topic, [{"value": json.dumps(
        {"id": n, "discount": 0 if n % 10 == 3 else 5, "total": n / 4,
         **({} if n % 50 == 7 else {"currency": "EUR"})})} for n in numbers])
    sluice.mapping("orders", kafka_orders(cluster, topic))
    sluice.start()
    until(lambda: len(person.dead("orders")) == 48, 120 * PATIENCE, "all given up")
    person.type("dlq")
    lacking = [letter["id"] for letter in person.dead("orders") if letter["status"] == 422]
    person.type("dlq", "show", lacking[-1][:10])
    person.type("dlq", "edit", "--error", "no currency", "--set", "/currency=EUR",
                answers=[(r"Edit 8 dead letters\? \[y/N\] ", "y\n")])
    function.behave = lacks_currency
    person.type("dlq", "replay", "--mapping", "orders", "--one-first",
                answers=[(r"other 47\? \[y/N\] ", "y\n")])
    assert function.done == {n: 1 for n in numbers} and not sluice.dead()


def examples():
    """The command lines of sluice-dlq(1)."""
    page = (ROOT / "src/sluice-dlq.1").read_text()
    return [line.removeprefix(".Dl ").replace(r"\(dq", '"')
            for line in page[page.index(".Sh EXAMPLES"):].splitlines() if line.startswith(".Dl ")]


def test_examples_of_the_manual(cluster, function, sluice, directory):
    """As they are written, in a shell that finds sluice and another host."""
    def run(line, *answers):
        code, seen = on_terminal(["/bin/bash", "-c", line], *answers, environment={
            "PATH": f"{commands}:/usr/bin:/bin", "STATE_DIRECTORY": str(sluice.state)})
        print(f"\n$ {line}\n{seen.rstrip()}")
        assert code == 0, seen
        return seen

    commands = directory / "commands"
    commands.mkdir()
    for name, script in (("sluice", f"""case $2 in replay|browse) set -- "$@" --config {sluice.config} ;; esac
exec {PROGRAM} "$@" """), ("ssh", f"""shift; STATE_DIRECTORY={directory}/other exec "$@" """)):
        (commands / name).write_text(f"#!/bin/bash\n{script}\n")
        (commands / name).chmod(0o755)
    stats, edit, replay, show, gather, browse = examples()

    place(function, "orders")
    function.behave = lacks_currency
    topic, elsewhere = cluster.topic(1, "examples"), cluster.topic(1)
    cluster.produce(topic, [{"value": json.dumps({"id": n, **({"currency": "EUR"} if n % 5 else {})})}
                            for n in range(20)])
    sluice.mapping("orders", kafka_orders(cluster, topic))
    sluice.start()
    sluice.wait_dead(4, 60)
    assert "order # has no currency" in run(stats)
    run(f"sluice dlq export > {directory}/letters && "
        f"STATE_DIRECTORY={directory}/other sluice dlq import {directory}/letters")
    assert f"Dead letter {sluice.dead()[0]['id']}" in run(show)
    assert "4 dead letters edited." in run(edit, (r"Edit 4 dead letters\? \[y/N\] ", "y\n"))
    assert "4 replayed." in run(replay, (r"other 3\? \[y/N\] ", "y\n"))
    assert not sluice.dead() and function.done == {n: 1 for n in range(20)}
    run(gather)
    assert len(sluice.dead()) == 4
    sluice.mapping("orders", kafka_orders(cluster, topic, dead_letter={"to": {"kafka": {
        "brokers": cluster.address(), "topic": elsewhere}}}))
    assert sluice.control("POST", "/v1/reload")[0] == 200
    cluster.produce(topic, [{"value": json.dumps({"id": 20})}, {"value": '{"id": 21, "currency": "EUR"}'}])
    function.wait_done([21], 60)
    until(lambda: cluster.watermarks(elsewhere, 1)[0][1] == 1, 60 * PATIENCE, "the letter elsewhere")
    assert '{"id": 20}' in run(browse)
