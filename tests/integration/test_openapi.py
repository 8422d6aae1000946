"""config/openapi.yaml beside the running service: the same routes, and real answers as it says."""

import json
import pathlib
import re

import jsonschema
import pytest
import yaml

from lib.function import poison
from lib.plugin import numbered
from lib.waiting import until

FILE = pathlib.Path(__file__).parents[2] / "config/openapi.yaml"
METHODS = {"get", "post", "put", "delete", "patch"}


def strict(schema):
    """The schema without room for members that it does not name."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict):
        result.setdefault("additionalProperties", False)
    return result


@pytest.fixture(scope="module")
def document():
    return yaml.safe_load(FILE.read_text())


class Api:
    """Asks the service and holds each answer against the document."""

    def __init__(self, document, sluice):
        self.document, self.sluice = document, sluice
        self.seen = set()

    def _resolve(self, node):
        while "$ref" in node:
            target = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    def _validator(self, schema):
        # References are looked up in the document itself.
        components = strict(self.document["components"])
        whole = {**strict(schema), "components": components}
        jsonschema.Draft202012Validator.check_schema(whole)
        return jsonschema.Draft202012Validator(whole)

    def _operation(self, method, path):
        for template, item in self.document["paths"].items():
            pattern = re.sub(r"\{\w+\}", "[^/]+", template)
            if re.fullmatch(pattern, path.partition("?")[0]) and method.lower() in item:
                return template, item[method.lower()]
        raise AssertionError(f"{method} {path} is not in the document")

    def ask(self, method, path, body=None, status=200):
        template, operation = self._operation(method, path)
        if body is not None:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            if status < 400:
                self._validator(schema).validate(body)
        found, answer = self.sluice.control(method, path, body)
        assert found == status, answer
        assert str(status) in operation["responses"], f"{method} {template}: {status}"
        response = self._resolve(operation["responses"][str(status)])
        (kind,) = response["content"]
        assert kind == ("application/json" if status < 400 else "application/problem+json")
        self._validator(response["content"][kind]["schema"]).validate(answer)
        if status < 400:
            self.seen.add((method, template))
        return answer


def test_the_document_is_whole(document):
    assert document["openapi"].startswith("3.1.")
    text = json.dumps(document)
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', text):
        target = document
        for part in reference.split("/"):
            target = target[part]
    names = [item[method]["operationId"] for item in document["paths"].values()
             for method in METHODS & item.keys()]
    assert len(names) == len(set(names))
    for path, item in document["paths"].items():
        declared = {document["components"]["parameters"][p["$ref"].split("/")[-1]]["name"]
                    for p in item.get("parameters", [])}
        assert declared == set(re.findall(r"\{(\w+)\}", path)), path
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_all_routes_are_in_it_and_answer_as_it_says(document, cluster, function, sluice, mapping_for):
    topic = cluster.topic(2)
    function.behave = poison(["m-1"], 400)
    sluice.mapping("orders", mapping_for(topic))
    sluice.settings(log={"level": "debug"})
    sluice.start()
    cluster.produce(topic, numbered(3))
    api = Api(document, sluice)
    routes = {(route["method"], route["path"]) for route in api.ask("GET", "/v1")["routes"]}
    documented = {(method.upper(), path) for path, item in document["paths"].items()
                  for method in METHODS & item.keys()}
    assert routes | {("GET", "/v1")} == documented

    sluice.wait_for_event("invocation_failed")
    cluster.produce(topic, numbered(1, prefix="well"))  # it shows that the function is not to blame
    [letter] = sluice.wait_dead(1)
    until(lambda: api.ask("GET", "/v1/status")["mappings"][0]["errors"], 20, "an error in the status")
    assert api.ask("GET", "/v1/mappings/orders")["counts"]["dead"] == 1
    api.ask("GET", "/v1/mappings/none", status=404)
    api.ask("POST", "/v1/mappings/orders/set", {"concurrency": 2})
    assert api.ask("GET", "/v1/mappings/orders")["concurrency_set"] == 2
    api.ask("POST", "/v1/mappings/orders/set", {"concurrency": 1000}, status=422)
    api.ask("POST", "/v1/mappings/orders/set", {"concurency": 1}, status=400)
    api.ask("POST", "/v1/mappings/none/set", {"concurrency": 1}, status=404)
    assert api.ask("POST", "/v1/mappings/orders/parked/retry") == {"count": 0}
    api.ask("POST", "/v1/mappings/none/parked/retry", status=404)
    assert api.ask("POST", "/v1/mappings/orders/parked/bury") == {
        "count": 0, "waiting": 0, "reason": None, "unreadable": 0, "error": None}
    for wish in ("pause", "resume"):
        api.ask("POST", f"/v1/mappings/orders/{wish}")
        api.ask("GET", "/v1/status")
        api.ask("POST", f"/v1/mappings/none/{wish}", status=404)
    api.ask("POST", "/v1/reload")
    good = (sluice.mappings / "orders.yaml").read_text()
    sluice.mapping("orders", good.replace('"order"', '"ordr"'))
    assert api.ask("POST", "/v1/reload", status=422)["problems"]
    sluice.mapping("orders", good)

    function.behave = poison([])
    tail = api.ask("GET", "/v1/mappings/orders/tail?payload")
    cluster.produce(topic, [*numbered(1, prefix="t"), {"value": b"\xff"}])
    until(lambda: len(api.ask("GET", f"/v1/mappings/orders/tail?payload&after={tail['next']}")["entries"])
          == 2, 20, "two in the tail")
    api.ask("GET", "/v1/mappings/none/tail", status=404)
    api.ask("GET", "/v1/mappings/orders/tail?after=x", status=400)
    assert api.ask("GET", "/v1/usage?mapping=orders")["mappings"][0]["days"]
    api.ask("GET", "/v1/usage?since=soon", status=400)
    api.ask("POST", "/v1/replays", {"ids": ["short"]}, status=422)
    for order in ({"ids": [letter["id"]], "login": "me", "rate": 10},
                  {"query": {"mapping": "orders", "status": 400, "replayed": "any", "limit": 5}}):
        replay = api.ask("POST", "/v1/replays", order, status=202)
        until(lambda: api.ask("GET", f"/v1/replays/{replay['id']}")["state"] == "ended", 20,
              "the end of the replay")
    api.ask("POST", f"/v1/replays/{replay['id']}/stop", {"drain_us": 0})
    api.ask("POST", f"/v1/replays/{replay['id']}/stop", {"drain_us": -1}, status=422)
    assert len(api.ask("GET", "/v1/replays")["replays"]) == 2
    api.ask("GET", "/v1/replays/77", status=404)
    api.ask("POST", "/v1/replays/77/stop", status=404)
    api.ask("POST", "/v1/mappings/orders/drain")
    until(lambda: api.ask("GET", "/v1/mappings/orders")["state"] == "drained", 20, "drained")
    assert api.seen == documented, "each route answered well at least once"
