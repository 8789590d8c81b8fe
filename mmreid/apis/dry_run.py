import copy
import tempfile
from datetime import timedelta

import torch
from mmengine.config import Config

from mmreid.engine import ReIDRunner


def dry_run(cfg: Config) -> str:
    """Try all that a config would do, in two iterations of each stage.

    Data, samplers, losses, optimisers and schedulers of every stage, saving,
    and a batch of the validation and of the test. Nothing is left behind.

    Args:
        cfg (Config): As the tools read it; with ``resume``, it is tried from
            its start.

    Returns:
        str: What a stage will take, a line each.

    Raises:
        InputError: Whatever is wrong with the config or its data.
    """
    cfg = copy.deepcopy(cfg)
    cfg.train_cfg.type = 'TrialLoop'
    # Of made-up features.
    cfg.get('default_hooks', {}).pop('neighbour_report', None)
    if cfg.resume:
        cfg.resume, cfg.load_from = False, None
    tests = [
        (cfg.pop(f'{part}_dataloader'), cfg.pop(f'{part}_evaluator'))
        for part in ('val', 'test')
        if cfg.pop(f'{part}_cfg', None) is not None
    ]
    with tempfile.TemporaryDirectory() as cfg.work_dir:
        runner = ReIDRunner.from_cfg(cfg)
        runner.train()
        for dataloader, evaluator in tests:
            loader = runner.build_dataloader(dataloader)
            runner.build_evaluator(evaluator)
            with torch.no_grad():
                runner.model.eval()
                runner.model.test_step(next(iter(loader)))
    lines = [
        f'Stage {name!r}: {length} iterations of {seconds:.2f} s, '
        f'{timedelta(seconds=round(length * seconds))} in all'
        for name, (length, seconds) in runner.train_loop.report.items()
    ]
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated() / 2**30
        lines.append(f'{peak:.1f} GiB of GPU memory at most')
    return '\n'.join(lines)
