"""The campaign of kills, in short; `python -m tests.gateway.audit.kills` is the long one."""

from pathlib import Path

import pytest

from tests.gateway.audit.kills import campaign


@pytest.mark.parametrize("mutation", ["none", "acknowledged too early"])
def test_a_writer_killed_at_any_moment_loses_nothing_it_acknowledged(mutation: str, tmp_path: Path) -> None:
    """The property, and proof that it can fail."""
    account = campaign(tmp_path / "log", 5, 7, mutation=mutation)
    assert account.kills == 5
    assert len(account.acknowledged) > 20
    if mutation == "none":
        assert (account.lost, account.forked) == (0, 0), account
    else:
        assert account.lost or account.forked, account
