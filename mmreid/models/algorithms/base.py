import difflib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmreid.errors import InputError
from mmreid.registry import MODELS
from mmreid.structures import BatchInfo, FeatureSet, Stage

from ..utils import feature_length

Extract = Callable[[str], FeatureSet]
"""Features of every training image of a domain, given its name."""


class BaseReID(BaseModel):
    """Base of the re-identification algorithms: images in, features out.

    What a method has to say to the training loop, and when it is asked:

    * :attr:`stages`: its stages, the domains that each reads, and the labels
      that it reads of each;
    * :meth:`check`, before anything trains: whether model, stages and data
      fit together; also the place to make room for what is kept per image;
    * :meth:`prepare_stage`, when a stage begins (not when it is resumed);
    * :meth:`prepare_epoch`, when an epoch begins, as often as a
      :class:`PseudoLabelHook` says;
    * :meth:`loss`, at each iteration.

    All state of a method is in its parameters and buffers, so that it is in
    the checkpoints, and is equal on every rank.

    Args:
        backbone (dict): Config of any backbone of mmreid, mmpretrain
            (``mmpretrain.ResNet``) or timm (``mmpretrain.TIMMBackbone``).
        neck (dict, optional): Config of what makes a vector of the
            backbone's output. Defaults to :class:`GlobalPooling`.
        data_preprocessor (dict, optional): Config of
            :class:`ReIDDataPreprocessor`. Defaults to None.
        amp (bool): Run the backbone in bfloat16 autocast and channels-last
            layout, on a CPU too. Its output is cast to float32, so pooling,
            losses, mining and ranking are not touched. Defaults to False.
        channels_last (bool): Run the backbone in channels-last layout in
            float32 too: faster on CPUs without bfloat16, for the same results
            up to rounding. Defaults to False.
        compile_backbone (bool): Let ``torch.compile`` translate the
            backbone. Defaults to False.
        flip_test (bool): Let :meth:`predict` give the mean of an image and
            its mirror image. Defaults to False.
        init_cfg (dict, optional): Initialisation. Defaults to None.

    Attributes:
        feature_length (int): Length D of what backbone and neck give.
    """

    stages: Mapping[str, Mapping[str, Sequence[str]]] = {}
    """Stage -> domain -> labels that the stage reads of its images, of
    'person_id', 'camera_id' and 'attributes'. A domain whose 'person_id' no
    stage reads must come without identities."""

    follows: Mapping[str, Sequence[str]] = {}
    """Stage -> stages, one of which must have trained the weights that it
    starts from. A stage that is not here may start from any."""

    stage_state: Sequence[str] = ()
    """Prefixes of the state that only some stages have, which a checkpoint
    may lack."""

    fresh_heads: Sequence[str] = ()
    """Prefixes of what belongs to the identities of a training, such as
    'classifier': where it does not fit it is dropped, and said so."""

    fresh_parts: Sequence[str] = ()
    """Prefixes of what keeps its initial value where a checkpoint lacks it,
    such as a neck's exponent, and said so."""

    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        data_preprocessor: dict | None = None,
        amp: bool = False,
        channels_last: bool = False,
        compile_backbone: bool = False,
        flip_test: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        # Built here, so that no default scope is needed to find it.
        super().__init__(
            data_preprocessor and MODELS.build(data_preprocessor), init_cfg
        )
        self.amp = amp
        self.channels_last = channels_last
        self.compile_backbone = compile_backbone
        self.flip_test = flip_test
        self.backbone = self.build_backbone(backbone)
        self.neck = MODELS.build(neck or dict(type='GlobalPooling'))
        self.feature_length = feature_length(self.backbone, self.neck)

    def build_backbone(self, backbone: dict) -> nn.Module:
        """A backbone from its config, in the layout that it runs in."""
        module = MODELS.build(backbone)
        if self.amp or self.channels_last:
            module.to(memory_format=torch.channels_last)
        if self.compile_backbone:
            module.compile()
        return module

    @staticmethod
    def with_sizes(option: str, cfg: dict, **sizes: int) -> dict:
        """A part's config, with the sizes that the model gives it.

        Args:
            option (str): Where the config stands, for the error.
            cfg (dict): The config.
            **sizes: The sizes.

        Returns:
            dict: The config with them.

        Raises:
            InputError: If it has another size.
        """
        for name, value in sizes.items():
            if cfg.get(name, value) != value:
                raise InputError(
                    f'{option}.{name} is {cfg[name]}, but it is {value} by '
                    'the rest of the model: leave it out.'
                )
        return {**cfg, **sizes}

    def run_backbone(self, backbone: nn.Module, inputs: Tensor) -> Tensor:
        """Pooled features of a backbone, (N, 3, H, W) -> (N, D) float32."""
        dtype = torch.bfloat16 if self.amp else self._outer_dtype
        if self.amp or self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        if dtype is None:
            outputs = backbone(inputs)
        else:
            with torch.autocast(inputs.device.type, dtype):
                outputs = backbone(inputs)
        if isinstance(outputs, tuple | list):
            outputs = outputs[-1]
        return self.neck(outputs.float())

    # What an AmpOptimWrapper asks for.
    _outer_dtype: torch.dtype | None = None

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """The retrieval features, (N, 3, H, W) -> (N, D) float32."""
        return self.run_backbone(self.backbone, inputs)

    def forward(
        self,
        inputs: Tensor,
        data_samples: dict | None = None,
        mode: str = 'tensor',
        info: BatchInfo | None = None,
    ) -> Tensor | dict | list[dict]:
        """One of the three modes of MMEngine's models.

        Args:
            inputs (Tensor): Normalised images, (N, 3, H, W).
            data_samples (dict, optional): Tensors (N, ) such as
                ``person_id``. Defaults to None.
            mode (str): ``'tensor'``: the features; ``'loss'``: a dict of
                losses and diagnostics; ``'predict'``: a list of one dict,
                ``data_samples`` with the features added (one stacked tensor
                for a whole batch is what evaluation can gather fast).
            info (BatchInfo, optional): Of a training batch. Defaults to
                None.
        """
        if mode == 'loss':
            device = inputs.device.type
            # Half precision is for the backbone: losses, which square
            # differences of what is nearly equal, would be some percent off.
            if torch.is_autocast_enabled(device):
                self._outer_dtype = torch.get_autocast_dtype(device)
            try:
                with torch.autocast(device, enabled=False):
                    return self.loss(dict(data_samples, inputs=inputs), info)
            finally:
                self._outer_dtype = None
        if mode == 'tensor':
            return self.extract_feat(inputs)
        if mode == 'predict':
            (output,) = self.predict(inputs, data_samples)
            if self.flip_test:
                (mirrored,) = self.predict(inputs.flip(-1), data_samples)
                for name in output.keys() - data_samples.keys():
                    output[name] = (output[name] + mirrored[name]) / 2
            return [output]
        raise InputError(
            f"mode must be 'tensor', 'loss' or 'predict', but is {mode!r}."
        )

    def predict(self, inputs: Tensor, data_samples: dict) -> list[dict]:
        """One dict, ``data_samples`` with the ``features`` added."""
        return [dict(features=self.extract_feat(inputs), **data_samples)]

    @abstractmethod
    def loss(self, batch: dict[str, Tensor], info: BatchInfo) -> dict:
        """Losses of a training batch.

        Args:
            batch (dict[str, Tensor]): ``inputs``, normalised images
                (N, 3, H, W), and the labels (N, ): ``person_id``,
                ``camera_id``, ``sample_idx`` (the image's index inside its
                domain), and ``attributes`` (N, m) where the data has them.
            info (BatchInfo): Stage, epoch, iteration and the rows of each
                domain (:meth:`BatchInfo.part`).

        Returns:
            dict: Weighted losses, scalars with 'loss' in their names, which
            are summed; and diagnostics, scalars without.
        """

    def check(self, stages: Sequence[Stage], dataset) -> None:
        """See whether model, stages and data fit together.

        Called before anything trains, and before a checkpoint is loaded. A
        method adds its own checks, and makes room for what it keeps of each
        image.

        Args:
            stages (Sequence[Stage]): The stages that are to train.
            dataset (DomainDataset): The training data.

        Raises:
            InputError: If the method has no such stage, if a stage does not
                take images of the domains that it learns from, or if these
                lack labels that it reads, or bring identities that it must
                not see.
        """
        title = type(self).__name__
        reads_persons = {
            domain
            for domains in self.stages.values()
            for domain, labels in domains.items()
            if 'person_id' in labels
        }
        for stage in stages:
            if stage.name not in self.stages:
                near = difflib.get_close_matches(stage.name, self.stages)
                raise InputError(
                    f'{title} has the stages {[*self.stages]}, but the '
                    f'training loop runs {stage.name!r}: rename it in '
                    f'train_cfg{f", to {near[0]!r}" if near else ""}.'
                )
            needed = self.stages[stage.name]
            if set(stage.batch_size) != set(needed):
                wanted = ', '.join(f'{name}=...' for name in needed)
                raise InputError(
                    f'Stage {stage.name!r} of {title} learns from '
                    f'{" and ".join(needed)} images, but its batch_size is '
                    f'{dict(stage.batch_size)}: write '
                    f'batch_size=dict({wanted}).'
                )
            for name, labels in needed.items():
                self._check_labels(stage.name, dataset.domains[name], labels)
        # A config of one stage need not have the other's domain.
        known = {*dataset.domains, 'source', 'target'}
        wrong = {*getattr(self.data_preprocessor, 'domains', [])} - known
        if wrong:
            raise InputError(
                f'model.data_preprocessor.domains has {min(wrong)!r}, but the '
                f'training data has {[*dataset.domains]}.'
            )
        measured_on = getattr(self.data_preprocessor, 'measured_on', None)
        if measured_on is not None:
            if measured_on not in dataset.domains:
                raise InputError(
                    'model.data_preprocessor is measured_on the domain '
                    f'{measured_on!r}, but the training data has '
                    f'{[*dataset.domains]}.'
                )
            self.data_preprocessor.measure(dataset.images(measured_on))
        for name, domain in dataset.domains.items():
            known = any(name in domains for domains in self.stages.values())
            if known and domain.labelled and name not in reads_persons:
                raise InputError(
                    f'The {name} of {title} must not bring identities: set '
                    'labelled=False in the config of train_dataloader.'
                    f'dataset.{name}.'
                )

    def _check_labels(self, stage: str, domain, labels: Sequence[str]) -> None:
        if 'person_id' in labels and not domain.labelled:
            raise InputError(
                f'Stage {stage!r} learns identities, but the {domain.name} '
                'images have none: set labelled=True in the config of '
                f'train_dataloader.dataset.{domain.name}.'
            )
        if 'attributes' in labels and not domain.attribute_names:
            raise InputError(
                f'Stage {stage!r} learns attributes, but the {domain.name} '
                f'images have none: train_dataloader.dataset.{domain.name} '
                'needs attribute_file.'
            )
        tested = [d for d in domain.datasets if d.holds_test_images]
        if not domain.labelled and tested:
            raise InputError(
                f'{type(tested[0]).__name__} as it is holds the images of '
                f'the test, to which stage {stage!r} would adapt: set '
                'combine_all=False (MSMT17); of a data set of random splits '
                'run tools/run_splits.py, or name split_file for both.'
            )

    def start_from(self, state_dict: dict) -> None:
        """See a checkpoint that is to be started from, not resumed.

        Args:
            state_dict (dict): Its weights, which are loaded next; what the
                method does not want is taken out.
        """

    def check_start(self, stage: str, origin: str | None) -> None:
        """See whether a stage can start from the weights that there are.

        Args:
            stage (str): The first stage that trains.
            origin (str, optional): The stage that left the weights, '' if
                that is not known, None if nothing was loaded.

        Raises:
            InputError: If an earlier stage should have trained them.
        """
        wanted = self.follows.get(stage)
        if not wanted or origin == '' or origin in (stage, *wanted):
            return
        found = (
            'no checkpoint is loaded'
            if origin is None
            else f'the checkpoint was left by the stage {origin!r}'
        )
        raise InputError(
            f'Stage {stage!r} of {type(self).__name__} needs weights that '
            f'{" or ".join(map(repr, wanted))} has trained, but {found}: set '
            f'load_from to its stage_{wanted[0]}.pth, or start with '
            f'{wanted[0]!r}.'
        )

    def prepare_stage(self, stage: str, extract: Extract) -> None:
        """Make ready for a stage that begins.

        Args:
            stage (str): Its name.
            extract (Callable): The features of a domain's images, all of
                them, in the order of their indices, with test transforms.
        """

    def prepare_epoch(self, stage: str, epoch: int, extract: Extract) -> None:
        """Make ready for an epoch that begins: the place of pseudo-labels.

        Args:
            stage (str): Name of the stage.
            epoch (int): Epoch within the stage, from 0.
            extract (Callable): See :meth:`prepare_stage`.
        """

    def sampling_labels(self, domain: str) -> Tensor | None:
        """Pseudo-labels by which a sampler draws from a domain.

        Args:
            domain (str): Its name.

        Returns:
            Tensor | None: (N, ) int64, -1 for images that are not drawn; or
            None, where the data set's own identities are meant.
        """
        return None

    def cluster_labels(self, domain: str) -> Tensor | None:
        """Pseudo-labels that stand for persons, for the log alone.

        Args:
            domain (str): Its name.

        Returns:
            Tensor | None: (N, ) int64, -1 for outliers. Those of
            :meth:`sampling_labels`, unless a method draws by finer ones.
        """
        return self.sampling_labels(domain)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        if not prefix:
            self._check_keys(state_dict)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _check_keys(self, state_dict: dict) -> None:
        """Let in the weights of this model alone.

        MMEngine loads what fits and leaves the rest as it is: a network that
        was never loaded would be scored, or trained.

        Args:
            state_dict (dict): Changed in place: what belongs to other
                identities is taken out.

        Raises:
            InputError: If something is missing, too much, or of another
                shape.
        """
        own = self.state_dict()
        self._take_backbone(state_dict, own)
        for name, module in self.named_modules():
            if hasattr(module, 'check_weights'):
                module.check_weights(state_dict, f'{name}.' if name else '')

        def is_in(key: str, prefixes: Sequence[str]) -> bool:
            return any(key.startswith(f'{p}.') for p in prefixes)

        own = {k: v for k, v in own.items() if not is_in(k, self.stage_state)}
        found = {
            k: v
            for k, v in state_dict.items()
            if not is_in(k, self.stage_state)
        }
        dropped = [
            k
            for k in {**own, **found}
            if is_in(k, self.fresh_heads)
            and (
                k not in own
                or k not in found
                or own[k].shape != found[k].shape
            )
        ]
        for key in dropped:
            state_dict.pop(key, None)
        if dropped:
            shapes = {
                k: tuple(found[k].shape) if k in found else 'missing'
                for k in sorted(dropped)
            }
            print_log(
                f'Not loaded, as it belongs to other identities: {shapes}; '
                f'{type(self).__name__} keeps its own.',
                logger='current',
            )
        kept = [
            k for k in own if is_in(k, self.fresh_parts) and k not in found
        ]
        if kept:
            print_log(
                f'The checkpoint lacks {", ".join(kept)}; '
                f'{type(self).__name__} keeps its own.',
                logger='current',
            )
        own = {k: v for k, v in own.items() if k not in {*dropped, *kept}}
        found = {k: v for k, v in found.items() if k not in dropped}
        missing = [
            k
            for k in own
            if k not in found and not k.endswith('num_batches_tracked')
        ]
        extra = [k for k in found if k not in own]
        shapes = [
            f'{k} {tuple(found[k].shape)} rather than {tuple(own[k].shape)}'
            for k in own
            if k in found and own[k].shape != found[k].shape
        ]
        problems = [
            f'{what} {len(keys)} ({_some(keys)})'
            for what, keys in (
                ('it lacks', missing),
                ('it has besides', extra),
                ('of another shape are', shapes),
            )
            if keys
        ]
        if problems:
            raise InputError(
                'The checkpoint is of another model than '
                f'{type(self).__name__}: of {len(own)} tensors '
                f'{"; ".join(problems)}. Take a checkpoint that this config '
                'left, or the config that left the checkpoint.'
            )

    def _take_backbone(self, state_dict: dict, own: dict) -> None:
        """Rename the weights of a backbone alone, as people publish them.

        Only where the rest belongs to the identities of a training.
        """
        fresh = tuple(f'{prefix}.' for prefix in self.fresh_heads)
        optional = tuple(
            f'{prefix}.' for prefix in (*self.stage_state, *self.fresh_parts)
        )
        if any(k.startswith('backbone.') for k in state_dict) or not all(
            k.startswith(('backbone.', *fresh, *optional)) for k in own
        ):
            return
        whole = {
            k if k.startswith(fresh) else f'backbone.{k}': v
            for k, v in state_dict.items()
        }
        state_dict.clear()
        state_dict.update(whole)


def _some(keys: Sequence[str], num: int = 4) -> str:
    """A few of the keys, one of each module first."""
    first = {key.split('.')[0]: key for key in reversed(keys)}
    shown = [*reversed(first.values())]
    shown += [key for key in keys if key not in shown]
    return ', '.join(shown[:num]) + (', ...' if len(keys) > num else '')
