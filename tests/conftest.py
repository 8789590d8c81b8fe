import copy
import functools
import os
import runpy
import sys

import mmengine.config.config
import mmengine.runner.runner
import pytest
import tiny_mar
import torch

from mmreid.utils import config

torch.set_num_threads(1)


@pytest.fixture(scope='session', autouse=True)
def no_reports():
    """Each Runner would ask every compiler for its version.

    And format its config for each checkpoint, which takes half a second.
    """
    patch = pytest.MonkeyPatch()
    patch.setattr(mmengine.runner.runner, 'collect_env', dict)
    patch.setattr(
        mmengine.config.config,
        'FormatCode',
        lambda text, **kwargs: (text + '\n', True),
    )
    yield
    patch.undo()


@pytest.fixture(scope='session', autouse=True)
def configs_read_once():
    """MMEngine copies every file that a config inherits, each time.

    Those of the repository, of which there are hundreds with their rows, are
    read once for each value of the variables that they name.
    """
    read_file = config._read_file

    @functools.cache
    def read(path, variables):
        return read_file(path)

    def read_once(path):
        if not os.path.abspath(path).startswith(f'{tiny_mar.CONFIGS}{os.sep}'):
            return read_file(path)
        variables = {k: v for k, v in os.environ.items() if 'MMREID' in k}
        return copy.deepcopy(read(path, tuple(sorted(variables.items()))))

    patch = pytest.MonkeyPatch()
    patch.setattr(config, '_read_file', read_once)
    yield
    patch.undo()


@pytest.fixture(scope='session')
def benchmark(tmp_path_factory):
    """Folder of a tiny source and target, see ``tiny_mar``; read only."""
    root = tmp_path_factory.mktemp('benchmark')
    tiny_mar.write_benchmark(str(root))
    return str(root)


@pytest.fixture
def tiny_config(benchmark, tmp_path):
    """``tiny_mar.tiny_config`` on that, with a work dir of its own."""

    def config(work_dir='run', **changes):
        return tiny_mar.tiny_config(
            benchmark, str(tmp_path / work_dir), **changes
        )

    return config


@pytest.fixture
def run_main(monkeypatch):
    """Run a script or a module in this process: its exit status."""

    def run(tool, *arguments):
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, arguments)])
        start = runpy.run_path if tool.endswith('.py') else runpy.run_module
        try:
            start(tool, run_name='__main__')
        except SystemExit as end:
            return end.code or 0
        return 0

    return run
