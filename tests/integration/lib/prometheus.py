"""Reads Prometheus' text format 0.0.4, and objects to all that is not as its documents and
`promtool check metrics` want it."""

import math
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
TYPES = ("counter", "gauge", "histogram")
NOT_BASE_UNITS = ("milliseconds", "minutes", "hours", "kilobytes", "megabytes", "ms", "us", "kb")


class Family:
    def __init__(self, name, kind, help_text):
        self.name, self.kind, self.help = name, kind, help_text
        self.samples = {}  # (sample name, ((label, value), ...)) -> number


def _labels(text):
    labels, at = [], 0
    while at < len(text or ""):
        match = LABEL.match(text, at)
        assert match, f"labels: {text}"
        labels.append((match[1], match[2]))
        at = match.end()
    assert len({name for name, _ in labels}) == len(labels), f"a label twice: {text}"
    return tuple(labels)


def parse(text):
    """{name: Family}"""
    assert text.endswith("\n"), "the last line does not end"
    families, family, help_text = {}, None, None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            _, _, name, help_text = line.split(" ", 3)
            assert help_text and name not in families, f"{name}: help missing or given twice"
        elif line.startswith("# TYPE "):
            _, _, type_name, kind = line.split(" ")
            assert type_name == name and kind in TYPES, line
            family = families[name] = Family(name, kind, help_text)
        else:
            match = SAMPLE.fullmatch(line)
            assert match and family, f"no sample: {line}"
            base = re.sub("_(bucket|sum|count)$", "", match[1]) if family.kind == "histogram" \
                else match[1]
            assert base == family.name, f"{match[1]} among the samples of {family.name}"
            key = (match[1], _labels(match[2]))
            assert key not in family.samples, f"twice: {line}"
            family.samples[key] = float(match[3])
    return families


def _check_histogram(family):
    series = {}
    for (name, labels), value in family.samples.items():
        rest = tuple(label for label in labels if label[0] != "le")
        bounds, totals = series.setdefault(rest, ([], {}))
        if name.endswith("_bucket"):
            bounds.append((float(dict(labels)["le"].replace("+Inf", "inf")), value))
        else:
            totals[name] = value
    for rest, (bounds, totals) in series.items():
        assert [b for b, _ in bounds] == sorted({b for b, _ in bounds}), f"{family.name}{rest}"
        counts = [count for _, count in bounds]
        assert counts == sorted(counts), f"{family.name}{rest} is not cumulative"
        assert bounds[-1][0] == math.inf and counts[-1] == totals[f"{family.name}_count"]
        assert f"{family.name}_sum" in totals


def check(text):
    """Parses, and applies the rules for names. Returns the families."""
    families = parse(text)
    for family in families.values():
        words = family.name.split("_")
        assert family.name.islower(), family.name
        assert (words[-1] == "total") == (family.kind == "counter"), f"{family.name}: its end"
        assert family.kind == "histogram" or words[-1] not in ("count", "sum", "bucket")
        assert not set(words) & set(NOT_BASE_UNITS), f"{family.name}: unit"
        assert family.kind not in words, f"{family.name}: its type in its name"
        assert family.help.endswith("."), f"{family.name}: {family.help}"
        if family.kind == "histogram":
            _check_histogram(family)
        if family.kind == "counter":
            assert all(value >= 0 for value in family.samples.values()), family.name
    return families
