"""Labelled pictures for ``zoo:tiny_digits``: the part of the data set that its training left out.

360 of the 1797 handwritten digits of scikit-learn's ``load_digits``: 8 x 8 pixels of 0 to 16. They are the test
set of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning
Repository, doi 10.24432/C50P49, CC BY 4.0). ``tools/train_digits.py`` makes the file.
"""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["digits_pictures", "digits_test"]

_FILE = Path(__file__).parent / "zoo_data" / "digits_test.xz"
_PIXELS = 64
_BRIGHTEST = np.float32(16)


def digits_test() -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    """Pictures [360, 1, 8, 8] as ``zoo:tiny_digits_int8`` takes them (0 to 16), and their labels [360]."""
    rows = np.frombuffer(lzma.decompress(_FILE.read_bytes()), dtype=np.int8).reshape(-1, _PIXELS + 1)
    return rows[:, :_PIXELS].reshape(-1, 1, 8, 8), rows[:, _PIXELS]


def digits_pictures(pixels: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
    """The pictures as ``zoo:tiny_digits`` takes them: brightness 0 to 1."""
    return pixels.astype(np.float32) / _BRIGHTEST
