# /// script
# requires-python = ">=3.11"
# dependencies = ["torch>=2.4", "numpy>=2", "onnx>=1.16", "onnxscript", "pillow>=10"]
# ///
"""Trains the defect network on pairs of DeepPCB and writes network.onnx, of which quantize.py makes detector.onnx.

None of its packages is needed to run it.

Usage: python train.py --data DEEPPCB_FOLDER [--out network.onnx] [--hold-out GROUP ...] [--steps N] [--seed N]
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pcb_line.align import laid_over, movable
from pcb_line.blemish import blemishes
from pcb_line.crops import SIDE
from pcb_line.deeppcb import HELD_OUT, groups, pairs
from pcb_line.differences import places
from pcb_line.draw import framed
from pcb_line.pair import CLASSES, Pair
from pcb_line.pixels import packed, unpacked

RIM = SIDE
NONE = len(CLASSES)
BATCH = 128
RATE = 2e-3
BOX_UNIT = 16
"""Pixels to the network's unit of length."""
OFF = 6
"""Pixels by which a spot is moved at most."""
DRAWN = 2
"""Boards with drawn defects for each real one."""
DEFECTS_DRAWN = 12
NEAR = 8
"""Pixels around a true box in which a place counts neither as that defect nor as none."""


class Block(nn.Module):
    """Two convolutions around which the input goes too."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one = convolved(channels, channels)
        self.two = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.two(self.one(x)))


def convolved(into: int, out: int, stride: int = 1, side: int = 3) -> nn.Sequential:
    """Convolution, normalisation, rectifier."""
    padding = (side - 1) // 2
    return nn.Sequential(
        nn.Conv2d(into, out, side, stride, padding, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)
    )


class Network(nn.Module):
    """Crops (uint8, n x 2 x SIDE x SIDE) in; shares of the six classes and none, and a box, out."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Sequential(
            convolved(2, 24, stride=2, side=4),
            convolved(24, 32, stride=2),
            convolved(32, 48, stride=2),
            Block(48),
            convolved(48, 64, stride=2),
            Block(64),
        )
        self.think = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(64 * (SIDE // 16) ** 2, 128), nn.ReLU())
        self.sort = nn.Linear(128, NONE + 1)
        self.frame = nn.Linear(128, 4)

    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and the box's left, top, right and bottom from the middle in units of BOX_UNIT."""
        thought = self.think(self.see(seen.float() - 0.5))
        return self.sort(thought), self.frame(thought)


class Shipped(nn.Module):
    """The network as it is exported: shares instead of logits, pixels instead of units."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        logits, box = self.network(seen)
        return torch.softmax(logits, 1), box * BOX_UNIT


@dataclass
class Lesson:
    """One pair made ready: both pictures with a rim, true boxes (x1, y1, x2, y2, class), and spots to look at."""

    both: np.ndarray
    truth: np.ndarray
    spots: np.ndarray
    shows: np.ndarray
    """For each spot the index of its true box, or -1 for none."""


def lessons_of(pair: Pair, chance: np.random.Generator) -> list[Lesson]:
    """The pair itself, and the same board with more defects drawn where it has none.

    The drawn ones teach what a cut, a bridge, a bite and a bump are on boards that have few of them; the board's own
    edges, and its own defects, stay.
    """
    board, template = pair.board < 128, pair.template < 128
    laid = unpacked(laid_over(packed(board), movable(template)), board.shape[1])
    truth = np.array([(*one.box, CLASSES.index(one.kind)) for one in pair.truth], np.int64)
    made = [_lesson(board, laid, truth)]
    for _ in range(DRAWN):
        taken = np.zeros_like(board)
        for x1, y1, x2, y2, _ in truth:
            taken[y1:y2, x1:x2] = True
        spoiled, boxes = board.copy(), list(truth)
        for one in blemishes(laid, DEFECTS_DRAWN, chance, taken):
            where = one.where
            if chance.random() < 0.3:
                where = where & (chance.random(where.shape) < 0.9)
            spoiled[where] = one.adds
            boxes.append(np.array([*framed(one.where), CLASSES.index(one.kind)]))
        made.append(_lesson(spoiled, laid, np.stack(boxes)))
    return made


def _lesson(board: np.ndarray, laid: np.ndarray, truth: np.ndarray) -> Lesson:
    """Places as the gateway will find them, each with the true box it lies in."""
    found = places(packed(board), packed(laid), board.shape[1])
    x, y = found[:, :1], found[:, 1:]
    middle = (truth[:, :2] + truth[:, 2:4]) // 2
    inside = (x >= truth[:, 0]) & (x < truth[:, 2]) & (y >= truth[:, 1]) & (y < truth[:, 3])
    away = np.where(inside, np.abs(found[:, None] - middle[None]).max(2), 10**6)
    sure = inside.any(1) | ~_near(x, y, truth).any(1)
    shows = np.where(inside.any(1), away.argmin(1), -1)
    # The middle of each true box too, so that what the search misses is learned all the same; and spots of no interest.
    nothing = np.stack([np.arange(7, board.shape[1], 211), np.arange(7, board.shape[0], 211)], 1)
    nothing = nothing[~_near(nothing[:, :1], nothing[:, 1:], truth).any(1)]
    both = np.pad(np.stack([board, laid]).view(np.uint8), ((0, 0), (RIM, RIM), (RIM, RIM)), mode="edge")
    return Lesson(
        both,
        truth,
        np.concatenate([found[sure], middle, nothing]),
        np.concatenate([shows[sure], np.arange(len(truth)), np.full(len(nothing), -1)]),
    )


def _near(x: np.ndarray, y: np.ndarray, truth: np.ndarray) -> np.ndarray:
    across = (x >= truth[:, 0] - NEAR) & (x < truth[:, 2] + NEAR)
    return across & (y >= truth[:, 1] - NEAR) & (y < truth[:, 3] + NEAR)


def batches(lessons: list[Lesson], chance: np.random.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Without end: spots by chance, each a little off, turned and mirrored; the template a pixel off now and then."""
    every = [(one, at) for one in lessons for at in range(len(one.spots))]
    order = np.empty(0, np.int64)
    while True:
        if len(order) < BATCH:
            order = chance.permutation(len(every))
        chosen, order = order[:BATCH], order[BATCH:]
        seen = np.empty((BATCH, 2, SIDE, SIDE), np.uint8)
        kind = np.full(BATCH, NONE)
        box = np.zeros((BATCH, 4), np.float32)
        for row, (one, at) in enumerate(every[index] for index in chosen):
            x, y = one.spots[at] + chance.integers(-OFF, OFF + 1, 2)
            if one.shows[at] >= 0:
                x1, y1, x2, y2, kind[row] = one.truth[one.shows[at]]
                x, y = min(max(x, x1), x2 - 1), min(max(y, y1), y2 - 1)
                box[row] = x1 - x, y1 - y, x2 - x, y2 - y
            left, top = int(x) + RIM - SIDE // 2, int(y) + RIM - SIDE // 2
            seen[row, 0] = one.both[0, top : top + SIDE, left : left + SIDE]
            down, right = chance.integers(-1, 2, 2) if chance.random() < 0.25 else (0, 0)
            seen[row, 1] = one.both[1, top + down : top + down + SIDE, left + right : left + right + SIDE]
        for turn in range(8):
            rows = slice(turn, None, 8)
            seen[rows], box[rows] = turned(seen[rows], box[rows], turn)
        yield torch.from_numpy(seen), torch.from_numpy(kind), torch.from_numpy(box / BOX_UNIT)


def turned(seen: np.ndarray, box: np.ndarray, turn: int) -> tuple[np.ndarray, np.ndarray]:
    """One of the eight ways to lay a square."""
    if turn & 1:
        seen, box = seen[..., ::-1], np.stack([-box[:, 2], box[:, 1], -box[:, 0], box[:, 3]], 1)
    if turn & 2:
        seen, box = seen[..., ::-1, :], np.stack([box[:, 0], -box[:, 3], box[:, 2], -box[:, 1]], 1)
    if turn & 4:
        seen, box = seen.swapaxes(2, 3), box[:, [1, 0, 3, 2]]
    return seen.copy(), box.copy()


def loss(logits: Tensor, box: Tensor, kind: Tensor, true_box: Tensor) -> Tensor:
    """What it is, and where: smooth distance and overlap together."""
    named = functional.cross_entropy(logits, kind, label_smoothing=0.02)
    on = kind != NONE
    ours, theirs = box[on], true_box[on]
    across = (torch.minimum(ours[:, 2:], theirs[:, 2:]) - torch.maximum(ours[:, :2], theirs[:, :2])).clamp(min=0)
    shared = across.prod(1)
    area = (ours[:, 2:] - ours[:, :2]).clamp(min=0).prod(1) + (theirs[:, 2:] - theirs[:, :2]).prod(1)
    overlap = shared / (area - shared + 1e-6)
    return named + functional.smooth_l1_loss(ours, theirs, beta=0.1) + 0.5 * (1 - overlap).mean()


def train(lessons: list[Lesson], steps: int, seed: int) -> Network:
    """The same seed, packages and machine give the same network."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    network = Network().to(memory_format=torch.channels_last)
    spots = sum(len(one.spots) for one in lessons)
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters, {spots:,} spots", flush=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    began, total = time.monotonic(), 0.0
    supply = batches(lessons, np.random.default_rng(seed))
    network.train()
    for step in range(1, steps + 1):
        seen, kind, box = next(supply)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits, framing = network(seen)
        now = loss(logits.float(), framing.float(), kind, box)
        now.backward()
        optimizer.step()
        schedule.step()
        total += float(now.detach())
        if step % 100 == 0:
            print(f"step {step}/{steps}: loss {total / 100:.4f}, {time.monotonic() - began:.0f} s", flush=True)
            total = 0.0
    return network.eval()


def export(network: Network, path: Path) -> None:
    """ONNX with any number of crops at once; the normalisations are folded into the convolutions."""
    import onnx

    example = torch.zeros((2, 2, SIDE, SIDE), dtype=torch.uint8)
    torch.onnx.export(
        Shipped(network).eval(),
        (example,),
        path,
        input_names=["crops"],
        output_names=["shares", "boxes"],
        dynamic_axes={"crops": {0: "n"}, "shares": {0: "n"}, "boxes": {0: "n"}},
        opset_version=17,
        dynamo=False,
    )
    onnx.checker.check_model(onnx.load(path))


def main() -> None:
    """Train on every group that is not held out, and export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ of DeepPCB pairs")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "network.onnx")
    parser.add_argument("--hold-out", nargs="*", default=list(HELD_OUT), help="groups that are not looked at")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=5)
    chosen = parser.parse_args()
    chance = np.random.default_rng(chosen.seed)
    looked_at = sorted(set(groups(chosen.data)) - set(chosen.hold_out))
    lessons = [lesson for pair in pairs(chosen.data, looked_at) for lesson in lessons_of(pair, chance)]
    network = train(lessons, chosen.steps, chosen.seed)
    export(network, chosen.out)
    print(f"{chosen.out}: {chosen.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
