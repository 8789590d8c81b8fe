import struct
import zlib

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate
from torch.utils.data import DataLoader

from mmreid.datasets import ReIDManifest
from mmreid.datasets.transforms import (
    LoadReIDImage,
    PackReIDInputs,
    UnreadableImageError,
)
from mmreid.datasets.transforms.loading import image_size

PIPELINE = [
    dict(type='LoadReIDImage'),
    dict(type='Resize', scale=(8, 16)),  # (width, height)
    dict(type='PackReIDInputs'),
]


def image(seed=0, height=32, width=16):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def manifest(tmp_path):
    lines = ['path,person_id,camera_id']
    for i in range(4):
        cv2.imwrite(str(tmp_path / f'{i}.png'), image(i))
        lines.append(f'{i}.png,{i // 2},{i % 2}')
    (tmp_path / 'list.csv').write_text('\n'.join(lines))
    return str(tmp_path / 'list.csv')


def test_load_is_bgr_uint8(tmp_path):
    path = str(tmp_path / 'a.png')
    cv2.imwrite(path, image())
    results = LoadReIDImage()(dict(img_path=path))
    assert np.array_equal(results['img'], image())
    assert results['img_shape'] == results['ori_shape'] == (32, 16)


@pytest.mark.parametrize('kind', ['grey', 'alpha'])
def test_load_gives_three_channels(tmp_path, kind):
    path = str(tmp_path / 'a.png')
    stored = (
        image()[..., 0]
        if kind == 'grey'
        else np.dstack([image(), image()[..., 0]])
    )
    cv2.imwrite(path, stored)
    assert LoadReIDImage()(dict(img_path=path))['img'].shape == (32, 16, 3)


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.bmp'])
@pytest.mark.parametrize('kept', [0.0, 0.1, 0.5, 0.99])
def test_cut_off_files_are_refused(tmp_path, suffix, kept):
    content = cv2.imencode(suffix, image(0, 128, 64))[1].tobytes()
    path = tmp_path / f'a{suffix}'
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(UnreadableImageError, match=f"'{path}' cannot be read"):
        LoadReIDImage()(dict(img_path=str(path)))


def test_cut_off_jpeg_does_not_depend_on_opencv(tmp_path, monkeypatch):
    # OpenCV 4 returns a picture with a grey part for such a file.
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: image())
    content = cv2.imencode('.jpg', image(0, 128, 64))[1].tobytes()
    path = tmp_path / 'a.jpg'
    path.write_bytes(content)
    LoadReIDImage()(dict(img_path=str(path)))
    path.write_bytes(content[:-2])
    with pytest.raises(UnreadableImageError, match='cut off'):
        LoadReIDImage()(dict(img_path=str(path)))


@pytest.mark.parametrize(
    ('content', 'reason'),
    [(None, 'No such file'), (b'', 'empty'), (b'no image', 'cannot decode')],
)
def test_reason_of_unreadable_files(tmp_path, content, reason):
    path = tmp_path / 'a.jpg'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=f'a.jpg.*{reason}'):
        LoadReIDImage()(dict(img_path=str(path)))


def png_of_one_colour(width, height):
    """One bit a pixel: not two hundredths of a kB for a million of them."""

    def chunk(kind, data):
        checksum = zlib.crc32(kind + data)
        return (
            struct.pack('>I', len(data))
            + kind
            + data
            + struct.pack('>I', checksum)
        )

    rows = bytes(1 + (width + 7) // 8) * height
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 1, 0, 0, 0, 0))
        + chunk(b'IDAT', zlib.compress(rows))
        + chunk(b'IEND', b'')
    )


def claim(content, width, height):
    """Another size in the head of a JPEG or a BMP."""
    if content[:2] == b'BM':
        size = struct.pack('<II', width, height)
        return content[:18] + size + content[26:]
    place = content.index(b'\xff\xc0') + 5
    size = struct.pack('>HH', height, width)
    return content[:place] + size + content[place + 4 :]


@pytest.mark.parametrize(
    ('suffix', 'content'),
    [
        ('png', png_of_one_colour(20_000, 20_000)),
        # So small that no rule on the file's size would look at them.
        ('png', png_of_one_colour(5_001, 5_000)),
        (
            'jpg',
            claim(cv2.imencode('.jpg', image())[1].tobytes(), *[9999] * 2),
        ),
        (
            'bmp',
            claim(cv2.imencode('.bmp', image())[1].tobytes(), *[9999] * 2),
        ),
        # Of a name that says another format.
        ('jpg', png_of_one_colour(20_000, 20_000)),
    ],
)
def test_an_image_of_too_many_pixels_is_not_decoded(
    tmp_path, monkeypatch, suffix, content
):
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('decoded'))
    path = tmp_path / f'a.{suffix}'
    path.write_bytes(content)
    width, height = image_size(content)
    with pytest.raises(
        UnreadableImageError,
        match=f"{path}' cannot be read: it has {width} x {height} pixels.*"
        'more than 25,000,000.*max_pixels',
    ):
        LoadReIDImage()(dict(img_path=str(path)))


