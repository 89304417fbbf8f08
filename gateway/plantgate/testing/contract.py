"""The contracts a vendor's connector is held to; inherit one, say how to make the device, and run pytest.

    class TestAcmePlc(SourceContract[AcmeSimulator]):
        host = "plc"

        def device(self):
            return AcmeSimulator("plc")              # an async context manager

        def connector(self, device, tmp_path):
            return AcmePlc(AcmeSettings(host="plc"), lent(tmp_path))

        async def produce(self, device, samples):
            for sample in samples:
                device.set(sample.tag, sample.value, sample.quality, sample.time)

Every case runs on the simulated loop (`plantgate.testing.simloop`), once per seed (``--plantgate-seeds``).
A device that cannot repeat itself inherits `LiveSourceContract`, and its README says so.
"""

from plantgate.testing.context import lent
from plantgate.testing.contract_actuator import ActuatorContract
from plantgate.testing.contract_camera import CameraContract
from plantgate.testing.contract_sink import SinkContract
from plantgate.testing.contract_source import LiveSourceContract, SourceContract

__all__ = ["ActuatorContract", "CameraContract", "LiveSourceContract", "SinkContract", "SourceContract", "lent"]
