import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook
from torch.nn.modules.batchnorm import _BatchNorm

from mmreid.registry import HOOKS


@HOOKS.register_module()
class SyncNormStatsHook(Hook):
    """Averages the batch norms' running statistics over ranks.

    Each rank normalises its own share of a batch, so the running statistics
    drift apart, and a validation, or the checkpoint of rank 0, would depend
    on the rank. (MMEngine's ``SyncBuffersHook`` averages every buffer, which
    memories and counters do not survive.)
    """

    def after_train_iter(
        self, runner, batch_idx, data_batch=None, outputs=None
    ) -> None:
        """One reduction of all statistics; nothing in a single process."""
        if get_world_size() == 1:
            return
        buffers = [
            buffer
            for module in runner.model.modules()
            if isinstance(module, _BatchNorm) and module.track_running_stats
            for buffer in (module.running_mean, module.running_var)
        ]
        if not buffers:
            return
        flat = torch.cat([buffer.flatten() for buffer in buffers])
        all_reduce(flat, 'mean')
        for buffer, value in zip(
            buffers, flat.split([b.numel() for b in buffers]), strict=True
        ):
            buffer.copy_(value.view_as(buffer))
