import errno
import multiprocessing
import os
import pickle
import shutil
import signal
import time
from collections import namedtuple

import cv2
import numpy as np
import PIL
import pytest
import torch
from mmengine.dataset import default_collate
from torch.utils.data import DataLoader

from mmreid.datasets import ReIDManifest, image_cache
from mmreid.datasets.image_cache import ImageCache
from mmreid.datasets.transforms import LoadReIDImage, UnreadableImageError
from mmreid.errors import InputError
from mmreid.registry import TRANSFORMS
from mmreid.utils import progress

NUM = 7
LOAD, PACK = dict(type='LoadReIDImage'), dict(type='PackReIDInputs')


def resize(width=8, height=12, **kwargs):
    return dict(type='mmcv.Resize', scale=(width, height), **kwargs)


PIPELINE = [LOAD, resize(), PACK]


@pytest.fixture
def root(tmp_path):
    """Images of two sizes and kinds, and the manifest ``list.csv``."""
    folder = tmp_path / 'data'
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = ['path,person_id,camera_id']
    for i in range(NUM):
        name = f'{i}.{"jpg" if i % 2 else "png"}'
        img = rng.integers(0, 256, (32 + 8 * (i % 2), 16, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / name), img)
        lines.append(f'{name},{i // 2},{i % 2}')
    (folder / 'list.csv').write_text('\n'.join(lines))
    return folder


@pytest.fixture
def cache_dir(tmp_path):
    return tmp_path / 'cache' / 'below'


def build(root, cache_dir=None, **kwargs):
    return ReIDManifest(
        str(root / 'list.csv'),
        cache_dir=cache_dir and str(cache_dir),
        **(dict(pipeline=PIPELINE) | kwargs),
    )


def names(cache_dir, suffix='.npy'):
    return sorted(path.name for path in cache_dir.glob(f'*{suffix}'))


def assert_equal(ours, expected):
    assert len(ours) == len(expected)
    for one, other in zip(ours, expected, strict=True):
        assert one['inputs'].dtype == torch.uint8
        assert one['inputs'].is_contiguous()
        assert torch.equal(one['inputs'], other['inputs'])
        assert one['data_samples'] == other['data_samples']


def forbid_decoding(monkeypatch):
    def fail(self, results):
        raise AssertionError(f'decoded {results["img_path"]}')

    monkeypatch.setattr(LoadReIDImage, 'transform', fail)


# What is delivered


@pytest.mark.parametrize('serialize_data', [True, False])
@pytest.mark.parametrize(
    'pipeline',
    [
        PIPELINE,
        [LOAD, resize(interpolation='bicubic'), PACK],
        [LOAD, resize(30, 50), resize(5, 9), PACK],
        [LOAD, dict(type='MatlabResize', scale=(8, 12)), PACK],
        # Objects instead of configs.
        [TRANSFORMS.build(step) for step in PIPELINE],
    ],
)
def test_equals_no_cache(
    root, cache_dir, monkeypatch, pipeline, serialize_data
):
    kwargs = dict(pipeline=pipeline, serialize_data=serialize_data)
    plain = build(root, **kwargs)
    expected = [plain[i] for i in range(-NUM, NUM)]
    build(root, cache_dir, **kwargs)
    # From here on everything comes from the file.
    forbid_decoding(monkeypatch)
    cached = build(root, cache_dir, **kwargs)
    assert_equal([cached[i] for i in range(-NUM, NUM)], expected)
    assert len(names(cache_dir)) == 1
    with pytest.raises(IndexError):
        cached[NUM]


@pytest.mark.parametrize('num_workers', [0, 1])
def test_batches_in_a_loader(root, cache_dir, num_workers):
    batches = [
        next(
            iter(
                DataLoader(
                    build(root, folder),
                    NUM,
                    num_workers=num_workers,
                    collate_fn=default_collate,
                )
            )
        )
        for folder in (cache_dir, None)
    ]
    assert torch.equal(batches[0]['inputs'], batches[1]['inputs'])
    assert str(batches[0]) == str(batches[1])


