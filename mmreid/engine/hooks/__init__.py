from .full_batch_hook import FullBatchHook
from .pair_mining_hook import PairMiningHook
from .pseudo_label_hook import PseudoLabelHook
from .stage_switch_hook import StageSwitchHook
from .sync_norm_stats_hook import SyncNormStatsHook
from .unreadable_image_hook import UnreadableImageHook

__all__ = [
    'FullBatchHook',
    'PairMiningHook',
    'PseudoLabelHook',
    'StageSwitchHook',
    'SyncNormStatsHook',
    'UnreadableImageHook',
]
