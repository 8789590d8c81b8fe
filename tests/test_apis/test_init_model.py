import json
import os.path as osp

import pytest
import tiny_mar

from mmreid.apis import init_model
from mmreid.errors import InputError

TOOL = osp.join(tiny_mar.ROOT, 'tools/test.py')


@pytest.mark.parametrize('device', ['foo', 'cuda:77'])
def test_a_device_that_is_not_there(tiny_config, device):
    with pytest.raises(InputError, match=f"device '{device}' cannot be used"):
        init_model(tiny_config(), device=device)


@pytest.fixture
def measured(tiny_config):
    """A config whose images' statistics are measured."""
    return tiny_config(
        model__data_preprocessor=dict(
            _delete_=True, type='ReIDDataPreprocessor', measured_on='target'
        )
    )


def test_statistics_where_nothing_was_trained(measured, run_main, tmp_path):
    """A checkpoint has them; without one they are measured."""
    preprocessor = init_model(measured).data_preprocessor
    assert (preprocessor.std > 0).all()
    assert ((preprocessor.mean > 0) & (preprocessor.mean < 255)).all()
    measured.dump(str(tmp_path / 'tiny.py'))
    out = tmp_path / 'metrics.json'
    where = ('--work-dir', tmp_path / 'W', '--out', out)
    assert run_main(TOOL, tmp_path / 'tiny.py', 'none', *where) == 0
    assert 0 < json.loads(out.read_text())['mAP'] <= 100


def test_nothing_to_measure(measured):
    measured.pop('train_dataloader')
    with pytest.raises(InputError, match='but the config has no train_datal'):
        init_model(measured)
