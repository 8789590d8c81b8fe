"""Attributes per identity, read from the files published for two data sets.

Market-1501 and DukeMTMC-reID attributes (Lin et al., Pattern Recognition
2019): ``market_attribute.mat`` and ``duke_attribute.mat``.
"""

import os

import numpy as np

from mmreid.errors import InputError
from mmreid.utils.mat_file import read_mat

# In the order of the files' training parts. The test parts have the same
# fields in another order.
FIELDS = dict(
    market=(
        'age backpack bag handbag downblack downblue downbrown downgray '
        'downgreen downpink downpurple downwhite downyellow upblack upblue '
        'upgreen upgray uppurple upred upwhite upyellow clothes down up hair '
        'hat gender'
    ).split(),
    duke=(
        'backpack bag handbag boots gender hat shoes top downblack downwhite '
        'downred downgray downblue downgreen downbrown upblack upwhite upred '
        'uppurple upgray upblue upgreen upbrown'
    ).split(),
)
AGE_NAMES = dict(
    adult=['adult'],
    one_hot=['age_young', 'age_teenager', 'age_adult', 'age_old'],
)


def attribute_names(kind: str, age: str = 'adult') -> list[str]:
    """Names of the attributes, in the order in which they are read.

    That is the order of the fields in the file's training part, for both
    parts. Each name is that of its field, but for the age.

    Args:
        kind (str): 'market' or 'duke'.
        age (str): 'adult': one attribute ``adult``, 1 for the field's values
            adult and old, 0 for young and teenager. 'one_hot': four
            attributes ``age_young``, ``age_teenager``, ``age_adult`` and
            ``age_old``. Only 'market' has an age. Defaults to 'adult'.

    Returns:
        list[str]: m names: 27 or, with 'one_hot', 30 for 'market', and 23
        for 'duke'.

    Raises:
        InputError: If ``age`` is unknown, or 'one_hot' without an age.
    """
    if age not in AGE_NAMES:
        raise InputError(f"age must be one of {[*AGE_NAMES]}, got '{age}'.")
    if age != 'adult' and 'age' not in FIELDS[kind]:
        raise InputError(
            f"The attributes of '{kind}' hold no age: leave age out, got "
            f"'{age}'."
        )
    return [
        name
        for field in FIELDS[kind]
        for name in (AGE_NAMES[age] if field == 'age' else [field])
    ]


def read_attributes(
    path: str, kind: str, part: str, age: str = 'adult'
) -> dict[int, tuple[int, ...]]:
    """Read one part of an attribute file, by the names of its fields.

    A field's value 1 becomes 0, 2 becomes 1, and 0, by which
    ``duke_attribute.mat`` marks what its authors could not tell, becomes -1.

    Args:
        path (str): The official ``.mat`` file.
        kind (str): 'market' or 'duke'.
        part (str): 'train' or 'test'.
        age (str): See :func:`attribute_names`. Defaults to 'adult'.

    Returns:
        dict[int, tuple[int, ...]]: Raw person id to the m attributes in the
        order of :func:`attribute_names`: 1, 0 or, unknown, -1.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it cannot be read, is another data set's, lacks a
            field, or holds other values than the official files do.
    """
    path = os.path.expanduser(path)
    fields = _load_part(path, kind, part)
    raw_ids = np.atleast_1d(fields['image_index'])
    try:
        person_ids = [int(raw) for raw in raw_ids]
    except (OverflowError, TypeError, ValueError):
        raise InputError(
            f"attribute_file '{path}': image_index of '{part}' must hold "
            f"person ids such as '0002', got {raw_ids[:3].tolist()}."
        ) from None
    if len(set(person_ids)) < len(person_ids):
        raise InputError(
            f"attribute_file '{path}': image_index of '{part}' must name "
            f'each person once, got {len(person_ids)} entries for '
            f'{len(set(person_ids))} persons.'
        )
    columns = []
    for field in FIELDS[kind]:
        values = np.atleast_1d(fields[field])
        largest = 4 if field == 'age' else 2
        if (
            values.shape != (len(person_ids),)
            or values.dtype.kind not in 'iuf'
        ):
            raise InputError(
                f"attribute_file '{path}': field '{field}' of '{part}' must "
                f'hold one number for each of the {len(person_ids)} persons, '
                f'got {values.dtype} of shape {values.shape}.'
            )
        bad = [v for v in values.tolist() if v not in range(largest + 1)]
        if bad:
            raise InputError(
                f"attribute_file '{path}': field '{field}' of '{part}' must "
                f'hold the values 1 to {largest}, or 0 for unknown, got '
                f'{len(bad)} others: {bad[:3]}.'
            )
        if field != 'age':
            meanings = [values == 2]
        elif age == 'adult':
            meanings = [values >= 3]
        else:
            meanings = [values == value for value in range(1, 5)]
        columns += [np.where(values == 0, -1, m) for m in meanings]
    rows = map(tuple, np.stack(columns, axis=1).tolist())
    return dict(zip(person_ids, rows, strict=True))


def _load_part(path: str, kind: str, part: str) -> dict:
    """Load a part's fields, and check that they are all there."""
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"attribute_file '{path}' does not exist: give the path of "
            f'{kind}_attribute.mat, or leave attribute_file out.'
        )
    try:
        found = read_mat(path)
    except Exception as error:  # SciPy's kinds of error are many
        raise InputError(
            f"attribute_file '{path}' cannot be read as a .mat file, it may "
            f'be damaged ({type(error).__name__}: {error}): fetch it anew.'
        ) from error
    for where, expected in (
        ('the file', [f'{kind}_attribute']),
        (f'{kind}_attribute', [part]),
        (part, [*FIELDS[kind], 'image_index']),
    ):
        names = list(found) if isinstance(found, dict) else []
        missing = [name for name in expected if name not in names]
        if missing:
            names = [name for name in names if not name.startswith('__')]
            raise InputError(
                f"attribute_file '{path}' is not {kind}_attribute.mat: "
                f'{where} must hold {missing}, found {names}.'
            )
        if len(expected) == 1:
            found = found[expected[0]]
    return found
