import os.path as osp

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook

from mmreid.registry import HOOKS
from mmreid.utils.checkpoint import WHOLE_FILES
from mmreid.utils.files import whole_file


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, whose files are whole or not there.

    A checkpoint takes its name when all of it is on the disk
    (:class:`mmreid.utils.checkpoint.WholeFileBackend`). ``last_checkpoint``
    names it without a folder, so that a work dir can be moved; resuming looks
    at the checkpoints themselves
    (:func:`mmreid.utils.checkpoint.find_resumable`).

    Args:
        **kwargs: See :class:`mmengine.hooks.CheckpointHook`.
    """

    def __init__(self, **kwargs) -> None:
        kwargs.setdefault('backend_args', WHOLE_FILES)
        super().__init__(**kwargs)

    def _save_checkpoint_with_step(self, runner, step, meta) -> None:
        super()._save_checkpoint_with_step(runner, step, meta)
        if is_main_process():
            with whole_file(f'{runner.work_dir}/last_checkpoint', 'w') as file:
                file.write(osp.basename(self.last_ckpt))
