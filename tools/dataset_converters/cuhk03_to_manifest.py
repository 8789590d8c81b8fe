"""Write the manifest of a folder of CUHK03 images.

The folder holds images named ``PID_IDX.jpg`` (or .png): IDX 00 to 04 are of
the camera pair's first view, 05 to 09 of its second. ``ReIDManifest`` reads
the result.
"""

import argparse
import csv
import os
import re


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'root', help="folder of the images, or the one above its 'labeled'"
    )
    parser.add_argument('out', help='manifest to write, *.csv')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    folder = os.path.join(args.root, 'labeled')
    if not os.path.isdir(folder):
        folder = args.root
    if not os.path.isdir(folder):
        raise SystemExit(f"root '{folder}' is no folder.")
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
    # Relative to the manifest, so that both can be moved together.
    prefix = os.path.relpath(folder, os.path.dirname(args.out) or '.')
    with open(args.out, 'w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['path', 'person_id', 'camera_id'])
        for match in matches:
            writer.writerow(
                [
                    os.path.join(prefix, match.string),
                    int(match[1]),
                    1 if int(match[2]) < 5 else 2,
                ]
            )
    persons = {match[1] for match in matches}
    print(f"{len(names)} images of {len(persons)} persons: '{args.out}'")


if __name__ == '__main__':
    main()
