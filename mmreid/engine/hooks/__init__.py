from .camera_mean_hook import CameraMeanHook
from .finite_loss_hook import FiniteLossHook
from .full_batch_hook import FullBatchHook
from .interruption_hook import InterruptionHook
from .neighbour_report_hook import NeighbourReportHook
from .pair_mining_hook import PairMiningHook
from .provenance_hook import ProvenanceHook
from .pseudo_label_hook import PseudoLabelHook
from .stage_logger_hook import StageLoggerHook
from .stage_switch_hook import StageSwitchHook
from .sync_norm_stats_hook import SyncNormStatsHook
from .unreadable_image_hook import UnreadableImageHook
from .whole_checkpoint_hook import WholeCheckpointHook

__all__ = [
    'CameraMeanHook',
    'FiniteLossHook',
    'FullBatchHook',
    'InterruptionHook',
    'NeighbourReportHook',
    'PairMiningHook',
    'ProvenanceHook',
    'PseudoLabelHook',
    'StageLoggerHook',
    'StageSwitchHook',
    'SyncNormStatsHook',
    'UnreadableImageHook',
    'WholeCheckpointHook',
]
