"""Writes embedded pedestrians in the official folder layouts."""

import json
import multiprocessing
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import lru_cache, partial
from itertools import product
from typing import NamedTuple

import cv2
import numpy as np

from mmreid.errors import InputError

from .attributes import write_attributes
from .colour import seeded
from .domain import DOMAINS, Domain
from .identity import Identity
from .render import draw_pedestrian

STAMP = 'synthetic.json'
VERSION = 2  # raise it when the drawing changes
BAD_CROP = 0.22  # crop error of junk and distractors
CHUNK = 1000  # images that one process draws at a time
FORKS = hasattr(os, 'sched_getaffinity')  # Linux
DISTRACTOR = 10_000  # number of the first person that only distracts


class Shot(NamedTuple):
    """One image to draw, a pure function of these, a domain and a seed.

    Args:
        path (str): File, relative to the data set's folder.
        person (int, optional): Number of the identity; None for background.
        camera (int): Number of the camera, from 0.
        index (int): Number of the shot of this person and camera.
        yaw (float, optional): View angle; None draws it.
        crop_error (float, optional): None takes the camera's.
    """

    path: str
    person: int | None
    camera: int
    index: int
    yaw: float | None = None
    crop_error: float | None = None


def draw_shots(
    shots: Iterable[Shot],
    domain: Domain,
    seed: int = 0,
    size: tuple[int, int] = (64, 128),
) -> Iterator[np.ndarray]:
    """Draw images of a data set, one after the other.

    Args:
        shots (Iterable[Shot]): Who, where and which.
        domain (Domain): Where people and cameras come from.
        seed (int): Seed of the data set. Defaults to 0.
        size (tuple[int, int]): Width and height. Defaults to (64, 128).

    Yields:
        np.ndarray: uint8 BGR ``(height, width, 3)``.
    """
    camera = lru_cache(16)(partial(domain.camera, seed))
    identity = lru_cache(16)(partial(Identity.sample, domain, seed))
    for shot in shots:
        number = 0 if shot.person is None else 1 + shot.person
        yield draw_pedestrian(
            None if shot.person is None else identity(shot.person),
            camera(shot.camera),
            seeded(seed, domain.name, 'shot', number, *shot[2:4]),
            size,
            shot.yaw,
            shot.crop_error,
        )


