"""`sluice dlq browse`: letters where dead letters go, seen without being taken."""

import json

from lib.function import OK, Answer
from lib.plugin import group_of
from lib.sluice import run_cli
from test_letters_elsewhere import BINARY, to_kafka, to_rabbitmq, wait_letters


def browse(sluice, *arguments, code=0):
    done = run_cli("dlq", "browse", "m", "--config", sluice.config, *arguments, timeout=60)
    assert done.returncode == code, done
    return done


def found(sluice, *arguments):
    return [json.loads(line) for line in browse(sluice, "--json", *arguments).stdout.splitlines()]


def positions(sluice, *arguments):
    """Where they were before, in the order shown."""
    return [letter["position"] for letter in found(sluice, *arguments)]


def died(cluster, function, sluice, mapping_for, **letters):
    """A topic with the letters of positions 0, 2 and 4."""
    source, place = cluster.topic(1), cluster.topic(3)

    def behave(invocation):
        if {"m-0", "m-2"} & set(invocation.ids):
            return Answer(500, b"no such customer")
        return Answer(400, b"bad order") if "m-4" in invocation.ids else OK
    function.behave = behave
    cluster.produce(source, [*BINARY, *({"key": f"k{n}", "value": json.dumps({"id": f"m-{n}", "n": n})}
                                        for n in range(1, 6))])
    sluice.mapping("m", mapping_for(source, batch={"size": 1}, dead_letter={
        "to": to_kafka(cluster, place), **letters}))
    sluice.start()
    function.wait_done(["m-1", "m-3", "m-5"], 20)
    cluster.wait_committed(group_of(source), source, 1)
    return source, place


def test_letters_are_shown_with_their_story(cluster, function, sluice, mapping_for):
    source, place = died(cluster, function, sluice, mapping_for)
    letters = found(sluice)
    assert [letter["position"] for letter in letters] == [4, 2, 0]  # the newest first
    first = letters[2]
    assert (first["mapping"], first["source"], first["partition"]) == ("m", source, 0)
    assert (first["class"], first["status"]) == ("attempts", 500)
    assert first["key"] == {"base64": "awD/"} and first["payload"] == BINARY[0]["value"]
    assert [header["name"] for header in first["headers"]] == ["trace", "raw"]
    assert first["token"] == f"{source}/0/0" and "no such customer" in first["reason"]
    assert len(first["id"]) == 26 and first["produced"].startswith("2023-11-14T22:13:20")
    assert first["place"]["by"] == "sluice" and first["place"]["lane"].startswith(f"{place}/")

    text = browse(sluice).stdout.splitlines()
    assert text[0].split() == ["POSITION", "AGE", "CLASS", "STATUS", "STATE", "ORIGIN", "KEY", "REASON",
                               "PAYLOAD"]
    assert len(text) == 4 and f"{source}/0/4" in text[1] and '{"id": "m-4", "n": 4}' in text[1]
    assert "k\\x00\\xff" in text[3]


def test_commands_that_find_none_here_say_where_they_are(cluster, function, sluice, mapping_for):
    _, place = died(cluster, function, sluice, mapping_for)
    told = f"m: dead letters go to kafka {place}, 3 since the service began; sluice dlq browse m\n"
    for command in ([], ["ls", "m"], ["stats", "--mapping", "m"], ["replay", "--mapping", "m", "--yes"]):
        options = ["--config", sluice.config] if "replay" in command else ["--state", sluice.state]
        assert told in run_cli("dlq", *command, *options).stdout, command
    assert "browse" not in run_cli("dlq", "ls", "other", "--state", sluice.state).stdout
    assert run_cli("dlq", "--json", "--state", sluice.state).stdout == ""


def test_as_aws_record_they_are_understood_too(cluster, function, sluice, mapping_for):
    source, _ = died(cluster, function, sluice, mapping_for, format="aws")
    letters = found(sluice, "--sort", "oldest")
    assert [(letter["source"], letter["position"]) for letter in letters] == [(source, n) for n in (0, 2, 4)]
    assert letters[0]["payload"] == BINARY[0]["value"] and letters[2]["key"] == "k4"


def test_filters(cluster, function, sluice, mapping_for):
    source, _ = died(cluster, function, sluice, mapping_for)
    assert positions(sluice, "--status", "4xx") == [4]
    assert positions(sluice, "--class", "attempts", "--status", "500") == [2, 0]
    assert positions(sluice, "--error", "no such (customer|order)") == [2, 0]
    assert positions(sluice, "--key", "k2") == [2]
    assert positions(sluice, "--key", "hex:6b00ff") == [0]
    assert positions(sluice, "--token", f"{source}/0/4") == [4]
    assert positions(sluice, "--where", "{n: [{numeric: ['>', 2]}]}") == [4]
    assert positions(sluice, "--since", "1h") == [4, 2, 0]
    assert positions(sluice, "--until", "1h") == []
    assert positions(sluice, "--limit", "2") == [4, 2]
    assert positions(sluice, "--limit", "1", "--status", "500") == [2]
    assert sorted(positions(sluice, "--limit", "0")) == [0, 2, 4]
    assert browse(sluice, "--status", "404").stdout == "No dead letters match.\n"
    assert "There are more" in browse(sluice, "--limit", "1").stderr
    browse(sluice, "--error", "(", code=64)


