import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from mmreid.registry import DATASETS, HOOKS


@HOOKS.register_module()
class MiningPurityHook(Hook):
    """Logs how many mined pairs are truly of one person.

    A diagnostic for targets whose labels exist: they are read here and
    nowhere else, so that no loss can see them. Logs, averaged over the logging
    window: ``purity_positives`` and ``purity_negatives``, the parts of the
    mined positives and hard negatives that show one person, in percent (the
    second should be low).

    Args:
        dataset (dict): Config of the target training set, labelled.
    """

    def __init__(self, dataset: dict) -> None:
        self.dataset = dataset

    def before_train(self, runner) -> None:
        """Read the labels.

        Raises:
            ValueError: If they are not the labels of the target set.
        """
        dataset = DATASETS.build(dict(self.dataset, labelled=True))
        dataset.full_init()
        num = runner.train_loop.dataset.num_target_images
        if len(dataset) != num:
            raise ValueError(
                f'The data set of MiningPurityHook has {len(dataset)} images, '
                f'but the target training set has {num}: give it the config '
                'of the target, with its split.'
            )
        self.person_id = torch.tensor(
            [dataset.get_data_info(i)['person_id'] for i in range(num)]
        )

    def after_train_iter(
        self, runner, batch_idx, data_batch=None, outputs=None
    ) -> None:
        """Compare the mined pairs with the labels."""
        if not outputs or 'mined_positives' not in outputs:
            return
        model = runner.model
        model = model.module if is_model_wrapper(model) else model
        first, second, positive = (x.cpu() for x in model.mined_pairs)
        same = self.person_id[first] == self.person_id[second]
        for name, mask in (('positives', positive), ('negatives', ~positive)):
            if mask.any():
                runner.message_hub.update_scalar(
                    f'train/purity_{name}',
                    100 * same[mask].double().mean().item(),
                )
