/* SPDX-License-Identifier: MIT
 * What is wrong, and the exact lines that say so. Part of test_config_mistakes.c. */

/* `found` in the good mapping is replaced by `put`. */
static const struct mistake {
    const char *found, *put, *lines;
} mistakes[] = {
    {"order: key", "ordr: key", "orders.yaml:7:1: ordr: no such key; did you mean \"order\"?\n"},
    {"order: key",
     "batches: {}\n"
     "order: key",
     "orders.yaml:7:1: batches: no such key; did you mean \"batch\"?\n"},
    {"order: key",
     "attempts: 3\n"
     "order: key",
     "orders.yaml:7:1: attempts: no such key here; did you mean "
     "\"retry.attempts\"?\n"},
    {"order: key",
     "zzzzzz: 3\n"
     "order: key",
     "orders.yaml:7:1: zzzzzz: no such key; known here: source, receive, filter, on_filtered, batch, "
     "order, idempotency, target, retry, dead_letter, pollers, buffer, drain\n"},
    {"order: key",
     "batch.size: 3\n"
     "order: key",
     "orders.yaml:7:1: batch.size: a dotted key; write the parts as nested maps\n"},
    {"size: 50", "sise: 50", "orders.yaml:6:10: batch.sise: no such key; did you mean \"size\"?\n"},
    {"size: 50", "q: 50",
     "orders.yaml:6:10: batch.q: no such key; known here: size, bytes, window\n"},
    {"topic: orders", "topci: orders",
     "orders.yaml:4:5: source.fake.topci: no such key; did you mean \"topic\"?\n"},
    {"order: key", "order: keys",
     "orders.yaml:7:8: order: found \"keys\", expected lane, key or none\n"},
    {"order: key", "order: [key]",
     "orders.yaml:7:8: order: found a list, expected lane, key or none\n"},
    {"order: key", "order: {key: 1}",
     "orders.yaml:7:8: order: found a map, expected lane, key or none\n"},
    {"order: key", "order: Lane",
     "orders.yaml:7:8: order: found \"Lane\", expected lane, key or none\n"},
    {"window: 100ms", "window: 5 parsecs",
     "orders.yaml:6:44: batch.window: found \"5 parsecs\", expected a duration "
     "such as 200ms, 5s or 6h, from 0s to 5m\n"},
    {"window: 100ms", "window: 200",
     "orders.yaml:6:44: batch.window: found \"200\", expected a duration such as "
     "200ms, 5s or 6h, from 0s to 5m\n"},
    {"window: 100ms", "window: -1s",
     "orders.yaml:6:44: batch.window: found \"-1s\", expected a duration such as "
     "200ms, 5s or 6h, from 0s to 5m\n"},
    {"window: 100ms", "window: 6m",
     "orders.yaml:6:44: batch.window: found \"6m\", expected a duration such as "
     "200ms, 5s or 6h, from 0s to 5m\n"},
    {"size: 50", "size: 0",
     "orders.yaml:6:16: batch.size: found \"0\", expected a whole number from 1 "
     "to 10000\n"},
    {"size: 50", "size: 10001",
     "orders.yaml:6:16: batch.size: found \"10001\", expected a whole number from "
     "1 to 10000\n"},
    {"size: 50", "size: many",
     "orders.yaml:6:16: batch.size: found \"many\", expected a whole number from "
     "1 to 10000\n"},
    {"size: 50", "size: \"50\"",
     "orders.yaml:6:16: batch.size: found \"50\" in quotes, expected a whole "
     "number from 1 to 10000\n"},
    {"size: 50", "size: 5.5",
     "orders.yaml:6:16: batch.size: found \"5.5\", expected a whole number from 1 "
     "to 10000\n"},
    {"size: 50", "size: 0x10",
     "orders.yaml:6:16: batch.size: found \"0x10\", expected a whole number from "
     "1 to 10000\n"},
    {"size: 50", "size: 99999999999999999999",
     "orders.yaml:6:16: batch.size: found \"99999999999999999999\", expected a "
     "whole number from 1 to 10000\n"},
    {"bytes: 512 KiB", "bytes: 512 kb",
     "orders.yaml:6:27: batch.bytes: found \"512 kb\", expected an amount of "
     "bytes such as 64 KiB or 1 MiB, from 1 KiB to 256 MiB\n"},
    {"bytes: 512 KiB", "bytes: 1 GiB",
     "orders.yaml:6:27: batch.bytes: found \"1 GiB\", expected an amount of bytes "
     "such as 64 KiB or 1 MiB, from 1 KiB to 256 MiB\n"},
    {"batch: { size: 50, bytes: 512 KiB, window: 100ms }", "batch: big",
     "orders.yaml:6:8: batch: found \"big\", expected a map of size, bytes, "
     "window\n"},
    {"batch: { size: 50, bytes: 512 KiB, window: 100ms }", "batch: [1, 2]",
     "orders.yaml:6:8: batch: found a list, expected a map of size, bytes, "
     "window\n"},
    {"age: 6h }", "age: 6h, split: yes }",
     "orders.yaml:12:57: retry.split: found \"yes\", expected true or false\n"},
    {"age: 6h }", "age: 6h, split: \"true\" }",
     "orders.yaml:12:57: retry.split: found \"true\" in quotes, expected true or "
     "false\n"},
    {"backoff: 1s..10s", "backoff: 10s..1s",
     "orders.yaml:12:32: retry.backoff: found \"10s..1s\", expected a duration "
     "such as 1s or a range such as 200ms..30s, from 1ms to 1d\n"},
    {"backoff: 1s..10s", "backoff: 1..10",
     "orders.yaml:12:32: retry.backoff: found \"1..10\", expected a duration such "
     "as 1s or a range such as 200ms..30s, from 1ms to 1d\n"},
    {"backoff: 1s..10s", "backoff: 1s..2s..3s",
     "orders.yaml:12:32: retry.backoff: found \"1s..2s..3s\", expected a duration "
     "such as 1s or a range such as 200ms..30s, from 1ms to 1d\n"},
    {"backoff: 1s..10s", "backoff: 0s..1s",
     "orders.yaml:12:32: retry.backoff: found \"0s..1s\", expected a duration "
     "such as 1s or a range such as 200ms..30s, from 1ms to 1d\n"},
    {"age: 6h", "age: 50ms",
     "orders.yaml:12:46: retry.age: 50ms is shorter than batch.window (100ms), "
     "so no message would be tried twice; make it longer, or leave it out\n"},
    {"age: 6h", "age: 500ms",
     "orders.yaml:12:46: retry.age: 500ms is shorter than the first pause of "
     "retry.backoff (1s), so no message would be tried twice; make it longer, "
     "or leave it out\n"},
    {"age: 6h", "age: 5s",
     "warning: orders.yaml:12:46: retry.age: 5s is shorter than the longest "
     "pause of retry.backoff (10s), which is never waited for\n"},
    {"token: /order/id", "token: oder",
     "orders.yaml:8:23: idempotency.token: found \"oder\", expected position, "
     "message_id, key, hash, header:NAME or a JSON Pointer such as /order/id\n"},
    {"token: /order/id", "token: psition",
     "orders.yaml:8:23: idempotency.token: found \"psition\", expected position, "
     "message_id, key, hash, header:NAME or a JSON Pointer such as /order/id; "
     "did you mean \"position\"?\n"},
    {"token: /order/id", "token: header",
     "orders.yaml:8:23: idempotency.token: found \"header\", expected the name of "
     "a header with it, as header:order-id\n"},
    {"token: /order/id", "token: 'header:'",
     "orders.yaml:8:23: idempotency.token: found \"header:\", expected the name "
     "of a header with it, as header:order-id\n"},
    {"token: /order/id", "token: pointer",
     "orders.yaml:8:23: idempotency.token: found \"pointer\", expected the JSON "
     "Pointer itself, such as /order/id\n"},
    {"token: /order/id", "token: ''",
     "orders.yaml:8:23: idempotency.token: found \"\", expected position, "
     "message_id, key, hash, header:NAME or a JSON Pointer such as /order/id\n"},
    {"token: /order/id", "token: /a~2",
     "orders.yaml:8:23: idempotency.token: found \"/a~2\", expected a JSON "
     "Pointer (RFC 6901), in which ~ is written ~0 and / within a name ~1\n"},
    {"token: /order/id", "token: message_id",
     "orders.yaml:8:23: idempotency.token: message_id, but messages of fake "
     "have no such id; use header:NAME or a JSON Pointer\n"},
    {"token: /order/id", "token: position, on_missing: position",
     "warning: orders.yaml:8:45: idempotency.on_missing: has no effect, as "
     "every message has a position and a hash\n"},
    {"ttl: 12h", "ttl: 500ms",
     "orders.yaml:8:39: idempotency.ttl: found \"500ms\", expected a duration "
     "such as 200ms, 5s or 6h, from 1s to 366d\n"},
    {"ttl: 12h", "ttl: 12h, on_missing: drop",
     "orders.yaml:8:56: idempotency.on_missing: found \"drop\", expected "
     "dead_letter or position\n"},
    {"ttl: 12h", "ttl: 12h, on_conflict: position",
     "orders.yaml:8:57: idempotency.on_conflict: found \"position\", expected "
     "dead_letter, invoke or drop\n"},
    {"https://functions.internal/orders\"", "gopher://x\"",
     "orders.yaml:10:16: target.http.url: found the scheme \"gopher\", expected "
     "http:// or https://\n"},
    {"https://functions.internal/orders\"", "functions.internal/orders\"",
     "orders.yaml:10:16: target.http.url: found \"functions.internal/orders\", "
     "expected http:// or https:// before it\n"},
    {"https://functions.internal/orders\"", "http://\"",
     "orders.yaml:10:16: target.http.url: not a URL (No host part in the URL); "
     "expected one such as https://host/path\n"},
    {"https://functions.internal/orders\"", "http://user:geheim@host/\"",
     "orders.yaml:10:16: target.http.url: found a user name or password in it; "
     "put them into target.http.auth.basic\n"},
    {"https://functions.internal/orders\"", "http://host/#top\"",
     "orders.yaml:10:16: target.http.url: found a fragment (#...) in it, which "
     "is never sent; take it out\n"},
    {"https://functions.internal/orders\"", "http://host:99999/\"",
     "orders.yaml:10:16: target.http.url: not a URL (Port number was not a "
     "decimal number between 0 and 65535); expected one such as "
     "https://host/path\n"},
    {"https://functions.internal/orders\"", "\"",
     "orders.yaml:10:16: target.http.url: found \"\", expected text that is not "
     "empty\n"},
    {"orders\" }", "orders\", concurrency: 32..1 }",
     "orders.yaml:10:66: target.http.concurrency: found \"32..1\", expected a "
     "number such as 8 or a range such as 1..32, from 1 to 1000\n"},
    {"orders\" }", "orders\", concurrency: 0..4 }",
     "orders.yaml:10:66: target.http.concurrency: found \"0..4\", expected a "
     "number such as 8 or a range such as 1..32, from 1 to 1000\n"},
    {"orders\" }", "orders\", concurrency: 1-4 }",
     "orders.yaml:10:66: target.http.concurrency: found \"1-4\", expected a "
     "number such as 8 or a range such as 1..32, from 1 to 1000\n"},
    {"orders\" }", "orders\", timeout: 2s, connect_timeout: 3s }",
     "orders.yaml:10:83: target.http.connect_timeout: 3s is longer than "
     "target.http.timeout (2s), which counts from the beginning too\n"},
    {"orders\" }", "orders\", timeout: 50ms }",
     "orders.yaml:10:62: target.http.timeout: found \"50ms\", expected a duration "
     "such as 200ms, 5s or 6h, from 100ms to 1d\n"},
    {"orders\" }", "orders\", auth: { basic: { username: u } } }",
     "orders.yaml:10:80: target.http.auth.basic: found the username alone, "
     "expected the password too\n"},
    {"orders\" }", "orders\", auth: { digest: { username: u } } }",
     "orders.yaml:10:61: target.http.auth.digest: no such key; known here: "
     "basic, bearer\n"},
    {"orders\" }", "orders\", headers: { 'a b': x } }",
     "orders.yaml:10:71: target.http.headers.a b: this is no name for an HTTP "
     "header\n"},
    {"orders\" }", "orders\", headers: { idempotency-key: x } }",
     "orders.yaml:10:81: target.http.headers.idempotency-key: sluice sets this "
     "header itself; leave it out\n"},
    {"orders\" }", "orders\", headers: { x: \"a\\nb\" } }",
     "orders.yaml:10:67: target.http.headers.x: its value has a line break or "
     "another control character in it\n"},
    {"orders\" }", "orders\", headers: [a] }",
     "orders.yaml:10:62: target.http.headers: found a list, expected a map of "
     "names to texts\n"},
    {"orders\" }", "orders\", headers: { x: [a] } }",
     "orders.yaml:10:67: target.http.headers.x: found a list, expected text\n"},
    {"orders\" }", "orders\", tls: { ca_file: /no/such.pem } }",
     "orders.yaml:10:69: target.http.tls.ca_file: /no/such.pem cannot be read: "
     "No such file or directory\n"},
    {"orders\" }", "orders\", tls: { key_file: /dev/null } }",
     "orders.yaml:10:70: target.http.tls.key_file: found it alone, expected "
     "certificate_file too\n"},
    {"orders\" }", "orders\", tls: { verify: false } }",
     "warning: orders.yaml:10:68: target.http.tls.verify: false, so anybody on "
     "the way can pose as the function\n"},
    {"  format: json", "  format: cloudevents",
     "orders.yaml:11:11: target.format: found \"cloudevents\", expected lambda, "
     "json or raw\n"},
    {"  format: json", "  format: lambda",
     "orders.yaml:11:11: target.format: lambda is AWS's event, which "
     "there is none of for fake; use json or raw\n"},
    {"  format: json", "  format: raw",
     "orders.yaml:6:16: batch.size: found 50, but target.format: raw sends one "
     "message at a time; set it to 1, or use the format json\n"},
    {"  format: json",
     "  format: xml\n"
     "  report_failures: 1",
     "orders.yaml:11:11: target.format: found \"xml\", expected lambda, json or "
     "raw\n"
     "orders.yaml:12:20: target.report_failures: found \"1\", expected true or "
     "false\n"},
    {"order: key",
     "buffer: { messages: 10 }\n"
     "order: key",
     "orders.yaml:7:21: buffer.messages: 10 is less than batch.size (50), so no "
     "batch would ever be full\n"},
    {"order: key",
     "buffer: { bytes: 1 KiB }\n"
     "order: key",
     "orders.yaml:7:18: buffer.bytes: 1 KiB is less than batch.bytes (512 KiB), "
     "so no batch would ever be full\n"},
    {"order: key",
     "buffer: { distance: 10 }\n"
     "order: key",
     "orders.yaml:7:21: buffer.distance: 10 is less than batch.size (50), so no "
     "batch of one lane would ever be full\n"},
    {"order: key",
     "drain: 5s\n"
     "order: key",
     "warning: orders.yaml:7:8: drain: 5s is shorter than target.http.timeout "
     "(30s); a stop may cut invocations off, which are then repeated\n"},
    {"order: key",
     "pollers: 65\n"
     "order: key",
     "orders.yaml:7:10: pollers: found \"65\", expected a whole number from 1 to "
     "64\n"},
    {"order: key",
     "filter: [{ value: {} }]\n"
     "order: key",
     "orders.yaml:7:19: filter: found 0 fields, expected 1 to 64\n"},
    {"order: key",
     "filter:\n"
     "  - value: { status: paid }\n"
     "order: key",
     "orders.yaml:8:12: filter: status: expected a list of what it may be, as status: [\"paid\"], "
     "or a map of fields\n"},
    {"order: key",
     "filter: { body: { a: [1] } }\n"
     "order: key",
     "orders.yaml:7:9: filter: body: the payload is called value here\n"},
    {"order: key",
     "filter:\n"
     "  - value: { total: [{ numeric: [\"=>\", 1] }] }\n"
     "order: key",
     "orders.yaml:8:21: filter: total: numeric: expected [\"=\", 5], [\">\", 0] or [\">=\", 1, "
     "\"<\", 10]\n"},
    {"order: key",
     "filter: { key: [!env HOME] }\n"
     "order: key",
     "orders.yaml:7:17: filter: found a reference to a value elsewhere, expected the value "
     "itself\n"},
    {"store: local", "store: s3",
     "orders.yaml:13:23: dead_letter.store: found \"s3\", expected local\n"},
    {"keep: 7d", "keep: 7 days",
     "orders.yaml:13:36: dead_letter.keep: found \"7 days\", expected a duration "
     "such as 200ms, 5s or 6h, from 0s to 3660d\n"},
    {"  fake:\n"
     "    brokers: kafka-1:9092,kafka-2:9092\n"
     "    topic: orders\n"
     "    group: sluice-orders\n",
     "  fkae: {}\n",
     "orders.yaml:2:3: source.fkae: no connector \"fkae\" in "
     "" TEST_PLUGINS "; did you mean \"fake\"?\n"},
    {"  fake:\n"
     "    brokers: kafka-1:9092,kafka-2:9092\n"
     "    topic: orders\n"
     "    group: sluice-orders\n",
     "  fake: {}\n",
     "orders.yaml:2:3: source.fake.brokers: missing. Addresses of brokers.\n"
     "orders.yaml:2:3: source.fake.topic: missing. Topic to read.\n"
     "orders.yaml:2:3: source.fake.group: missing. Consumer group.\n"},
    {"  fake:\n"
     "    brokers: kafka-1:9092,kafka-2:9092\n"
     "    topic: orders\n"
     "    group: sluice-orders\n",
     "  fake:\n",
     "orders.yaml:2:3: source.fake.brokers: missing. Addresses of brokers.\n"
     "orders.yaml:2:3: source.fake.topic: missing. Topic to read.\n"
     "orders.yaml:2:3: source.fake.group: missing. Consumer group.\n"},
    {"  fake:\n"
     "    brokers: kafka-1:9092,kafka-2:9092\n"
     "    topic: orders\n"
     "    group: sluice-orders\n",
     "  fake: orders\n",
     "orders.yaml:2:9: source.fake: found \"orders\", expected a map of brokers, "
     "topic, group, start, prefetch, fetch, session, secure, sasl, properties\n"},
    {"  fake:\n"
     "    brokers: kafka-1:9092,kafka-2:9092\n"
     "    topic: orders\n"
     "    group: sluice-orders\n",
     "  {}\n",
     "orders.yaml:2:3: source: found an empty map, expected the name of a "
     "connector and its options, as kafka: { brokers: ... }\n"},
    {"  fake:\n"
     "    brokers: kafka-1:9092,kafka-2:9092\n"
     "    topic: orders\n"
     "    group: sluice-orders\n",
     "  fake\n",
     "orders.yaml:2:3: source: found \"fake\", expected the name of a connector "
     "and its options, as kafka: { brokers: ... }\n"},
    {"source:\n", "sauce:\n", "orders.yaml:1:1: sauce: no such key; did you mean \"source\"?\n"},
    {"  fake:\n",
     "  plain: {}\n"
     "  fake:\n",
     "orders.yaml:3:3: source: found both plain and fake, expected one "
     "connector; write a mapping for each\n"},
    {"  fake:\n", "  plain:\n",
     "orders.yaml:7:8: order: key, but messages of plain have no keys; use lane "
     "or none\n"},
    {"    topic: orders\n", "", "orders.yaml:2:3: source.fake.topic: missing. Topic to read.\n"},
    {"    topic: orders\n", "    topic: ''\n",
     "orders.yaml:4:12: source.fake.topic: found \"\", expected text that is not "
     "empty\n"},
    {"    topic: orders\n", "    topic: refused\n",
     "orders.yaml:4:12: source.fake.topic: found \"refused\", expected another\n"},
    {"    topic: orders\n", "    topic: silent\n",
     "orders.yaml:2:3: source.fake: the connector refuses these options without "
     "saying why\n"},
    {"    topic: orders\n",
     "    topic: orders\n"
     "    properties: { bad.key: 'true' }\n",
     "orders.yaml:5:19: source.fake.properties.bad.key: no such property\n"},
    {"    topic: orders\n",
     "    topic: orders\n"
     "    properties: { good.key: [1] }\n",
     "orders.yaml:5:29: source.fake.properties.good.key: found a list, expected "
     "text\n"},
    {"    topic: orders\n",
     "    topic: orders\n"
     "    start: newest\n",
     "orders.yaml:5:12: source.fake.start: found \"newest\", expected earliest or "
     "latest\n"},
    {"    topic: orders\n",
     "    topic: orders\n"
     "    prefetch: 1001\n",
     "orders.yaml:5:15: source.fake.prefetch: found \"1001\", expected a whole "
     "number from 1 to 1000\n"},
    {"    topic: orders\n",
     "    topic: orders\n"
     "    session: 500ms\n",
     "orders.yaml:5:14: source.fake.session: found \"500ms\", expected a duration "
     "such as 200ms, 5s or 6h, from 1s to 10m\n"},
    {"    topic: orders\n",
     "    topic: orders\n"
     "    fetch: 1 B\n",
     "orders.yaml:5:12: source.fake.fetch: found \"1 B\", expected an amount of "
     "bytes such as 64 KiB or 1 MiB, from 1 KiB to 1 GiB\n"},
    {"    topic: orders\n",
     "    topic: orders\n"
     "    secure: 1\n",
     "orders.yaml:5:13: source.fake.secure: found \"1\", expected true or false\n"},
    {"    topic: orders\n",
     "    topic: orders\n"
     "    sasl.username: u\n",
     "orders.yaml:5:5: source.fake.sasl.username: a dotted key; write the parts "
     "as nested maps\n"},
    {"    topic: orders\n",
     "    topic: orders\n"
     "    sasl: PLAIN\n",
     "orders.yaml:5:11: source.fake.sasl: found \"PLAIN\", expected a map of "
     "mechanism, username, password\n"},
    {"    topic: orders\n",
     "    topic: orders\n"
     "    sasl: { usrname: u }\n",
     "orders.yaml:5:13: source.fake.sasl.usrname: no such key; did you mean "
     "\"username\"?\n"},
    {"    topic: orders\n",
     "    topic: orders\n"
     "    username: u\n",
     "orders.yaml:5:5: source.fake.username: no such key here; did you mean "
     "\"source.fake.sasl.username\"?\n"},
    {"brokers: kafka-1:9092,kafka-2:9092", "brokers: []",
     "orders.yaml:3:14: source.fake.brokers: found an empty list, expected at "
     "least one item\n"},
    {"brokers: kafka-1:9092,kafka-2:9092", "brokers: [a, {b: c}]",
     "orders.yaml:3:18: source.fake.brokers: found a map in the list, expected "
     "text\n"},
    {"brokers: kafka-1:9092,kafka-2:9092", "brokers: {b: c}",
     "orders.yaml:3:14: source.fake.brokers: found a map, expected a list of "
     "texts\n"},
    {"  http: { url: \"https://functions.internal/orders\" }\n", "  http: { timeout: 1s }\n",
     "orders.yaml:10:9: target.http.url: missing. Address of the function, "
     "http:// or https://.\n"},
    {"  http: { url: \"https://functions.internal/orders\" }\n",
     "  http: https://functions.internal/orders\n",
     "orders.yaml:10:9: target.http: found \"https://functions.internal/orders\", "
     "expected a map of url, timeout, connect_timeout, concurrency, auth, "
     "headers, tls, response_limit, unix_socket\n"},
    {"target:\n",
     "target:\n"
     "  lambda: {}\n",
     "orders.yaml:10:3: target.lambda: no such key; known here: http, format, "
     "report_failures\n"},
    {"order: key",
     "order: key\n"
     "order: lane",
     "orders.yaml:8:1: order: the same key stands in line 7 already; keep one "
     "of them\n"},
    {"order: key",
     "a: &a [x]\n"
     "b: *a\n"
     "order: key",
     "orders.yaml:7:1: a: no such key; known here: source, receive, filter, on_filtered, batch, "
     "order, idempotency, target, retry, dead_letter, pollers, buffer, drain\n"
     "orders.yaml:8:1: b: no such key; known here: source, receive, filter, on_filtered, batch, "
     "order, idempotency, target, retry, dead_letter, pollers, buffer, drain\n"},
    {"order: key", "order: *nothing",
     "orders.yaml:7:8: *nothing: no such anchor before it; mark one with "
     "&nothing\n"},
    {"order: key", "order: &a [*a]", "orders.yaml:7:12: *a stands inside of &a itself\n"},
    {"order: key",
     "<<: {}\n"
     "order: key",
     "orders.yaml:7:1: merge keys (<<) are not part of YAML 1.2; put what "
     "mappings share into `defaults:` of sluice.yaml\n"},
    {"order: key", "\torder: key",
     "orders.yaml:7:1: not YAML: found character that cannot start any token "
     "while scanning for the next token that began in line 7; YAML is indented "
     "by spaces, not tabs, and text that begins with @, ` or % needs quotes\n"},
    {"order: key", "order: [key",
     "orders.yaml:8:12: not YAML: did not find expected ',' or ']' while "
     "parsing a flow sequence that began in line 7\n"},
    {"order: key", "order: \"\\xZZ\"",
     "orders.yaml:7:11: not YAML: did not find expected hexdecimal number while "
     "parsing a quoted scalar that began in line 7\n"},
    {"order: key", "order: @key",
     "orders.yaml:7:8: not YAML: found character that cannot start any token "
     "while scanning for the next token that began in line 7; YAML is indented "
     "by spaces, not tabs, and text that begins with @, ` or % needs quotes\n"},
    {"order: key",
     "? [complex]\n"
     ": key\n"
     "order: key",
     "orders.yaml:7:3: a key that is not a plain name; write `name: value`\n"},
    {"order: key", "order: \"a\\0b\"",
     "orders.yaml:7:8: text with a NUL byte in it; leave it out\n"},
    {"order: key",
     "order: key\n"
     "---\n"
     "order: lane",
     "orders.yaml:8:1: a second document begins here; one file holds one\n"},
    {"order: key",
     "order: "
     "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxx\"",
     "orders.yaml:7:8: order: found "
     "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...\", expected lane, key "
     "or none\n"},
    {"order: key",
     "order: "
     "\"äääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääää"
     "äääääääääääääääääääääääääää\"",
     "orders.yaml:7:8: order: found \"äääääääääääääääääääääää...\", expected "
     "lane, key or none\n"},
    {"order: key", "order: \"a\\tb\\x07\"",
     "orders.yaml:7:8: order: found \"a?b?\", expected lane, key or none\n"},
    {"order: key", "order: !env NO_SUCH_VARIABLE",
     "orders.yaml:7:8: order: !env NO_SUCH_VARIABLE: the environment has no "
     "variable of this name; set it, for a systemd unit by Environment= or "
     "EnvironmentFile=\n"},
    {"order: key", "order: !env TEST_ORDER",
     "orders.yaml:7:8: order: found the value of !env TEST_ORDER, expected "
     "lane, key or none\n"},
    {"order: key",
     "order: "
     "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"
     "]]]]]]",
     "orders.yaml:7:39: nested more than 32 deep\n"},
    {"batch: { size: 50, bytes: 512 KiB, window: 100ms }", "batch: { size: 1, window: 1s }",
     "warning: orders.yaml:6:27: batch.window: has no effect where batch.size "
     "is 1\n"},
};

