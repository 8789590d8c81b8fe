import shutil

import pytest
import tiny_mar
from tiny_mar import train

from mmreid.datasets.transforms import UnreadableImageError

TRAIN = 'bounding_box_train'
BAD = (
    f'source/{TRAIN}/0003_c1s1_000001_00.png',
    f'target/{TRAIN}/0002_c1s1_000000_00.png',
    f'target/{TRAIN}/0005_c3s1_000000_00.png',
)


@pytest.fixture
def damaged(benchmark, tmp_path):
    """A config whose data has unreadable images."""
    root = tmp_path / 'damaged'
    shutil.copytree(benchmark, root)
    for path in BAD:
        (root / path).write_bytes(b'no image')

    def config(on_error, **changes):
        cfg = tiny_mar.tiny_config(
            str(root),
            str(tmp_path / 'run'),
            train_dataloader__num_workers=1,
            **changes,
        )
        for part in ('source', 'target'):
            cfg.train_dataloader.dataset[part].on_error = on_error
        return cfg

    return config


def log_of(tmp_path):
    (file,) = (tmp_path / 'run').glob('*/*.log')
    return file.read_text()


@pytest.mark.filterwarnings('ignore:Skipped')
def test_skipped_images_are_counted_and_named(damaged, tmp_path):
    train(damaged('skip'))
    paths = ', '.join(str(tmp_path / 'damaged' / path) for path in BAD)
    assert (
        '3 training images could not be read and were skipped, the first of '
        f'them: {paths}\n'
    ) in log_of(tmp_path)


def test_nothing_to_report(tiny_config, tmp_path):
    train(tiny_config())
    assert 'could not be read' not in log_of(tmp_path)


@pytest.mark.parametrize('num_workers', [0, 1])
def test_raising_names_the_file(damaged, num_workers):
    cfg = damaged('raise')
    cfg.train_dataloader.num_workers = num_workers
    with pytest.raises(UnreadableImageError, match=BAD[0]):
        train(cfg)
