"""What is installed: plugins found by entry point, imported only when a plant file names them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from plantgate.sdk import Connector, ModelAdapter, Settings


class Kind(Enum):
    """The entry-point groups a package can offer plugins in."""

    CONNECTOR = "plantgate.connectors"
    MODEL = "plantgate.models"
    BUSINESS = "plantgate.business"
    TRANSFORM = "plantgate.transforms"
    RULE = "plantgate.rules"


@dataclass(frozen=True, slots=True)
class Installed:
    """One plugin, as `plantgate list` shows it."""

    kind: Kind
    name: str
    package: str
    """The distribution that brought it."""
    version: str
    stability: str = ""
    """``alpha``, ``beta`` or ``stable``; empty while it cannot be loaded."""
    reads: bool = False
    writes: bool = False
    acts: bool = False
    sees: bool = False
    about: str = ""
    """The first line of its docstring."""
    trouble: str = ""
    """Why it cannot be used, in a sentence; empty when it can."""


class NotInstalled(LookupError):
    """No installed package offers a plugin of that name."""


class Unusable(Exception):
    """It is installed, and cannot be used; the message is a sentence for the operator."""


class Registry:
    """Names to plugins. Building one imports nothing."""

    def __init__(self, offers: Iterable[EntryPoint]) -> None:
        self._offers: dict[tuple[Kind, str], list[EntryPoint]] = defaultdict(list)
        for offer in sorted(offers, key=lambda offer: (offer.group, offer.name, _package(offer))):
            self._offers[Kind(offer.group), offer.name].append(offer)

    def names(self, kind: Kind) -> tuple[str, ...]:
        """What can be named, in alphabetical order."""
        return tuple(name for offered, name in self._offers if offered is kind)

    def connector(self, name: str) -> type[Connector[Any]]:
        """Import the connector of that name.

        Raises `NotInstalled`, or `Unusable` if two packages offer it, it fails to import, or it is not a connector.
        """
        loaded = self._load(Kind.CONNECTOR, name)
        if fault := _fault(loaded):
            raise Unusable(f"connector `{name}` of {_package(self._offers[Kind.CONNECTOR, name][0])} {fault}")
        assert isinstance(loaded, type)
        return loaded

    def model(self, name: str) -> type[ModelAdapter[Any]]:
        """Import the model adapter of that name. Raises as `connector` does."""
        loaded = self._load(Kind.MODEL, name)
        if not (isinstance(loaded, type) and issubclass(loaded, ModelAdapter)):
            raise Unusable(f"model `{name}` of {_package(self._offers[Kind.MODEL, name][0])} is not a ModelAdapter")
        return loaded

    def installed(self) -> list[Installed]:
        """Everything offered, each imported to see whether it can be used."""
        return [self._describe(kind, name, offer) for (kind, name), offers in self._offers.items() for offer in offers]

    def _describe(self, kind: Kind, name: str, offer: EntryPoint) -> Installed:
        package, version = _package(offer), offer.dist.version if offer.dist is not None else ""
        try:
            loaded = self.connector(name) if kind is Kind.CONNECTOR else self._load(kind, name)
        except Unusable as error:
            return Installed(kind, name, package, version, trouble=str(error))
        about = (getattr(loaded, "__doc__", None) or "").strip().partition("\n")[0]
        if not (isinstance(loaded, type) and issubclass(loaded, Connector)):
            return Installed(kind, name, package, version, about=about)
        return Installed(
            kind, name, package, version, loaded.stability.value,
            loaded.reads(), loaded.writes(), loaded.acts(), loaded.sees(), about,
        )  # fmt: skip

    def _load(self, kind: Kind, name: str) -> object:
        offers = self._offers.get((kind, name))
        if not offers:
            raise NotInstalled(name)
        what = f"{kind.name.lower()} `{name}`"
        if len(offers) > 1:
            packages = " and ".join(_package(offer) for offer in offers)
            raise Unusable(f"{what} is offered by {packages}; uninstall all but one")
        offer = offers[0]
        try:
            return offer.load()
        except ImportError as error:
            raise Unusable(f"{what} cannot be loaded: {_lacking(offer, error)}") from error
        except AttributeError as error:
            raise Unusable(f"{what} cannot be loaded: {offer.module} has no {offer.attr}") from error
        except Exception as error:  # a vendor's module may raise anything, and must not stop the others
            said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise Unusable(f"{what} cannot be loaded: {offer.module} fails on import with {said}") from error


@cache
def registry() -> Registry:
    """What is installed beside this gateway; looked up once, since nothing is installed at run time."""
    return Registry(offer for kind in Kind for offer in entry_points(group=kind.value))


def connector(name: str) -> type[Connector[Any]]:
    """The installed connector of that name; see `Registry.connector`."""
    return registry().connector(name)


def installed() -> list[Installed]:
    """Everything installed; see `Registry.installed`."""
    return registry().installed()


def _package(offer: EntryPoint) -> str:
    return offer.dist.name if offer.dist is not None else offer.module.partition(".")[0]


def _lacking(offer: EntryPoint, error: ImportError) -> str:
    """What the import stumbled over, and what to install.

    The extra of the plugin's own name is the one that brings what it needs: by convention, ours and vendors'.
    """
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return str(error)
    package = error.name.partition(".")[0]
    if package == offer.module.partition(".")[0]:
        return f"its own module {error.name} is missing; reinstall {_package(offer)}"
    extras = (offer.dist.metadata.get_all("Provides-Extra") if offer.dist is not None else None) or []
    remedy = f'pip install "{_package(offer)}[{offer.name}]"' if offer.name in extras else f"pip install {package}"
    return f"the Python package {package} is missing; install it with {remedy}"


def _fault(loaded: object) -> str:
    """What keeps this from being a connector; empty if nothing does."""
    if not (isinstance(loaded, type) and issubclass(loaded, Connector)):
        return "is not a Connector"
    settings = getattr(loaded, "Settings", None)
    if not (isinstance(settings, type) and issubclass(settings, Settings)):
        return "has no settings model; its class needs `Settings = ...`"
    if any("type" in (name, field.alias) for name, field in settings.model_fields.items()):
        return "has a setting called `type`, a name the plant file needs itself"
    if not (loaded.reads() or loaded.writes() or loaded.acts() or loaded.sees()):
        return "neither reads nor writes, nor acts, nor sees"
    return ""
