import argparse
import atexit
import contextlib
import os
import os.path as osp
import re
import sys
from collections.abc import Callable, Iterator

from mmengine.config import Config, DictAction

from mmreid.errors import InputError

from .config import read_config

# Kinds that Matplotlib writes.
PICTURES = ('.png', '.pdf', '.svg', '.jpg', '.jpeg')


class OptionAction(DictAction):
    """``--cfg-options``: KEY=VALUE, of which a wrong one is said so."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: list[str],
        option_string: str | None = None,
    ) -> None:
        """Read the settings."""
        for text in values:
            if not text.partition('=')[0] or '=' not in text:
                parser.error(
                    f"{option_string}: '{text}' is no KEY=VALUE; settings "
                    'stand last, without spaces around the =.'
                )
        super().__call__(parser, namespace, values, option_string)


def whole_number(least: int) -> Callable[[str], int]:
    """The ``type`` of an argument that must not be below ``least``."""

    def parse(text: str) -> int:
        if not re.fullmatch(r'-?\d+', text) or int(text) < least:
            raise argparse.ArgumentTypeError(
                f'must be a whole number, {least} or more, got {text!r}'
            )
        return int(text)

    return parse


def picture_path(text: str) -> str:
    """The ``type`` of a picture to write, of a kind that can be written."""
    if not text.lower().endswith(PICTURES):
        raise argparse.ArgumentTypeError(
            f"'{text}' must end with one of {', '.join(PICTURES)}"
        )
    return text


def checkpoint_path(text: str) -> str | None:
    """The ``type`` of a checkpoint that may be ``'none'``."""
    return None if text == 'none' else text


def config_parser(description: str) -> argparse.ArgumentParser:
    """Arguments of every tool that runs a config."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        'config',
        help='path of a config, or CONFIG.py:ROW, changed as a row of the '
        'table.py beside it says',
    )
    parser.add_argument(
        '--work-dir',
        help='where logs and checkpoints go (default: work_dirs/<config>)',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='run the backbone in bfloat16, channels last',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        default={},
        help='settings that replace those of the config, key=value, e.g. '
        'train_cfg.stages.main.max_epochs=4 model.loss_cml.loss_weight=0',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes of a distributed run were started',
    )
    return parser


def add_model_arguments(
    parser: argparse.ArgumentParser,
    config: str = 'path of a config',
    checkpoint: str = "path of a checkpoint, or 'none': the weights that the "
    'config starts from',
    val: str | None = None,
) -> None:
    """Arguments of the tools that look at what a model gives.

    Args:
        parser (argparse.ArgumentParser): Gets ``config``, ``checkpoint``,
            ``--amp``, ``--device`` and ``--cfg-options``.
        config (str): Help of ``config``.
        checkpoint (str): Help of ``checkpoint``.
        val (str, optional): Help of ``--val``. Defaults to None: the tool
            has none.
    """
    parser.add_argument('config', help=f'{config}, or CONFIG.py:ROW')
    parser.add_argument('checkpoint', help=checkpoint, type=checkpoint_path)
    if val:
        parser.add_argument('--val', action='store_true', help=val)
    parser.add_argument(
        '--amp',
        action='store_true',
        help='run the backbone in bfloat16, channels last',
    )
    parser.add_argument('--device', default='cpu')
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionAction, default={}
    )


def model_config(
    args: argparse.Namespace, config: str | None = None
) -> Config:
    """The config that the arguments of :func:`add_model_arguments` ask for.

    Args:
        args (argparse.Namespace): The arguments.
        config (str, optional): The path of another config. Defaults to None.

    Raises:
        InputError: See :func:`load_config`.
    """
    # Not at the top: it needs PyTorch.
    from mmengine.registry import init_default_scope

    from .config_check import check_config

    cfg = read_config(config or args.config, args.cfg_options)
    check_config(cfg, args.cfg_options)
    cfg.model.amp = args.amp
    init_default_scope(cfg.default_scope)
    return cfg


def load_config(args: argparse.Namespace) -> Config:
    """The config that the arguments of :func:`config_parser` ask for.

    Raises:
        InputError: If it cannot be read, or has keys that nothing reads
            (:func:`mmreid.utils.config_check.check_config`).
    """
    # Not at the top: it needs PyTorch.
    from .config_check import check_config

    cfg = read_config(args.config, args.cfg_options)
    check_config(cfg, args.cfg_options)
    cfg.launcher = args.launcher
    cfg.work_dir = (
        args.work_dir
        or cfg.get('work_dir')
        or osp.join('work_dirs', osp.splitext(osp.basename(cfg.filename))[0])
    )
    if args.amp:
        cfg.model.amp = True
    _prepare_distributed(cfg)
    return cfg


def use_validation(cfg: Config) -> None:
    """Let a config test the validation identities, as ``--val`` asks.

    Args:
        cfg (Config): Changed in place.

    Raises:
        InputError: If it has none.
    """
    if 'val_dataloader' not in cfg:
        raise InputError(
            f"--val: '{cfg.filename}' has no val_dataloader, that is no "
            'validation identities.'
        )
    cfg.test_dataloader = cfg.val_dataloader
    cfg.test_evaluator = cfg.val_evaluator


