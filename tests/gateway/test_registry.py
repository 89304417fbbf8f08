"""What is installed is found by entry point; what cannot be used is told in a sentence and stops nothing else."""

import importlib.metadata
import sys
from pathlib import Path

import pytest

from plantgate.registry import Kind, NotInstalled, Registry, Unusable, registry

MODULE = '''
from plantgate.sdk import Connector, Settings, Stability


class AcmeSettings(Settings):
    host: str = "plc"


class Acme(Connector[AcmeSettings]):
    """Reads tags from an Acme PLC.

    And more."""

    Settings = AcmeSettings
    stability = Stability.BETA

    def source(self):
        raise NotImplementedError


class Arm(Connector[AcmeSettings]):
    Settings = AcmeSettings

    def actuator(self):
        raise NotImplementedError


class Eye(Connector[AcmeSettings]):
    Settings = AcmeSettings

    def camera(self):
        raise NotImplementedError


class Mute(Connector[AcmeSettings]):
    Settings = AcmeSettings


class Unset(Connector[AcmeSettings]):
    def source(self):
        raise NotImplementedError


class TypeSettings(Settings):
    type: str = ""


class Typed(Acme):
    Settings = TypeSettings


def scale(): ...
'''


class Site:
    """A folder of packages, as pip would have left them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, package: str, offers: str, *, module: str = "", text: str = "", extras: str = "") -> None:
        info = self.folder / f"{package.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        extra = f"Provides-Extra: {extras}\n" if extras else ""
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n{extra}\n")
        (info / "entry_points.txt").write_text(offers)
        if module:
            (self.folder / f"{module}.py").write_text(text)

    def registry(self) -> Registry:
        found = importlib.metadata.distributions(path=[str(self.folder)])
        return Registry(offer for package in found for offer in package.entry_points)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("acme_plc", "acme_broken", "acme_needy", "acme_sad"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return Site(tmp_path)


def test_a_vendors_connector_is_found_like_ours(site: Site) -> None:
    site.install("acme-plc", "[plantgate.connectors]\nacme = acme_plc:Acme\n", module="acme_plc", text=MODULE)

    plugins = site.registry()

    assert plugins.names(Kind.CONNECTOR) == ("acme",)
    assert "acme_plc" not in sys.modules, "nothing is imported before a plant file names it"
    assert plugins.connector("acme").__name__ == "Acme"
    (acme,) = plugins.installed()
    assert (acme.name, acme.package, acme.version) == ("acme", "acme-plc", "1.2")
    assert (acme.stability, acme.reads, acme.writes) == ("beta", True, False)
    assert (acme.about, acme.trouble) == ("Reads tags from an Acme PLC.", "")


@pytest.mark.parametrize(("offer", "acts", "sees"), [("Arm", True, False), ("Eye", False, True)])
def test_a_connector_that_only_acts_or_only_sees_is_usable(site: Site, offer: str, acts: bool, sees: bool) -> None:
    site.install("acme-plc", f"[plantgate.connectors]\nacme = acme_plc:{offer}\n", module="acme_plc", text=MODULE)

    (acme,) = site.registry().installed()

    assert acme.trouble == ""
    assert (acme.reads, acme.writes, acme.acts, acme.sees) == (False, False, acts, sees)


def test_other_kinds_of_plugins_are_listed_and_are_no_connectors(site: Site) -> None:
    site.install("acme-plc", "[plantgate.transforms]\nscale = acme_plc:scale\n", module="acme_plc", text=MODULE)

    plugins = site.registry()

    assert plugins.names(Kind.TRANSFORM) == ("scale",)
    assert [(each.kind, each.name, each.trouble) for each in plugins.installed()] == [(Kind.TRANSFORM, "scale", "")]
    with pytest.raises(NotInstalled):
        plugins.connector("scale")


def test_two_packages_that_offer_one_name_are_an_error_not_a_race(site: Site) -> None:
    site.install("acme-plc", "[plantgate.connectors]\nacme = acme_plc:Acme\n", module="acme_plc", text=MODULE)
    site.install("other-plc", "[plantgate.connectors]\nacme = acme_plc:Acme\nfine = acme_plc:Acme\n")

    plugins = site.registry()

    with pytest.raises(Unusable, match="`acme` is offered by acme-plc and other-plc; uninstall all but one"):
        plugins.connector("acme")
    assert plugins.connector("fine")
    assert [bool(each.trouble) for each in plugins.installed()] == [True, True, False]


@pytest.mark.parametrize(
    ("offer", "said"),
    [
        ("acme_plc:Gone", "cannot be loaded: acme_plc has no Gone"),
        ("acme_missing:Acme", "its own module acme_missing is missing; reinstall acme-plc"),
        ("acme_broken:Acme", "acme_broken fails on import with ZeroDivisionError: division by zero"),
        (
            "acme_needy:Acme",
            'the Python package snap7_of_nowhere is missing; install it with pip install "acme-plc[acme]"',
        ),
        ("acme_sad:Acme", "cannot be loaded: cannot import name 'nothing' from 'acme_plc'"),
        ("acme_plc:scale", "of acme-plc is not a Connector"),
        ("acme_plc:AcmeSettings", "of acme-plc is not a Connector"),
        ("acme_plc:Mute", "neither reads nor writes, nor acts, nor sees"),
        ("acme_plc:Unset", "has no settings model"),
        ("acme_plc:Typed", "has a setting called `type`"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_told_and_stops_no_other(site: Site, offer: str, said: str) -> None:
    offers = f"[plantgate.connectors]\nacme = {offer}\nfine = acme_plc:Acme\n"
    site.install("acme-plc", offers, module="acme_plc", text=MODULE, extras="acme")
    (site.folder / "acme_broken.py").write_text("1 / 0\n")
    (site.folder / "acme_needy.py").write_text("import snap7_of_nowhere.client\n")
    (site.folder / "acme_sad.py").write_text("from acme_plc import nothing\n")

    plugins = site.registry()

    with pytest.raises(Unusable) as refused:
        plugins.connector("acme")
    assert said in str(refused.value)
    troubles = {each.name: each.trouble for each in plugins.installed()}
    assert said in troubles["acme"]
    assert troubles["fine"] == ""


def test_a_name_nobody_offers_is_not_installed() -> None:
    with pytest.raises(NotInstalled):
        Registry([]).connector("acme")


def test_ours_are_installed_and_usable() -> None:
    found = {each.name: each for each in registry().installed() if each.package == "plantgate"}
    assert set(found) == {
        "camera", "files", "http", "kafka", "modbus", "mqtt", "opcua", "opcua_server", "sparkplug", "ur"
    }  # fmt: skip
    assert {each.trouble for each in found.values()} == {""}
    assert (found["opcua"].reads, found["opcua"].writes) == (True, False)
    assert (found["mqtt"].reads, found["mqtt"].writes) == (True, True)
    assert (found["ur"].acts, found["ur"].sees) == (True, False)
    assert (found["camera"].acts, found["camera"].sees) == (False, True)
