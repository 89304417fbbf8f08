"""The ways in which a simulated run fails that are nobody's exception; each says when, and which seed repeats it."""


class SimulationFailure(AssertionError):
    """The run ended in a way no run may end; says when, and which seed repeats it."""


class Deadlock(SimulationFailure):
    """Every task waits for another; names them and where they wait."""


class LeftoverTasks(SimulationFailure):
    """The main coroutine returned, and something it started was still running."""


class Livelock(SimulationFailure):
    """Tasks keep running without any time passing: a loop with no real wait in it."""


class OutOfTime(SimulationFailure):
    """The run took longer, in simulated time, than it was given."""


class Unhandled(SimulationFailure):
    """An exception nobody caught: in a callback, or in a task nobody awaited."""
