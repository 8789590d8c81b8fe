"""Colours of the embedded pedestrians: CIELAB, names and seeded generators."""

import zlib
from collections.abc import Hashable
from functools import lru_cache

import cv2
import numpy as np

from mmreid.errors import InputError

# A name may have several prototypes: navy and sky are both called blue.
PROTOTYPES = (
    ('black', (14, 0, 0)),
    ('gray', (35, 0, -1)),
    ('gray', (58, 0, 0)),
    ('white', (92, 0, 2)),
    ('red', (44, 58, 36)),
    ('red', (30, 40, 20)),
    ('pink', (74, 32, 4)),
    ('purple', (38, 36, -36)),
    ('yellow', (84, 2, 62)),
    ('orange', (66, 40, 58)),
    ('brown', (36, 14, 24)),
    ('brown', (62, 8, 26)),
    ('blue', (22, 6, -26)),
    ('blue', (42, 2, -42)),
    ('blue', (72, -8, -24)),
    ('green', (32, -18, 16)),
    ('green', (56, -38, 30)),
)
NAMES = tuple(dict.fromkeys(name for name, _ in PROTOTYPES))


def seeded(seed: int, *keys: int | str) -> np.random.Generator:
    """A generator that is a pure function of a seed and of keys.

    Args:
        seed (int): Not negative.
        keys (int | str): What is drawn; a string counts by its CRC-32, as
            ``hash`` differs from one process to the next.

    Raises:
        InputError: If the seed is negative.
    """
    if seed < 0:
        raise InputError(f'seed is {seed}, expected 0 or more.')
    words = [zlib.crc32(k.encode()) if isinstance(k, str) else k for k in keys]
    return np.random.default_rng([seed, *words])


def choose(rng: np.random.Generator, weights: dict) -> Hashable:
    """Draw a key of ``weights`` with a probability in proportion to it."""
    values = np.fromiter(weights.values(), float)
    index = np.searchsorted(values.cumsum(), rng.random() * values.sum())
    return list(weights)[index]


def sample_lab(
    rng: np.random.Generator,
    weights: dict[str, float],
    lightness: float = 0.0,
    chroma: float = 1.0,
    spread: float = 6.0,
) -> tuple[float, float, float]:
    """Draw a colour in CIELAB around a prototype of a drawn name.

    Args:
        rng (np.random.Generator): Source of randomness.
        weights (dict[str, float]): Weight of each colour name.
        lightness (float): Added to L. Defaults to 0.0.
        chroma (float): Factor on a and b. Defaults to 1.0.
        spread (float): Standard deviation around the prototype. Defaults
            to 6.0.

    Returns:
        tuple[float, float, float]: L in [4, 97], a and b.
    """
    name = choose(rng, weights)
    own = [lab for label, lab in PROTOTYPES if label == name]
    light, a, b = own[rng.integers(len(own))]
    noise = rng.normal(0, spread, 3)
    light = np.clip(light + lightness + 1.2 * noise[0], 4, 97)
    return float(light), a * chroma + noise[1], b * chroma + noise[2]


@lru_cache(maxsize=4096)
def lab_to_bgr(lab: tuple[float, float, float]) -> tuple[int, int, int]:
    """The sRGB colour, as 8-bit BGR, of a CIELAB colour."""
    pixel = cv2.cvtColor(np.float32([[lab]]), cv2.COLOR_Lab2BGR)[0, 0]
    return tuple(int(v) for v in np.clip(pixel * 255, 0, 255).round())


def colour_name(lab: tuple[float, float, float]) -> str:
    """The name of the prototype nearest to a CIELAB colour."""
    distances = [np.sum(np.subtract(lab, p) ** 2) for _, p in PROTOTYPES]
    return PROTOTYPES[int(np.argmin(distances))][0]
