from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from mmreid.datasets.random_splits import RandomSplitDataset
from mmreid.models.algorithms import TJAIDL
from mmreid.registry import HOOKS


@HOOKS.register_module()
class TJAIDLHook(Hook):
    """What TJ-AIDL and its baselines need beyond the forward of a batch.

    Before training: checks that stages, model, data and the checkpoint to
    start from fit together. At the first iteration of the stage ``adapt``:
    the frozen copy of the attribute branch that gives the soft labels. A run
    that is resumed within the stage has it in its checkpoint.
    """

    _loaded_stage = None

    @staticmethod
    def _model(runner):
        model = runner.model
        return model.module if is_model_wrapper(model) else model

    def before_train(self, runner) -> None:
        """Check the configuration.

        Raises:
            ValueError: If the model has no such stage; if a stage takes
                images of another domain than it can learn from; if it would
                adapt to the test's images; if it starts with ``adapt`` from
                the checkpoint of a stage before ``joint``; or if the source
                has no attributes, or not as many identities or attributes as
                the model.
        """
        model, loop = self._model(runner), runner.train_loop
        # From 'adapt', to adapt on.
        ready = self._loaded_stage in (None, 'joint', 'adapt')
        if loop.stage.name == 'adapt' and not ready:
            raise ValueError(
                'The checkpoint to start from was left by the stage '
                f"{self._loaded_stage!r}, but 'adapt' needs an attribute "
                "branch that 'joint' has trained: take stage_joint.pth, or "
                "start with 'joint'."
            )
        for stage in loop.stages:
            model.check_stage(stage.name)
            domain = model.stage_domains[stage.name]
            if set(stage.batch_size) != {domain}:
                raise ValueError(
                    f'Stage {stage.name!r} learns from {domain} images '
                    'alone, but its batch_size is '
                    f'{dict(stage.batch_size)}: write '
                    f'batch_size=dict({domain}=...).'
                )
        names = {stage.name for stage in loop.stages}
        dataset = loop.dataset
        if names & {'identity', 'joint'}:
            _check_size(
                'num_identities',
                model.identity_classifier.out_features,
                'identities',
                dataset.num_identities,
            )
        if 'adapt' in names:
            target = dataset.datasets[-1]
            if (
                isinstance(target, RandomSplitDataset)
                and target.split_file is None
            ):
                raise ValueError(
                    f'{type(target).__name__} without a split holds the '
                    "images of the test, to which 'adapt' would adapt: run "
                    'tools/run_splits.py, or name split_file for both.'
                )
        attributes = dataset.metainfo.get('attribute_names')
        if attributes:
            _check_size(
                'num_attributes',
                model.attribute_classifier.out_features,
                'attributes',
                len(attributes),
            )
        elif names & {'attribute', 'joint'}:
            raise ValueError(
                'The stages '
                f'{sorted(names & {"attribute", "joint"})} learn attributes, '
                'but the source has none: the source needs attribute_file.'
            )

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Refuse the weights of another model, of which a part would fit.

        Notes their stage, which a checkpoint of another origin has not.

        Raises:
            ValueError: If something is missing or too much.
        """
        own = self._model(runner).state_dict().keys()
        found = checkpoint.get('state_dict', checkpoint).keys()
        found = {key.removeprefix('module.') for key in found}
        differing = sorted(
            {
                key.split('.')[0]
                for key in own ^ found
                if not key.startswith('source_')
            }
        )
        if differing:
            raise ValueError(
                'The checkpoint is of another model than '
                f'{type(self._model(runner)).__name__}: {differing} are not '
                'in both. Take a checkpoint that a config of this model left.'
            )
        if not runner._resume:
            self._loaded_stage = checkpoint.get('meta', {}).get('stage')

    def before_stage(self, runner, stage) -> None:
        """Copy the attribute branch as the stage ``adapt`` begins."""
        model = self._model(runner)
        if (
            stage.name == 'adapt'
            and runner.iter == stage.begin
            and isinstance(model, TJAIDL)
            and model.soft_labels == 'source'
        ):
            model.copy_source_branch()


def _check_size(option: str, size: int, what: str, num: int) -> None:
    if size != num:
        raise ValueError(
            f'model.{option} is {size}, but the source has {num} {what}: set '
            f'it to {num}.'
        )
