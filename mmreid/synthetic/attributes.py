"""Attribute files of the embedded pedestrians, in the official structure."""

from collections.abc import Sequence

import numpy as np
from scipy.io import savemat

from mmreid.datasets.attributes import FIELDS
from mmreid.errors import InputError

from .colour import colour_name
from .identity import Cloth, Identity

# The official files order the fields of their two parts differently, which
# is a trap for a loader that reads by position: so do these.
TEST_FIELDS = dict(
    market=(
        'age backpack bag handbag clothes down up hair hat gender upblack '
        'upwhite upred uppurple upyellow upgray upblue upgreen downblack '
        'downwhite downpink downpurple downyellow downgray downblue '
        'downgreen downbrown'
    ).split(),
    duke=(
        'boots shoes top gender hat backpack bag handbag downblack downwhite '
        'downred downgray downblue downgreen downbrown upblack upwhite upred '
        'upgray upblue upgreen uppurple upbrown'
    ).split(),
)


def _colours(cloth: Cloth) -> set[str]:
    names = {colour_name(cloth.lab)}
    if cloth.pattern in ('stripes', 'checks', 'block'):
        names.add(colour_name(cloth.accent))
    return names


def identity_attributes(identity: Identity) -> dict[str, int]:
    """The values of all fields of both official files for one person.

    Every value is 1 or 2, the field's first or second meaning, but ``age``:
    1 young, 2 teenager, 3 adult, 4 old. As in the official files a person
    may have two colours, or none where no field names the colour.

    Args:
        identity (Identity): The person.

    Returns:
        dict[str, int]: Field to value.
    """
    dress = identity.top == 'dress'
    values = dict(
        gender=identity.female,
        hair=identity.hair in ('long', 'ponytail'),
        up=identity.sleeve < 0.7,  # short sleeves
        down=dress or identity.leg < 0.75,  # short
        clothes=not (dress or identity.bottom == 'skirt'),  # trousers
        top=identity.hem > 0.15,  # long
        hat=identity.hat != 'none',
        backpack=identity.backpack is not None,
        bag=identity.bag is not None,
        handbag=identity.handbag is not None,
        boots=identity.boots,
        shoes=identity.shoes[0] > 50,  # light
    )
    upper = _colours(identity.upper)
    lower = upper if dress else _colours(identity.lower)
    for fields in FIELDS.values():
        for field in fields:
            for part, worn in (('up', upper), ('down', lower)):
                if field.startswith(part) and field != part:
                    values[field] = field.removeprefix(part) in worn
    return {f: 1 + int(v) for f, v in values.items()} | {'age': identity.age}


def write_attributes(
    path: str,
    kind: str,
    train: Sequence[tuple[str, Identity]],
    test: Sequence[tuple[str, Identity]],
) -> None:
    """Write ``market_attribute.mat`` or ``duke_attribute.mat``.

    Args:
        path (str): File to write.
        kind (str): 'market' or 'duke'.
        train (Sequence[tuple[str, Identity]]): The training part: the
            zero-padded person id and the person, one entry per person.
        test (Sequence[tuple[str, Identity]]): The test part.

    Raises:
        InputError: If ``kind`` is unknown.
    """
    if kind not in FIELDS:
        raise InputError(f"kind is '{kind}', expected 'market' or 'duke'.")
    struct = {}
    for part, fields, people in (
        ('train', FIELDS, train),
        ('test', TEST_FIELDS, test),
    ):
        values = [identity_attributes(identity) for _, identity in people]
        struct[part] = {
            field: np.uint8([[v[field] for v in values]])
            for field in fields[kind]
        }
        index = np.empty((1, len(people)), object)
        index[0] = [np.array([person_id]) for person_id, _ in people]
        struct[part]['image_index'] = index
    savemat(path, {f'{kind}_attribute': struct}, do_compression=True)
    # SciPy notes the time in the free text of the header, 116 bytes; without
    # it the same people make the same file.
    with open(path, 'r+b') as file:
        file.write(b'MATLAB 5.0 MAT-file, embedded pedestrians'.ljust(116))
