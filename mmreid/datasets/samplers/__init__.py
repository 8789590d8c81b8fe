from .domain_sampler import (
    DomainDraw,
    DomainSampler,
    check_shares,
    uses_labels,
)
from .identity_sampler import IdentitySampler
from .shuffle_sampler import ShuffleSampler

__all__ = [
    'DomainDraw',
    'DomainSampler',
    'IdentitySampler',
    'ShuffleSampler',
    'check_shares',
    'uses_labels',
]
