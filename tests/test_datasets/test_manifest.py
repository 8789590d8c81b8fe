import csv
import json
import os
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from mmreid.datasets import ReIDManifest
from mmreid.datasets.manifest import _numbering
from mmreid.errors import InputError

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


PROTOCOL_NAMES = [
    '1_001_1_01.png',
    '1_001_2_06.png',
    '1_002_1_01.png',
    '1_002_1_02.png',
    '5_044_2_10.png',
    '5_044_1_03.png',
]


def write_protocol(folder, **changes):
    """The new protocol of six images, as MATLAB writes it: persons 1, 2, 3;
    the first trains, the others are tested; the fourth image is unused."""
    filelist = np.empty((len(PROTOCOL_NAMES), 1), object)
    filelist[:, 0] = PROTOCOL_NAMES
    content = dict(
        filelist=filelist,
        labels=np.array([[1, 1, 2, 2, 3, 3]], np.uint16).T,
        camId=np.array([[1, 2, 1, 1, 2, 1]], np.uint8).T,
        train_idx=np.array([[1], [2]], np.uint8),
        query_idx=np.array([[6]], np.uint8),
        gallery_idx=np.array([[3], [5]], np.uint8),
    )
    content.update(changes)
    file = folder / 'cuhk03_new_protocol_config_labeled.mat'
    savemat(file, {k: v for k, v in content.items() if v is not None})
    return file


def touch_images(folder, names=PROTOCOL_NAMES):
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()


def test_cuhk03_new_protocol(tmp_path, monkeypatch, capsys):
    # In several folders, and one that no part lists is not there.
    images = tmp_path / 'cuhk03' / 'images_labeled'
    touch_images(images, PROTOCOL_NAMES[:3])
    touch_images(images / 'more', PROTOCOL_NAMES[4:] + ['Thumbs.db'])
    file = write_protocol(tmp_path)
    out = tmp_path / 'cuhk03' / 'new.csv'
    convert(monkeypatch, tmp_path / 'cuhk03', out, '--protocol', file)
    text = capsys.readouterr().out
    assert 'train: 2 images of 1 persons' in text
    assert 'gallery: 2 images of 2 persons' in text
    tmp_path.joinpath('cuhk03').rename(tmp_path / 'moved')
    out = str(tmp_path / 'moved' / 'new.csv')
    train = ReIDManifest(out)
    assert rows_of(train) == [
        ('1_001_1_01.png', 0, 0),
        ('1_001_2_06.png', 0, 1),
    ]
    assert train.num_cameras == 2
    assert rows_of(ReIDManifest(out, split='test')) == [
        ('5_044_1_03.png', 3, 0),
        ('1_002_1_01.png', 2, 0),
        ('5_044_2_10.png', 3, 1),
    ]


def test_cuhk03_new_protocol_missing_images(tmp_path, monkeypatch):
    touch_images(tmp_path / 'images', PROTOCOL_NAMES[:1])
    file, out = write_protocol(tmp_path), tmp_path / 'out.csv'
    with pytest.raises(SystemExit) as error:
        convert(monkeypatch, tmp_path, out, '--protocol', file)
    message = str(error.value)
    assert f"4 of 5 images of '{file}' are not below '{tmp_path}'" in message
    shown = ['1_001_2_06.png', '5_044_1_03.png', '1_002_1_01.png']
    assert str(shown) in message
    assert not out.exists()


def test_cuhk03_new_protocol_needs_one_kind_of_box(tmp_path, monkeypatch):
    """Labelled and detected boxes have the same names."""
    for kind in ('labeled', 'detected'):
        touch_images(tmp_path / f'images_{kind}')
    file, out = write_protocol(tmp_path), tmp_path / 'out.csv'
    with pytest.raises(SystemExit, match="'1_001_1_01.png' is more than once"):
        convert(monkeypatch, tmp_path, out, '--protocol', file)
    convert(monkeypatch, tmp_path / 'images_detected', out, '--protocol', file)
    assert 'images_labeled' not in out.read_text()


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(camId=None), "KeyError: 'camId'"),
        (dict(labels=['a', 'b']), 'ValueError'),
        (dict(labels=[1, 2]), '6 images, 2 labels and 6 cameras'),
        (dict(query_idx=[]), 'a part without images'),
        (dict(query_idx=[0]), 'indices from 0 to 5 of 6 images'),
        (dict(query_idx=[7]), 'indices from 1 to 7 of 6 images'),
        (dict(query_idx=[5]), 'an image that is listed twice'),
        (dict(labels=[1, 1, 1, 2, 3, 3]), 'both trained on and tested'),
    ],
)
def test_cuhk03_new_protocol_bad_file(tmp_path, monkeypatch, changes, message):
    touch_images(tmp_path / 'images')
    file, out = write_protocol(tmp_path, **changes), tmp_path / 'out.csv'
    with pytest.raises(SystemExit, match=message) as error:
        convert(monkeypatch, tmp_path, out, '--protocol', file)
    assert f"--protocol '{file}'" in str(error.value)
    assert not out.exists()


def test_cuhk03_new_protocol_no_file(tmp_path, monkeypatch):
    out = tmp_path / 'out.csv'
    with pytest.raises(SystemExit, match="'no.mat' does not exist"):
        convert(monkeypatch, tmp_path, out, '--protocol', 'no.mat')
    broken = tmp_path / 'broken.mat'
    broken.write_text('<html>')
    with pytest.raises(SystemExit, match='is no file of the new protocol'):
        convert(monkeypatch, tmp_path, out, '--protocol', broken)
    with pytest.raises(SystemExit, match="root 'no' is no folder"):
        convert(monkeypatch, 'no', out, '--protocol', broken)


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


@pytest.mark.parametrize('suffix', ['csv', 'jsonl'])
def test_unlabelled_images_need_no_persons(tmp_path, suffix):
    for name in 'ab':
        (tmp_path / f'{name}.png').write_bytes(b'')
    file = tmp_path / f'crops.{suffix}'
    file.write_text(
        'path,camera_id\na.png,1\nb.png,x\n'
        if suffix == 'csv'
        else '{"path": "a.png", "camera_id": 1}\n'
        '{"path": "b.png", "camera_id": "x"}\n'
    )
    dataset = ReIDManifest(str(file), labelled=False)
    infos = [dataset.get_data_info(i) for i in range(2)]
    assert not any('person_id' in info for info in infos)
    assert [info['camera_id'] for info in infos] == [0, 1]
    assert dataset.num_identities == 0
    column = f"'{file}' has no column 'person_id'.*"
    for kwargs in (
        dict(labelled=True),
        dict(labelled=True, split='query'),
        dict(labelled=False, val_identities=1),
        dict(labelled=False, val_identities=1, split='val'),
    ):
        with pytest.raises(InputError, match=column + 'labelled=False'):
            ReIDManifest(str(file), **kwargs)


def test_persons_of_some_rows_only(tmp_path):
    file = tmp_path / 'crops.jsonl'
    file.write_text(
        '{"path": "a.png", "person_id": 1, "camera_id": 1}\n'
        '{"path": "b.png", "camera_id": 1}\n'
    )
    with pytest.raises(InputError, match='line 2: person_id must be in all'):
        ReIDManifest(str(file), labelled=False)


def test_a_file_in_another_encoding(tmp_path):
    file = tmp_path / 'crops.csv'
    file.write_bytes('path,camera_id\nMüller.png,1\n'.encode('latin-1'))
    with pytest.raises(InputError, match=r'no \.csv file in UTF-8'):
        ReIDManifest(str(file), labelled=False)
