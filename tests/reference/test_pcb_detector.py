"""The PCB line's detector: on real boards that no training saw, on drawn ones, and on what is no board at all."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pytest
from pcb_line.deeppcb import HELD_OUT, pairs
from pcb_line.detect import MODEL, PLACES_MAX, Defect, Detector, Grey, Seen, decide
from pcb_line.draw import drawn_pair
from pcb_line.measure import Score
from pcb_line.pair import CLASSES, Pair, Truth

from tests.peers.require import find, require

Detect = Callable[[Grey, Grey], list[Defect]]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector()


@pytest.fixture(scope="module")
def held_out() -> list[Pair]:
    require("deeppcb")
    return list(pairs(find("deeppcb"), HELD_OUT))


def f_score(detect: Detect, boards: Iterable[Pair]) -> float:
    score = Score()
    for pair in boards:
        score.add(detect(pair.board, pair.template), pair.truth)
    return score.f_score()


def test_boards_that_no_training_saw_are_judged_as_well_as_promised(detector: Detector, held_out: list[Pair]) -> None:
    assert len(held_out) == 50
    assert f_score(detector.detect, held_out) >= 0.96


def test_without_the_template_or_with_other_names_the_promise_is_broken(
    detector: Detector, held_out: list[Pair]
) -> None:
    def without_template(board: Grey, template: Grey) -> list[Defect]:
        return detector.detect(board, board)

    def with_other_names(board: Grey, template: Grey) -> list[Defect]:
        turned = dict(zip(CLASSES, CLASSES[1:] + CLASSES[:1], strict=True))
        return [replace(one, kind=turned[one.kind]) for one in detector.detect(board, template)]

    def shifted(board: Grey, template: Grey) -> list[Defect]:
        return [
            replace(one, box=(one.box[0] + 20, one.box[1] + 20, one.box[2] + 20, one.box[3] + 20))
            for one in detector.detect(board, template)
        ]

    for broken in (without_template, with_other_names, shifted):
        assert f_score(broken, held_out) < 0.5


def test_defects_on_drawn_boards_are_found(detector: Detector) -> None:
    assert f_score(detector.detect, [drawn_pair(seed, 9) for seed in range(2000, 2020)]) >= 0.95


def test_a_drawn_board_without_defects_has_none(detector: Detector) -> None:
    for seed in range(2000, 2008):
        pair = drawn_pair(seed, 0)
        assert (pair.board != pair.template).any()
        assert detector.detect(pair.board, pair.template) == []


def test_a_seed_draws_the_same_board_again() -> None:
    one, again, other = drawn_pair(3), drawn_pair(3), drawn_pair(4)
    assert (one.board == again.board).all()
    assert (one.template == again.template).all()
    assert one.truth == again.truth
    assert (one.board != other.board).any()


def test_drawn_defects_lie_in_their_boxes_and_nothing_else_differs() -> None:
    pair = drawn_pair(11, 9)
    flawless = drawn_pair(11, 0)
    assert len(pair.truth) == 9
    assert {truth.kind for truth in pair.truth} == set(CLASSES)
    assert (pair.template.shape, pair.board.shape) == ((640, 640), (640, 640))
    assert flawless.truth == ()
    for truth in pair.truth:
        x1, y1, x2, y2 = (int(edge) for edge in truth.box)
        inside = np.s_[y1:y2, x1:x2]
        assert (pair.board[inside] != pair.template[inside]).sum() >= 10


def test_a_board_that_is_its_template_has_no_defects(detector: Detector) -> None:
    pair = drawn_pair(5)
    assert detector.detect(pair.template, pair.template) == []


def test_a_board_that_lies_some_pixels_off_is_judged_all_the_same(detector: Detector) -> None:
    pair = drawn_pair(2003, 6)
    moved = np.roll(pair.template, (5, -6), (0, 1))
    before = detector.detect(pair.board, pair.template)
    after = [one for one in detector.detect(pair.board, moved) if _inside(one)]
    assert sorted(one.kind for one in after) == sorted(one.kind for one in before if _inside(one))


def _inside(defect: Defect) -> bool:
    """Away from the rim, where pixels that were rolled in differ."""
    return min(defect.box) > 16 and max(defect.box) < 624


@pytest.mark.parametrize(("height", "width"), [(500, 600), (333, 640), (640, 641), (64, 64)])
def test_other_sizes_are_looked_at_too(detector: Detector, height: int, width: int) -> None:
    pair = drawn_pair(2001, 9)
    larger = np.pad(np.stack([pair.board, pair.template]), ((0, 0), (0, 60), (0, 60)), constant_values=255)
    board, template = larger[:, :height, :width]

    def well_inside(found: list[Defect]) -> list[str]:
        return sorted(one.kind for one in found if one.box[2] < width - 60 and one.box[3] < height - 60)

    found = detector.detect(board, template)
    assert well_inside(found) == well_inside(detector.detect(pair.board, pair.template))
    for one in found:
        assert 0 <= one.box[0] < one.box[2] <= width
        assert 0 <= one.box[1] < one.box[3] <= height


def test_a_view_of_a_larger_picture_gives_the_same_defects(detector: Detector) -> None:
    pair = drawn_pair(2002, 6)
    interleaved = np.stack([pair.board, pair.template], axis=2)
    assert detector.detect(interleaved[:, :, 0], interleaved[:, :, 1]) == detector.detect(pair.board, pair.template)


BLANK = np.full((640, 640), 255, np.uint8)
NOISE = np.where(np.random.default_rng(0).random((640, 640)) < 0.5, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("board", "template", "sentence"),
    [
        (np.full((640, 640), np.nan), BLANK, "the board is float64: it must be a numpy array of uint8"),
        (BLANK, BLANK.astype(np.int16), "the template is int16: it must be a numpy array of uint8"),
        (BLANK.tolist(), BLANK, "the board is list: it must be a numpy array of uint8"),
        (
            np.zeros((640, 640, 3), np.uint8),
            BLANK,
            r"the board has the shape \(640, 640, 3\): it must be height x width",
        ),
        (np.zeros(640, np.uint8), BLANK, r"the board has the shape \(640,\)"),
        (np.zeros((0, 640), np.uint8), BLANK, "the board is 640 x 0 pixels: each side must be 64 to 4096 pixels"),
        (np.zeros((640, 5000), np.uint8), BLANK, "the board is 5000 x 640 pixels: each side must be"),
        (
            BLANK[:600],
            BLANK,
            "the board is 640 x 600 pixels and its template 640 x 640 pixels: both must be of one size",
        ),
        (NOISE, BLANK, f"differs from its template in [0-9]+ places, and {PLACES_MAX} are the most"),
    ],
)
def test_what_is_no_board_is_refused_with_a_sentence(
    detector: Detector, board: Grey, template: Grey, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        detector.detect(board, template)


def test_a_share_that_is_not_a_number_is_no_defect() -> None:
    seen = Seen(np.zeros((2, 2, 96, 96), np.uint8), np.array([[100, 100], [300, 300]]), 640, 640)
    shares = np.zeros((2, 7), np.float32)
    shares[0] = np.nan
    shares[1, 4] = 0.95
    boxes = np.array([[-10, -10, 10, 10]] * 2, np.float32)
    (found,) = decide(seen, shares, boxes, 0.5)
    assert (found.kind, found.box) == ("copper", (290.0, 290.0, 310.0, 310.0))


@pytest.mark.parametrize("edge", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("share", [0.95, 0.7])
def test_a_box_that_is_none_is_no_defect(edge: float, share: float) -> None:
    """Cut to the board's edges, an endless one would have its middle in the board's."""
    seen = Seen(np.zeros((2, 2, 96, 96), np.uint8), np.array([[100, 100], [300, 300]]), 640, 640)
    shares = np.zeros((2, 7), np.float32)
    shares[:, 4] = share, 0.95
    boxes = np.array([[-10, -10, edge, 10], [-10, -10, 10, 10]], np.float32)
    assert [one.box for one in decide(seen, shares, boxes, 0.5)] == [(290.0, 290.0, 310.0, 310.0)]


def test_pieces_of_a_long_defect_are_one_and_two_views_of_one_defect_are_one() -> None:
    seen = Seen(np.zeros((3, 2, 96, 96), np.uint8), np.array([[100, 100], [140, 100], [102, 101]]), 640, 640)
    shares = np.zeros((3, 7), np.float32)
    shares[:, 0] = 0.98, 0.96, 0.94
    boxes = np.array([[-25, -15, 25, 15]] * 3, np.float32)
    (found,) = decide(seen, shares, boxes, 0.5)
    assert (found.kind, found.box) == ("open", (75.0, 85.0, 165.0, 115.0))
    shares[1] = 0
    shares[1, 1] = 0.96
    assert [one.kind for one in decide(seen, shares, boxes, 0.5)] == ["open", "short"]


def test_a_detection_counts_by_class_and_by_overlap_and_once() -> None:
    truth = [Truth("open", (0, 0, 30, 30))]
    for found, right in (
        ([("open", (0, 0, 30, 30))], [True]),
        ([("short", (0, 0, 30, 30))], [False]),
        ([("open", (15, 0, 45, 30))], [True]),  # a third and a little more: 450 / 1350
        ([("open", (16, 0, 46, 30))], [False]),
        ([("open", (0, 0, 30, 30)), ("open", (1, 0, 31, 30))], [True, False]),
    ):
        score = Score()
        verdicts = score.add([Defect(kind, 0.9, box) for kind, box in found], truth)
        assert [verdict is not None for verdict in verdicts] == right
    assert score.precision() == 0.5
    assert score.recall() == 1.0
    assert score.f_score() == pytest.approx(2 / 3)


def test_the_model_is_small_and_is_the_one_its_card_describes(detector: Detector) -> None:
    assert MODEL.stat().st_size < 5_000_000
    assert detector.digest in (MODEL.parent / "MODEL.md").read_text()
