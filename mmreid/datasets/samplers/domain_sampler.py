from collections.abc import Iterator

import numpy as np
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from mmreid.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class DomainSampler(Sampler[int]):
    """A fixed number of images of each domain per batch, at any iteration.

    Batch k is a pure function of (seed, stage, k): training resumes at any
    iteration without walking there. The domains keep the order of
    ``domains``; an epoch is one pass over the first of them that
    ``batch_size`` names. The others are reshuffled at the start of each
    epoch and each time they run out. Images that do not fill a batch are
    left to later passes. The batch is that of all ranks together: each one
    reads its share of each domain.

    Args:
        domains (dict[str, range]): Indices of each domain in the data set.
        batch_size (dict[str, int]): Images of each domain in a batch, over
            all ranks, e.g. ``dict(source=184, target=184)``.
        seed (int): The run's seed.
        stream (int): Number of the stage, so that stages shuffle
            differently. Defaults to 0.
        begin (int): First batch to give. Defaults to 0.
        end (int, optional): Batch to stop before. Defaults to None, after
            one epoch.

    Raises:
        ValueError: If a domain is unknown or smaller than its part of a
            batch, or does not divide by the number of ranks.
    """

    def __init__(
        self,
        domains: dict[str, range],
        batch_size: dict[str, int],
        seed: int,
        stream: int = 0,
        begin: int = 0,
        end: int | None = None,
    ) -> None:
        self.rank, self.world_size = get_dist_info()
        for domain, num in batch_size.items():
            if domain not in domains:
                raise ValueError(
                    f'batch_size names the domain {domain!r}, but the data '
                    f'set has {sorted(domains)}.'
                )
            if num > len(domains[domain]):
                raise ValueError(
                    f'A batch takes {num} images of the {domain} domain, '
                    f'which has only {len(domains[domain])}: add images or '
                    f'lower batch_size.{domain}.'
                )
            if num % self.world_size:
                raise ValueError(
                    f'batch_size.{domain}={num} is the number over all ranks '
                    f'and does not divide by the {self.world_size} ranks.'
                )
        self.domains = domains
        # In the order of the data set, whatever that of a config is.
        batch_size = {d: batch_size[d] for d in domains if d in batch_size}
        self.batch_size = batch_size
        self.seed = seed
        self.stream = stream
        first = next(iter(batch_size))
        self.epoch_length = len(domains[first]) // batch_size[first]
        self.begin = begin
        self.end = self.epoch_length if end is None else end
        self._shuffled: dict[str, tuple] = {}

    def _permutation(self, domain: str, *key: int) -> np.ndarray:
        if self._shuffled.get(domain, (None,))[0] != key:
            number = list(self.domains).index(domain)
            generator = np.random.default_rng(
                (self.seed, self.stream, number, *key)
            )
            order = generator.permutation(len(self.domains[domain]))
            self._shuffled[domain] = (key, order)
        return self._shuffled[domain][1]

    def batch(self, k: int) -> list[int]:
        """Indices of this rank's share of batch k."""
        epoch, position = divmod(k, self.epoch_length)
        indices = []
        for domain, num in self.batch_size.items():
            span = self.domains[domain]
            turn, place = divmod(position, len(span) // num)
            order = self._permutation(domain, epoch, turn)
            share = num // self.world_size
            start = place * num + self.rank * share
            indices += [span[i] for i in order[start : start + share]]
        return indices

    def __iter__(self) -> Iterator[int]:
        for k in range(self.begin, self.end):
            yield from self.batch(k)

    def __len__(self) -> int:
        return (self.end - self.begin) * sum(
            num // self.world_size for num in self.batch_size.values()
        )
