"""What is wrong with images, found before anything trains on them."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import NamedTuple

import cv2
from mmengine.config import Config

from mmreid.errors import InputError
from mmreid.registry import DATASETS
from mmreid.utils.progress import progress

from .base import BaseReIDDataset, first_three
from .image_list import list_images
from .transforms.loading import (
    MAX_PIXELS,
    LoadReIDImage,
    decode_image,
    image_size,
    reason_of,
)

# Height over width of a standing person's crop.
SHAPE = (1, 4)
# Images that wait for a thread.
CHUNK = 2048


@dataclass
class ImagePart:
    """Images that are counted together.

    Args:
        name (str): What the report calls them.
        paths (Sequence[str]): The N files.
        cameras (Sequence[str]): The camera of each.
        persons (Sequence[int], optional): The person on each. Defaults to
            None: unknown.
        split (str): 'train', 'query' or 'gallery'; a gallery follows its
            queries. Defaults to 'train'.
        max_pixels (int): An image of more is oversized. Defaults to 25
            million.
    """

    name: str
    paths: Sequence[str]
    cameras: Sequence[str]
    persons: Sequence[int] | None = None
    split: str = 'train'
    max_pixels: int = MAX_PIXELS


@dataclass
class PartReport:
    """What was found in one part.

    Attributes:
        name (str): Its name.
        num_images (int): All its images.
        num_persons (int, optional): None where they are unknown.
        cameras (dict[str, int]): Images of each camera.
        unreadable (dict[str, str]): Why a file cannot be decoded.
        oversized (dict[str, str]): Size of an image with too many pixels.
        duplicates (list[list[str]]): Files of the same bytes.
        odd_shapes (list[str]): Images that are wider than high, or more than
            four times as high as wide.
        one_camera_persons (int, optional): Persons that one camera saw. None
            where they are unknown, or query and gallery are apart.
        unmatched_queries (list[str]): Queries without an image of their
            person from another camera in the gallery.
    """

    name: str
    num_images: int
    num_persons: int | None
    cameras: dict[str, int]
    unreadable: dict[str, str] = field(default_factory=dict)
    oversized: dict[str, str] = field(default_factory=dict)
    duplicates: list[list[str]] = field(default_factory=list)
    odd_shapes: list[str] = field(default_factory=list)
    one_camera_persons: int | None = None
    unmatched_queries: list[str] = field(default_factory=list)


@dataclass
class ImageReport:
    """What :func:`check_images` found.

    Attributes:
        parts (list[PartReport]): Of each part.
        problems (list[str]): What has to be mended.
        notes (list[str]): What is good to know.
    """

    parts: list[PartReport]
    problems: list[str]
    notes: list[str]

    @property
    def verdict(self) -> str:
        """One line."""
        if self.problems:
            return f'{len(self.problems)} problems, {len(self.notes)} notes'
        return f'fine, {len(self.notes)} notes'

    def to_dict(self) -> dict:
        """For JSON."""
        return dict(asdict(self), verdict=self.verdict)

    def __str__(self) -> str:
        rows = [
            (
                *('part', 'images', 'persons', 'cameras', 'unreadable'),
                *('oversized', 'duplicates', 'odd shape'),
            )
        ]
        for part in self.parts:
            persons = part.num_persons
            numbers = (
                *(part.num_images, persons, len(part.cameras)),
                *(len(part.unreadable), len(part.oversized)),
                sum(len(group) - 1 for group in part.duplicates),
                len(part.odd_shapes),
            )
            cells = ['-' if n is None else f'{n:,}' for n in numbers]
            rows.append((part.name, *cells))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = []
        for name, *cells in rows:
            line = name.ljust(widths[0])
            for cell, width in zip(cells, widths[1:], strict=True):
                line += '  ' + cell.rjust(width)
            lines.append(line)
        lines += ['', 'Images per camera']
        for part in self.parts:
            counts = [f'{c}: {n:,}' for c, n in part.cameras.items()]
            lines.append(f'{part.name.ljust(widths[0])}  {", ".join(counts)}')
        for title, texts in (
            ('Problems', self.problems),
            ('Notes', self.notes),
        ):
            if texts:
                lines += ['', title, *(f'- {text}' for text in texts)]
        return '\n'.join([*lines, '', f'Verdict: {self.verdict}'])


class _Look(NamedTuple):
    """What one file is: its bytes' digest, size, and what is wrong."""

    digest: bytes | None = None
    shape: tuple[int, int] | None = None
    unreadable: str = ''
    oversized: str = ''


