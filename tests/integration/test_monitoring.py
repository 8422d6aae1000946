"""What is in config/ for Prometheus and Grafana: it parses, alerts when it should, and asks only for
metrics and labels that there are. The manual's list of them is held against the running service in
test_metrics.py."""

import json
import pathlib
import re
import subprocess

import pytest
import yaml

from lib.prometheus import NAME

ROOT = pathlib.Path(__file__).parents[2]
RULES = ROOT / "config/prometheus/sluice.rules.yaml"
DASHBOARD = json.loads((ROOT / "config/grafana/sluice.json").read_text())
MANUAL = (ROOT / "src/sluice-metrics.7").read_text()
# Labels of ours, and those that Prometheus adds.
LABELS = {"mapping", "lane", "state", "le", "connector", "revision", "version"} | {"job", "instance"}


def promtool(*arguments):
    done = subprocess.run(["promtool", *map(str, arguments)], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, cwd=RULES.parent)
    return done.returncode, done.stdout


def series():
    names = set()
    for name, kind in re.findall(r"^\.It Ic (\w+) No \((\w+)\)$", MANUAL, re.MULTILINE):
        ends = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        names |= {name + end for end in ends}
    return names


def asked_for(expression):
    """(metrics, labels) in it."""
    metrics = set(re.findall(rf"\b(?:sluice|process)_{NAME}", expression))
    labels = set()
    for inside in re.findall(r"\{([^}]*)\}|\b(?:by|on|without) \(([^)]*)\)", expression):
        labels |= set(re.findall(r"(\w+)\s*(?:[=!]~?|,|$)", re.sub(r'"[^"]*"', "", "".join(inside))))
    return metrics, labels


def expressions():
    for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]:
        yield pytest.param(rule["expr"], id=rule["alert"])
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield pytest.param(target["expr"], id=f"{panel['title']}-{target['refId']}")
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((.*), \w+\)", variable["query"])
            yield pytest.param(found[1], id=f"variable-{variable['name']}")


@pytest.mark.parametrize("expression", expressions())
def test_queries_ask_for_what_there_is(expression, tmp_path):
    metrics, labels = asked_for(expression)
    assert metrics and metrics <= series(), metrics - series()
    assert labels <= LABELS, labels - LABELS
    plain = expression.replace("$__rate_interval", "5m")
    file = tmp_path / "one.yaml"
    file.write_text(json.dumps({"groups": [{"name": "one", "rules": [
        {"record": "a:b", "expr": plain}]}]}))
    code, text = promtool("check", "rules", file)
    assert code == 0, text


def test_alerts_ring_when_they_should():
    assert promtool("check", "rules", RULES)[0] == 0
    code, text = promtool("test", "rules", "sluice.rules.test.yaml")
    assert code == 0, text


def test_every_alert_is_tested():
    alerts = {rule["alert"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]}
    tests = yaml.safe_load((RULES.parent / "sluice.rules.test.yaml").read_text())["tests"]
    rung = {case["alertname"] for test in tests for case in test["alert_rule_test"]
            if case["exp_alerts"]}
    assert rung == alerts


def test_panels_do_not_overlap():
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"])
                 for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
