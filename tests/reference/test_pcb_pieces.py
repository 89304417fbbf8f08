import numpy as np
import numpy.typing as npt
import pytest
from pcb_line.pair import CLASSES
from pcb_line.pieces import SURE, holes, pieces, settled
from pcb_line.pixels import Copper

Picture = npt.NDArray[np.uint8]


def traces() -> Picture:
    """Two of them, 12 pixels wide, one above the other."""
    template = np.zeros((96, 96), np.uint8)
    template[20:32] = template[60:72] = 1
    return template


def cut(board: Picture) -> None:
    board[20:32, 44:52] = 0


def bitten(board: Picture) -> None:
    board[20:29, 44:52] = 0


def pierced(board: Picture) -> None:
    board[23:29, 44:52] = 0


def bridged(board: Picture) -> None:
    board[32:60, 44:52] = 1


def spurred(board: Picture) -> None:
    board[32:50, 44:52] = 1


def spattered(board: Picture) -> None:
    board[40:50, 44:52] = 1


LOOKS = {
    "open": cut,
    "mousebite": bitten,
    "pin-hole": pierced,
    "short": bridged,
    "spur": spurred,
    "copper": spattered,
}
LACKING = ("open", "mousebite", "pin-hole")


def asked(kind: str, said: dict[str, float]) -> dict[str, float]:
    """What is told of a defect that looks like `kind`, where the network says this, and none for the rest."""
    board = traces()
    LOOKS[kind](board)
    shares = np.zeros((1, len(CLASSES) + 1), np.float32)
    for name, each in said.items():
        shares[0, CLASSES.index(name)] = each
    shares[0, -1] = 1 - shares.sum()
    top = 20 if kind in LACKING else 32
    boxes = np.array([[-4, top - 48, 4, top + (12 if kind in LACKING else 28) - 48]], np.float32)
    told = settled(np.stack([board, traces()])[None], shares, boxes)
    return {name: round(float(told[0, at]), 3) for at, name in enumerate(CLASSES) if told[0, at]}


@pytest.mark.parametrize("kind", LOOKS)
def test_a_doubtful_kind_is_told_by_what_hangs_together(kind: str) -> None:
    family = [each for each in LOOKS if (each in LACKING) == (kind in LACKING)]
    for surest in family:
        said = {each: 0.6 if each == surest else 0.1 for each in family}
        assert asked(kind, said) == {kind: pytest.approx(0.8, abs=0.001)}


def test_what_the_network_is_sure_of_or_takes_for_no_defect_is_left_alone() -> None:
    sure = {"mousebite": SURE + 0.02, "open": 0.05}
    assert asked("open", sure) == pytest.approx(sure, abs=0.001)
    no_defect = {"mousebite": 0.3, "open": 0.1}
    assert asked("open", no_defect) == pytest.approx(no_defect, abs=0.001)


def test_the_other_family_keeps_its_share() -> None:
    assert asked("open", {"mousebite": 0.6, "spur": 0.2}) == pytest.approx({"open": 0.6, "spur": 0.2}, abs=0.001)


def test_an_open_in_a_ring_parts_nothing_and_joins_what_was_apart() -> None:
    ring = np.zeros((96, 96), np.uint8)
    ring[28:68, 28:68] = 1
    ring[40:56, 40:56] = 0
    board = ring.copy()
    board[28:40, 44:52] = 0
    shares = np.array([[0.3, 0, 0.6, 0, 0, 0, 0.1]], np.float32)
    told = settled(np.stack([board, ring])[None], shares, np.array([[-22, -22, 22, 22]], np.float32))
    assert CLASSES[int(told[0].argmax())] == "open"


def slowly(picture: Copper, least: int, *, slantwise: bool) -> int:
    """Pixel by pixel."""
    left = {(int(y), int(x)) for y, x in np.argwhere(picture)}
    found = 0
    while left:
        ends, size = [left.pop()], 0
        while ends:
            y, x = ends.pop()
            size += 1
            for down in (-1, 0, 1):
                for across in (-1, 0, 1):
                    beside = (y + down, x + across)
                    if (slantwise or not down or not across) and beside in left:
                        left.remove(beside)
                        ends.append(beside)
        found += size >= least
    return found


def test_pieces_are_counted_as_pixel_by_pixel() -> None:
    chance = np.random.default_rng(5)
    for _ in range(60):
        coarse = chance.random((chance.integers(1, 9), chance.integers(1, 9))) < chance.uniform(0.3, 0.8)
        picture = coarse.repeat(3, axis=0).repeat(4, axis=1)
        picture &= chance.random(picture.shape) < 0.97
        assert pieces(picture) == slowly(picture, 30, slantwise=False)
        assert holes(picture) == slowly(~picture, 6, slantwise=True)
