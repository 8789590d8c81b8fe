import math
import os.path as osp

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from mmreid.errors import InputError
from mmreid.registry import HOOKS
from mmreid.utils.files import write_json


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops a training whose loss or weights are not finite, before a save.

    It writes ``not_finite.json`` (of ranks above 0, ``not_finite_1.json`` and
    so on) to the work dir: iteration, losses, and the batch's files by
    domain. The checkpoints are those of before.
    """

    # Once MMEngine has read the losses, so that no GPU is waited for anew.
    priority = 'HIGH'

    def after_train_iter(
        self, runner, batch_idx, data_batch=None, outputs=None
    ) -> None:
        """Look at the loss, and at the weights that it has led to.

        Raises:
            InputError: If they are not finite.
        """
        scalars = runner.message_hub.log_scalars
        loss = scalars['train/loss'].current()
        # The next loss would show it, but a save may come before. A sum is as
        # wrong as its terms, and cheaper than a norm.
        sums = [
            p.detach().sum()
            for p in runner.model.parameters()
            if p.requires_grad
        ]
        if math.isfinite(loss) and torch.stack(sums).isfinite().all():
            return
        wrong = (
            'The weights are not finite after'
            if math.isfinite(loss)
            else f'The loss is {loss} in'
        )
        loop = runner.train_loop
        rank = get_rank()
        name = f'not_finite_{rank}.json' if rank else 'not_finite.json'
        path = osp.join(runner.work_dir, name)
        write_json(
            dict(
                stage=loop.stage.name,
                iteration=batch_idx + 1,
                values={
                    key: str(scalars[f'train/{key}'].current())
                    for key in outputs
                },
                files=self._files(loop, data_batch),
            ),
            path,
        )
        raise InputError(
            f'{wrong} iteration {batch_idx + 1}, stage '
            f"{loop.stage.name!r}: '{path}' names the batch's files. Lower "
            'the learning rate, or look at these images, and --resume from '
            'the last checkpoint.'
        )

    @staticmethod
    def _files(loop, data_batch: dict) -> dict[str, list[str]]:
        samples = data_batch['data_samples']
        files = {}
        for name, domain in loop.dataset.domains.items():
            mask = samples['domain'] == domain.number
            images = loop.dataset.images(name)
            indices = samples['sample_idx'][mask].tolist()
            if indices:
                files[name] = [
                    images.get_data_info(i)['img_path'] for i in indices
                ]
        return files
