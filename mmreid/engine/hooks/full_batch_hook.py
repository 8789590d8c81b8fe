from mmengine.hooks import Hook

from mmreid.registry import HOOKS

from ..extraction import fill_batch


@HOOKS.register_module()
class FullBatchHook(Hook):
    """Fills the last batch of an evaluation up to the size of the others.

    So a feature does not depend on what else is evaluated, to the last bit
    (:func:`fill_batch`), and equals that of :func:`mmreid.engine.extract`.
    The metrics count an image once, however often it comes.
    """

    def before_test_iter(self, runner, batch_idx, data_batch=None) -> None:
        """Fill a batch of the test."""
        self._fill(runner.test_loop.dataloader, batch_idx, data_batch)

    def before_val_iter(self, runner, batch_idx, data_batch=None) -> None:
        """Fill a batch of the validation."""
        self._fill(runner.val_loop.dataloader, batch_idx, data_batch)

    @staticmethod
    def _fill(dataloader, batch_idx: int, data_batch: dict) -> None:
        if batch_idx:
            fill_batch(data_batch, dataloader.batch_size)