@pytest.mark.filterwarnings('error')
def test_item_is_a_copy(root, cache_dir):
    dataset = build(root, cache_dir)
    dataset[3]['inputs'].zero_()
    assert_equal([dataset[3]], [build(root)[3]])
    assert_equal([build(root, cache_dir)[3]], [build(root)[3]])


def test_steps_after_packing_run_every_time(root, cache_dir):
    seen = []
    pipeline = [*PIPELINE, lambda item: seen.append(item) or item]
    dataset = build(root, cache_dir, pipeline=pipeline)
    assert not seen
    assert dataset[2] is seen[0] and dataset[2] is seen[1]


@pytest.mark.parametrize('lazy_init', [True, False])
def test_subsets(root, cache_dir, lazy_init):
    chosen = [5, 1, 4]
    expected = [build(root)[i]['inputs'] for i in chosen]
    dataset = build(root, cache_dir, lazy_init=lazy_init)
    in_place = build(root, cache_dir)
    in_place.get_subset_(chosen)
    for subset in (
        dataset.get_subset(chosen),
        in_place,
        build(root, cache_dir, indices=chosen),
    ):
        found = [subset[i]['inputs'] for i in range(3)]
        assert all(map(torch.equal, found, expected))
    # The data set of which a subset was taken stays whole.
    assert_equal([dataset[6]], [build(root)[6]])
    assert len(names(cache_dir)) == 2


def test_pickled_without_the_images(root, cache_dir, monkeypatch):
    dataset = build(root, cache_dir)
    dataset[0]  # Opens the file.
    content = pickle.dumps(dataset)
    assert len(content) < len(pickle.dumps(build(root))) + 1000
    forbid_decoding(monkeypatch)
    again = pickle.loads(content)
    assert_equal([again[4]], [dataset[4]])


def test_lazy_data_set_builds_at_first_use(root, cache_dir):
    dataset = build(root, cache_dir, lazy_init=True)
    assert not cache_dir.exists()
    assert len(dataset) == NUM
    assert len(names(cache_dir)) == 1


def test_no_pipeline_no_cache(root, cache_dir):
    # As for a hook that only reads labels.
    assert build(root, cache_dir, pipeline=[])[0]['person_id'] == 0
    assert not cache_dir.exists()


def test_file_holds_one_record_per_image(root, cache_dir):
    dataset = build(root, cache_dir)
    (name,) = names(cache_dir)
    records = np.load(cache_dir / name)
    assert records.shape == (NUM,) and records['readable'].all()
    assert records['image'].dtype == np.uint8
    assert np.array_equal(records['image'][3], dataset[3]['inputs'].numpy())
    assert not names(cache_dir, '.part')


# The key


def test_key_depends_on_what_decides_the_pixels(root, cache_dir, monkeypatch):
    def count(**kwargs):
        cached, plain = build(root, cache_dir, **kwargs), build(root, **kwargs)
        everything = range(len(plain))
        assert_equal(
            [cached[i] for i in everything], [plain[i] for i in everything]
        )
        return len(names(cache_dir))

    assert count() == count() == 1
    assert count(labelled=False) == 1
    assert count(pipeline=[LOAD, resize(12, 8), PACK]) == 2
    assert count(pipeline=[LOAD, resize(interpolation='area'), PACK]) == 3
    # Noise of the same size, at another time.
    path, img = root / '0.png', cv2.imread(str(root / '0.png'))
    size, date = path.stat().st_size, path.stat().st_mtime_ns
    cv2.imwrite(str(path), 255 - img)
    os.utime(path, ns=(0, date + 1))
    assert path.stat().st_size == size
    assert count() == 4
    # Black, which is smaller, at the same time.
    cv2.imwrite(str(path), 0 * img)
    os.utime(path, ns=(0, date + 1))
    assert path.stat().st_size < size
    assert count() == 5
    # One image less.
    lines = (root / 'list.csv').read_text().splitlines()
    (root / 'list.csv').write_text('\n'.join(lines[:-1]))
    assert count() == 6
    monkeypatch.setattr(cv2, '__version__', '0.0')
    assert count() == 7
    monkeypatch.setattr(PIL, '__version__', '0.0')
    assert count() == 8
    monkeypatch.setattr(image_cache, 'FORMAT', -1)
    assert count() == 9