def check_images(
    parts: Sequence[ImagePart],
    problems: Sequence[str] = (),
    num_threads: int | None = None,
) -> ImageReport:
    """Decode every image, and compare them by their bytes.

    Problems are unreadable and oversized images, the same image in two parts,
    the same image as two persons in a query or gallery, and queries none of
    which has a match. Notes are duplicates inside a part, as two persons or
    not, queries that are in their gallery as the same person and camera,
    images that no standing person has the shape of, persons that one camera
    saw, and some queries without a match.

    Args:
        parts (Sequence[ImagePart]): The images.
        problems (Sequence[str]): What is known to be wrong already. Defaults
            to ().
        num_threads (int, optional): Defaults to None, one per core.

    Returns:
        ImageReport: What was found.
    """
    looks = _look_at_all(parts, num_threads or os.cpu_count())
    report = ImageReport([], list(problems), [])
    for number, part in enumerate(parts):
        found = _check_part(part, looks, report)
        if part.split == 'query' and part.persons is not None:
            _check_queries(part, parts[number + 1], found, report)
        report.parts.append(found)
    _check_overlap(parts, looks, report)
    return report


def parts_of_folder(folder: str) -> list[ImagePart]:
    """The crops below a folder; its first-level folders are the cameras.

    Args:
        folder (str): The folder.

    Returns:
        list[ImagePart]: One part.

    Raises:
        FileNotFoundError: If it holds no image.
    """
    paths = list_images([folder])
    inside = [os.path.relpath(path, folder).split(os.sep) for path in paths]
    cameras = [parts[0] if len(parts) > 1 else '.' for parts in inside]
    name = os.path.basename(os.path.abspath(folder))
    return [ImagePart(name, paths, cameras)]


def parts_of_config(cfg: Config) -> tuple[list[ImagePart], list[str]]:
    """The images of all domains, of the validation and of the test.

    Args:
        cfg (Config): As the tools read it.

    Returns:
        tuple[list[ImagePart], list[str]]: The parts, and what is wrong with
        data sets that cannot be listed.

    Raises:
        InputError: If the config names no data set.
    """
    found, problems = [], []
    for name, config in _configs(cfg):
        try:
            dataset = _build(config)
        except (InputError, OSError) as error:
            problems.append(f'{name} cannot be listed: {error}')
            continue
        if name not in ('val', 'test'):
            title = f'{name} {dataset.metainfo["dataset_name"]}'
            found.append(_part_of(dataset, title))
        else:
            for split in ('query', 'gallery'):
                found.append(_part_of(dataset, f'{name} {split}', split))
    if not found and not problems:
        raise InputError(f"'{cfg.filename}' names no data set to check.")
    return found, problems


def _configs(cfg: Config) -> Iterator[tuple[str, dict]]:
    """Name and config of each data set."""
    domains = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    if domains.get('type') == 'DomainDataset':
        common = {k: domains[k] for k in ('pipeline',) if k in domains}
        for name, configs in domains.items():
            if name in ('type', 'pipeline') or configs is None:
                continue
            for config in [configs] if isinstance(configs, dict) else configs:
                yield name, {**common, **config}
    elif domains:
        yield 'train', domains
    for name in ('val', 'test'):
        loader = cfg.get(f'{name}_dataloader')
        if loader:
            yield name, loader['dataset']


def _build(config: dict) -> BaseReIDDataset:
    """A data set that lists its images, and has no cache to write."""
    config = {k: v for k, v in config.items() if k != 'cache_dir'}
    config['pipeline'] = [
        step
        for step in config.get('pipeline', ())
        if step['type'] in ('LoadReIDImage', LoadReIDImage)
    ]
    return DATASETS.build(config)


def _part_of(
    dataset: BaseReIDDataset, name: str, split: str = 'train'
) -> ImagePart:
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    infos = [i for i in infos if i['is_query'] == (split == 'query')]
    limits = [step.max_pixels for step in dataset.pipeline.transforms]
    cameras = dataset.metainfo.get('camera_names', dataset.cameras)
    return ImagePart(
        name,
        [info['img_path'] for info in infos],
        [str(cameras[info['camera_id']]) for info in infos],
        [i['person_id'] for i in infos] if dataset.labelled else None,
        split,
        limits[0] if limits else MAX_PIXELS,
    )


def _look_at_all(
    parts: Sequence[ImagePart], num_threads: int
) -> dict[tuple[str, int], _Look]:
    """Each file once, with a progress bar."""
    files = dict.fromkeys((p, q.max_pixels) for q in parts for p in q.paths)
    files, looks = [*files], {}
    # OpenCV decodes, and hashlib digests, without Python's lock.
    with (
        ThreadPoolExecutor(num_threads) as pool,
        progress('Reading images', len(files)) as advance,
    ):
        for start in range(0, len(files), CHUNK):
            chunk = files[start : start + CHUNK]
            for file, look in zip(chunk, pool.map(_look, chunk), strict=True):
                looks[file] = look
                advance()
    return looks


def _look(file: tuple[str, int]) -> _Look:
    path, max_pixels = file
    digest = None
    try:
        with open(path, 'rb') as stream:
            content = stream.read()
        width, height = image_size(content) or (0, 0)
        if content:
            digest = hashlib.blake2b(content, digest_size=16).digest()
        if width * height > max_pixels:
            return _Look(digest, oversized=f'{width} x {height}')
        image = decode_image(content, max_pixels)
    except (OSError, ValueError, cv2.error) as error:
        return _Look(digest, unreadable=reason_of(error))
    return _Look(digest, image.shape[:2])


