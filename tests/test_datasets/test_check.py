"""Every fault that tools/check_dataset.py looks for, alone and together."""

import json
import os.path as osp

import cv2
import numpy as np
import pytest
import tiny_mar
from mmengine.config import Config

from mmreid.datasets.check import (
    ImagePart,
    check_images,
    parts_of_config,
    parts_of_folder,
)

TOOL = osp.join(tiny_mar.ROOT, 'tools/check_dataset.py')


def write(path, seed, height=32, width=16):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    cv2.imwrite(str(path), image)
    return str(path)


@pytest.fixture
def folder(tmp_path):
    """Five images of two cameras, none of them at fault."""
    for i in range(5):
        write(tmp_path / f'crops/{["door", "yard"][i % 2]}/{i}.png', i)
    return tmp_path / 'crops'


def check(folder):
    report = check_images(parts_of_folder(str(folder)))
    (part,) = report.parts
    return report, part


def test_nothing_is_wrong(folder, run_main, tmp_path, capsys):
    report, part = check(folder)
    assert (part.name, part.num_images, part.num_persons) == ('crops', 5, None)
    assert part.cameras == dict(door=3, yard=2)
    assert not report.problems and not report.notes
    assert run_main(TOOL, folder, '--out', tmp_path / 'a.json') == 0
    out = capsys.readouterr().out
    assert out.rstrip().endswith('Verdict: fine, 0 notes')
    assert 'door: 3, yard: 2' in out
    written = json.loads((tmp_path / 'a.json').read_text())
    assert written == json.loads(json.dumps(report.to_dict()))


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'', 'the file is empty'),
        (b'no image', 'OpenCV cannot decode'),
        (None, 'No such file'),
    ],
)
def test_unreadable_images(folder, run_main, capsys, content, reason):
    path = folder / 'door/bad.png'
    if content is None:
        path.symlink_to('nothing.png')
    else:
        path.write_bytes(content)
    report, part = check(folder)
    assert [*part.unreadable] == [str(path)]
    assert reason in part.unreadable[str(path)]
    (problem,) = report.problems
    assert problem.startswith(f"crops: 1 unreadable images: '{path}' (")
    assert run_main(TOOL, folder) == 1
    assert 'Verdict: 1 problems, 0 notes' in capsys.readouterr().out


def test_unreadable_images_are_no_duplicates(folder):
    for name in 'ab':
        (folder / f'door/{name}.png').write_bytes(b'')
    report, part = check(folder)
    assert len(part.unreadable) == 2 and not part.duplicates
    assert len(report.problems) == 1 and not report.notes


def test_oversized_images(folder):
    paths = parts_of_folder(str(folder))[0].paths
    parts = [ImagePart('a', paths, ['1'] * 5, max_pixels=511)]
    report = check_images(parts)
    assert report.parts[0].oversized == dict.fromkeys(paths, '16 x 32')
    assert report.problems[0].startswith('a: 5 oversized images')


def test_duplicates_and_shapes_are_notes(folder, run_main, tmp_path):
    (folder / 'yard/copy.png').write_bytes(
        (folder / 'door/0.png').read_bytes()
    )
    for name, size in dict(
        wide=(15, 16), high=(65, 16), right=(64, 16)
    ).items():
        write(folder / f'yard/{name}.png', 77, *size)
    report, part = check(folder)
    first, *rest = part.duplicates
    assert [osp.basename(p) for p in first] == ['0.png', 'copy.png']
    assert not rest
    names = [osp.basename(path) for path in part.odd_shapes]
    assert names == ['high.png', 'wide.png']
    assert not report.problems and len(report.notes) == 2
    assert run_main(TOOL, folder) == 0


def test_the_same_image_in_two_parts(folder):
    paths = parts_of_folder(str(folder))[0].paths
    report = check_images(
        [
            ImagePart('a', paths[:3], ['1'] * 3),
            # A link, or a file that is named twice, is the same image, too.
            ImagePart('b', paths[2:], ['1'] * 3),
        ]
    )
    assert report.problems == [
        f"1 images are both in a and in b, byte by byte: '{paths[2]}'"
    ]


@pytest.mark.parametrize('split', ['train', 'gallery'])
def test_the_same_image_as_two_persons(folder, split):
    (folder / 'door/9.png').write_bytes((folder / 'door/0.png').read_bytes())
    paths = parts_of_folder(str(folder))[0].paths
    part = ImagePart('a', paths, ['1'] * 6, [*range(6)], split)
    report = check_images([part])
    said = report.notes if split == 'train' else report.problems
    assert any('1 images are there as two persons' in text for text in said)
    part.persons = [1] * 6
    assert 'two persons' not in str(check_images([part]))


def test_persons_and_queries(folder):
    paths = parts_of_folder(str(folder))[0].paths
    train = ImagePart('a', paths[:3], ['1', '2', '1'], [7, 7, 8])
    report = check_images([train])
    assert report.parts[0].one_camera_persons == 1
    assert report.notes == ['a: one camera alone saw 1 of 2 persons']
    query = ImagePart('q', paths[:2], ['1', '2'], [7, 8], 'query')
    gallery = ImagePart('g', paths[2:], ['2', '2', '3'], [7, 8, 9], 'gallery')
    report = check_images([query, gallery])
    assert report.parts[0].unmatched_queries == [paths[1]]
    assert not report.problems
    assert report.notes[0].startswith('q: 1 of 2 have no image of their')
    gallery.persons = [9, 8, 9]
    assert check_images([query, gallery]).problems[0].startswith('q: 2 of 2')


def test_a_config(benchmark, tiny_config, run_main, tmp_path, capsys):
    cfg = tiny_config()
    parts, problems = parts_of_config(cfg)
    report = check_images(parts, problems)
    rows = [(p.name, p.num_images, p.num_persons) for p in report.parts]
    assert rows == [
        ('source market1501', 24, 6),
        ('target market1501', 21, None),
        ('test query', 5, 5),
        ('test gallery', 18, 6),
    ]
    # As the data set's authors number them.
    assert report.parts[1].cameras == {'1': 7, '2': 7, '3': 7}
    # This data set has its queries in the gallery, too.
    (note,) = report.notes
    assert note.startswith('5 images are both in test query and in test gal')
    assert not report.problems
    parts[-1].cameras = ['4'] * 18
    assert len(check_images(parts).problems) == 1
    # A limit of its own, no cache, and data sets that are not there.
    domains = cfg.train_dataloader.dataset
    domains.pipeline[0].max_pixels = 100
    domains.source.cache_dir = str(tmp_path / 'cache')
    domains.target.data_root = str(tmp_path / 'gone')
    cfg.test_dataloader.dataset.data_root = str(tmp_path / 'lost')
    file = tmp_path / 'config.py'
    cfg.dump(str(file))
    assert run_main(TOOL, file) == 1
    out = capsys.readouterr().out
    assert 'source market1501: 24 oversized images' in out
    assert f"target cannot be listed: data_root '{tmp_path}/gone'" in out
    assert f"test cannot be listed: data_root '{tmp_path}/lost'" in out
    assert 'Verdict: 3 problems' in out
    assert not (tmp_path / 'cache').exists()


def test_a_config_without_data():
    with pytest.raises(ValueError, match='names no data set'):
        parts_of_config(Config(dict(model=dict(type='MAR'))))
