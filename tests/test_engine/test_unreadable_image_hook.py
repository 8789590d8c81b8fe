import shutil
from types import SimpleNamespace

import pytest
import tiny_mar
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tiny_mar import train

from mmreid.datasets.transforms import UnreadableImageError
from mmreid.engine import UnreadableImageHook

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


class Dataset:
    """Five source and five target images."""

    domains = dict(
        source=SimpleNamespace(span=range(5)),
        target=SimpleNamespace(span=range(5, 10)),
    )

    def get_data_info(self, index):
        return dict(img_path=f'{index}.png')


def skip(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2
    )
    lines = []
    runner = SimpleNamespace(
        train_loop=SimpleNamespace(dataset=Dataset()),
        logger=SimpleNamespace(warning=lines.append),
    )
    hook = UnreadableImageHook()
    hook.before_run(runner)
    # Of the target, image 2 on both ranks and image 3 on the second one.
    skipped = torch.tensor([-1, 2 + rank, 2])
    samples = dict(skipped_idx=skipped, domain=torch.tensor([0, 1, 1]))
    hook.after_train_iter(runner, 0, dict(data_samples=samples))
    hook.after_train(runner)
    (folder / f'{rank}.txt').write_text('\n'.join(lines))
    dist.destroy_process_group()


def test_ranks_report_together(tmp_path):
    mp.start_processes(skip, (tmp_path,), 2, start_method='fork')
    for rank in range(2):
        assert (tmp_path / f'{rank}.txt').read_text() == (
            '2 training images could not be read and were skipped, the first '
            'of them: 7.png, 8.png'
        )


def test_nothing_to_report(tiny_config, tmp_path):
    train(tiny_config())
    assert 'could not be read' not in log_of(tmp_path)


@pytest.mark.parametrize('num_workers', [0, 1])
def test_raising_names_the_file(damaged, num_workers):
    cfg = damaged('raise')
    cfg.train_dataloader.num_workers = num_workers
    with pytest.raises(UnreadableImageError, match=BAD[0]):
        train(cfg)
