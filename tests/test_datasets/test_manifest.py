import csv
import json
import os
import runpy
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmreid.datasets import ReIDManifest
from mmreid.datasets.manifest import _numbering

# No time limit: a busy machine must not fail a test.
SETTINGS = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
CONVERTER = (
    Path(__file__).parents[2]
    / 'tools/dataset_converters/cuhk03_to_manifest.py'
)
HEADER = ('path', 'person_id', 'camera_id', 'split')


def write(folder, rows, suffix='csv', header=HEADER):
    """Write a manifest, and the images it lists."""
    file = folder / f'list.{suffix}'
    if suffix == 'csv':
        with open(file, 'w', newline='') as stream:
            csv.writer(stream).writerows([header, *rows])
    else:
        objects = [dict(zip(header, row, strict=False)) for row in rows]
        file.write_text('\n'.join(map(json.dumps, objects)))
    for row in rows:
        path = folder / str(row[0])
        path.parent.mkdir(exist_ok=True)
        if row[0]:
            path.touch()
    return file


def rows_of(dataset):
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [
        (Path(i['img_path']).name, i['person_id'], i['camera_id'])
        for i in infos
    ]


@pytest.mark.parametrize('suffix', ['csv', 'jsonl'])
def test_strings_and_splits(tmp_path, suffix):
    file = write(
        tmp_path,
        [
            ('img/b.jpg', 'bob', 'yard', 'train'),
            ('img/a.jpg', 'ann', 'door', 'train'),
            ('img/q.jpg', 'cy', 'hall', 'query'),
            ('img/g.jpg', 'cy', 'yard', 'gallery'),
            ('img/j.jpg', '-1', 'yard', 'gallery'),
        ],
        suffix,
    )
    train = ReIDManifest(str(file))
    assert rows_of(train) == [('a.jpg', 0, 0), ('b.jpg', 1, 2)]
    # All rows count, so 'hall' is camera 1 though 'train' lacks it.
    assert train.num_cameras == train.metainfo['num_cameras'] == 3
    test = ReIDManifest(str(file), split='test')
    assert rows_of(test) == [('q.jpg', 3, 1), ('g.jpg', 3, 2)]


@pytest.mark.parametrize('suffix', ['csv', 'jsonl'])
def test_integers_sort_as_numbers_and_no_split_is_train(tmp_path, suffix):
    rows = [('x.png', 10, 9), ('y.png', 9, 10), ('z.png', 0, 9)]
    file = write(tmp_path, rows, suffix, HEADER[:3])
    dataset = ReIDManifest(str(file))
    assert rows_of(dataset) == [
        ('x.png', 2, 0),
        ('y.png', 1, 1),
        ('z.png', 0, 0),
    ]
    with pytest.raises(ValueError, match="no row of split 'query'"):
        ReIDManifest(str(file), split='query')


@SETTINGS
@given(st.sets(st.text('ab-01', min_size=1) | st.integers().map(str)))
def test_numbering(values):
    numbers = _numbering(sorted(values))
    assert set(numbers) == values
    assert numbers.pop('-1', -1) == -1
    try:
        ordered = sorted(values - {'-1'}, key=int)
    except ValueError:
        ordered = sorted(values - {'-1'})
        assert len(set(numbers.values())) == len(numbers)
    assert sorted(numbers.values()) == [numbers[value] for value in ordered]


def test_byte_order_mark(tmp_path):
    file = write(tmp_path, [('x.png', 1, 1, 'train')])
    file.write_bytes(b'\xef\xbb\xbf' + file.read_bytes())
    assert len(ReIDManifest(str(file))) == 1


def test_data_root(tmp_path):
    file = write(tmp_path, [('x.png', 1, 1, 'train')])
    images = tmp_path / 'images'
    images.mkdir()
    (tmp_path / 'x.png').rename(images / 'x.png')
    assert len(ReIDManifest(str(file), data_root=str(images))) == 1
    with pytest.raises(FileNotFoundError, match='1 images .*x.png.*data_root'):
        ReIDManifest(str(file))


def test_missing_images_shows_three(tmp_path):
    rows = [(f'{i}.png', 1, 1, 'train') for i in range(5)]
    file = write(tmp_path, [*rows, ('q.png', 1, 2, 'query')])
    for i in range(4):
        (tmp_path / f'{i}.png').unlink()
    with pytest.raises(FileNotFoundError, match='4 images') as error:
        ReIDManifest(str(file))
    assert '2.png' in str(error.value) and '3.png' not in str(error.value)
    # The other parts can still be used.
    assert len(ReIDManifest(str(file), split='query')) == 1


