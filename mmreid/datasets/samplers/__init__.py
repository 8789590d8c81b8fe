from .domain_sampler import DomainDraw, DomainSampler, uses_labels
from .identity_sampler import IdentitySampler
from .shuffle_sampler import ShuffleSampler

__all__ = [
    'DomainDraw',
    'DomainSampler',
    'IdentitySampler',
    'ShuffleSampler',
    'uses_labels',
]
