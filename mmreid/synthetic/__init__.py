"""Embedded pedestrians: procedural people, so that nothing is downloaded.

No person is real. An **identity** has a body, hair, clothes with colours and
patterns, carried things and small detail (prints on chest and back, side
stripes, socks, glasses), so that two identities can share all attributes and
still differ. A **camera** has a white balance, gamma, blur, resolution, noise,
JPEG quality, tilt, background and preferred view angles. An **image** adds a
walking phase, a view angle (a backpack is hidden from the front), the light of
the moment, the error of the detector's box and sometimes an occluder. A
**domain** is a distribution over all of these; ``source`` is a grey winter,
``target`` a colourful summer, with other palettes, garments, cameras and
views. They share no identity.

Every image is a pure function of (domain, seed, person, camera, shot): any
part of a data set, drawn in any order, has the same pixels.

Example:
    >>> from mmreid.synthetic import write_benchmark
    >>> # In the layouts of MSMT17 and Market-1501.
    >>> people = dict(source_ids=2, target_train_ids=2, target_test_ids=2)
    >>> write_benchmark('synthetic', **people, source_cameras=2)
    ('synthetic/MSMT17_V1', 'synthetic/Market-1501-v15.09.15')

The folders have the official layouts and the attribute files the official
``.mat`` structure, so the loaders and configs of the real data sets read them.
``tools/dataset_converters/draw_synthetic.py`` does the same from the shell.
"""

from .attributes import identity_attributes, write_attributes
from .domain import DOMAINS, Camera, Domain
from .identity import Identity
from .render import draw_pedestrian
from .writer import (
    LAYOUTS,
    Shot,
    contact_sheet,
    draw_shots,
    write_attribute_benchmark,
    write_benchmark,
    write_dukemtmc,
    write_market1501,
    write_msmt17,
    write_prid,
    write_viper,
)

__all__ = [
    'DOMAINS',
    'LAYOUTS',
    'Camera',
    'Domain',
    'Identity',
    'Shot',
    'contact_sheet',
    'draw_pedestrian',
    'draw_shots',
    'identity_attributes',
    'write_attribute_benchmark',
    'write_attributes',
    'write_benchmark',
    'write_dukemtmc',
    'write_market1501',
    'write_msmt17',
    'write_prid',
    'write_viper',
]