def _check_part(
    part: ImagePart,
    looks: dict[tuple[str, int], _Look],
    report: ImageReport,
) -> PartReport:
    """What can be said of a part alone."""
    persons = part.persons
    found = PartReport(
        name=part.name,
        num_images=len(part.paths),
        num_persons=None if persons is None else len({*persons}),
        cameras=dict(sorted(Counter(part.cameras).items(), key=_by_number)),
    )
    copies = defaultdict(list)
    for index, path in enumerate(part.paths):
        look = looks[path, part.max_pixels]
        if look.unreadable:
            found.unreadable[path] = look.unreadable
        elif look.oversized:
            found.oversized[path] = look.oversized
        else:
            height, width = look.shape
            if not SHAPE[0] <= height / width <= SHAPE[1]:
                found.odd_shapes.append(path)
        if look.digest is not None:
            copies[look.digest].append(index)
    groups = [group for group in copies.values() if len(group) > 1]
    found.duplicates = [[part.paths[i] for i in group] for group in groups]

    def say(where: list, files: Sequence[str], text: str) -> None:
        if files:
            where.append(
                f'{part.name}: {len(files):,} {text}: {first_three(files)}'
            )

    problems, notes = report.problems, report.notes
    for what, bad in (
        ('unreadable images', found.unreadable),
        ('oversized images', found.oversized),
    ):
        say(problems, [f"{p}' ('{why})" for p, why in bad.items()], what)
    shown = ["' and '".join(group[:2]) for group in found.duplicates]
    say(notes, shown, 'groups of images are the same byte by byte')
    if persons is not None:
        two = [
            text
            for text, group in zip(shown, groups, strict=True)
            if len({persons[i] for i in group}) > 1
        ]
        # A training bears some wrong labels, a score does not.
        where = notes if part.split == 'train' else problems
        say(where, two, 'images are there as two persons')
    say(notes, found.odd_shapes, 'images have no standing shape')
    if persons is not None and part.split == 'train':
        cameras_of = defaultdict(set)
        for person, camera in zip(persons, part.cameras, strict=True):
            cameras_of[person].add(camera)
        alone = sum(len(cameras) == 1 for cameras in cameras_of.values())
        found.one_camera_persons = alone
        if alone:
            notes.append(
                f'{part.name}: one camera alone saw {alone:,} of '
                f'{len(cameras_of):,} persons'
            )
    return found


def _check_overlap(
    parts: Sequence[ImagePart],
    looks: dict[tuple[str, int], _Look],
    report: ImageReport,
) -> None:
    """Which images are in two parts."""
    # Of each image, its index in the parts that hold it (the first one there).
    holders: dict[bytes, dict[int, int]] = defaultdict(dict)
    for number, part in enumerate(parts):
        for index, path in enumerate(part.paths):
            digest = looks[path, part.max_pixels].digest
            if digest is not None:
                holders[digest].setdefault(number, index)
    overlaps = defaultdict(list)
    for places in holders.values():
        for pair in combinations(places.items(), 2):
            (first, i), (second, j) = pair
            overlaps[first, second].append((i, j))
    for (first, second), pairs in overlaps.items():
        one, two = parts[first], parts[second]
        shown = [
            "' and '".join(dict.fromkeys((one.paths[i], two.paths[j])))
            for i, j in pairs
        ]
        text = (
            f'{len(pairs):,} images are both in {one.name} and in {two.name}, '
            f'byte by byte: {first_three(shown)}'
        )
        if (
            (one.split, two.split) == ('query', 'gallery')
            and second == first + 1
            and one.persons is not None
            and all(
                one.persons[i] == two.persons[j]
                and one.cameras[i] == two.cameras[j]
                for i, j in pairs
            )
        ):
            # Of one person and camera, as some data sets are made.
            report.notes.append(f'{text}; most protocols ignore them')
        else:
            report.problems.append(text)


def _by_number(item: tuple[str, int]) -> tuple:
    """'2' before '10', names after numbers."""
    name = item[0]
    return (0, int(name), '') if name.isdigit() else (1, 0, name)


def _check_queries(
    query: ImagePart,
    gallery: ImagePart,
    found: PartReport,
    report: ImageReport,
) -> None:
    """Which queries have no right answer."""
    cameras_of = defaultdict(set)
    for person, camera in zip(gallery.persons, gallery.cameras, strict=True):
        cameras_of[person].add(camera)
    views = zip(query.paths, query.persons, query.cameras, strict=True)
    found.unmatched_queries = [
        path
        for path, person, camera in views
        if not cameras_of[person] - {camera}
    ]
    unmatched = found.unmatched_queries
    if unmatched:
        is_all = len(unmatched) == len(query.paths)
        (report.problems if is_all else report.notes).append(
            f'{query.name}: {len(unmatched):,} of {len(query.paths):,} have '
            'no image of their person from another camera in '
            f'{gallery.name}: {first_three(unmatched)}'
        )
