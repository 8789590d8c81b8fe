import os
import re

import pytest

from mmreid.datasets import DomainDataset, ReIDFolder


@pytest.fixture
def crops(tmp_path):
    """Write empty files, and give their folder."""

    def write(*names):
        for name in names:
            path = tmp_path / 'crops' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return str(tmp_path / 'crops')

    return write


@pytest.fixture
def said(monkeypatch):
    """What is logged."""
    lines = []
    monkeypatch.setattr(
        'mmreid.datasets.folder.print_log',
        lambda text, logger: lines.append(text),
    )
    return lines


def rows_of(dataset, root):
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [
        (
            os.path.relpath(i['img_path'], root),
            i.get('person_id'),
            i['camera_id'],
        )
        for i in infos
    ]


def test_a_folder_per_camera(crops):
    root = crops(
        'yard/2.jpg',
        'yard/night/1.PNG',
        'door/9.jpeg',
        'hall/8.bmp',
        # No images, or hidden.
        'notes/read.txt',
        'hall/.8.jpg',
        'hall/.cache/7.jpg',
        '.git/6.jpg',
    )
    dataset = ReIDFolder(root)
    assert rows_of(dataset, root) == [
        ('door/9.jpeg', None, 0),
        ('hall/8.bmp', None, 1),
        ('yard/2.jpg', None, 2),
        ('yard/night/1.PNG', None, 2),
    ]
    assert dataset.num_cameras == dataset.metainfo['num_cameras'] == 3
    assert dataset.metainfo['camera_names'] == ['door', 'hall', 'yard']
    assert dataset.num_identities == 0 and not dataset.labelled


def test_what_the_log_says(crops, said):
    root = crops('yard/2.jpg', 'yard/1.jpg', 'door/9.jpg')
    ReIDFolder(root)
    assert said == [f"3 images in '{root}', 2 cameras: door (1), yard (2)."]
    said.clear()
    ReIDFolder(crops(*(f'{i:02}/1.jpg' for i in range(20))))
    assert '22 cameras' in said[0] and '19 (1), ...' in said[0]


def test_no_cameras(crops, said):
    root = crops('b.jpg', 'a.jpg', 'notes/read.txt')
    dataset = ReIDFolder(root)
    assert rows_of(dataset, root) == [('a.jpg', None, 0), ('b.jpg', None, 0)]
    assert dataset.num_cameras == 1
    assert 'one camera: there is neither a folder per camera' in said[0]


def test_a_pattern(crops):
    """Searched in the path below the folder, not in the folder's own."""
    root = crops('0007_c3_1.jpg', '0009_c1_2.jpg', 'c2/0007_c10_1.jpg')
    pattern = r'(?P<person>\d+)_c(?P<camera>\d+)_'
    dataset = ReIDFolder(root, pattern)
    assert rows_of(dataset, root) == [
        ('0007_c3_1.jpg', None, 2),
        ('0009_c1_2.jpg', None, 0),
        ('c2/0007_c10_1.jpg', None, 1),
    ]
    assert dataset.metainfo['camera_names'] == ['1', '10', '3']
    dataset = ReIDFolder(root, pattern, labelled=True)
    assert [row[1] for row in rows_of(dataset, root)] == [0, 1, 0]
    assert dataset.num_identities == 2
    by_folder = ReIDFolder(root, r'^(?P<camera>c2/|)')
    assert [row[2] for row in rows_of(by_folder, root)] == [0, 0, 1]
    # It is one of the domains.
    target = dict(type='ReIDFolder', data_root=root, pattern=pattern)
    domain = DomainDataset(target=target).domains['target']
    assert (domain.num_cameras, domain.labelled) == (3, False)


def test_linked_folders(crops, tmp_path):
    """A camera's folder may be elsewhere."""
    root = crops('door/1.jpg')
    (tmp_path / 'disk' / 'day').mkdir(parents=True)
    (tmp_path / 'disk' / 'day' / '2.jpg').touch()
    os.symlink(tmp_path / 'disk', os.path.join(root, 'yard'))
    assert rows_of(ReIDFolder(root), root) == [
        ('door/1.jpg', None, 0),
        ('yard/day/2.jpg', None, 1),
    ]