def ranking_evaluators(cfg: Config) -> list[dict]:
    """The ``ReIDMetric`` among a config's test evaluators.

    Args:
        cfg (Config): With one or a list of them in ``test_evaluator``.

    Returns:
        list[dict]: Those of the config, not copies.

    Raises:
        InputError: If the config has no test set.
    """
    if cfg.get('test_evaluator') is None:
        raise InputError(
            f"'{cfg.filename}' has no test set: give it a target that has "
            'labels, or a test_dataloader, test_evaluator and test_cfg.'
        )
    evaluators = cfg.test_evaluator
    if isinstance(evaluators, dict):
        evaluators = [evaluators]
    return [e for e in evaluators if e['type'] == 'ReIDMetric']


def ranking_metric(cfg: Config) -> str:
    """The metric by which a config ranks features, 'cosine' by default.

    Of a target without labels, whose test is left out, that of the test.
    """
    if cfg.get('test_evaluator') is None:
        return cfg.get('retrieval_metric', 'cosine')
    metrics = [e.get('metric', 'cosine') for e in ranking_evaluators(cfg)]
    return metrics[0] if metrics else 'cosine'


def image_pipeline(cfg: Config) -> list[dict]:
    """How a config loads and resizes an image.

    Args:
        cfg (Config): A config. Without a test set, its training data say it:
            what is random is in the data preprocessor.

    Returns:
        list[dict]: The transforms.

    Raises:
        InputError: If neither says it.
    """
    for loader in ('test_dataloader', 'train_dataloader'):
        dataset = (cfg.get(loader) or {}).get('dataset') or {}
        if dataset.get('pipeline'):
            return dataset['pipeline']
    raise InputError(
        f"'{cfg.filename}' has neither test_dataloader.dataset.pipeline nor "
        'train_dataloader.dataset.pipeline, which says how an image is '
        'loaded and resized.'
    )


def _prepare_distributed(cfg: Config) -> None:
    """Let ``--launcher pytorch`` run on a machine without a GPU.

    MMEngine's launcher asks for a CUDA device and hands it to
    DistributedDataParallel; on a CPU the process group (gloo) has to exist
    before the Runner, and no device may be named.

    Args:
        cfg (Config): Changed in place.
    """
    if cfg.launcher == 'none':
        return
    # Not at the top: a tool's --help need not wait for PyTorch.
    import torch
    import torch.distributed as dist

    if torch.cuda.is_available():
        return
    cfg.model_wrapper_cfg.device_ids = None
    if cfg.launcher == 'pytorch' and not dist.is_initialized():
        if 'RANK' not in os.environ:
            raise InputError(
                '--launcher pytorch needs the processes that torchrun '
                'starts: use tools/dist_train.sh.'
            )
        dist.init_process_group('gloo')


def is_first_process(launcher: str) -> bool:
    """Whether this is rank 0, before the processes know each other.

    Args:
        launcher (str): How they were started, see :func:`config_parser`.
    """
    variable = dict(
        pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK'
    ).get(launcher)
    return variable is None or os.environ.get(variable, '0') == '0'


@contextlib.contextmanager
def exit_with_message() -> Iterator[None]:
    """End a tool with one sentence where the user's input is at fault.

    That is on an :class:`InputError` and an ``OSError``;
    ``MMREID_TRACEBACK=1`` shows where it came from. Every other error is one
    of the code and keeps its traceback. A process of a distributed run that
    ends well, or is interrupted, ends here: after the exit handlers, without
    the interpreter's own end.
    """
    try:
        try:
            yield
        except SystemExit as end:
            # Such as an interruption's, which all ranks come to.
            _end_distributed(end.code)
            raise
        _end_distributed(0)
    except (InputError, OSError) as error:
        if os.environ.get('MMREID_TRACEBACK'):
            raise
        print(f'error: {_own_message(error)}', file=sys.stderr)
        sys.exit(1)


def _end_distributed(status: int | str | None) -> None:
    # Who has not imported it, as for --help, has none.
    dist = sys.modules.get('torch.distributed')
    if not (dist and dist.is_available() and dist.is_initialized()):
        return
    dist.destroy_process_group()
    # DistributedDataParallel keeps the group's threads alive for good. One
    # that gives back a tensor while the interpreter ends aborts the process.
    atexit._run_exitfuncs()
    if isinstance(status, str):
        # As the interpreter does, which is not asked.
        print(status, file=sys.stderr)
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)


def _own_message(error: Exception) -> str:
    """What an error says, without the traceback that a worker puts before."""
    message = str(error)
    if not message.startswith('Caught '):
        return message
    # The last line is 'module.Class: message', which may go on below.
    name = f'{type(error).__qualname__}: '
    return message.rpartition(name)[2].strip() or message
