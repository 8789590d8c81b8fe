from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from torch.utils.data import Dataset

from mmreid.datasets import BaseReIDDataset
from mmreid.errors import InputError
from mmreid.registry import DATASETS, HOOKS

from ..extraction import extract

# Arguments of a data set that concern the part that is scored, or labels.
NOT_OF_TRAINING = (
    *('split', 'labelled', 'test_mode', 'indices', 'multi_query'),
    *('attribute_file', 'age'),
)


@HOOKS.register_module()
class CameraMeanHook(Hook):
    """Gives metrics the training images whose camera means they subtract.

    Before a validation or test in which a metric has
    ``camera_mean='train'`` (:class:`ReIDMetric`), it extracts the training
    part of the data set that is scored: a target's training images, without
    labels, by the model, loading and normalisation that score. No image of
    the test, and none of the validation identities, is among them. Where no
    metric asks for them, it does nothing.
    """

    def before_val_epoch(self, runner) -> None:
        """See the class."""
        loader = runner.cfg.val_dataloader
        self._give(runner, runner.val_loop.evaluator, loader)

    def before_test_epoch(self, runner) -> None:
        """See the class."""
        loader = runner.cfg.test_dataloader
        self._give(runner, runner.test_loop.evaluator, loader)

    def _give(self, runner, evaluator: Evaluator, loader: Config) -> None:
        asking = [
            metric
            for metric in evaluator.metrics
            if getattr(metric, 'camera_mean', None) == 'train'
        ]
        if not asking:
            return
        training = extract(
            runner.model,
            training_images(loader.dataset),
            batch_size=loader.get('batch_size', 1),
            num_workers=loader.get('num_workers', 0),
            mode='predict',
        )
        for metric in asking:
            metric.training = training


def training_images(config: Config) -> Dataset:
    """The training part of a data set that is scored, without labels.

    Args:
        config (Config): The data set that is scored, of any split.

    Returns:
        BaseReIDDataset: Its training images, whose camera ids mean the same.

    Raises:
        InputError: If it is no :class:`BaseReIDDataset`, or its training
            images are those of the test.
    """
    own = {k: v for k, v in config.items() if k not in NOT_OF_TRAINING}
    cls = own.get('type')
    cls = DATASETS.get(cls) if isinstance(cls, str) else cls
    if not (isinstance(cls, type) and issubclass(cls, BaseReIDDataset)):
        raise InputError(
            f"camera_mean='train': the data set that is scored, "
            f'{own.get("type")}, has no training part: take '
            "camera_mean='gallery'."
        )
    images = DATASETS.build(dict(own, split='train', labelled=False))
    if images.holds_test_images:
        raise InputError(
            f"camera_mean='train': the training images of "
            f'{cls.__name__} are those of the test unless a random split '
            'parts them: use tools/run_splits.py, or set split_file.'
        )
    return images
