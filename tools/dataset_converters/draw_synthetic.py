"""Draw the embedded pedestrians in the layout of a real data set.

No download and no real person: see ``mmreid/synthetic``. Example:

    python tools/dataset_converters/draw_synthetic.py --layout market1501 \
        --domain target --out data/synthetic --train-ids 100 --test-ids 60
"""

import argparse
import inspect

import cv2

from mmreid.synthetic import (
    DOMAINS,
    LAYOUTS,
    contact_sheet,
    write_benchmark,
)
from mmreid.utils import whole_number

OPTIONS = dict(
    train_ids='num_train_ids',
    test_ids='num_test_ids',
    images_per_camera='images_per_camera',
    cameras='num_cameras',
    ids='num_ids',
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--layout',
        choices=[*LAYOUTS, 'benchmark'],
        help='what to write; benchmark is a source in the layout of MSMT17 '
        'and a target in that of Market-1501, from both domains',
    )
    parser.add_argument('--domain', choices=list(DOMAINS), default='target')
    parser.add_argument('--out', help='folder to write below')
    parser.add_argument('--seed', type=whole_number(0), default=0)
    parser.add_argument('--size', type=int, nargs=2, metavar=('W', 'H'))
    parser.add_argument('--train-ids', type=int, help='training persons')
    parser.add_argument('--test-ids', type=int, help='test persons')
    parser.add_argument('--images-per-camera', type=int)
    parser.add_argument('--cameras', type=int)
    parser.add_argument('--ids', type=int, help='persons (viper)')
    parser.add_argument(
        '--contact-sheet', metavar='FILE', help='picture of both domains'
    )
    args = parser.parse_args()
    if not args.layout and not args.contact_sheet:
        parser.error('nothing to do: give --layout or --contact-sheet.')
    if args.layout and not args.out:
        parser.error('--layout needs --out, the folder to write below.')
    return args


def main() -> None:
    args = parse_args()
    size = dict(size=tuple(args.size)) if args.size else {}
    try:
        if args.contact_sheet:
            sheet = contact_sheet(args.seed, **size)
            try:
                written = cv2.imwrite(args.contact_sheet, sheet)
            except cv2.error:
                written = False
            if not written:
                raise SystemExit(
                    f"Cannot write '{args.contact_sheet}': give a .png or "
                    '.jpg file in a folder that exists.'
                )
        if args.layout:
            print(_write(args, size))
    except (ValueError, OSError) as error:
        raise SystemExit(str(error)) from error


def _write(args: argparse.Namespace, size: dict) -> str:
    benchmark = args.layout == 'benchmark'
    write = write_benchmark if benchmark else LAYOUTS[args.layout]
    options = dict(seed=args.seed, **size)
    if not benchmark:
        options['domain'] = DOMAINS[args.domain]
    known = inspect.signature(write).parameters
    for option, name in OPTIONS.items():
        value = getattr(args, option)
        if value is None:
            continue
        if benchmark or name not in known:
            raise SystemExit(
                f'--{option.replace("_", "-")} does not apply to --layout '
                f'{args.layout}; leave it out.'
            )
        options[name] = value
    folders = write(args.out, **options)
    return '\n'.join(folders) if benchmark else folders


if __name__ == '__main__':
    main()