def test_data_may_be_moved(root, cache_dir, tmp_path, monkeypatch):
    expected = build(root, cache_dir)[5]
    moved = tmp_path / 'elsewhere'
    shutil.move(root, moved)
    forbid_decoding(monkeypatch)
    assert_equal([build(moved, cache_dir)[5]], [expected])


# Building


def test_killed_build_leaves_nothing_that_looks_whole(root, cache_dir):
    def killed():
        # All is written, but nothing is in place.
        os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
        build(root, cache_dir)

    process = multiprocessing.get_context('fork').Process(target=killed)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not names(cache_dir)
    (part,) = names(cache_dir, '.part')
    # Longer than the whole: its end must not stay.
    with open(cache_dir / part, 'ab') as file:
        file.write(bytes(100_000))
    cached, plain = build(root, cache_dir), build(root)
    assert_equal(
        [cached[i] for i in range(NUM)], [plain[i] for i in range(NUM)]
    )
    (name,) = names(cache_dir)
    assert (cache_dir / name).stat().st_size < 10_000
    assert not names(cache_dir, '.part')


def test_two_processes_at_once(root, cache_dir):
    context = multiprocessing.get_context('fork')
    barrier, results = context.Barrier(2), context.SimpleQueue()

    def run():
        writes = []
        write = ImageCache._write

        def slow_write(self, *args):
            writes.append(self.path.exists())
            time.sleep(0.5)  # The other one comes while this one writes.
            write(self, *args)

        ImageCache._write = slow_write
        barrier.wait(timeout=30)
        dataset = build(root, cache_dir)
        results.put((writes, [dataset[i]['inputs'].numpy() for i in (0, 6)]))

    processes = [context.Process(target=run) for _ in range(2)]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sorted(writes for writes, _ in found) == [[], [False]]
    plain = build(root)
    for _, images in found:
        for i, image in zip((0, 6), images, strict=True):
            assert np.array_equal(image, plain[i]['inputs'].numpy())
    assert len(names(cache_dir)) == 1


@pytest.mark.parametrize('known', [True, False])
def test_disk_full(root, cache_dir, monkeypatch, known):
    needed = NUM * (3 * 12 * 8 + 1)
    if known:
        usage = namedtuple('usage', 'free')(needed - 1)
        monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage)
    else:

        def full(_):
            raise OSError(errno.ENOSPC, 'No space left on device')

        # The disk says so at some point of the writing.
        monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(
        OSError, match=rf"disk is full: '{cache_dir}.*needs {needed} bytes"
    ):
        build(root, cache_dir)
    assert not names(cache_dir) and not names(cache_dir, '.part')
    monkeypatch.undo()
    assert_equal([build(root, cache_dir)[1]], [build(root)[1]])