class _Dataset:
    """A data set's folder that is drawn whole or not at all.

    Args:
        folder (str): Official folder.
        domain (Domain): Where people and cameras come from.
        seed (int): Seed.
        size (tuple[int, int]): Width and height.
        **counts (int): What else decides the content; each at least 1.
    """

    def __init__(self, folder, domain, seed, size, **counts) -> None:
        for name, count in counts.items():
            if count < 1:
                raise InputError(f'{name} is {count}, expected 1 or more.')
        if seed < 0:
            raise InputError(f'seed is {seed}, expected 0 or more.')
        self.folder, self.domain = folder, domain
        self.seed, self.size = seed, size
        self.stamp = json.loads(
            json.dumps(
                dict(
                    version=VERSION,
                    domain=asdict(domain),
                    seed=seed,
                    size=size,
                    **counts,
                )
            )
        )

    def people(self, names: Iterable[tuple[str, int]]) -> list:
        return [
            (name, Identity.sample(self.domain, self.seed, person))
            for name, person in names
        ]

    def begin(self) -> bool:
        """Whether there is something to draw; empties an old folder.

        Raises:
            FileExistsError: If the folder holds what was not drawn here.
        """
        stamp = os.path.join(self.folder, STAMP)
        if os.path.isfile(stamp):
            with open(stamp, encoding='utf-8') as file:
                if json.load(file) == dict(finished=True, **self.stamp):
                    return False
            shutil.rmtree(self.folder)
        elif os.path.isdir(self.folder) and os.listdir(self.folder):
            raise FileExistsError(
                f"'{self.folder}' holds files that were not drawn here (it "
                f'has no {STAMP}); choose another root.'
            )
        self._stamp(finished=False)
        return True

    def _stamp(self, finished: bool) -> None:
        os.makedirs(self.folder, exist_ok=True)
        path = os.path.join(self.folder, STAMP)
        with open(path + '.tmp', 'w', encoding='utf-8') as file:
            json.dump(dict(finished=finished, **self.stamp), file, indent=1)
        os.replace(path + '.tmp', path)

    def draw(self, shots: list[Shot]) -> None:
        """Draw and write the images, on all cores where that pays."""
        chunks = [shots[i : i + CHUNK] for i in range(0, len(shots), CHUNK)]
        cores = len(os.sched_getaffinity(0)) if FORKS else 1
        if min(cores, len(chunks)) == 1:
            for chunk in chunks:
                self._draw(chunk)
            return
        # Forked, so that a script needs no guard around its main part; a
        # drawing uses NumPy and OpenCV alone, whose state survives it.
        with multiprocessing.get_context('fork').Pool(cores) as pool:
            pool.map(self._draw, chunks, chunksize=1)

    def _draw(self, shots: list[Shot]) -> None:
        images = draw_shots(shots, self.domain, self.seed, self.size)
        for shot, image in zip(shots, images, strict=True):
            path = os.path.join(self.folder, shot.path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if not cv2.imwrite(path, image):
                raise OSError(f"Cannot write '{path}'; is the disk full?")

    def write(self, name: str, text: str) -> None:
        with open(
            os.path.join(self.folder, name), 'w', encoding='utf-8'
        ) as file:
            file.write(text)

    def finish(self) -> str:
        # Last, so that an interrupted drawing is never taken for a whole.
        self._stamp(finished=True)
        return self.folder


def _market_like(
    folder: str,
    kind: str,
    name: str,
    domain: Domain,
    num_train_ids: int,
    num_test_ids: int,
    images_per_camera: int,
    seed: int,
    num_cameras: int,
    size: tuple[int, int],
    distractors: bool,
    multi_query_images: int = 0,
) -> str:
    # Not in the stamp by default: folders drawn before it was there stay.
    optional = dict(multi_query_images=multi_query_images)
    dataset = _Dataset(
        folder,
        domain,
        seed,
        size,
        num_train_ids=num_train_ids,
        num_test_ids=num_test_ids,
        images_per_camera=images_per_camera,
        num_cameras=num_cameras,
        **(optional if multi_query_images else {}),
    )
    total = num_train_ids + num_test_ids
    if total > 9999:
        raise InputError(
            f'num_train_ids + num_test_ids is {total}, expected at most '
            '9999: the names have four digits.'
        )
    if not dataset.begin():
        return folder

    def path(part: str, pid: str, camera: int, index: int) -> str:
        return f'{part}/' + name.format(
            pid=pid, camera=camera + 1, frame=25 * index + 51, box=1
        )

    train = [(f'{p + 1:04d}', p) for p in range(num_train_ids)]
    test = [(f'{p + 1:04d}', p) for p in range(num_train_ids, total)]
    cameras = range(num_cameras)
    shots = [
        Shot(path('bounding_box_train', pid, c, i), p, c, i)
        for (pid, p), c, i in product(train, cameras, range(images_per_camera))
    ]
    for (pid, p), c, i in product(test, cameras, range(1 + images_per_camera)):
        part = 'query' if i == 0 else 'bounding_box_test'
        shots.append(Shot(path(part, pid, c, i), p, c, i))
    if distractors:
        for k, c in product(range(num_test_ids), cameras):
            # Half of the distractors show no person, the others strangers.
            person = DISTRACTOR + k if k % 2 else None
            shots.append(
                Shot(path('bounding_box_test', '0000', c, k), person, c, k)
            )
            shots.append(
                Shot(
                    path('bounding_box_test', '-1', c, k),
                    num_train_ids + k,
                    c,
                    images_per_camera + 1,
                    crop_error=BAD_CROP,
                )
            )
    # The query itself, then shots that are in no other part.
    last = images_per_camera + 1 + multi_query_images
    boxes = [0, *range(images_per_camera + 2, last)][:multi_query_images]
    for (pid, p), c, i in product(train + test, cameras, boxes):
        shots.append(Shot(path('gt_bbox', pid, c, i), p, c, i))
    dataset.draw(shots)
    write_attributes(
        os.path.join(folder, f'{kind}_attribute.mat'),
        kind,
        dataset.people(train),
        dataset.people(test),
    )
    return dataset.finish()


def write_market1501(
    root: str,
    domain: Domain = DOMAINS['target'],
    num_train_ids: int = 200,
    num_test_ids: int = 100,
    images_per_camera: int = 3,
    seed: int = 0,
    num_cameras: int = 6,
    size: tuple[int, int] = (64, 128),
    multi_query_images: int = 0,
) -> str:
    """Draw ``Market-1501-v15.09.15`` below ``root``.

    Each test person has one query per camera and ``images_per_camera``
    gallery images. As many junk images (id -1: bad crops of test persons)
    and distractors (id 0: background and strangers) as there are queries are
    in ``bounding_box_test``, ``market_attribute.mat`` in the folder itself.

    A folder that is already drawn with the same arguments is left alone; one
    that was drawn with others is drawn anew.

    Args:
        root (str): Folder to write below.
        domain (Domain): Where people and cameras come from. Defaults to the
            target domain.
        num_train_ids (int): Persons of the training part. Defaults to 200.
        num_test_ids (int): Persons of query and gallery. Defaults to 100.
        images_per_camera (int): Per person. Defaults to 3.
        seed (int): Seed. Defaults to 0.
        num_cameras (int): 1 to 6. Defaults to 6.
        size (tuple[int, int]): Width and height. Defaults to (64, 128).
        multi_query_images (int): Images of each person and camera in
            ``gt_bbox``, for the multi-query protocol; the first is that of
            ``query``. 0 leaves the folder out. Defaults to 0.

    Returns:
        str: The official folder.

    Raises:
        InputError: If an argument is out of range.
        FileExistsError: If the folder holds what was not drawn here.
    """
    _check_cameras(num_cameras, 6)
    return _market_like(
        os.path.join(root, 'Market-1501-v15.09.15'), 'market',
        '{pid}_c{camera}s1_{frame:06d}_{box:02d}.jpg', domain, num_train_ids,
        num_test_ids, images_per_camera, seed, num_cameras, size, True,
        multi_query_images,
    )  # fmt: skip


def write_dukemtmc(
    root: str,
    domain: Domain = DOMAINS['source'],
    num_train_ids: int = 200,
    num_test_ids: int = 100,
    images_per_camera: int = 3,
    seed: int = 0,
    num_cameras: int = 8,
    size: tuple[int, int] = (64, 128),
) -> str:
    """Draw ``DukeMTMC-reID`` below ``root``, with ``duke_attribute.mat``.

    It has neither junk nor distractors. See :func:`write_market1501`.
    """
    _check_cameras(num_cameras, 8)
    return _market_like(
        os.path.join(root, 'DukeMTMC-reID'), 'duke',
        '{pid}_c{camera}_f{frame:07d}.jpg', domain, num_train_ids,
        num_test_ids, images_per_camera, seed, num_cameras, size, False,
    )  # fmt: skip


def _check_cameras(num_cameras: int, most: int) -> None:
    if not 1 <= num_cameras <= most:
        raise InputError(
            f'num_cameras is {num_cameras}, expected 1 to {most} in this '
            'layout.'
        )


def write_msmt17(
    root: str,
    domain: Domain = DOMAINS['source'],
    num_train_ids: int = 300,
    num_test_ids: int = 20,
    images_per_camera: int = 2,
    seed: int = 0,
    num_cameras: int = 6,
    size: tuple[int, int] = (64, 128),
) -> str:
    """Draw ``MSMT17_V1`` with its four lists below ``root``.

    As in MSMT17 the test persons are numbered from 0 again, and the last
    shot of the last camera of every training person is in ``list_val.txt``.
    See :func:`write_market1501`.
    """
    _check_cameras(num_cameras, 15)
    folder = os.path.join(root, 'MSMT17_V1')
    dataset = _Dataset(
        folder, domain, seed, size, num_train_ids=num_train_ids,
        num_test_ids=num_test_ids, images_per_camera=images_per_camera,
        num_cameras=num_cameras,
    )  # fmt: skip
    if not dataset.begin():
        return folder
    lists = dict(train=[], val=[], query=[], gallery=[])
    shots = []
    last = (num_cameras - 1, images_per_camera - 1)
    for part, first, count, images in (
        ('train', 0, num_train_ids, images_per_camera),
        ('test', num_train_ids, num_test_ids, 1 + images_per_camera),
    ):
        for p, c, i in product(
            range(count), range(num_cameras), range(images)
        ):
            name = (
                f'{p:04d}/{p:04d}_{c * images + i:03d}_{c + 1:02d}'
                f'_0303morning_{25 * i + 8:04d}_0.jpg'
            )
            shots.append(Shot(f'{part}/{name}', first + p, c, i))
            if part == 'test':
                key = 'gallery' if i else 'query'
            else:
                key = 'val' if (c, i) == last != (0, 0) else 'train'
            lists[key].append(f'{name} {p}\n')
    dataset.draw(shots)
    for key, lines in lists.items():
        dataset.write(f'list_{key}.txt', ''.join(lines))
    return dataset.finish()


def write_viper(
    root: str,
    domain: Domain = DOMAINS['target'],
    num_ids: int = 632,
    seed: int = 0,
    size: tuple[int, int] = (48, 128),
) -> str:
    """Draw ``VIPeR`` with ``cam_a`` and ``cam_b`` below ``root``.

    One bitmap per person and camera, named after the person, whose numbers
    have gaps, and the view angle, which differs between the cameras.

    Args:
        root (str): Folder to write below.
        domain (Domain): Defaults to the target domain.
        num_ids (int): Persons, at most 749. Defaults to 632.
        seed (int): Seed. Defaults to 0.
        size (tuple[int, int]): Width and height. Defaults to (48, 128).

    Returns:
        str: The official folder.

    Raises:
        InputError: If an argument is out of range.
        FileExistsError: If the folder holds what was not drawn here.
    """
    if num_ids > 749:
        raise InputError(
            f'num_ids is {num_ids}, expected at most 749: the names have '
            'three digits.'
        )
    folder = os.path.join(root, 'VIPeR')
    dataset = _Dataset(folder, domain, seed, size, num_ids=num_ids)
    if not dataset.begin():
        return folder
    shots = []
    for p in range(num_ids):
        # Every fourth number is missing, as some are in VIPeR.
        number = p + p // 3
        angles = seeded(seed, domain.name, 'angle', p).permutation(5)[:2]
        for c, angle in enumerate(45 * angles):
            path = f'cam_{"ab"[c]}/{number:03d}_{angle}.bmp'
            shots.append(Shot(path, p, c, 0, yaw=float(angle)))
    dataset.draw(shots)
    return dataset.finish()


def write_prid(
    root: str,
    domain: Domain = DOMAINS['target'],
    num_view_a: int = 385,
    num_view_b: int = 749,
    seed: int = 0,
    size: tuple[int, int] = (64, 128),
) -> str:
    """Draw ``prid_2011/single_shot`` with its two views below ``root``.

    Persons 1 to 200 are the same in both views; beyond, a number means
    different persons.

    Args:
        root (str): Folder to write below.
        domain (Domain): Defaults to the target domain.
        num_view_a (int): Persons in view A. Defaults to 385.
        num_view_b (int): Persons in view B. Defaults to 749.
        seed (int): Seed. Defaults to 0.
        size (tuple[int, int]): Width and height. Defaults to (64, 128).

    Returns:
        str: The folder ``prid_2011``.

    Raises:
        InputError: If an argument is out of range.
        FileExistsError: If the folder holds what was not drawn here.
    """
    folder = os.path.join(root, 'prid_2011')
    dataset = _Dataset(
        folder, domain, seed, size, num_view_a=num_view_a,
        num_view_b=num_view_b,
    )  # fmt: skip
    if not dataset.begin():
        return folder
    shots = []
    for c, count in enumerate((num_view_a, num_view_b)):
        for p in range(count):
            path = f'single_shot/cam_{"ab"[c]}/person_{p + 1:04d}.png'
            stranger = c == 1 and p >= 200
            shots.append(Shot(path, p + DISTRACTOR * stranger, c, 0))
    dataset.draw(shots)
    return dataset.finish()


LAYOUTS = dict(
    market1501=write_market1501,
    dukemtmc=write_dukemtmc,
    msmt17=write_msmt17,
    viper=write_viper,
    prid=write_prid,
)


def write_benchmark(
    root: str,
    seed: int = 0,
    source_ids: int = 600,
    target_train_ids: int = 600,
    target_test_ids: int = 100,
    images_per_camera: tuple[int, int] = (1, 1),
    source_cameras: int = 15,
    size: tuple[int, int] = (64, 128),
) -> tuple[str, str]:
    """Draw a labelled source and a target of another domain.

    The source is ``root/MSMT17_V1``: ``source_ids`` training persons and 20
    test persons before 15 cameras, as many as MSMT17 has. The target is
    ``root/Market-1501-v15.09.15``, with other people, clothes and six other
    cameras. By default a pair of target images shows one person as rarely as
    in Market-1501 (0.14 %; 0.17 % there), and never before one camera: what
    can be found out about people there has to be found across cameras.
    What is already drawn with the same arguments is left alone.

    Args:
        root (str): Folder to write below.
        seed (int): Seed. Defaults to 0.
        source_ids (int): Training persons of the source. Defaults to 600.
        target_train_ids (int): Training persons of the target. Defaults to
            600.
        target_test_ids (int): Query and gallery persons. Defaults to 100.
        images_per_camera (tuple[int, int]): Per person, in the source and in
            the target. Defaults to (1, 1).
        source_cameras (int): 1 to 15. Defaults to 15.
        size (tuple[int, int]): Width and height. Defaults to (64, 128).

    Returns:
        tuple[str, str]: The folders of source and target.

    Raises:
        InputError: If an argument is out of range.
        FileExistsError: If a folder holds what was not drawn here.
    """
    source = write_msmt17(
        root,
        DOMAINS['source'],
        num_train_ids=source_ids,
        images_per_camera=images_per_camera[0],
        seed=seed,
        num_cameras=source_cameras,
        size=size,
    )
    target = write_market1501(
        root,
        DOMAINS['target'],
        target_train_ids,
        target_test_ids,
        images_per_camera[1],
        seed,
        size=size,
    )
    return source, target


def write_attribute_benchmark(
    root: str,
    seed: int = 0,
    source_ids: int = 600,
    target_train_ids: int = 600,
    target_test_ids: int = 100,
    size: tuple[int, int] = (64, 128),
) -> tuple[str, str]:
    """As :func:`write_benchmark`, from a source that has attributes.

    The source is ``root/DukeMTMC-reID``, before eight cameras, with
    ``duke_attribute.mat`` in it; the target is that of
    :func:`write_benchmark`.
    """
    source = write_dukemtmc(
        root,
        DOMAINS['source'],
        num_train_ids=source_ids,
        num_test_ids=20,
        images_per_camera=1,
        seed=seed,
        size=size,
    )
    target = write_market1501(
        root, DOMAINS['target'], target_train_ids, target_test_ids, 1, seed,
        size=size,
    )  # fmt: skip
    return source, target


def contact_sheet(
    seed: int = 0, people: int = 3, size: tuple[int, int] = (64, 128)
) -> np.ndarray:
    """A picture of both domains: source left, target right.

    A row shows one person of each before the domain's six cameras.

    Args:
        seed (int): Seed. Defaults to 0.
        people (int): Rows. Defaults to 3.
        size (tuple[int, int]): Width and height of a crop. Defaults to
            (64, 128).

    Returns:
        np.ndarray: uint8 BGR ``(people * height, 12 * width, 3)``.
    """
    halves = []
    for domain in DOMAINS.values():
        shots = [Shot('', p, c, 0) for p in range(people) for c in range(6)]
        images = np.stack(list(draw_shots(shots, domain, seed, size)))
        images = images.reshape(people, 6, size[1], size[0], 3)
        halves.append(
            np.hstack(
                images.transpose(1, 0, 2, 3, 4).reshape(
                    6, people * size[1], size[0], 3
                )
            )
        )
    return np.hstack(halves)
