"""Configs and tools from any folder, as the package brings them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_mar
from mmengine.config import Config

from mmreid.apis import ReIDInferencer
from mmreid.utils import read_config
from mmreid.utils.package_files import locate_config, package_configs

MAIN = 'mmreid::mar/mar_msmt_market.py'


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_base_of_the_package(elsewhere, monkeypatch):
    monkeypatch.setenv('MMREID_DATA', 'images')
    Path('own.py').write_text(
        f"_base_ = '{MAIN}'\nmodel = dict(miner=dict(ratio=0.5))"
    )
    own = Config.fromfile('own.py').to_dict()
    main = Config.fromfile(f'{tiny_mar.CONFIGS}/mar/mar_msmt_market.py')
    assert own['source']['data_root'] == 'images/msmt17'
    main.model.miner.ratio = 0.5
    assert own == main.to_dict()
    # One of several, and a part.
    Path('parts.py').write_text(
        "_base_ = ['mmreid::_base_/default_runtime.py', 'more.py']"
    )
    Path('more.py').write_text('model = dict(type="MAR")')
    assert Config.fromfile('parts.py').default_scope == 'mmreid'


@pytest.mark.parametrize('row', ['', ':wo_cml'])
def test_a_config_of_the_package(elsewhere, row):
    ours = read_config(MAIN + row)
    file = f'{tiny_mar.CONFIGS}/mar/mar_msmt_market.py{row}'
    assert ours.to_dict() == read_config(file).to_dict()
    assert os.path.samefile(
        os.path.dirname(ours.filename), f'{tiny_mar.CONFIGS}/mar'
    )
    # Another path stays.
    assert locate_config(file) == file


def test_errors(elsewhere):
    with pytest.raises(FileNotFoundError, match=f'markt.py. is not .* {MAIN}'):
        read_config('mmreid::mar/mar_msmt_markt.py')
    with pytest.raises(FileNotFoundError, match=MAIN):
        read_config('mmreid::mar_msmt_market.py:wo_cml')
    with pytest.raises(ValueError, match="no row 'mar_msmt_market_wo_c'"):
        read_config(f'{MAIN}:wo_c')
    Path('own.py').write_text("_base_ = 'mmreid::no.py'")
    with pytest.raises(ValueError, match='no.py. is not .*/tj_aidl_demo.py'):
        read_config('own.py')
    with pytest.raises(FileNotFoundError, match='not among the configs'):
        ReIDInferencer('mmreid::no.py')


def test_what_is_installed(elsewhere):
    """A wheel holds what setup.py's build_py writes."""
    subprocess.run(
        [
            *(sys.executable, 'setup.py', '-q', 'egg_info', '--egg-base'),
            *(elsewhere, 'build_py', '--build-lib', elsewhere),
        ],
        cwd=tiny_mar.ROOT,
        check=True,
        capture_output=True,
    )
    for part, suffix in (('configs', '*.*'), ('tools', '*.py')):
        names = [
            {file.relative_to(root).as_posix() for file in root.rglob(suffix)}
            for root in (
                Path(tiny_mar.ROOT, part),
                Path('mmreid', '.mim', part),
            )
        ]
        assert names[0] == names[1] and len(names[0]) > 10
    assert Path('mmreid', 'py.typed').is_file()
    assert not any(path.is_symlink() for path in Path('mmreid').rglob('*'))
    Path('own.py').write_text(f"_base_ = '{MAIN}'")
    result = subprocess.run(
        [sys.executable, '-m', 'mmreid', 'train', 'own.py'],
        env=dict(os.environ, PYTHONPATH='.'),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "data_root 'data/msmt17' of MSMT17 is no folder" in result.stderr


def test_the_tools(run_main, capsys):
    assert run_main('mmreid', '--help') == 0
    assert 'train' in capsys.readouterr().out
    assert 'train' in run_main('mmreid', 'trian')
    assert run_main('mmreid', 'train', '--help') == 0
    assert '--resume' in capsys.readouterr().out


def test_package_configs():
    names = package_configs()
    assert names['mar_demo.py'] == 'mmreid::mar/mar_demo.py'
    assert 'table.py' not in names
    for path in names.values():
        assert os.path.isfile(locate_config(path))
