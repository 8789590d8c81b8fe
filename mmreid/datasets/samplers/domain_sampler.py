from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from mmreid.errors import InputError
from mmreid.registry import DATA_SAMPLERS

from .identity_sampler import check_instances


class DomainDraw(Protocol):
    """Draws the images of one domain: a pure function of the batch's place.

    Registered in ``DATA_SAMPLERS`` and built with ``num_images``,
    ``batch_size`` and ``key``, and, where :attr:`uses_labels`, with
    ``labels`` and ``camera_id``.
    """

    uses_labels: bool
    epoch_length: int

    def batch(self, epoch: int, position: int) -> np.ndarray:
        """Indices inside the domain of batch ``position`` of an epoch."""


def uses_labels(cfg: dict) -> bool:
    """Whether a domain's sampler, of a config, draws by labels.

    Raises:
        InputError: If it is no sampler of a domain.
    """
    cls = DATA_SAMPLERS.get(cfg['type'])
    if not hasattr(cls, 'uses_labels'):
        raise InputError(
            f'{cfg["type"]!r} is no sampler of a domain: take '
            'ShuffleSampler, IdentitySampler or one of your own with '
            'uses_labels, epoch_length and batch(epoch, position).'
        )
    return cls.uses_labels


def check_shares(
    batch_size: Mapping[str, int],
    samplers: Mapping[str, dict],
    world_size: int,
) -> None:
    """See whether batches are of whole groups, on each rank.

    It needs no labels, so it is known before a clustering makes them.

    Args:
        batch_size (Mapping[str, int]): Images of each domain in a batch,
            over all ranks.
        samplers (Mapping[str, dict]): Config of what draws from a domain.
        world_size (int): Number of ranks.

    Raises:
        InputError: If ``num_instances`` does not divide a batch, or the
            ranks do not.
    """
    for domain, num in batch_size.items():
        unit = samplers.get(domain, {}).get('num_instances')
        if unit is not None:
            check_instances(num, unit)
        unit = unit or 1
        if num % world_size or num // world_size % unit:
            raise InputError(
                f'batch_size.{domain}={num} is the number over all ranks '
                f'and does not divide by the {world_size} ranks'
                f'{f" into groups of {unit}" if unit > 1 else ""}.'
            )


@DATA_SAMPLERS.register_module()
class DomainSampler(Sampler[int]):
    """A fixed number of images of each domain per batch, at any iteration.

    Batch k is a pure function of (seed, stage, k) and, where a domain is
    drawn by its labels, of those: training resumes at any iteration without
    walking there. An epoch is ``epoch_length`` batches, by default one pass
    over the first domain that ``batch_size`` names, in the order of
    ``domains``. The batch is that of all ranks together: each one reads its
    share of each domain.

    Args:
        domains (Mapping[str, range]): Indices of each domain in the data
            set.
        batch_size (dict[str, int]): Images of each domain in a batch, over
            all ranks, e.g. ``dict(source=184, target=184)``.
        seed (int): The run's seed.
        stream (int): Number of the stage, so that stages shuffle
            differently. Defaults to 0.
        samplers (dict[str, dict], optional): Config of what draws from each
            domain, such as ``dict(type='IdentitySampler')``. Defaults to
            None: ``dict(type='ShuffleSampler')`` for each.
        labels (Mapping[str, tuple], optional): Labels (N, ) and cameras
            (N, ) of the domains that are drawn by them. Defaults to None.
        epoch_length (int, optional): Batches per epoch. Defaults to None,
            one pass over the first domain.
        begin (int): First batch to give. Defaults to 0.
        end (int, optional): Batch to stop before. Defaults to None, after
            one epoch.

    Raises:
        InputError: If a domain is unknown or smaller than its part of a
            batch, or does not divide by the number of ranks.
    """

    def __init__(
        self,
        domains: Mapping[str, range],
        batch_size: dict[str, int],
        seed: int,
        stream: int = 0,
        samplers: dict[str, dict] | None = None,
        labels: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
        epoch_length: int | None = None,
        begin: int = 0,
        end: int | None = None,
    ) -> None:
        self.rank, self.world_size = get_dist_info()
        samplers, labels = samplers or {}, labels or {}
        for domain, num in batch_size.items():
            if domain not in domains:
                raise InputError(
                    f'batch_size names the domain {domain!r}, but the data '
                    f'set has {sorted(domains)}.'
                )
            if not 0 < num <= len(domains[domain]):
                raise InputError(
                    f'A batch takes {num} images of the {domain} domain, '
                    f'which has only {len(domains[domain])}: add images or '
                    f'lower batch_size.{domain}.'
                )
        unknown = set(samplers) - set(batch_size)
        if unknown:
            raise InputError(
                f'sampler names the domains {sorted(unknown)}, of which '
                f'batch_size {dict(batch_size)} takes no images.'
            )
        self.domains = domains
        # In the order of the data set, whatever that of a config is.
        self.batch_size = {
            d: batch_size[d] for d in domains if d in batch_size
        }
        self.draws: dict[str, DomainDraw] = {}
        for number, domain in enumerate(domains):
            if domain not in batch_size:
                continue
            num = batch_size[domain]
            cfg = dict(samplers.get(domain, dict(type='ShuffleSampler')))
            if uses_labels(cfg):
                cfg['labels'], cfg['camera_id'] = labels[domain]
            self.draws[domain] = DATA_SAMPLERS.build(
                dict(
                    cfg,
                    num_images=len(domains[domain]),
                    batch_size=num,
                    key=(seed, stream, number),
                )
            )
        check_shares(self.batch_size, samplers, self.world_size)
        first = next(iter(self.draws.values()))
        self.epoch_length = epoch_length or first.epoch_length
        self.begin = begin
        self.end = self.epoch_length if end is None else end

    def batch(self, k: int) -> list[int]:
        """Indices of this rank's share of batch k."""
        epoch, position = divmod(k, self.epoch_length)
        indices = []
        for domain, draw in self.draws.items():
            span = self.domains[domain]
            share = self.batch_size[domain] // self.world_size
            drawn = draw.batch(epoch, position)
            start = self.rank * share
            indices += [span[i] for i in drawn[start : start + share]]
        return indices

    def __iter__(self) -> Iterator[int]:
        for k in range(self.begin, self.end):
            yield from self.batch(k)

    def __len__(self) -> int:
        return (self.end - self.begin) * sum(
            num // self.world_size for num in self.batch_size.values()
        )
