from urllib.error import URLError

from mmengine.logging import print_log
from mmengine.model import PretrainedInit, update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS as MMENGINE_INITIALIZERS
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

# Reads local files of tensors only.
import mmreid.utils.checkpoint  # noqa: F401
from mmreid.errors import InputError
from mmreid.registry import WEIGHT_INITIALIZERS

# First parts of the keys that networks give to their classifier.
CLASSIFIERS = ('classifier', 'fc', 'head')
# mmpretrain wraps the networks of timm: its keys are not those of the files.
TIMM_HINT = (
    'For a file of timm, set no init_cfg, but pretrained=True and '
    'pretrained_cfg_overlay=dict(file=...): timm then loads it, as strictly.'
)


# In MMEngine's registry as well: without a default scope, or with another
# library's, MMEngine does not look into this project's.
@MMENGINE_INITIALIZERS.register_module(name='Pretrained', force=True)
@WEIGHT_INITIALIZERS.register_module(name='Pretrained')
class StrictPretrainedInit(PretrainedInit):
    """Start a module from the weights in a file, all of them.

    It is what ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix=...)``
    means for every module, of this project or of mmpretrain. MMEngine's own
    initialiser loads what fits, logs the rest and leaves it random; this one
    raises. The file must have a value of the right shape for every key of the
    module, and nothing else, with these exceptions:

    - ``num_batches_tracked`` may be missing, as in files of old PyTorch;
    - a classifier (``classifier.*``, ``fc.*`` or ``head.*``) that the module
      has not is left out, and the log says of how many classes it was;
    - what a module adapts while it loads may have another shape, such as the
      position embedding of mmpretrain's transformers, which is resized;
    - with ``prefix``, keys that do not start with it are ignored.

    A class whose weights need an explanation has it, one sentence, in the
    attribute ``pretrained_hint``, which ends the error messages. To load
    leniently, set ``type=mmengine.model.PretrainedInit``, the class.

    Args:
        checkpoint (str): The file, or an address that
            :class:`mmengine.runner.CheckpointLoader` knows, such as
            ``'torchvision://resnet50'``.
        prefix (str, optional): The start of the module's keys in the file,
            if it holds a whole model, such as ``'backbone.'``. Defaults to
            None.
        map_location (str): Where to read the tensors to. Defaults to 'cpu'.
    """

    def __call__(self, module: nn.Module) -> None:
        """Load the weights.

        Args:
            module (nn.Module): The module.

        Raises:
            FileNotFoundError: If the file does not exist.
            OSError: If it cannot be downloaded.
            InputError: If it does not hold what the module needs.
        """
        name = type(module).__name__
        hint = getattr(module, 'pretrained_hint', '')
        if hasattr(module, 'timm_model'):
            hint = TIMM_HINT
        try:
            content = CheckpointLoader.load_checkpoint(
                self.checkpoint, self.map_location
            )
        except FileNotFoundError as error:
            raise FileNotFoundError(f'{error} {hint}'.rstrip()) from error
        except URLError as error:
            raise OSError(
                f"The weights '{self.checkpoint}' of {name} cannot be "
                f'downloaded ({error.reason}). Without a network, name a '
                'file that holds them as checkpoint of this init_cfg (of a '
                'backbone: --cfg-options '
                'model.backbone.init_cfg.checkpoint=FILE), or start from a '
                'checkpoint that is here already.'
            ) from error
        own = module.state_dict()
        weights = self._drop_classifier(self._cut_prefix(content), own)
        missing, excess, shapes = _load(module, weights)
        problems = [
            f'{what} {_first_five(keys)}'
            for what, keys in (
                ('lacks', missing),
                ('has in excess', excess),
                ('has in another shape', shapes),
            )
            if keys
        ]
        if problems:
            advice = (
                self._find_prefix(content, own)
                or hint
                or f'Name weights of {name} with the very options it is '
                'built with, such as depth and width.'
            )
            below = f" below '{self.prefix}'" if self.prefix else ''
            raise InputError(
                f"The pretrained weights '{self.checkpoint}' do not fit "
                f'{name}: the file{below} {"; it ".join(problems)}. {advice}'
            )
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=self._get_init_info())

    def _cut_prefix(self, content: object) -> dict[str, Tensor]:
        """The tensors of the file that are the module's, with its keys."""
        weights = _tensors(content)
        # Left by DataParallel.
        start = 'module.'
        if self.prefix:
            start = self.prefix.removesuffix('.') + '.'
            weights = {k: v for k, v in weights.items() if k.startswith(start)}
        return {k.removeprefix(start): v for k, v in weights.items()}

    def _drop_classifier(
        self, weights: dict[str, Tensor], own: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        owned = {key.split('.')[0] for key in own}
        dropped = {
            key: value
            for key, value in weights.items()
            if key.split('.')[0] in set(CLASSIFIERS) - owned
        }
        # Its last layer has one row per class.
        sizes = [len(value) for value in dropped.values() if value.dim()]
        if sizes:
            print_log(
                f"Left out of '{self.checkpoint}' a classifier of {sizes[-1]} "
                f'classes: {_first_five(dropped)}.',
                logger='current',
            )
        return {k: v for k, v in weights.items() if k not in dropped}

    def _find_prefix(
        self, content: object, own: dict[str, Tensor]
    ) -> str | None:
        """Say which prefix finds the module's keys, if another does."""
        keys = _tensors(content).keys()
        first = next(iter(own))
        starts = [k.removesuffix(first) for k in keys if k.endswith(first)]
        # Others are parts of a network that look like its beginning.
        starts = [
            start
            for start in starts
            if sum(start + key in keys for key in own) > len(own) / 2
        ]
        used = [self.prefix, f'{self.prefix}.']
        if not self.prefix:
            used = ['', 'module.']
        if not starts or any(start in used for start in starts):
            return None
        if starts[0] in ('', 'module.'):
            return 'Leave out init_cfg.prefix.'
        return f"Set init_cfg.prefix='{starts[0]}'."


def _tensors(content: object) -> dict[str, Tensor]:
    """Of what a file holds, the tensors and their keys, if there are any."""
    if isinstance(content, dict):
        content = content.get('state_dict', content)
    if not isinstance(content, dict):
        return {}
    return {k: v for k, v in content.items() if isinstance(v, Tensor)}


def _load(
    module: nn.Module, weights: dict[str, Tensor]
) -> tuple[list[str], list[str], list[str]]:
    """Load what fits.

    Returns:
        tuple[list[str], list[str], list[str]]: The keys that the weights
        lack, those that only they have, and those, with shapes, that have
        another shape.
    """
    own = module.state_dict()
    misfits = {}
    try:
        result = module.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        # Torch knows: the module may have adapted some that look wrong.
        misfits = {
            key: f'{key} {tuple(value.shape)} instead of '
            f'{tuple(own[key].shape)}'
            for key, value in weights.items()
            if f'size mismatch for {key}:' in str(error)
        }
        if not misfits:
            raise
        fitting = {k: v for k, v in weights.items() if k not in misfits}
        result = module.load_state_dict(fitting, strict=False)
    missing = [
        key
        for key in result.missing_keys
        # What the file has, the module has left out itself.
        if key not in weights and not key.endswith('num_batches_tracked')
    ]
    return missing, result.unexpected_keys, list(misfits.values())


def _first_five(items: list[str] | dict[str, Tensor]) -> str:
    shown = ', '.join(list(items)[:5])
    more = len(items) - 5
    return f'{shown} and {more} more' if more > 0 else shown