/* Whole files. */
static const struct {
    const char *text;
    size_t size;
    const char *lines;
} rubbish[] = {
    {"", 0,
     "orders.yaml:1:1: found an empty file, expected a mapping with at least "
     "`source:` and `target:`\n"},
    {"# nothing\n", 10,
     "orders.yaml:1:1: found an empty file, expected a mapping with at least "
     "`source:` and `target:`\n"},
    {"[]", 2,
     "orders.yaml:1:1: found a list, expected a mapping with at least `source:` "
     "and `target:`\n"},
    {"17", 2,
     "orders.yaml:1:1: found \"17\", expected a mapping with at least `source:` "
     "and `target:`\n"},
    {"null", 4,
     "orders.yaml:1:1: found an empty file, expected a mapping with at least "
     "`source:` and `target:`\n"},
    {"\000\000", 2,
     "orders.yaml: not text in UTF-8: control characters are not allowed (byte "
     "0)\n"},
    {"- a\n"
     "- b\n",
     8,
     "orders.yaml:1:1: found a list, expected a mapping with at least `source:` "
     "and `target:`\n"},
    {"\377\376", 2,
     "orders.yaml:1:1: found an empty file, expected a mapping with at least "
     "`source:` and `target:`\n"},
    {"a: \303(\n", 6, "orders.yaml: not text in UTF-8: invalid trailing UTF-8 octet (byte 4)\n"},
    {"&a [*a]", 7, "orders.yaml:1:5: *a stands inside of &a itself\n"},
    {"%YAML 3.0\n"
     "---\n",
     14, "orders.yaml:1:1: not YAML: found incompatible YAML document\n"},
    {"a: &a [1,1,1,1,1,1,1,1]\n"
     "b: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n"
     "c: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n"
     "d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\n"
     "e: [*d,*d,*d,*d,*d,*d,*d,*d]\n",
     149,
     "orders.yaml:5:14: more than 20000 values in one file, with aliases "
     "written out; write less of them\n"},
    {"{\"source\": }", 12,
     "orders.yaml:1:1: source: missing. Where messages come from: one connector "
     "and its options, as `kafka: { brokers: ... }`.\n"
     "orders.yaml:1:1: target.http.url: missing. Address of the function, "
     "http:// or https://.\n"},
};

