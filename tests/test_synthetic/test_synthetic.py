import json
import os
import runpy
import subprocess
import sys
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat

from mmreid.datasets.dukemtmc_reid import DukeMTMCreID
from mmreid.datasets.market1501 import Market1501
from mmreid.datasets.msmt17 import MSMT17
from mmreid.datasets.prid2011 import PRID2011
from mmreid.datasets.viper import VIPeR
from mmreid.synthetic import (
    DOMAINS,
    Identity,
    Shot,
    contact_sheet,
    draw_pedestrian,
    draw_shots,
    identity_attributes,
    write_attributes,
    write_benchmark,
    write_dukemtmc,
    write_market1501,
    write_msmt17,
    write_prid,
    write_viper,
)
from mmreid.synthetic.colour import (
    PROTOTYPES,
    colour_name,
    lab_to_bgr,
)

SOURCE, TARGET = DOMAINS['source'], DOMAINS['target']
SMALL = dict(num_train_ids=2, num_test_ids=2, images_per_camera=1)
TINY = dict(size=(16, 32))
TOOL = Path(__file__).parents[2] / 'tools/dataset_converters/draw_synthetic.py'

# As listed in the official files.
MARKET_FIELDS = {
    'age', 'backpack', 'bag', 'handbag', 'clothes', 'down', 'up', 'hair',
    'hat', 'gender', 'upblack', 'upwhite', 'upred', 'uppurple', 'upyellow',
    'upgray', 'upblue', 'upgreen', 'downblack', 'downwhite', 'downpink',
    'downpurple', 'downyellow', 'downgray', 'downblue', 'downgreen',
    'downbrown',
}  # fmt: skip
DUKE_FIELDS = {
    'backpack', 'bag', 'handbag', 'boots', 'gender', 'hat', 'shoes', 'top',
    'downblack', 'downwhite', 'downred', 'downgray', 'downblue', 'downgreen',
    'downbrown', 'upblack', 'upwhite', 'upred', 'uppurple', 'upgray',
    'upblue', 'upgreen', 'upbrown',
}  # fmt: skip


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in Path(folder).rglob('*')
        if path.is_file()
    }


def draw(identity, camera, seed=0, **kwargs):
    return draw_pedestrian(
        identity, camera, np.random.default_rng(seed), **kwargs
    )


def plain_camera(domain=TARGET):
    return replace(
        domain.camera(0, 0), noise=0.0, blur=0.3, quality=95, occlusion=0.0,
        resolution=1.0, gains=(1, 1, 1), gamma=1.0, saturation=1.0,
        exposure=1.0, tilt=0.0,
    )  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(
    domain=st.sampled_from(sorted(DOMAINS)),
    seed=st.integers(0, 2**31),
    person=st.integers(0, 10**6),
    camera=st.integers(0, 14),
    size=st.sampled_from([(64, 128), (48, 128), (16, 16), (33, 70)]),
)
def test_image_is_a_pure_function(domain, seed, person, camera, size):
    domain = DOMAINS[domain]
    shots = [Shot('', person, camera, i) for i in range(2)]
    first, second = draw_shots(shots, domain, seed, size)
    assert first.shape == (size[1], size[0], 3) and first.dtype == np.uint8
    assert (first != second).any()  # another phase, light and noise
    # Drawn alone, and in a process that has drawn something else before.
    (alone,) = draw_shots(shots[1:], domain, seed, size)
    assert np.array_equal(second, alone)


def test_domains_share_no_identity_and_no_camera():
    people = [
        Identity.sample(domain, 0, i)
        for domain in DOMAINS.values()
        for i in range(60)
    ]
    assert len(set(people)) == len(people)
    cameras = [d.camera(0, c) for d in DOMAINS.values() for c in range(6)]
    assert len({c.gains for c in cameras}) == len(cameras)
    assert Identity.sample(TARGET, 0, 1) != Identity.sample(TARGET, 1, 1)


def test_equal_attributes_do_not_make_equal_people():
    people = [Identity.sample(TARGET, 0, i) for i in range(400)]
    fields = [tuple(sorted(identity_attributes(p).items())) for p in people]
    twins = [
        (a, b)
        for a, b in combinations(range(400), 2)
        if fields[a] == fields[b]
    ]
    assert twins
    camera = plain_camera()
    for a, b in twins:
        assert np.mean(
            np.abs(
                draw(people[a], camera, yaw=0.0).astype(int)
                - draw(people[b], camera, yaw=0.0)
            )
        ) > 1  # fmt: skip


