from mmengine.dist import all_gather_object
from mmengine.hooks import Hook

from mmreid.registry import HOOKS


@HOOKS.register_module()
class UnreadableImageHook(Hook):
    """Counts the images that ``on_error='skip'`` passed over in training.

    They are named at the end of the run, those of all ranks together. (Those
    of an evaluation are counted by :class:`ReIDMetric`.)
    """

    def before_run(self, runner) -> None:
        """Start counting."""
        self.skipped = set()

    def after_train_iter(
        self, runner, batch_idx, data_batch=None, outputs=None
    ) -> None:
        """Note what was skipped."""
        samples = data_batch['data_samples']
        skipped = samples['skipped_idx']
        mask = skipped >= 0
        if mask.any():
            self.skipped.update(
                zip(
                    samples['domain'][mask].tolist(),
                    skipped[mask].tolist(),
                    strict=True,
                )
            )

    def after_train(self, runner) -> None:
        """Report."""
        skipped = set().union(*all_gather_object(self.skipped))
        if not skipped:
            return
        dataset = runner.train_loop.dataset
        spans = [domain.span for domain in dataset.domains.values()]
        paths = [
            dataset.get_data_info(spans[domain][index])['img_path']
            for domain, index in sorted(skipped)
        ]
        runner.logger.warning(
            f'{len(paths)} training images could not be read and were '
            f'skipped, the first of them: {", ".join(paths[:3])}'
        )
