"""Any images, listed in a file."""

import csv
import json
import os
import re

from mmreid.errors import InputError
from mmreid.registry import DATASETS

from .base import BaseReIDDataset, Record, first_three

COLUMNS = ('path', 'camera_id')
SPLITS = ('train', 'query', 'gallery')


@DATASETS.register_module()
class ReIDManifest(BaseReIDDataset):
    """A data set listed in a CSV or JSON-lines file, one image per row.

    The columns (keys) are ``path``, ``camera_id``; ``person_id``, which
    unlabelled images (``labelled=False``) need not have; and, if wanted,
    ``split``: 'train', 'query' or 'gallery'; without it all rows are 'train'.
    Ids are integers or any strings. If all rows hold integers, they are taken
    as they are, so that -1 is junk and 0 may be a distractor; else person ids
    are numbered from 1 in sorted order, except '-1', which stays junk. See
    :class:`BaseReIDDataset` for the other arguments.

    Args:
        ann_file (str): The file, ``*.csv`` with a header line or ``*.jsonl``.
        data_root (str, optional): The folder that the paths are relative to.
            Defaults to None, the folder of ``ann_file``.
        **kwargs: See :class:`BaseReIDDataset`.

    Raises:
        FileNotFoundError: If the file or images of the split are missing.
        InputError: If a column is missing or a row is wrong, with its line;
            or if identities are asked for, and there is no ``person_id``.
    """

    METAINFO = dict(
        dataset_name='manifest',
        num_cameras=0,  # known once the file is read
        pattern='rows of path[, person_id], camera_id[, split]',
    )

    def __init__(
        self, ann_file: str, data_root: str | None = None, **kwargs
    ) -> None:
        self.manifest = os.path.expanduser(ann_file)
        if data_root is None:
            data_root = os.path.dirname(self.manifest) or '.'
        super().__init__(data_root, **kwargs)

    def load_records(self, split: str) -> list[Record]:
        rows = self._read_rows()
        asker = 'labelled=True' if self.labelled else 'val_identities'
        if (self.labelled or self.val_identities) and (
            'person_id' not in rows[0]
        ):
            raise InputError(
                f"'{self.manifest}' has no column 'person_id', so nobody is "
                f"known, but {asker} (split '{self.split}') asks for "
                'identities: add the column, or set labelled=False and '
                'val_identities=0.'
            )
        # Over all rows, so that ids mean the same in every split.
        person_of = _numbering(
            [row['person_id'] for row in rows if 'person_id' in row]
        )
        # Where the persons are unknown, all of them are.
        person_of[None] = None
        camera_of = _numbering([row['camera_id'] for row in rows])
        self.cameras = sorted(set(camera_of.values()))
        self._metainfo['num_cameras'] = len(self.cameras)
        records = [
            Record(
                os.path.normpath(os.path.join(self.data_root, row['path'])),
                person_of[row.get('person_id')],
                camera_of[row['camera_id']],
            )
            for row in rows
            if row.get('split', 'train') == split
        ]
        if not records:
            raise InputError(
                f"'{self.manifest}' has no row of split '{split}'."
            )
        missing = [r.path for r in records if not os.path.isfile(r.path)]
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} images of '{self.manifest}' are missing: "
                f'{first_three(missing)}; paths are relative to '
                f"'{self.data_root}', set data_root to change that."
            )
        return records

    def _read_rows(self) -> list[dict[str, str]]:
        """Read and check all rows; every value becomes a string."""
        readers = {'.csv': _read_csv, '.jsonl': _read_json_lines}
        suffix = os.path.splitext(self.manifest)[1].lower()
        if suffix not in readers:
            raise InputError(
                f"ann_file '{self.manifest}' must end in .csv or .jsonl."
            )
        if not os.path.isfile(self.manifest):
            raise FileNotFoundError(
                f"ann_file '{self.manifest}' does not exist."
            )
        rows = []
        # utf-8-sig, because spreadsheets write a byte order mark.
        with open(self.manifest, encoding='utf-8-sig', newline='') as file:
            try:
                numbered = [*readers[suffix](file)]
            except (UnicodeDecodeError, csv.Error) as error:
                raise InputError(
                    f"'{self.manifest}' is no {suffix} file in UTF-8: {error}."
                ) from error
        first = numbered[0][1] if numbered else {}
        for line, row in numbered:
            problem = _problem(row)
            if not problem and ('person_id' in row) != ('person_id' in first):
                problem = 'person_id must be in all rows, or in none'
            if problem:
                raise InputError(f"'{self.manifest}', line {line}: {problem}.")
            rows.append({key: str(value) for key, value in row.items()})
        if not rows:
            raise InputError(f"'{self.manifest}' has no row.")
        return rows


def _read_csv(file):
    reader = csv.DictReader(file)
    for row in reader:
        yield reader.line_num, row


def _read_json_lines(file):
    for line, text in enumerate(file, start=1):
        if text.strip():
            try:
                yield line, json.loads(text)
            except json.JSONDecodeError as error:
                yield line, f'no JSON ({error})'


def _problem(row: dict | str) -> str | None:
    """Say what is wrong with a row, if anything is."""
    if not isinstance(row, dict):
        return f'expected an object with {COLUMNS}, got {row!r}'
    for column in COLUMNS:
        if column not in row:
            return (
                f"column '{column}' is missing, found {sorted(map(str, row))}"
            )
    for column in {*COLUMNS, 'person_id'} & row.keys():
        value = row[column]
        # In Python a bool is an int.
        wrong = isinstance(value, bool) or not isinstance(value, str | int)
        if wrong or value == '':
            return f'{column} must be a string or an integer, got {value!r}'
    if row.get('split', 'train') not in SPLITS:
        return f'split must be one of {SPLITS}, got {row["split"]!r}'
    return None


def _numbering(values: list[str]) -> dict[str, int]:
    """Number ids: integers stay, strings count from 1, '-1' stays junk.

    Args:
        values (list[str]): The ids of all rows.

    Returns:
        dict[str, int]: The number of each.
    """
    unique = set(values)
    if all(re.fullmatch(r'-?\d+', value) for value in unique):
        return {value: int(value) for value in unique}
    numbers = {'-1': -1} if '-1' in unique else {}
    names = sorted(unique.difference(numbers))
    return numbers | {name: i for i, name in enumerate(names, start=1)}
