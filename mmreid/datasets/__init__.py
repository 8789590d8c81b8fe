"""Data sets in their official layouts, samplers and transforms."""

from .base import BaseReIDDataset, Record
from .cuhk01 import CUHK01
from .domains import Domain, DomainDataset
from .dukemtmc_reid import DukeMTMCreID
from .folder import ReIDFolder
from .image_list import ImageList, list_images
from .manifest import ReIDManifest
from .market1501 import Market1501
from .msmt17 import MSMT17
from .prid2011 import PRID2011
from .samplers import *  # noqa: F401,F403
from .transforms import *  # noqa: F401,F403
from .viper import VIPeR

__all__ = [
    'BaseReIDDataset',
    'CUHK01',
    'Domain',
    'DomainDataset',
    'DukeMTMCreID',
    'ImageList',
    'MSMT17',
    'Market1501',
    'PRID2011',
    'ReIDFolder',
    'ReIDManifest',
    'Record',
    'VIPeR',
    'list_images',
]
