"""What all data sets share: checks, labels, validation cut, unreadable files.

A data set itself is a small file with a name pattern and ``load_records``.
"""

import os
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.dataset import BaseDataset

from mmreid.errors import InputError
from mmreid.registry import DATASETS, TRANSFORMS

from .attributes import attribute_names, read_attributes
from .image_cache import ImageCache, cache_key, cached_steps
from .transforms import UnreadableImageError

IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png')
SPLITS = ('train', 'val', 'query', 'gallery', 'test')


class Record(NamedTuple):
    """One image with the ids its data set gives it.

    Args:
        path (str): The image file.
        person_id (int, optional): Raw person id; None where nobody knows.
        camera_id (int): Raw camera id.
    """

    path: str
    person_id: int | None
    camera_id: int


def first_three(items: Sequence) -> str:
    """Write the first three items for an error message."""
    shown = ', '.join(f"'{item}'" for item in items[:3])
    return shown + (', ...' if len(items) > 3 else '')


@DATASETS.register_module()
class BaseReIDDataset(BaseDataset):
    """Images of persons with person and camera ids.

    A subclass implements :meth:`load_records`. An entry, as
    ``get_data_info(i)`` gives it, is a dict of

    - ``img_path`` (str);
    - ``person_id`` (int): in 'train' 0 ... N - 1 in sorted order of the raw
      ids, in all other splits the raw id; there is none with
      ``labelled=False``;
    - ``camera_id`` (int): 0 ... ``num_cameras`` - 1 in sorted order of the
      raw ids of all the data set's cameras;
    - ``is_query`` (int): 1 in the query part, else 0;
    - ``attributes`` (tuple[int, ...]): with ``attribute_file``, the m
      attributes of the person, 1, 0 or, unknown, -1; a distractor's are all
      -1;
    - ``sample_idx`` (int): the index ``i``.

    Entries are sorted by path, so every machine and every rank sees the same
    order. Junk images (person id -1) are dropped, distractors (person id 0 of
    Market-1501) stay in the gallery.

    Args:
        data_root (str): The folder that holds the data set's parts, or the
            folder above it when that has its official name.
        split (str): 'train'; 'query'; 'gallery'; 'test', query then gallery;
            or 'val', the query then the gallery cut off the training part.
            Defaults to 'train'.
        labelled (bool): Whether to keep identities. False erases them at
            load: the object then holds them nowhere, and need not have found
            any. Defaults to True.
        val_identities (int): How many training identities, drawn at random,
            make the validation part. They are absent from 'train'. The first
            image, in sorted order, of each identity and camera is a query,
            the others are the gallery. Only read by 'train' and 'val'.
            Defaults to 0.
        val_seed (int): Seed of that draw. Defaults to 0.
        on_error (str): 'raise' stops at an unreadable image. 'skip' warns
            and delivers the next readable image in its place, with
            ``skipped_idx`` set to the index of the unreadable one, so that
            training can count and evaluation drop it. Defaults to 'raise'.
        pipeline (Sequence[dict or Callable]): Transforms. Defaults to ().
        test_mode (bool, optional): Defaults to None, which means
            ``split != 'train'``.
        lazy_init (bool): Whether to read the data set at first use instead
            of now. Defaults to False.
        indices (int or Sequence[int], optional): Use these entries only, see
            :class:`mmengine.dataset.BaseDataset`. Labels stay as without it.
            Defaults to None.
        serialize_data (bool): Whether to keep the entries in one array that
            the workers share. Defaults to True.
        attribute_file (str, optional): The official ``.mat`` file of the
            data set's attributes. 'train' and 'val' take its training part,
            the others its test part. The names are in
            ``metainfo['attribute_names']``. Defaults to None: no attributes.
        age (str): 'adult' or 'one_hot', see
            :func:`mmreid.datasets.attributes.attribute_names`. Only read
            with ``attribute_file``. Defaults to 'adult'.
        cache_dir (str, optional): A folder for what the pipeline makes of
            the images before ``PackReIDInputs``, as uint8, in one file of
            3 x H x W bytes per image (Market-1501's 12,936 training images at
            256x128: 1.27 GB; all 126,441 of MSMT17 at 384x128: 18.6 GB). It
            is written at first use and memory-mapped from then on; another
            list of images, or a file of another size or date, another
            pipeline or another OpenCV is another file. Old files are never
            deleted. Has no effect without a pipeline. Defaults to None:
            images are decoded each time.

    Raises:
        FileNotFoundError: If ``data_root`` or the part that ``split`` needs
            is missing, or holds no image, or there is no such
            ``attribute_file``.
        InputError: If an argument is out of range, or file names do not
            match the data set's pattern; or if ``attribute_file`` is damaged
            or another data set's, lacks a person, or is given to a data set
            that is unlabelled or has no published attributes; or if
            ``cache_dir`` cannot be written, or the pipeline has a step before
            ``PackReIDInputs`` that is neither ``LoadReIDImage`` nor
            ``mmcv.Resize``, or images differ in size after it.
        OSError: If the disk is too full for a cache.
        UnreadableImageError: On access, or when a cache is written, with
            ``on_error='raise'``.
    """

    METAINFO: dict = dict(dataset_name='', num_cameras=0, pattern='')
    """The data set's name, number of cameras and file name pattern."""

    cameras: Sequence[int] = ()
    """Raw ids of all cameras, sorted."""

    name_regex: str = ''
    """Regular expression for the start of a file name, with the groups
    ``person`` and, where the name tells it, ``camera``."""

    official_folders: Sequence[str] = ()
    """Names, below ``data_root``, of the folder that holds the parts."""

    junk_ids: Sequence[int] = (-1,)
    """Raw person ids of images that no protocol uses."""

    attribute_kind: str = ''
    """'market' or 'duke' where that file annotates the data set."""

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        labelled: bool = True,
        val_identities: int = 0,
        val_seed: int = 0,
        on_error: str = 'raise',
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool | None = None,
        lazy_init: bool = False,
        indices: int | Sequence[int] | None = None,
        serialize_data: bool = True,
        attribute_file: str | None = None,
        age: str = 'adult',
        cache_dir: str | None = None,
    ) -> None:
        if split not in SPLITS:
            raise InputError(f"split must be one of {SPLITS}, got '{split}'.")
        if on_error not in ('raise', 'skip'):
            raise InputError(
                f"on_error must be 'raise' or 'skip', got '{on_error}'."
            )
        if (
            not isinstance(val_identities, int)
            or val_identities < 0
            or (split == 'val' and val_identities == 0)
        ):
            raise InputError(
                'val_identities must be 0 or more, and more than 0 for '
                f"split='val', got {val_identities}."
            )
        self.split = split
        self.labelled = labelled
        self.val_identities = val_identities
        self.val_seed = val_seed
        self.on_error = on_error
        self.attribute_file = attribute_file
        self.age = age
        self.cache_dir = cache_dir and os.path.expanduser(cache_dir)
        self._cache: ImageCache | None = None
        self._num_identities = 0
        super().__init__(
            metainfo=self._attribute_metainfo(),
            data_root=os.path.expanduser(data_root),
            indices=indices,
            serialize_data=serialize_data,
            # Built here, and not by MMEngine's Compose, so that this
            # project's transforms are found without a default scope.
            pipeline=[
                TRANSFORMS.build(t) if isinstance(t, dict) else t
                for t in pipeline
            ],
            test_mode=split != 'train' if test_mode is None else test_mode,
            lazy_init=lazy_init,
        )

    def full_init(self) -> None:
        """Read the data set and, if it has one, write the cache."""
        if not self._fully_initialized:
            super().full_init()
            self._open_cache()

    def get_subset_(self, indices: int | Sequence[int]) -> None:
        """Keep some entries only: see MMEngine's ``BaseDataset``."""
        super().get_subset_(indices)
        self._open_cache()

    def get_subset(self, indices: int | Sequence[int]) -> 'BaseReIDDataset':
        """Copy with some entries only: see MMEngine's ``BaseDataset``."""
        subset = super().get_subset(indices)
        subset._open_cache()
        return subset

    def _copy_without_annotation(
        self, memo: dict | None = None
    ) -> 'BaseReIDDataset':
        # MMEngine's default is one dict for all copies of a process: what it
        # holds of a data set that is gone may be taken for a part of this.
        return super()._copy_without_annotation({} if memo is None else memo)

    @property
    def num_identities(self) -> int:
        """int: Distinct person ids of this split, a distractor id included;
        0 with ``labelled=False``."""
        self.full_init()
        return self._num_identities

    @property
    def holds_test_images(self) -> bool:
        """bool: Whether this training split holds images of the test."""
        return False

    drawn_parts: tuple[str, ...] = ('train', 'val')
    """Splits between which persons are drawn."""

    @property
    def drawn(self) -> list[int]:
        """list[int]: Which draw of :attr:`drawn_parts` it is."""
        return [self.val_identities, self.val_seed]

    @property
    def num_cameras(self) -> int:
        """int: Cameras of the data set, seen in this split or not."""
        self.full_init()
        return len(self.cameras)

    def load_records(self, split: str) -> list[Record]:
        """List the images of one part, with raw ids, in any order.

        Args:
            split (str): 'train', 'query' or 'gallery'.

        Returns:
            list[Record]: Its images, junk included.
        """
        raise NotImplementedError(
            f'{type(self).__name__} must implement load_records.'
        )

    def load_data_list(self) -> list[dict]:
        """Read the split: see the class for what the entries hold."""
        if self.split in ('train', 'val'):
            train, query, gallery = self._cut_validation(self._read('train'))
            parts = [(query, 1), (gallery, 0)]
            if self.split == 'train':
                parts = [(train, 0)]
        elif self.split == 'test':
            parts = [(self._read('query'), 1), (self._read('gallery'), 0)]
        else:
            parts = [(self._read(self.split), int(self.split == 'query'))]

        person_ids = {r.person_id for part, _ in parts for r in part}
        if self.labelled and None in person_ids:
            raise InputError(
                f"{self._title}: '{self.data_root}' says of nobody who it is: "
                'set labelled=False, or give the images their persons.'
            )
        person_ids = sorted(person_ids) if self.labelled else []
        self._num_identities = len(person_ids)
        attributes_of = self._read_attributes(person_ids)
        # What the entries hold of each person: without labels, nothing.
        known_of = {
            raw: dict(
                person_id=label if self.split == 'train' else raw,
                **attributes_of.get(raw, {}),
            )
            for label, raw in enumerate(person_ids)
        }
        camera_of = {raw: index for index, raw in enumerate(self.cameras)}
        return [
            dict(
                img_path=record.path,
                camera_id=camera_of[record.camera_id],
                is_query=is_query,
                **known_of.get(record.person_id, {}),
            )
            for part, is_query in parts
            for record in part
        ]

    def __getitem__(self, idx: int) -> dict:
        """Get an item, or what ``on_error`` says for an unreadable image.

        Args:
            idx (int): Index of the entry.

        Returns:
            dict: What the pipeline makes of it.
        """
        num = len(self)
        if not -num <= idx < num:
            raise IndexError(f'index {idx} of a data set of {num} images')
        idx = int(idx) % num
        for step in range(num):
            info = self.get_data_info((idx + step) % num)
            info['skipped_idx'] = idx if step else -1
            try:
                return self._process(info)
            except UnreadableImageError as error:
                if self.on_error == 'raise':
                    raise
                warnings.warn(f'Skipped: {error}', stacklevel=2)
        raise InputError(
            f'None of the {num} images of {self._title} can be read, the '
            f"first is '{self.get_data_info(0)['img_path']}'."
        )

    def locate(self, *parts: str) -> str:
        """Find a part of the data set on disk.

        Args:
            parts (str): Names of the part, the first that exists is taken.

        Returns:
            str: Path of ``data_root/part``, or of
            ``data_root/official folder/part``.

        Raises:
            FileNotFoundError: If neither exists.
            InputError: If several official folders hold the part.
        """
        if not os.path.isdir(self.data_root):
            raise FileNotFoundError(
                f"data_root '{self.data_root}' of {self._title} is no "
                'folder: set it to where the data set was unpacked.'
            )
        roots = [
            os.path.join(self.data_root, name)
            for name in self.official_folders
        ]
        for folders in ([self.data_root], roots):
            found = []
            for folder in folders:
                paths = [os.path.join(folder, part) for part in parts]
                found += [path for path in paths if os.path.exists(path)][:1]
            if len(found) > 1:
                raise InputError(
                    f'data_root of {self._title} is ambiguous: it holds '
                    f'{first_three(found)}; set it to one of their folders.'
                )
            if found:
                return os.path.normpath(found[0])
        raise FileNotFoundError(
            f"{self._title} needs '{' or '.join(parts)}' for split "
            f"'{self.split}', but neither '{self.data_root}' nor "
            f'{first_three(roots)} below it holds that: set data_root to the '
            'folder that does.'
        )

    def scan(self, folder: str, camera: int | None = None) -> list[Record]:
        """List a folder of images whose names match ``name_regex``.

        Args:
            folder (str): The folder. Hidden files and files that are no
                images by their suffix are ignored.
            camera (int, optional): Raw camera id of all images where the
                names do not tell it. Defaults to None.

        Returns:
            list[Record]: The images, sorted by name.

        Raises:
            FileNotFoundError: If there is no image, or a link to none.
            InputError: If a name does not match.
        """
        with os.scandir(folder) as entries:
            is_file = {
                entry.name: entry.is_file()  # free, but for links
                for entry in entries
                if entry.name.lower().endswith(IMAGE_SUFFIXES)
                and not entry.name.startswith('.')
            }
        names = sorted(is_file)
        absent = [name for name in names if not is_file[name]]
        if absent:
            raise FileNotFoundError(
                f'{self._title}: {len(absent)} of {len(names)} images in '
                f"'{folder}' are links to nothing, or no files: "
                f'{first_three(absent)}; unpack the data set again.'
            )
        matches = [re.match(self.name_regex, name) for name in names]
        self.check_names(
            [n for n, m in zip(names, matches, strict=True) if m is None],
            f"'{folder}'",
        )
        if not names:
            raise FileNotFoundError(
                f"{self._title}: '{folder}' holds no image "
                f'({", ".join(IMAGE_SUFFIXES)}).'
            )
        return [
            Record(
                os.path.join(folder, name),
                int(match['person']),
                int(match['camera']) if camera is None else camera,
            )
            for name, match in zip(names, matches, strict=True)
        ]

    def check_names(self, bad: Sequence[str], where: str) -> None:
        """Raise an ``InputError`` if there are names that do not parse."""
        if bad:
            raise InputError(
                f'{self._title}: {len(bad)} names in {where} do not parse: '
                f'{first_three(bad)}; expected {self._metainfo["pattern"]}. '
                'Remove foreign images, or check data_root.'
            )

    def _process(self, info: dict) -> dict:
        """Run the pipeline, or what follows the cached part of it."""
        image = None
        if self._cache is not None:
            image = self._cache.get(info['sample_idx'])
        if image is None:
            # Of an unreadable image, this raises what is wrong with it.
            return self.pipeline(info)
        info['img'] = image.transpose(1, 2, 0)
        for transform in self.pipeline.transforms[self._num_cached :]:
            info = transform(info)
        return info

    def _open_cache(self) -> None:
        """Find the cache of the entries, or write it."""
        transforms = self.pipeline.transforms
        if self.cache_dir is None or not transforms:
            return
        self._num_cached = cached_steps(transforms)
        steps = transforms[: self._num_cached]
        paths = [self.get_data_info(i)['img_path'] for i in range(len(self))]
        name = self._metainfo['dataset_name']
        key = cache_key(paths, self.data_root, steps)
        self._cache = ImageCache(Path(self.cache_dir, f'{name}_{key}.npy'))
        self._cache.build(paths, steps, self.on_error)

    @property
    def _title(self) -> str:
        return type(self).__name__

    def _read(self, split: str) -> list[Record]:
        """Read a part, drop junk, sort by path and check the cameras."""
        records = sorted(
            record
            for record in self.load_records(split)
            if record.person_id not in self.junk_ids
        )
        if not records:
            raise FileNotFoundError(
                f"{self._title}: split '{split}' of '{self.data_root}' holds "
                'no image that is not junk.'
            )
        unknown = {r.camera_id for r in records}.difference(self.cameras)
        if unknown:
            raise InputError(
                f'{self._title}: unknown camera ids {sorted(unknown)} in '
                f"'{self.data_root}'; expected {sorted(self.cameras)}."
            )
        return records

    def _attribute_metainfo(self) -> dict | None:
        if self.attribute_file is None:
            return None
        if not self.attribute_kind:
            raise InputError(
                f'{self._title} has no published attributes: leave '
                f"attribute_file out, got '{self.attribute_file}'."
            )
        if not self.labelled:
            raise InputError(
                f'{self._title}: attributes belong to identities, leave '
                'attribute_file out with labelled=False (a source needs '
                'labelled=True).'
            )
        return dict(
            attribute_names=attribute_names(self.attribute_kind, self.age)
        )

    def _read_attributes(self, person_ids: Sequence[int]) -> dict[int, dict]:
        """What each person's entries hold beside the rest."""
        if self.attribute_file is None:
            return {}
        part = 'train' if self.split in ('train', 'val') else 'test'
        values_of = read_attributes(
            self.attribute_file, self.attribute_kind, part, self.age
        )
        # Person 0, the distractors, is nobody in particular.
        values_of[0] = (-1,) * len(self._metainfo['attribute_names'])
        absent = [f'{p:04d}' for p in person_ids if p not in values_of]
        if absent:
            raise InputError(
                f"attribute_file '{self.attribute_file}' lacks in its "
                f"'{part}' part {len(absent)} of the {len(person_ids)} "
                f"persons in split '{self.split}' of {self._title}: "
                f'{", ".join(absent[:20])}{", ..." * (len(absent) > 20)}; '
                'check that it belongs to data_root.'
            )
        return {p: dict(attributes=values_of[p]) for p in person_ids}

    def _cut_validation(
        self, records: list[Record]
    ) -> tuple[list[Record], list[Record], list[Record]]:
        """Cut training records into train, validation query and gallery."""
        person_ids = sorted({r.person_id for r in records})
        if self.val_identities >= len(person_ids):
            raise InputError(
                f'val_identities={self.val_identities} is too large: '
                f'{self._title} has {len(person_ids)} training identities, '
                'and at least one must be left to train on.'
            )
        # A generator of its own: the global one must not decide which
        # persons are held out, nor be moved by it.
        rng = np.random.default_rng(self.val_seed)
        chosen = set(rng.choice(person_ids, self.val_identities, False))
        train, query, gallery = [], [], []
        seen = set()
        for record in records:
            view = record[1:]
            if record.person_id not in chosen:
                train.append(record)
            elif view in seen:
                gallery.append(record)
            else:
                seen.add(view)
                query.append(record)
        if chosen and not gallery:
            raise InputError(
                f'{self._title} has one image per identity and camera: all '
                'images of the val_identities are queries and none is left '
                'for the gallery. Set val_identities=0.'
            )
        return train, query, gallery
