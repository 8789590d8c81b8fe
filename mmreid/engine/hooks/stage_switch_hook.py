import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer

from mmreid.errors import InputError
from mmreid.registry import HOOKS
from mmreid.utils.checkpoint import WHOLE_FILES

from .utils import algorithm_of


def _plain(value):
    """Without what a file of plain values and tensors cannot hold.

    NumPy's scalars, which MMEngine's timer leaves, become Python's. Functions
    go: ``OneCycleLR`` has one in its state, and makes it when it is built.
    """
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {
            key: _plain(item)
            for key, item in value.items()
            if not callable(item)
        }
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


@HOOKS.register_module()
class StageSwitchHook(Hook):
    """Switches stages, for any algorithm, and keeps what each one left.

    * As a stage begins it calls the algorithm's ``prepare_stage``. A run that
      is resumed within the stage has what that made in its checkpoint.
    * On resuming, the loop enters the checkpoint's stage before the states
      of optimiser and schedulers are loaded into them.
    * ``stage_<name>.pth`` keeps the weights at the end of each stage: no
      later save deletes it, and another target or a later stage can start
      from it (``load_from`` with ``train_cfg.first_stage``).
    * ``meta['stage']`` of every checkpoint is the stage that trained last,
      and ``meta['trained_on']`` what it and the stages before it saw. A test
      on images that the weights have seen is warned about.
    * Checkpoints hold plain values and tensors only. MMEngine pickles its
      log history as objects, which would force everybody to load files with
      ``weights_only=False``; here it is stored as tensors.
    """

    # Before the hooks that log and save.
    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        # Of the weights that were loaded; None if there are none.
        self._origin = None
        self._trained_on = []
        self._ended = None

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Note stage and data; log history to tensors."""
        loop = runner.train_loop
        meta = checkpoint['meta']
        meta['stage'] = loop.entered.name
        meta['trained_on'] = self._trained_on + [
            seen for seen in loop.seen() if seen not in self._trained_on
        ]
        hub = checkpoint['message_hub']
        hub['log_scalars'] = {
            key: tuple(map(torch.as_tensor, buffer.data))
            for key, buffer in hub['log_scalars'].items()
        }
        for key in checkpoint.keys() - {'state_dict'}:
            checkpoint[key] = _plain(checkpoint[key])

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Tensors to log history; enter the stage that is resumed."""
        meta = checkpoint.get('meta', {})
        self._origin = meta.get('stage', '')
        self._trained_on = list(meta.get('trained_on', []))
        if not runner._resume:
            # Published weights may lie in the file without a key.
            weights = checkpoint.get('state_dict', checkpoint)
            algorithm_of(runner).start_from(weights)
            return
        if 'message_hub' not in checkpoint:
            raise InputError(
                'The checkpoint holds weights only, so there is no training '
                'to resume: give it as load_from instead.'
            )
        hub = checkpoint['message_hub']
        hub['log_scalars'] = {
            key: HistoryBuffer(values.numpy(), counts.numpy())
            for key, (values, counts) in hub['log_scalars'].items()
        }
        loop = runner.train_loop
        iteration = meta['iter']
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

    def before_test(self, runner) -> None:
        """Warn about a test on what the weights were trained on."""
        dataset = runner.test_dataloader.dataset
        name = getattr(dataset, 'metainfo', {}).get('dataset_name')
        for seen in self._trained_on:
            if seen['dataset'] != name:
                continue
            # Of another draw, one part holds images of the other.
            # Checkpoints of earlier versions do not say what was drawn.
            drawn = seen.get('drawn', dataset.drawn)
            redrawn = drawn != dataset.drawn and (
                {seen['split'], dataset.split} <= {*dataset.drawn_parts}
            )
            if (
                seen['holds_test_images']
                or seen['split'] == dataset.split
                or redrawn
            ):
                runner.logger.warning(
                    f'The weights were trained on {seen["num_images"]} '
                    f'images of {name}, split {seen["split"]!r}, among them '
                    'those of this test: the numbers say nothing of others.'
                )

    def before_train(self, runner) -> None:
        """See whether the first stage can start from the weights."""
        loop = runner.train_loop
        if loop.iter == loop.stage.begin:
            algorithm_of(runner).check_start(loop.stage.name, self._origin)

    def _make_up_for_end(self, runner) -> None:
        ended, self._ended = self._ended, None
        if ended:
            runner.call_hook('after_stage', stage=ended)

    def before_stage(self, runner, stage) -> None:
        """Say what follows, and let the algorithm prepare for it.

        Makes up for a stage's end that a kill cut off.
        """
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
        if runner.iter == stage.begin:
            # Averages of two stages would mean nothing.
            for key in [*runner.message_hub.log_scalars]:
                if key.startswith('train/'):
                    del runner.message_hub.log_scalars[key]
            algorithm_of(runner).prepare_stage(stage.name, loop.extract)

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
            backend_args=WHOLE_FILES,
        )