def test_no_images(crops, tmp_path):
    with pytest.raises(FileNotFoundError, match="'nowhere' .* is no folder"):
        ReIDFolder('nowhere')
    root = crops('cam1/1.tif', '.cam2/2.jpg')
    with pytest.raises(
        FileNotFoundError,
        match=r"'.*crops' .* no image \(.bmp, .jpeg, .jpg, .png\)",
    ):
        ReIDFolder(root)


def test_links_to_nothing(crops, tmp_path):
    root = crops('door/1.jpg')
    (tmp_path / 'crops/door/2.jpg').symlink_to('1.jpg')
    assert len(ReIDFolder(root)) == 2
    (tmp_path / 'crops/door/3.jpg').symlink_to('gone.jpg')
    with pytest.raises(FileNotFoundError, match='1 of 3 images.*3.jpg'):
        ReIDFolder(root)


@pytest.mark.parametrize(
    'pattern, labelled, message',
    [
        ('c(', False, "pattern 'c(' .*no regular expression: missing )"),
        (r'c(\d)', False, "has no group 'camera', such as '(?P<camera>"),
        (r'(?P<camera>\d)', True, "no group 'person', .* labelled=True needs"),
        (('?P<camera>c',), False, 'must be a string, got (.*--cfg-options'),
        (None, True, "without a pattern that has a group 'person'"),
    ],
)
def test_bad_patterns(crops, pattern, labelled, message):
    message = re.escape(message).replace(r'\.\*', '.*')
    with pytest.raises(ValueError, match=message.replace(r'\ ', ' ')):
        ReIDFolder(crops('c1/1.jpg'), pattern, labelled)


def test_paths_that_do_not_match(crops):
    root = crops('c1_1.jpg', 'b.jpg', 'x/d.jpg', 'a.jpg', 'c.jpg')
    with pytest.raises(
        ValueError,
        match='no camera for 4 of the 5 images in .*crops.*: '
        "'a.jpg', 'b.jpg', 'c.jpg', ...",
    ):
        ReIDFolder(root, r'c(?P<camera>\d)')
    # The group is optional in the pattern, but not to us.
    pattern = r'(c(?P<camera>\d)_)?(?P<person>\d)?'
    with pytest.raises(ValueError, match='no camera or no person for 4 of'):
        ReIDFolder(root, pattern, labelled=True)


def test_images_beside_the_cameras(crops):
    root = crops('cam1/1.jpg', 'b.jpg', 'a.jpg')
    with pytest.raises(
        ValueError, match="2 images lie in .*crops' itself.*: 'a.jpg', 'b.jpg'"
    ):
        ReIDFolder(root)
    dataset = ReIDFolder(root, r'^(?P<camera>[a-z]+\d?)')
    assert dataset.metainfo['camera_names'] == ['a', 'b', 'cam1']


def test_nothing_to_test(crops):
    root = crops('cam1/1.jpg')
    for split in ('query', 'gallery', 'test'):
        with pytest.raises(ValueError, match='ReIDFolder has no .*query|gall'):
            ReIDFolder(root, split=split)
    with pytest.raises(ValueError, match='no identities to validate on'):
        ReIDFolder(root, val_identities=5)


def test_validation_of_who_has_labels(crops):
    names = [f'{p}_c{c}_{i}.jpg' for p in 'abc' for c in '12' for i in '12']
    arguments = dict(
        data_root=crops(*names),
        pattern=r'(?P<person>\w)_c(?P<camera>\d)',
        labelled=True,
        val_identities=1,
    )
    train = ReIDFolder(**arguments)
    val = ReIDFolder(split='val', **arguments)
    assert (len(train), len(val)) == (8, 4)
    assert sum(val.get_data_info(i)['is_query'] for i in range(4)) == 2