@pytest.mark.parametrize(
    ('row', 'message'),
    [
        (('b.png', '', 1, 'train'), 'line 3: person_id must be a string'),
        (('b.png', 1, '', 'train'), 'line 3: camera_id must be a string'),
        (('', 1, 1, 'train'), 'line 3: path must be a string'),
        (('b.png', 1, 1, 'test'), 'line 3: split must be .* got .test'),
        (('b.png', 1), 'line 3: camera_id must be a string'),
    ],
)
def test_bad_csv_rows(tmp_path, row, message):
    file = write(tmp_path, [('a.png', 1, 1, 'train'), row])
    with pytest.raises(ValueError, match=message):
        ReIDManifest(str(file))


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('{"path": "a.png", ', 'line 2: expected an object .*no JSON'),
        ('[1, 2]', 'line 2: expected an object'),
        ('{"path": "a.png", "person_id": 1}', "line 2: column 'camera_id'"),
        (
            '{"path": "a.png", "person_id": 1.5, "camera_id": 1}',
            'line 2: person_id must be .* got 1.5',
        ),
        (
            '{"path": "a.png", "person_id": true, "camera_id": 1}',
            'line 2: person_id must be .* got True',
        ),
    ],
)
def test_bad_json_lines(tmp_path, line, message):
    file = write(tmp_path, [('a.png', 1, 1)], 'jsonl')
    file.write_text(file.read_text() + '\n' + line + '\n')
    with pytest.raises(ValueError, match=message):
        ReIDManifest(str(file))


def test_bad_files(tmp_path):
    with pytest.raises(ValueError, match='must end in .csv or .jsonl'):
        ReIDManifest(str(tmp_path / 'list.txt'))
    with pytest.raises(FileNotFoundError, match='list.csv.* not exist'):
        ReIDManifest(str(tmp_path / 'list.csv'))
    header = ('path', 'person_id', 'cam')
    file = write(tmp_path, [('a.png', 1, 1)], header=header)
    with pytest.raises(ValueError, match="'camera_id' is missing.*'cam'"):
        ReIDManifest(str(file))
    with pytest.raises(ValueError, match='has no row'):
        ReIDManifest(str(write(tmp_path, [])))


def convert(monkeypatch, *args):
    monkeypatch.setattr(sys, 'argv', [str(CONVERTER), *map(str, args)])
    runpy.run_path(str(CONVERTER), run_name='__main__')


def test_cuhk03_converter(tmp_path, monkeypatch):
    images = tmp_path / 'cuhk03' / 'labeled'
    images.mkdir(parents=True)
    for name in ('0000_04.jpg', '0000_05.jpg', '0012_09.jpg', '0012_00.jpg'):
        (images / name).touch()
    out = tmp_path / 'lists'
    out.mkdir()
    for root in (images, images.parent):
        convert(monkeypatch, root, out / 'cuhk03.csv')
        moved = tmp_path / 'moved'
        tmp_path.joinpath('cuhk03').rename(tmp_path / 'gone')
        with pytest.raises(FileNotFoundError):
            ReIDManifest(str(out / 'cuhk03.csv'))
        # Folder and manifest moved together still fit.
        moved.mkdir()
        tmp_path.joinpath('gone').rename(moved / 'cuhk03')
        out.rename(moved / 'lists')
        dataset = ReIDManifest(str(moved / 'lists' / 'cuhk03.csv'))
        assert rows_of(dataset) == [
            ('0000_04.jpg', 0, 0),
            ('0000_05.jpg', 0, 1),
            ('0012_00.jpg', 1, 0),
            ('0012_09.jpg', 1, 1),
        ]
        (moved / 'cuhk03').rename(tmp_path / 'cuhk03')
        (moved / 'lists').rename(out)
        moved.rmdir()


def test_cuhk03_converter_refuses_other_names(tmp_path, monkeypatch):
    (tmp_path / '0001_c1_10.jpg').touch()
    with pytest.raises(SystemExit, match='1 do not parse.*0001_c1_10.jpg'):
        convert(monkeypatch, tmp_path, tmp_path / 'out.csv')
    assert not (tmp_path / 'out.csv').exists()


@pytest.mark.real_data
def test_real_cuhk03_counts(tmp_path, monkeypatch):
    data = os.environ.get('MMREID_DATA')
    if not data:
        pytest.skip('MMREID_DATA does not name a folder of real data')
    root = Path(data) / 'cuhk03'
    if not root.is_dir():
        pytest.skip(f'{root} does not exist')
    convert(monkeypatch, root, tmp_path / 'cuhk03.csv')
    dataset = ReIDManifest(str(tmp_path / 'cuhk03.csv'))
    assert (len(dataset), dataset.num_identities) == (7_239, 743)
