"""Orders to the running service over its control socket."""

import stat

from lib.plugin import ids, numbered
from lib.waiting import until


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