def test_nobody_notices(cluster, function, sluice, mapping_for):
    """No group, no offset: who receives there gets all of it."""
    source, place = died(cluster, function, sluice, mapping_for)
    groups = cluster.groups()
    assert len(found(sluice)) == 3 and len(found(sluice)) == 3
    assert cluster.groups() == groups
    sluice.mapping("c", {**mapping_for(place), "receive": "dead_letters"})
    assert sluice.control("POST", "/v1/reload")[0] == 200
    assert len(sluice.wait_dead(3)) == 3
    done = run_cli("dlq", "browse", "c", "--config", sluice.config, "--json", timeout=60)
    assert len(done.stdout.splitlines()) == 3  # also where they are collected from
    assert len(sluice.dead()) == 3


def test_what_others_wrote_and_what_nobody_wrote(cluster, sluice, mapping_for):
    place = cluster.topic(1)
    cluster.produce(place, [
        {"key": "a", "value": "{}", "headers": [
            ("__connect.errors.topic", "orders"), ("__connect.errors.partition", "3"),
            ("__connect.errors.offset", "42"), ("__connect.errors.exception.message", "cannot \x1b[2Jcast")]},
        {"key": None, "value": b"\x00\x1b]0;title\x07"}, {"key": "gone", "value": None}])
    sluice.mapping("m", mapping_for(cluster.topic(1), dead_letter={"to": to_kafka(cluster, place)}))
    connect, strange, empty = found(sluice, "--sort", "oldest")
    assert connect["place"]["by"] == "Kafka Connect"
    assert (connect["source"], connect["partition"], connect["position"]) == ("orders", 3, 42)
    assert strange["place"]["by"] is None and strange["source"] is None and strange["position"] is None
    assert empty["payload"] is None and empty["key"] == "gone"
    done = browse(sluice)
    assert "\x1b" not in done.stdout and "\x07" not in done.stdout
    assert "orders/3/42" in done.stdout


def test_a_long_topic(cluster, sluice, mapping_for):
    """Only its end is read for a page, all of it for a filter; memory is that of what is shown."""
    place, count = cluster.topic(4), 20_000
    cluster.produce(place, [{"partition": n % 4, "value": json.dumps({"n": n}), "headers": [
        ("sluice-mapping", "m"), ("sluice-class", "age"), ("sluice-error", f"e-{n % 100}")]}
        for n in range(count)])
    sluice.mapping("m", mapping_for(cluster.topic(1), dead_letter={"to": to_kafka(cluster, place)}))
    page = found(sluice)
    assert len(page) == 50
    assert min(json.loads(letter["payload"])["n"] for letter in page) >= count - 4 * 50
    assert len(found(sluice, "--error", "^e-7$", "--limit", "1000")) == count / 100
    assert len(found(sluice, "--limit", "0")) == count


def test_a_page_of_large_letters_is_bounded_in_bytes(cluster, sluice, mapping_for):
    """What does not fit into 64 MiB is left out at the end of the order, and that is said."""
    place, count = cluster.topic(1), 90
    cluster.produce(place, [{"value": json.dumps({"n": n, "pad": "x" * 900_000})} for n in range(count)])
    sluice.mapping("m", mapping_for(cluster.topic(1), dead_letter={"to": to_kafka(cluster, place)}))
    done = browse(sluice, "--json", "--limit", str(count))
    numbers = [json.loads(json.loads(line)["payload"])["n"] for line in done.stdout.splitlines()]
    assert 40 < len(numbers) < 75 and numbers == list(range(count))[:-len(numbers) - 1:-1]
    assert f"Only the first {len(numbers)} are shown" in done.stderr
    assert len(browse(sluice, "--json", "--limit", "0").stdout.splitlines()) == count