/* sluice.yaml beside a good mapping. */
static const char *const service_mistakes[][2] = {
    {"listn: x\n", "etc/sluice.yaml:1:1: listn: no such key; did you mean \"listen\"?\n"},
    {"listen: 9090\n", "etc/sluice.yaml:1:9: listen: found \"9090\", expected HOST:PORT such as "
                       "127.0.0.1:9090 or [::1]:9090, or unix:/PATH\n"},
    {"listen: 'localhost:99999'\n",
     "etc/sluice.yaml:1:9: listen: found \"localhost:99999\", expected HOST:PORT "
     "such as 127.0.0.1:9090 or [::1]:9090, or unix:/PATH\n"},
    {"listen: '::1:9090'\n",
     "etc/sluice.yaml:1:9: listen: found \"::1:9090\", expected HOST:PORT such as "
     "127.0.0.1:9090 or [::1]:9090, or unix:/PATH\n"},
    {"listen: 'unix:relative'\n",
     "etc/sluice.yaml:1:9: listen: found \"unix:relative\", expected HOST:PORT "
     "such as 127.0.0.1:9090 or [::1]:9090, or unix:/PATH\n"},
    {"log: debug\n",
     "etc/sluice.yaml:1:6: log: found \"debug\", expected a map of level, format\n"},
    {"log: { level: verbose }\n",
     "etc/sluice.yaml:1:15: log.level: found \"verbose\", expected error, "
     "warning, info or debug\n"},
    {"log: { format: text }\n",
     "etc/sluice.yaml:1:16: log.format: found \"text\", expected auto, human, "
     "json or logfmt\n"},
    {"prices: { second: -1 }\n",
     "etc/sluice.yaml:1:19: prices.second: found \"-1\", expected a number such as 0.01, from 0 to "
     "1000000\n"},
    {"prices: { second: cheap }\n",
     "etc/sluice.yaml:1:19: prices.second: found \"cheap\", expected a number such as 0.01, from 0 to "
     "1000000\n"},
    {"store_size: 5\n",
     "etc/sluice.yaml:1:13: store_size: found \"5\", expected an amount of bytes "
     "such as 64 KiB or 1 MiB, from 1 MiB to 4 TiB\n"},
    {"defaults: [a]\n", "etc/sluice.yaml:1:11: defaults: found a list, expected a map with keys of "
                        "a mapping file\n"},
    {"defaults: { retri: {} }\n",
     "etc/sluice.yaml:1:13: retri: no such key; did you mean \"retry\"?\n"},
    {"defaults: { filter: [] }\n",
     "etc/sluice.yaml:1:21: filter: found 0 patterns, expected 1 to 32\n"},
    {"- a\n", "etc/sluice.yaml:1:1: found a list, expected a map of state_directory, "
              "connector_directory, mappings, listen, control, control_http, log, store_size, memory, metrics, prices, traces, defaults\n"},
    {"mappings: nowhere\n", "etc/nowhere: cannot be read: No such file or directory\n"},
    {"state_directory: [a]\n",
     "etc/sluice.yaml:1:18: state_directory: found a list, expected a path\n"},
    {"batch: { size: 1 }\n",
     "etc/sluice.yaml:1:1: batch: no such key; known here: state_directory, "
     "connector_directory, mappings, listen, control, control_http, log, store_size, memory, metrics, prices, traces, defaults\n"},
    {"listen: [\n", "etc/sluice.yaml:2:1: not YAML: did not find expected node content while "
                    "parsing a flow node that began in line 2\n"},
};
