import torch
from mmengine.hooks import Hook

from mmreid.errors import InputError
from mmreid.registry import HOOKS

from .utils import algorithm_of


@HOOKS.register_module()
class PairMiningHook(Hook):
    """Says when per-batch pair mining starts, and how pure its pairs are.

    For any algorithm that has ``mine(enabled)`` and leaves the pairs of a
    step in ``mined_pairs``: indices of the first and of the second image
    inside the domain, and whether the pair is positive, each (k, ).

    Args:
        start_epoch (int): First epoch of a stage, counted from 0, that mines.
            Defaults to 1, as in MAR's published code.
        purity (bool): Log how many of the mined pairs truly show one person,
            for a target whose labels exist. They are read here and nowhere
            else, so that no loss can see them. ``purity_positives`` and
            ``purity_negatives`` are the parts of the mined positives and
            hard negatives that show one person, in percent (the second
            should be low). Defaults to False.
        domain (str): The domain that is mined. Defaults to 'target'.
    """

    def __init__(
        self,
        start_epoch: int = 1,
        purity: bool = False,
        domain: str = 'target',
    ) -> None:
        self.start_epoch = start_epoch
        self.purity = purity
        self.domain = domain

    def before_train(self, runner) -> None:
        """Read the labels that the purity is measured with.

        Raises:
            InputError: If the algorithm mines no pairs, or the purity is
                asked of images whose persons nobody knows.
        """
        algorithm = algorithm_of(runner)
        if not hasattr(algorithm, 'mine'):
            raise InputError(
                f'{type(algorithm).__name__} mines no pairs: leave '
                'PairMiningHook out of its config.'
            )
        dataset = runner.train_loop.dataset
        # A stage without the domain needs none.
        self._person_id = None
        if self.purity and self.domain in dataset.domains:
            labelled = dataset.labelled(self.domain)
            self._person_id = torch.from_numpy(
                labelled.person_ids(self.domain)
            )

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        """Start or hold the mining, a function of the iteration alone."""
        epoch = runner.train_loop.stage.epoch(runner.iter)
        algorithm_of(runner).mine(epoch >= self.start_epoch)

    def after_train_iter(
        self, runner, batch_idx, data_batch=None, outputs=None
    ) -> None:
        """Compare the mined pairs with the labels."""
        if self._person_id is None or 'mined_positives' not in (outputs or {}):
            return
        pairs = algorithm_of(runner).mined_pairs
        first, second, positive = (x.cpu() for x in pairs)
        same = self._person_id[first] == self._person_id[second]
        for name, mask in (('positives', positive), ('negatives', ~positive)):
            if mask.any():
                runner.message_hub.update_scalar(
                    f'train/purity_{name}',
                    100 * same[mask].double().mean().item(),
                )
