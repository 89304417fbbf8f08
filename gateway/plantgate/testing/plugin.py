"""The pytest plugin: simulated tests, each over several seeds.

    @pytest.mark.simulated(seeds=50)
    async def test_a_value_arrives(seed):        # asking for the seed is optional
        ...

Runs the coroutine with `plantgate.testing.simulate`, once per seed. ``--plantgate-seeds N`` tries N seeds,
``--plantgate-seed S`` only that one; a failure says which to give. An ordinary function can carry the mark too: it gets
its ``seed`` and calls `simulate` itself.
"""

import gc
import inspect
from collections.abc import Generator
from itertools import count
from typing import Final

import pytest

pytest.register_assert_rewrite(
    "plantgate.testing.contract_source",
    "plantgate.testing.contract_source_faults",
    "plantgate.testing.contract_sink",
    "plantgate.testing.contract_sink_faults",
    "plantgate.testing.contract_actuator",
    "plantgate.testing.contract_actuator_faults",
    "plantgate.testing.contract_camera",
    "plantgate.testing.contract_camera_faults",
    "plantgate.testing.reading",
    "plantgate.testing.writing",
    "plantgate.testing.acting",
    "plantgate.testing.seeing",
)

SEEDS: Final = 5
"""How many seeds a simulated test is run with when neither its mark nor the command line says."""
_HIDDEN: Final = "_plantgate_seed"
_RUNS: Final = count(1)
_COLLECTED: Final = 10
"""So many runs, and what they have kept is cleared up: they are full of circles, with whole disks in them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds ``--plantgate-seeds`` and ``--plantgate-seed``."""
    group = parser.getgroup("plantgate", "simulated tests")
    group.addoption("--plantgate-seeds", type=int, metavar="N", help="try every simulated test with the seeds 0 to N-1")
    group.addoption("--plantgate-seed", metavar="S", help="run simulated tests with this seed only")


def pytest_configure(config: pytest.Config) -> None:
    """Names the marks."""
    config.addinivalue_line("markers", "simulated(seeds=N): runs in simulated time, once per seed (plantgate)")
    config.addinivalue_line("markers", "bad_network: a contract's case for connectors that name a `host` (plantgate)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A connector without a network is not asked how it takes a bad one."""
    spared = [item for item in items if _is_spared(item)]
    if spared:
        config.hook.pytest_deselected(items=spared)
        gone = set(spared)
        items[:] = [item for item in items if item not in gone]


def _is_spared(item: pytest.Item) -> bool:
    mark, contract = item.get_closest_marker("bad_network"), getattr(item, "cls", None)
    if mark is None:
        return False
    if not getattr(contract, "host", ""):
        return True
    return bool(mark.kwargs.get("dials")) and not getattr(contract, "dials", True)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was collected stays: clearing up after each run need not walk it again."""
    gc.collect()
    gc.freeze()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One case per seed."""
    mark = _nearest(metafunc.definition)
    if mark is None:
        return
    only = metafunc.config.getoption("--plantgate-seed")
    count = metafunc.config.getoption("--plantgate-seeds") or mark.kwargs.get("seeds", SEEDS)
    seeds: list[int | str] = list(range(count)) if only is None else [int(only) if only.isdecimal() else only]
    metafunc.fixturenames.append(_HIDDEN)
    metafunc.parametrize(_HIDDEN, seeds, ids=[f"seed={seed}" for seed in seeds], indirect=True)


def _nearest(item: pytest.Item) -> pytest.Mark | None:
    """The mark of the function, else of its class, else of the class that inherits from: pytest takes the oldest."""
    for node in reversed(item.listchain()):
        if marks := [mark for mark in node.own_markers if mark.name == "simulated"]:
            return marks[-1]
    return None


@pytest.fixture(name=_HIDDEN)
def _plantgate_seed(request: pytest.FixtureRequest) -> object:
    return request.param


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> object:
    """The seed of this case of a simulated test."""
    if request.node.get_closest_marker("simulated") is None:
        raise pytest.UsageError("the fixture 'seed' belongs to tests marked with @pytest.mark.simulated")
    return request.getfixturevalue(_HIDDEN)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object:
    """Runs a marked coroutine function in simulated time."""
    if _seed_of(pyfuncitem) is None or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    from plantgate.testing.simloop import simulate  # late: a plugin is imported by test runs that never simulate

    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    simulate(lambda: pyfuncitem.obj(**arguments), seed=_seed_of(pyfuncitem))
    if next(_RUNS) % _COLLECTED == 0:
        gc.collect()
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure says how to repeat it."""
    report = yield
    seed = _seed_of(item)
    if report.failed and seed is not None:
        promise = inspect.getdoc(item.obj) if isinstance(item, pytest.Function) else None
        told = f"{promise}\n\n" if promise and _is_of_a_contract(item) else ""
        report.sections.append(("plantgate", f"{told}repeat with: --plantgate-seed {seed}"))
    return report


def _is_of_a_contract(item: pytest.Item) -> bool:
    return getattr(getattr(item, "function", None), "__module__", "").startswith("plantgate.testing.contract_")


def _seed_of(item: pytest.Item) -> object:
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get(_HIDDEN)
