# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy>=2", "onnx>=1.16", "onnxruntime>=1.20", "pillow>=10"]
# ///
"""Makes detector.onnx of the trained network: the same layers in whole numbers of 8 bits, which are quicker.

Usage: python quantize.py network.onnx --data DEEPPCB_FOLDER [--out detector.onnx] [--hold-out GROUP ...]

The ranges of what flows between layers are taken from crops of training boards; held-out boards are not looked at.
Weights have 7 bits: with 8, processors without VNNI would saturate where two products are added up.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pcb_line.deeppcb import HELD_OUT, groups, pairs
from pcb_line.detect import look, ready

EVERY = 2
"""Every other training board is enough: more change no range that matters."""


class TrainingCrops(CalibrationDataReader):
    """What the network sees of training boards, a board at a time."""

    def __init__(self, data: Path, looked_at: list[str]) -> None:
        self._boards = self._seen(data, looked_at)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next board's crops: uint8, n x 2 x 96 x 96."""
        return next(self._boards, None)

    @staticmethod
    def _seen(data: Path, looked_at: list[str]) -> Iterator[dict[str, np.ndarray]]:
        for pair in list(pairs(data, looked_at))[::EVERY]:
            if len(cut := look(pair.board, ready(pair.template)).crops):
                yield {"crops": cut}


def main() -> None:
    """Look at training boards, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path, help="what train.py wrote")
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ of DeepPCB pairs")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "detector.onnx")
    parser.add_argument("--hold-out", nargs="*", default=list(HELD_OUT), help="groups that are not looked at")
    chosen = parser.parse_args()
    looked_at = sorted(set(groups(chosen.data)) - set(chosen.hold_out))
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(chosen.network, prepared)
        quantize_static(
            prepared,
            chosen.out,
            TrainingCrops(chosen.data, looked_at),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            op_types_to_quantize=["Conv", "Gemm", "MatMul", "Add", "Relu"],
        )
    print(f"{chosen.out}: {chosen.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
