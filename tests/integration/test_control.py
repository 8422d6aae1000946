"""Orders to the running service, over its control socket and by signals."""

import os
import signal
import stat

from lib.plugin import ids, numbered
from lib.waiting import stays, until


def test_status_tells_how_each_mapping_is(cluster, function, sluice, mapping_for):
    topic = cluster.topic(2)
    cluster.produce(topic, numbered(20))
    sluice.mapping("orders", mapping_for(topic))
    sluice.start()
    function.wait_done(ids(20), 20)

    def settled():
        status, service = sluice.control("GET", "/v1/status")
        assert status == 200
        mapping, = service["mappings"]
        return mapping["counts"]["done"] == 20 and mapping["lag"] == 0 and service
    service = until(settled, 10, "all done in the status")
    assert service["pid"] == sluice.pid
    mapping, = service["mappings"]
    assert (mapping["name"], mapping["health"], mapping["state"]) == ("orders", "good", "running")
    assert mapping["lanes"] == 2
    assert sluice.control("GET", "/v1/mappings/orders")[1]["name"] == "orders"
    assert sluice.control("GET", "/v1/mappings/other")[0] == 404
    assert stat.S_IMODE((sluice.state / "control.sock").stat().st_mode) == 0o660
    assert sluice.terminate() == 0
    assert not (sluice.state / "control.sock").exists()


def test_a_second_signal_ends_it_at_once(function, sluice, idle_source):
    source = {"wedge": {**idle_source["wedge"], "late": True}}
    sluice.mapping("orders", {"source": source, "target": {"http": {"url": function.url}},
                              "drain": "1h"})
    sluice.start()
    until(lambda: sluice.control("GET", "/v1/mappings/orders")[1]["state"] == "running", 20, "its source")
    os.kill(sluice.pid, signal.SIGTERM)
    sluice.wait_for_event("stopping")
    assert sluice.control("POST", "/v1/reload")[0] == 422  # not while it stops
    assert sluice.control("GET", "/v1/mappings/orders")[1]["state"] == "stopping"
    stays(lambda: sluice.running, 1, "it did not wait")
    os.kill(sluice.pid, signal.SIGTERM)
    assert sluice.wait_exit() == 0
