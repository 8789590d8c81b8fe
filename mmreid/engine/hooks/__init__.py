from .mar_hook import MARHook
from .mining_purity_hook import MiningPurityHook
from .stage_hook import StageHook
from .sync_norm_stats_hook import SyncNormStatsHook
from .tj_aidl_hook import TJAIDLHook
from .unreadable_image_hook import UnreadableImageHook

__all__ = [
    'MARHook',
    'MiningPurityHook',
    'StageHook',
    'SyncNormStatsHook',
    'TJAIDLHook',
    'UnreadableImageHook',
]
