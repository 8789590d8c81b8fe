"""Write the manifest of a folder of CUHK03 images.

Without --protocol the folder holds images named ``PID_IDX.jpg`` (or .png): IDX
00 to 04 are of the camera pair's first view, 05 to 09 of its second; all are
training images. With --protocol, the file of the new protocol (Zhong et al.,
CVPR 2017: 767 persons train, 700 test), the images are those that it lists,
such as ``1_001_1_01.png``, anywhere below the folder. ``ReIDManifest`` reads
the result.
"""

import argparse
import csv
import os
import re
from collections import defaultdict

import numpy as np

from mmreid.utils.mat_file import read_mat

SPLITS = ('train', 'query', 'gallery')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'root', help="folder of the images, or the one above its 'labeled'"
    )
    parser.add_argument('out', help='manifest to write, *.csv')
    parser.add_argument(
        '--protocol',
        metavar='MAT',
        help='cuhk03_new_protocol_config_labeled.mat or _detected.mat',
    )
    return parser.parse_args()


def list_folder(root: str) -> list[dict]:
    """Rows of a folder whose names tell person and view."""
    folder = os.path.join(root, 'labeled')
    if not os.path.isdir(folder):
        folder = root
    names = sorted(
        name
        for name in os.listdir(folder)
        if name.endswith(('.jpg', '.png')) and not name.startswith('.')
    )
    matches = [re.fullmatch(r'(\d+)_0(\d)\.\w+', name) for name in names]
    bad = [n for n, m in zip(names, matches, strict=True) if m is None]
    if bad or not names:
        raise SystemExit(
            f"'{folder}' holds {len(names)} images, of which {len(bad)} do "
            f'not parse: {bad[:3]}; expected PID_IDX.jpg with IDX from 00 to '
            '09, such as 0001_05.jpg.'
        )
    return [
        dict(
            path=os.path.join(folder, match.string),
            person_id=int(match[1]),
            camera_id=1 if int(match[2]) < 5 else 2,
        )
        for match in matches
    ]


def list_protocol(root: str, file: str) -> list[dict]:
    """Rows of the new protocol, with their split."""
    listed = read_protocol(file)
    found = defaultdict(list)
    for folder, _, names in os.walk(root):
        for name in names:
            found[name].append(os.path.join(folder, name))
    missing = [r['path'] for r in listed if r['path'] not in found]
    if missing:
        raise SystemExit(
            f"{len(missing)} of {len(listed)} images of '{file}' are not "
            f"below '{root}': {missing[:3]}; give the folder that holds them."
        )
    # The labelled and the detected boxes have the same names.
    for row in listed:
        paths = found[row['path']]
        if len(paths) > 1:
            raise SystemExit(
                f"'{row['path']}' is more than once below '{root}': "
                f'{sorted(paths)[:3]}; give the folder of the boxes that '
                f"'{file}' is about."
            )
        row['path'] = paths[0]
    return listed


def read_protocol(file: str) -> list[dict]:
    """Rows of the new protocol's file, checked; paths are bare names."""
    if not os.path.isfile(file):
        raise SystemExit(f"--protocol '{file}' does not exist.")
    try:
        content = read_mat(file)
        names = [
            os.path.basename(str(name).strip())
            for name in np.ravel(content['filelist'])
        ]
        persons = np.ravel(content['labels']).astype(int).tolist()
        cameras = np.ravel(content['camId']).astype(int).tolist()
        parts = {
            # The file counts from 1.
            split: np.ravel(content[f'{split}_idx']).astype(int) - 1
            for split in SPLITS
        }
    except Exception as error:  # SciPy's kinds of error are many
        raise SystemExit(
            f"--protocol '{file}' is no file of the new protocol "
            f'({type(error).__name__}: {error}): expected a .mat file with '
            'filelist, labels, camId, train_idx, query_idx and gallery_idx.'
        ) from error
    indices = np.concatenate(list(parts.values()))
    if not len(names) == len(persons) == len(cameras):
        problem = (
            f'{len(names)} images, {len(persons)} labels and {len(cameras)} '
            'cameras'
        )
    elif not all(part.size for part in parts.values()):
        problem = 'a part without images'
    elif indices.min() < 0 or indices.max() >= len(names):
        problem = (
            f'indices from {indices.min() + 1} to {indices.max() + 1} of '
            f'{len(names)} images'
        )
    elif len({names[i] for i in indices}) < len(indices):
        problem = 'an image that is listed twice'
    elif {persons[i] for i in parts['train']} & {
        persons[i] for split in SPLITS[1:] for i in parts[split]
    }:
        problem = 'a person who is both trained on and tested'
    else:
        return [
            dict(
                path=names[i],
                person_id=persons[i],
                camera_id=cameras[i],
                split=split,
            )
            for split in SPLITS
            for i in parts[split]
        ]
    raise SystemExit(
        f"--protocol '{file}' has {problem}: take the published file as it is."
    )


def main() -> None:
    args = parse_args()
    if not os.path.isdir(args.root):
        raise SystemExit(f"root '{args.root}' is no folder.")
    if args.protocol:
        rows = list_protocol(args.root, args.protocol)
    else:
        rows = list_folder(args.root)
    start = os.path.dirname(args.out) or '.'
    for row in rows:
        # Relative to the manifest, so that both can be moved together.
        row['path'] = os.path.relpath(row['path'], start)
    os.makedirs(start, exist_ok=True)
    with open(args.out, 'w', encoding='utf-8', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for split in SPLITS:
        part = [r for r in rows if r.get('split', 'train') == split]
        if part:
            persons = {row['person_id'] for row in part}
            print(f'{split}: {len(part)} images of {len(persons)} persons')
    print(f"'{args.out}'")


if __name__ == '__main__':
    main()
