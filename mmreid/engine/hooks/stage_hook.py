import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer

from mmreid.registry import HOOKS


def _without_numpy(value):
    """NumPy's scalars, which MMEngine's timer leaves, to Python's."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: _without_numpy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_numpy(item) for item in value]
    return value


@HOOKS.register_module()
class StageHook(Hook):
    """What :class:`StagedTrainLoop` needs around checkpoints.

    * On resuming, the loop enters the checkpoint's stage before the states
      of optimiser and schedulers are loaded into them.
    * ``stage_<name>.pth`` keeps the weights at the end of each stage: no
      later save deletes it, and another target or a later stage can start
      from it (``load_from`` with ``train_cfg.first_stage``).
    * ``meta['stage']`` of every checkpoint is the stage that trained last.
    * Checkpoints hold plain values and tensors only. MMEngine pickles its
      log history as objects, which would force everybody to load files with
      ``weights_only=False``; here it is stored as tensors.
    """

    _ended = None

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Note the stage; log history to tensors."""
        checkpoint['meta']['stage'] = runner.train_loop.entered.name
        hub = checkpoint['message_hub']
        hub['log_scalars'] = {
            key: tuple(map(torch.as_tensor, buffer.data))
            for key, buffer in hub['log_scalars'].items()
        }
        for key in checkpoint.keys() - {'state_dict'}:
            checkpoint[key] = _without_numpy(checkpoint[key])

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Tensors to log history; enter the stage that is resumed."""
        if not runner._resume:
            return
        if 'message_hub' not in checkpoint:
            raise ValueError(
                'The checkpoint holds weights only, so there is no training '
                'to resume: give it as load_from instead.'
            )
        hub = checkpoint['message_hub']
        hub['log_scalars'] = {
            key: HistoryBuffer(values.numpy(), counts.numpy())
            for key, (values, counts) in hub['log_scalars'].items()
        }
        loop = runner.train_loop
        iteration = checkpoint['meta']['iter']
        stage = loop.stage_at(iteration)
        loop.enter(stage)
        if iteration == stage.begin:
            # Its optimiser starts afresh: a checkpoint of the iteration
            # holds the previous stage's.
            checkpoint.pop('optimizer', None)
            checkpoint.pop('param_schedulers', None)
        # The stage that ended just there: a kill may have cut its end off.
        ended = [stage for stage in loop.stages if stage.end == iteration]
        self._ended = ended[0] if ended else None

    def _make_up_for_end(self, runner) -> None:
        ended, self._ended = self._ended, None
        if ended:
            runner.call_hook('after_stage', stage=ended)

    def before_stage(self, runner, stage) -> None:
        """Say what follows; make up for a stage's end that a kill cut off."""
        loop = runner.train_loop
        self._make_up_for_end(runner)
        batch = ' + '.join(
            f'{num} {domain}' for domain, num in stage.batch_size.items()
        )
        runner.logger.info(
            f"Stage {stage.number + 1} of {len(loop.stages)}, '{stage.name}': "
            f'iterations {stage.begin + 1} to {stage.end}, '
            f'{stage.epoch_length} per epoch, {batch} images per iteration, '
            f'seed {runner.seed}.'
        )

    def after_train(self, runner) -> None:
        """Make up for the last stage's end that a kill cut off."""
        self._make_up_for_end(runner)

    def after_stage(self, runner, stage) -> None:
        """Keep the weights."""
        if runner.train_loop.stop_training:
            return
        runner.save_checkpoint(
            runner.work_dir,
            f'stage_{stage.name}.pth',
            save_optimizer=False,
            save_param_scheduler=False,
        )