def test_backpack_is_hidden_from_the_front():
    camera = plain_camera()
    who = replace(
        Identity.sample(TARGET, 0, 0), hair='short', bag=None, handbag=None
    )
    packed = replace(who, backpack=(50.0, 70.0, 50.0))
    bare = replace(who, backpack=None)

    def changed(yaw):
        pair = [draw(p, camera, yaw=yaw).astype(int) for p in (packed, bare)]
        return (np.abs(pair[0] - pair[1]).max(2) > 25).sum()

    assert changed(180) > 2 * changed(0)  # only its straps
    assert changed(90) > changed(0)


def test_views_and_crops():
    who, camera = Identity.sample(TARGET, 0, 3), plain_camera()
    front, side = (draw(who, camera, yaw=y) for y in (0.0, 90.0))
    assert (front != side).any()
    exact = draw(who, camera, yaw=0.0, crop_error=0.0)
    assert (exact != draw(who, camera, yaw=0.0, crop_error=0.2)).any()
    camera = replace(camera, views=(0.0, 0.0, 1.0, 0.0))
    rng = np.random.default_rng(0)
    yaws = [camera.sample_yaw(rng) for _ in range(200)]
    assert 175 < np.mean(yaws) < 185


def test_domains_differ():
    def mean(field, domain):
        values = [
            identity_attributes(Identity.sample(domain, 0, i))[field]
            for i in range(200)
        ]
        return np.mean(values)

    assert mean('up', TARGET) > mean('up', SOURCE) + 0.3  # short sleeves
    assert mean('down', TARGET) > mean('down', SOURCE) + 0.3  # short
    assert mean('downblack', SOURCE) > mean('downblack', TARGET)


def test_colour_names():
    for name, lab in PROTOTYPES:
        assert colour_name(lab) == name
    assert lab_to_bgr((0.0, 0.0, 0.0)) == (0, 0, 0)
    blue, green, red = lab_to_bgr((44.0, 58.0, 36.0))
    assert red > 2 * max(blue, green)


def test_market1501(tmp_path):
    folder = write_market1501(str(tmp_path), num_cameras=3, **SMALL, **TINY)
    names = os.listdir(f'{folder}/bounding_box_test')
    assert '0003_c1s1_000076_01.jpg' in names
    assert sum(n.startswith('-1_') for n in names) == 6
    assert sum(n.startswith('0000_') for n in names) == 6
    train = Market1501(str(tmp_path))
    assert len(train) == 6 and train.num_identities == 2
    query = Market1501(str(tmp_path), split='query')
    gallery = Market1501(str(tmp_path), split='gallery')
    pairs = [(d['person_id'], d['camera_id']) for d in query]
    assert sorted(pairs) == list(product((3, 4), range(3)))
    assert len(gallery) == 12  # junk is dropped, distractors stay
    image = cv2.imread(train[0]['img_path'])
    assert image.shape == (32, 16, 3)


def test_market1501_multi_query(tmp_path):
    kwargs = dict(num_cameras=2, **SMALL, **TINY)
    plain = files(write_market1501(str(tmp_path / 'plain'), **kwargs))
    assert 'multi_query_images' not in json.loads(plain['synthetic.json'])
    root = write_market1501(
        str(tmp_path / 'multi'), multi_query_images=3, **kwargs
    )
    drawn = files(root)
    boxes = {k: v for k, v in drawn.items() if k.startswith('gt_bbox/')}
    assert len(boxes) == 4 * 2 * 3  # training persons have boxes, too
    # All the rest is the same.
    rest = {k: v for k, v in drawn.items() if k not in boxes}
    assert rest.keys() == plain.keys()
    assert all(
        rest[k] == plain[k] for k in plain if k.endswith(('.jpg', '.mat'))
    )
    # The query is one of its boxes, the others are in no other part.
    images = list(rest.values())
    assert sum(box in images for box in boxes.values()) == 4 * 2
    for k in rest:
        if k.startswith('query/'):
            assert boxes[k.replace('query', 'gt_bbox')] == rest[k]
    query = Market1501(root, split='query', multi_query=True)
    views = [(d['person_id'], d['camera_id']) for d in query]
    assert sorted(views) == sorted(3 * list(product((3, 4), range(2))))


def test_dukemtmc(tmp_path):
    folder = write_dukemtmc(str(tmp_path), num_cameras=2, **SMALL, **TINY)
    assert '0001_c2_f0000051.jpg' in os.listdir(f'{folder}/bounding_box_train')
    splits = dict(train=4, query=4, gallery=4)
    for split, count in splits.items():
        assert len(DukeMTMCreID(str(tmp_path), split=split)) == count
    assert 'duke_attribute.mat' in os.listdir(folder)


