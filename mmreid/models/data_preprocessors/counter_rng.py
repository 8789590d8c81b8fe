import torch
from torch import Tensor

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MUL_1 = 0xBF58476D1CE4E5B9
_MUL_2 = 0x94D049BB133111EB


def _signed(value: int) -> int:
    """The int64 with the same bits as ``value`` modulo 2^64."""
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical (zero-filling) right shift of an int64 tensor."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    """The SplitMix64 finaliser; int64 products wrap as it needs."""
    x = (x ^ _shift_right(x, 30)) * _signed(_MUL_1)
    x = (x ^ _shift_right(x, 27)) * _signed(_MUL_2)
    return x ^ _shift_right(x, 31)


def counter_uniform(
    seed: int, iteration: int, index: Tensor, num: int
) -> Tensor:
    """Uniform numbers that are a pure function of their counters.

    Augmentation draws from this instead of a generator with a state, so a
    resumed run draws what an uninterrupted one would have drawn, whatever a
    worker process had prefetched, on any device and any number of ranks.

    Args:
        seed (int): The run's seed.
        iteration (int): The training iteration.
        index (Tensor): Sample indices, (N, ), int64.
        num (int): How many numbers each sample gets.

    Returns:
        Tensor: (N, num) float32 in [0, 1), on the device of ``index``.
    """
    slot = torch.arange(num, device=index.device)
    x = _mix(index[:, None] * _signed(_GOLDEN) + _signed(seed * _MUL_1 + 1))
    x = _mix(x + _signed(iteration * _GOLDEN + _MUL_2))
    x = _mix(x + slot * _signed(_MUL_1) + _signed(_GOLDEN))
    return _shift_right(x, 40).float() * 2.0**-24
