"""A connection to the simulated controller: three tags, quick enough for short tests."""

from plantgate_connectors.opcua.settings import OpcUaSettings
from tests.connectors.opcua.plant_given import settings
from tests.connectors.opcua.plc import NAMESPACE, URL

TAGS = ("line1/a", "line1/b", "line1/c")


def watched(**given: object) -> OpcUaSettings:
    chosen: dict[str, object] = {
        "security": {"policy": "None"},
        "publishing_interval_ms": 100,
        "sampling_interval_ms": 0,
        "keepalive_seconds": 2,
        "tags": [{"node": f"nsu={NAMESPACE};s={tag}", "tag": tag} for tag in TAGS],
    }
    return settings(URL, **(chosen | given))