def test_msmt17(tmp_path):
    write_msmt17(
        str(tmp_path), num_train_ids=3, num_test_ids=2, num_cameras=2, **TINY
    )
    folder = tmp_path / 'MSMT17_V1'
    lines = (folder / 'list_val.txt').read_text().splitlines()
    assert lines[0] == '0000/0000_003_02_0303morning_0033_0.jpg 0'
    train = MSMT17(str(tmp_path))
    assert len(train) == 12 and train.num_identities == 3
    assert MSMT17(str(tmp_path), combine_all=True).num_identities == 5
    assert len(MSMT17(str(tmp_path), split='query')) == 4
    assert len(MSMT17(str(tmp_path), split='gallery')) == 8
    for split in ('train', 'test'):
        dataset = MSMT17(str(tmp_path), split=split)
        assert all(os.path.isfile(d['img_path']) for d in dataset)


def test_viper(tmp_path):
    folder = Path(write_viper(str(tmp_path), num_ids=7, size=(16, 32)))
    a, b = (
        dict(n.split('.')[0].split('_') for n in os.listdir(folder / cam))
        for cam in ('cam_a', 'cam_b')
    )
    assert sorted(a) == sorted(b) == [
        '000', '001', '002', '004', '005', '006', '008'
    ]  # fmt: skip
    assert all(a[person] != b[person] for person in a)
    assert len(VIPeR(str(tmp_path))) == 14
    with pytest.raises(ValueError, match='num_ids is 750'):
        write_viper(str(tmp_path), num_ids=750)


def test_prid(tmp_path):
    folder = write_prid(
        str(tmp_path), num_view_a=201, num_view_b=202, size=(16, 16)
    )
    dataset = PRID2011(folder)
    assert len(dataset) == 400
    assert len(PRID2011(folder, split='gallery')) == 202


@pytest.mark.parametrize(
    'kind, expected', [('market', MARKET_FIELDS), ('duke', DUKE_FIELDS)]
)
def test_attribute_file(tmp_path, kind, expected):
    people = [(f'{i:04d}', Identity.sample(TARGET, 0, i)) for i in range(80)]
    path = str(tmp_path / 'attribute.mat')
    write_attributes(path, kind, people[:50], people[50:])
    assert b'Created on' not in Path(path).read_bytes()  # no time of day
    struct = loadmat(path)[f'{kind}_attribute']
    assert struct.shape == (1, 1)
    orders = []
    for part, own in (('train', people[:50]), ('test', people[50:])):
        values = struct[part][0, 0]
        orders.append(values.dtype.names)
        assert values.shape == (1, 1)
        assert set(values.dtype.names) == expected | {'image_index'}
        index = values['image_index'][0, 0]
        assert index.shape == (1, len(own))
        assert [str(cell[0]) for cell in index[0]] == [n for n, _ in own]
        for field in expected:
            column = values[field][0, 0]
            assert column.dtype == np.uint8 and column.shape == index.shape
            allowed = {1, 2, 3, 4} if field == 'age' else {1, 2}
            assert set(column[0].tolist()) <= allowed
            assert column[0].tolist() == [
                identity_attributes(p)[field] for _, p in own
            ]
    assert orders[0] != orders[1]  # as in the official files


def test_attribute_values():
    who = replace(
        Identity.sample(TARGET, 0, 0), female=True, age=4, hair='long',
        top='tshirt', sleeve=0.4, hem=0.05, bottom='trousers', leg=1.0,
        hat='cap', backpack=None, bag=(50.0, 0.0, 0.0), handbag=None,
    )  # fmt: skip
    who = replace(who, upper=replace(who.upper, lab=(44, 58, 36)))
    who = replace(who, upper=replace(who.upper, pattern='plain'))
    values = identity_attributes(who)
    expected = dict(
        gender=2, age=4, hair=2, up=2, down=1, clothes=2, top=1, hat=2,
        backpack=1, bag=2, handbag=1, upred=2, upwhite=1,
    )  # fmt: skip
    assert {k: values[k] for k in expected} == expected
    assert identity_attributes(replace(who, top='dress'))['clothes'] == 1
    with pytest.raises(ValueError, match="expected 'market' or 'duke'"):
        write_attributes('x.mat', 'msmt', [], [])


