"""The journal's catalog knows what the log writes. (How entries look: tests/unit/test_log.c and
tests/systemd.)"""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
CATALOG = (ROOT / "config/journal/sluice.catalog").read_text()
SOURCES = "".join(path.read_text() for path in ROOT.glob("src/*/*.c"))


def entries():
    """{id: text}"""
    parts = re.split(r"^-- ([0-9a-f]{32})$", CATALOG, flags=re.MULTILINE)
    assert len(parts[1::2]) == len(set(parts[1::2])), "an id twice"
    return dict(zip(parts[1::2], parts[2::2]))


def message_ids():
    """{event: id}"""
    text = (ROOT / "src/service/message_ids.c").read_text()
    return dict(re.findall(r'\{"(\w+)", "(\w+)"\}', text))


def test_every_id_has_its_entry():
    assert set(message_ids().values()) == set(entries())


def test_every_event_is_logged():
    # Its name stands in a call or is chosen for one, beside where its id does.
    for event in message_ids():
        assert SOURCES.count(f'"{event}"') >= 2, event


def test_entries_are_complete():
    for text in entries().values():
        assert re.match(r"\nSubject: \S.*\nDefined-By: sluice\n"
                        r"Documentation: man:[\w.-]+\(\d\)\n\n\S", text), text
        for line in text.splitlines():
            assert len(line) <= 110, line


def test_fields_in_entries_are_written():
    fields = {"SLUICE_" + name.upper() for name in re.findall(r'LOG_(?:TEXT|NUMBER|UNSIGNED)\("(\w+)"', SOURCES)}
    for text in entries().values():
        assert set(re.findall(r"@(\w+)@", text)) <= fields | {"MAPPING"}, text