def test_the_limit_of_pixels_can_be_set(tmp_path):
    path = str(tmp_path / 'a.png')
    cv2.imwrite(path, image())  # 32 x 16
    LoadReIDImage(max_pixels=512)(dict(img_path=path))
    with pytest.raises(UnreadableImageError, match='16 x 32 pixels.* 511'):
        LoadReIDImage(max_pixels=511)(dict(img_path=path))


@pytest.mark.parametrize(
    ('suffix', 'options'),
    [
        ('.png', []),
        ('.bmp', []),
        ('.tiff', []),
        ('.jpg', []),
        ('.jpg', [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        ('.jpg', [cv2.IMWRITE_JPEG_RST_INTERVAL, 1]),
    ],
)
def test_size_in_the_head(suffix, options):
    content = cv2.imencode(suffix, image(0, 50, 21), options)[1].tobytes()
    assert image_size(content) == (21, 50)
    if suffix == '.jpg':
        # A segment that holds another image, and bytes between the segments.
        inner = cv2.imencode('.jpg', image())[1].tobytes()
        size = (len(inner) + 2).to_bytes(2, 'big')
        content = b'\xff\xd8\xff\xff\xe1' + size + inner + b'ab' + content[2:]
        assert image_size(content) == (21, 50)
        assert cv2.imdecode(np.frombuffer(content, np.uint8), 1) is not None
        # A table before the frame, whose marker is among those of frames.
        table = b'\xff\xc4\x00\x0a' + bytes(8)
        assert image_size(content[:2] + table + content[2:]) == (21, 50)


def test_heads_of_no_image():
    jpeg = cv2.imencode('.jpg', image())[1].tobytes()
    for content in (b'', b'no image', b'\x89PNG\r\n\x1a\n', jpeg[:30]):
        assert image_size(content) is None


def test_pack():
    results = dict(
        img=image()[:, ::-1],  # a view that is not contiguous
        img_path='a',
        person_id=np.int64(3),
        camera_id=1,
        sample_idx=2,
        is_query=0,
    )
    item = PackReIDInputs()(results)
    assert set(item) == {'inputs', 'data_samples'}
    assert item['inputs'].dtype == torch.uint8
    assert item['inputs'].is_contiguous()
    expected = torch.from_numpy(image()).flip(1).permute(2, 0, 1)
    assert torch.equal(item['inputs'], expected)
    assert item['data_samples'] == dict(
        person_id=3, camera_id=1, sample_idx=2, is_query=0, skipped_idx=-1
    )
    assert all(type(v) is int for v in item['data_samples'].values())


def test_pack_attributes():
    results = dict(
        img=image(), person_id=0, camera_id=0, sample_idx=0, is_query=0
    )
    items = [
        PackReIDInputs()(results | dict(attributes=a))
        for a in [(1, 0, -1), (0, 0, 1)]
    ]
    attributes = default_collate(items)['data_samples']['attributes']
    assert attributes.dtype == torch.int64
    assert attributes.tolist() == [[1, 0, -1], [0, 0, 1]]


@pytest.mark.parametrize(
    'img', [image().astype(np.float32), image()[..., 0], image()[..., :2]]
)
def test_pack_refuses_other_images(img):
    with pytest.raises(TypeError, match='uint8 image of shape'):
        PackReIDInputs()(
            dict(img=img, person_id=0, camera_id=0, sample_idx=0, is_query=0)
        )


def test_batches(manifest):
    dataset = ReIDManifest(manifest, pipeline=PIPELINE)
    batch = next(iter(DataLoader(dataset, 4, collate_fn=default_collate)))
    assert batch['inputs'].shape == (4, 3, 16, 8)
    assert batch['inputs'].dtype == torch.uint8
    samples = batch['data_samples']
    assert {v.dtype for v in samples.values()} == {torch.int64}
    assert samples['person_id'].tolist() == [0, 0, 1, 1]
    assert samples['camera_id'].tolist() == [0, 1, 0, 1]
    assert samples['sample_idx'].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize('num_workers', [0, 1])
def test_broken_image_in_a_loader(manifest, tmp_path, num_workers):
    (tmp_path / '3.png').write_bytes(b'broken')

    def batch(on_error):
        dataset = ReIDManifest(manifest, on_error=on_error, pipeline=PIPELINE)
        loader = DataLoader(
            dataset, 4, num_workers=num_workers, collate_fn=default_collate
        )
        return next(iter(loader))

    with pytest.raises(UnreadableImageError, match='3.png'):
        batch('raise')
    if num_workers:
        samples = batch('skip')['data_samples']
    else:
        with pytest.warns(UserWarning, match='Skipped: .*3.png'):
            samples = batch('skip')['data_samples']
    assert samples['sample_idx'].tolist() == [0, 1, 2, 0]
    assert samples['skipped_idx'].tolist() == [-1, -1, -1, 3]