def test_benchmark_is_drawn_once(tmp_path):
    kwargs = dict(
        source_ids=2, target_train_ids=1, target_test_ids=1,
        images_per_camera=(1, 1), **TINY,
    )  # fmt: skip
    _, target = write_benchmark(str(tmp_path), **kwargs)
    assert MSMT17(str(tmp_path)).num_identities == 2
    assert Market1501(str(tmp_path)).num_identities == 1
    before = files(tmp_path)
    victim = Path(target, 'query/0002_c1s1_000051_01.jpg')
    victim.write_bytes(b'mark')
    write_benchmark(str(tmp_path), **kwargs)
    assert victim.read_bytes() == b'mark'  # not drawn again
    # An interrupted drawing is: its stamp does not say finished.
    stamp = Path(target, 'synthetic.json')
    stamp.write_text(json.dumps(dict(json.loads(stamp.read_text()),
                                     finished=False)))  # fmt: skip
    write_benchmark(str(tmp_path), **kwargs)
    assert files(tmp_path) == before
    write_benchmark(str(tmp_path), seed=1, **kwargs)
    assert set(files(tmp_path)) == set(before)
    after = files(tmp_path)
    assert all(after[k] != before[k] for k in before if k.endswith('.jpg'))


def test_real_data_is_never_overwritten(tmp_path):
    query = tmp_path / 'Market-1501-v15.09.15' / 'query'
    query.mkdir(parents=True)
    (query / '0001_c1s1_001051_00.jpg').write_bytes(b'real')
    with pytest.raises(FileExistsError, match='choose another root'):
        write_market1501(str(tmp_path), **SMALL)
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize(
    'kwargs, message',
    [
        (dict(num_train_ids=0), 'num_train_ids is 0, expected 1 or more'),
        (dict(num_train_ids=9999), 'four digits'),
        (dict(num_cameras=7), 'expected 1 to 6'),
        (dict(seed=-1), 'seed is -1, expected 0 or more'),
        (dict(multi_query_images=-1), 'multi_query_images is -1'),
    ],
)
def test_bad_arguments(tmp_path, kwargs, message):
    with pytest.raises(ValueError, match=message):
        write_market1501(str(tmp_path), **kwargs)
    assert not list(tmp_path.iterdir())


def test_too_small_a_picture():
    with pytest.raises(ValueError, match='at least 16'):
        draw(None, plain_camera(), size=(8, 16))


def test_contact_sheet():
    sheet = contact_sheet(people=2, size=(16, 32))
    assert sheet.shape == (64, 192, 3)
    shots = [Shot('', 1, 2, 0)]
    (image,) = draw_shots(shots, TARGET, size=(16, 32))
    assert np.array_equal(sheet[32:, 128:144], image)


def test_tool_in_another_process(tmp_path):
    out, sheet = tmp_path / 'out', tmp_path / 'sheet.png'
    arguments = (
        f'--layout market1501 --out {out} --train-ids 1 --test-ids 1 '
        '--images-per-camera 1 --cameras 1 --size 16 32 --seed 3 '
        f'--contact-sheet {sheet}'
    )
    done = subprocess.run(
        [sys.executable, str(TOOL), *arguments.split()],
        capture_output=True,
        text=True,
        env=dict(
            os.environ, PYTHONPATH=str(TOOL.parents[2]), PYTHONHASHSEED='1'
        ),
    )
    assert done.returncode == 0, done.stderr
    assert cv2.imread(str(sheet)).shape == (96, 192, 3)
    here = write_market1501(
        str(tmp_path / 'here'), num_train_ids=1, num_test_ids=1,
        images_per_camera=1, num_cameras=1, seed=3, **TINY,
    )  # fmt: skip
    there = files(out / 'Market-1501-v15.09.15')
    images = {k: v for k, v in files(here).items() if k.endswith('.jpg')}
    assert images and images == {k: there[k] for k in images}


@pytest.mark.parametrize(
    'arguments, message',
    [
        ('', 'nothing to do'),
        ('--layout viper', 'needs --out'),
        ('--layout viper --out {} --cameras 3', '--cameras does not apply'),
        ('--layout viper --out {} --ids 0', 'num_ids is 0'),
        ('--contact-sheet {}/none/sheet.png', "Cannot write '"),
    ],
)
def test_tool_errors(tmp_path, monkeypatch, capsys, arguments, message):
    arguments = arguments.format(tmp_path).split()
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *arguments])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(TOOL), run_name='__main__')
    assert message in f'{stopped.value} {capsys.readouterr().err}'
    assert not list(tmp_path.iterdir())