@pytest.mark.parametrize('place', [0, 90, 500, -30, -1])
def test_a_damaged_cache_is_written_anew(root, cache_dir, place):
    build(root, cache_dir)
    (name,) = names(cache_dir)
    file = cache_dir / name
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[place] ^= 1
    for content in (bytes(damaged), whole[: len(whole) // 2], b''):
        file.write_bytes(content)
        assert_equal([build(root, cache_dir)[1]], [build(root)[1]])
        assert file.read_bytes() == whole


def test_folder_that_cannot_be_written(root, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ValueError, match="cache_dir '.*' cannot be written"):
        build(root, tmp_path / 'file' / 'cache')


def test_lock_that_cannot_be_written(root, cache_dir, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(errno.EACCES, 'Permission denied')

    monkeypatch.setattr(image_cache.FileLock, 'acquire', refused)
    with pytest.raises(ValueError, match='written .Permission denied'):
        build(root, cache_dir)


def test_finished_cache_needs_no_writing(root, cache_dir, monkeypatch):
    build(root, cache_dir)
    monkeypatch.delattr(image_cache, 'FileLock')
    assert_equal([build(root, cache_dir)[1]], [build(root)[1]])


def test_long_builds_show_their_progress(root, cache_dir, monkeypatch, capsys):
    build(root, cache_dir)
    assert capsys.readouterr() == ('', '')
    monkeypatch.setattr(progress, 'PATIENCE', 0)
    monkeypatch.setattr(progress, 'LINE_INTERVAL', 0)
    monkeypatch.setattr(image_cache, 'CHUNK', 2)
    build(root, cache_dir, pipeline=[LOAD, resize(4, 4), PACK])
    out, err = capsys.readouterr()
    assert out == '' and '%, 0:00:00 left' in err


# Unreadable images


def test_unreadable_image_stops_the_build(root, cache_dir):
    (root / '2.png').write_bytes(b'broken')
    with pytest.raises(UnreadableImageError, match=r'2\.png'):
        build(root, cache_dir)
    assert not names(cache_dir) and not names(cache_dir, '.part')


@pytest.mark.parametrize('broken', [[0], [2, 3], [6], range(NUM - 1)])
@pytest.mark.filterwarnings('ignore:Skipped')
def test_unreadable_images_are_skipped(root, cache_dir, broken):
    files = [root / f'{i}.{"jpg" if i % 2 else "png"}' for i in range(NUM)]
    for i in broken:
        files[i].write_bytes(b'broken')
    plain = build(root, on_error='skip')
    expected = [plain[i] for i in range(NUM)]
    cached = build(root, cache_dir, on_error='skip')
    assert_equal([cached[i] for i in range(NUM)], expected)
    skipped = [e['data_samples']['skipped_idx'] for e in expected]
    assert [i for i in skipped if i >= 0] == list(broken)
    with pytest.warns(UserWarning, match=f"Skipped: .*'{files[broken[0]]}'"):
        cached[broken[0]]
    # The same file without on_error='skip': an error where it is needed.
    strict = build(root, cache_dir)
    assert len(names(cache_dir)) == 1
    with pytest.raises(UnreadableImageError, match=str(files[broken[0]])):
        strict[broken[0]]


def test_no_readable_image(root, cache_dir):
    for path in [*root.glob('*.png'), *root.glob('*.jpg')]:
        path.write_bytes(b'')
    with pytest.raises(InputError, match=r'None of the 7 .*0\.png'):
        build(root, cache_dir, on_error='skip')
    assert not names(cache_dir)


# Refused


@pytest.mark.parametrize(
    ('step', 'name'),
    [
        (dict(type='mmcv.RandomFlip', prob=0.5), 'RandomFlip'),
        (lambda results: results, 'function'),
        (type('Noisy', (LoadReIDImage,), {})(), 'Noisy'),
    ],
)
def test_other_steps_are_refused(root, cache_dir, step, name):
    with pytest.raises(ValueError, match=f'step 1 is {name}, .*random'):
        build(root, cache_dir, pipeline=[LOAD, step, PACK])
    assert not cache_dir.exists()


def test_pipeline_without_packing_is_refused(root, cache_dir):
    with pytest.raises(ValueError, match='needs .* PackReIDInputs'):
        build(root, cache_dir, pipeline=[LOAD, resize()])


@pytest.mark.parametrize(
    'pipeline', [[LOAD, PACK], [LOAD, resize(8, 12, keep_ratio=True), PACK]]
)
def test_images_of_different_sizes_are_refused(root, cache_dir, pipeline):
    with pytest.raises(ValueError, match=r"one size, but '.*1\.jpg'"):
        build(root, cache_dir, pipeline=pipeline)
    assert not names(cache_dir) and not names(cache_dir, '.part')
