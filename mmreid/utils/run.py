import contextlib
import os
import sys
from collections.abc import Iterator

import torch
from mmengine.config import Config


def prepare_distributed(cfg: Config) -> None:
    """Let ``--launcher pytorch`` run on a machine without a GPU.

    MMEngine's launcher asks for a CUDA device and hands it to
    DistributedDataParallel; on a CPU the process group (gloo) has to exist
    before the Runner, and no device may be named.

    Args:
        cfg (Config): Changed in place.
    """
    if cfg.launcher == 'none' or torch.cuda.is_available():
        return
    cfg.model_wrapper_cfg.device_ids = None
    if cfg.launcher == 'pytorch' and not torch.distributed.is_initialized():
        if 'RANK' not in os.environ:
            raise ValueError(
                '--launcher pytorch needs the processes that torchrun '
                'starts: use tools/dist_train.sh.'
            )
        torch.distributed.init_process_group('gloo')


@contextlib.contextmanager
def exit_with_message() -> Iterator[None]:
    """End a tool with one sentence where the user's input is at fault.

    ``MMREID_TRACEBACK=1`` shows where the error came from.
    """
    try:
        yield
    except (ValueError, FileNotFoundError, KeyError, OSError) as error:
        _exit(str(error), error)


def _exit(message: str, error: Exception) -> None:
    if os.environ.get('MMREID_TRACEBACK'):
        raise error
    print(f'error: {message}', file=sys.stderr)
    sys.exit(1)