def test_what_cannot_be_browsed(cluster, rabbit, sluice, mapping_for):
    topic = cluster.topic(1)
    sluice.mapping("m", mapping_for(topic))
    assert "sluice dlq ls m" in browse(sluice, code=65).stderr
    sluice.mapping("m", mapping_for(topic, dead_letter={"to": to_rabbitmq(rabbit, queue="no-such-queue")}))
    assert "queue no-such-queue does not exist" in browse(sluice, code=69).stderr
    sluice.mapping("m", mapping_for(topic, dead_letter={"to": to_kafka(cluster, "no-such-topic")}))
    assert "topic no-such-topic does not exist" in browse(sluice, code=69).stderr
    sluice.mapping("m", mapping_for(topic, dead_letter={
        "to": {"kafka": {"brokers": "127.0.0.1:1", "topic": "x"}}}))
    assert "no broker of 127.0.0.1:1 answers" in browse(sluice, "--timeout", "2s", code=69).stderr
    done = run_cli("dlq", "browse", "mm", "--config", sluice.config)
    assert done.returncode == 78 and "there is no mapping mm" in done.stderr
    assert run_cli("dlq", "browse", "--config", sluice.config).returncode == 64


def test_while_letters_arrive(cluster, function, sluice, mapping_for):
    """What comes meanwhile does not keep it from ending."""
    _, place = died(cluster, function, sluice, mapping_for)
    wait_letters(lambda: cluster.letters(place), 3)
    for number in range(3):
        cluster.produce(place, [{"value": f"late-{number}-{n}"} for n in range(100)])
        assert len(found(sluice, "--limit", "0")) == 3 + 100 * (number + 1)


def test_of_another_topic_of_the_source_s_cluster(cluster, function, sluice, mapping_for):
    """dead_letter.to as a name has the source's options, a group among them, which is not joined."""
    source, place = cluster.topic(1), cluster.topic(1)
    function.behave = lambda invocation: Answer(500) if "m-0" in invocation.ids else OK
    cluster.produce(source, [{"value": f'{{"id": "m-{n}"}}'} for n in range(2)])
    sluice.mapping("m", mapping_for(source, batch={"size": 1}, dead_letter={"to": place}))
    sluice.start()
    wait_letters(lambda: cluster.letters(place), 1)
    assert sluice.terminate() == 0
    before = cluster.committed(group_of(source), source)
    assert positions(sluice) == [0]
    assert cluster.committed(group_of(source), source) == before
    assert cluster.members(group_of(source)) == []


def test_holes_at_the_end_of_a_topic(cluster, sluice, mapping_for):
    """Marks of transactions take offsets and are no messages; what was aborted is not shown."""
    place = cluster.topic(1)
    sluice.mapping("m", mapping_for(cluster.topic(1), dead_letter={"to": to_kafka(cluster, place)}))
    assert found(sluice) == []
    cluster.tool.call("transactions", id=f"tx-{place}")
    cluster.transaction(place, [{"value": "kept"}], True)
    cluster.transaction(place, [{"value": "aborted"}], False)
    done = run_cli("dlq", "browse", "m", "--config", sluice.config, "--json", timeout=20)
    assert done.returncode == 0, done
    assert [json.loads(line)["payload"] for line in done.stdout.splitlines()] == ["kept"]


def test_what_became_of_letters_that_were_collected(cluster, function, sluice, mapping_for):
    """The topic keeps them; the state directory tells which were replayed or discarded here."""
    _, place = died(cluster, function, sluice, mapping_for)
    assert [letter["collected"] for letter in found(sluice)] == [None] * 3
    assert positions(sluice, "--replayed") == [] and positions(sluice, "--never-replayed") == [4, 2, 0]
    sluice.mapping("c", {**mapping_for(place), "receive": "dead_letters", "retry": {"attempts": 1}})
    assert sluice.control("POST", "/v1/reload")[0] == 200
    ids = {letter["position"]: letter["id"] for letter in sluice.wait_dead(3)}
    here = {letter["position"]: letter["collected"] for letter in found(sluice)}
    assert {n: (one["state"], one["id"]) for n, one in here.items()} == \
        {n: ("here", ids[n]) for n in (0, 2, 4)}

    def act(what, position, code=0):
        done = run_cli("dlq", what, ids[position], "--yes", *(
            ["--state", sluice.state] if what == "discard" else ["--config", sluice.config]), timeout=60)
        assert done.returncode == code, done
    act("replay", 4, 2)  # 400 again
    function.behave = lambda invocation: OK
    act("replay", 2)
    act("discard", 0)
    became = {letter["position"]: letter["collected"] for letter in found(sluice)}
    assert {n: one["state"] for n, one in became.items()} == {4: "here", 2: "replayed", 0: "discarded"}
    assert became[4]["replay_count"] == 1 and became[4]["last_replay"] and not became[4]["ended"]
    assert became[2]["ended"] and became[2]["id"] is None
    assert positions(sluice, "--replayed") == [4, 2] and positions(sluice, "--never-replayed") == [0]
    text = browse(sluice).stdout
    assert "STATE" in text and "died again" in text and "replayed" in text and "discarded" in text
