"""Check every image of a config, or of a folder of crops.

Whether it can be read, has a sane size and shape, and is there once; beside
counts per part and camera. Ends with a verdict: exit code 1 if there is a
problem, 0 if there is none. Notes are no problems.
"""

import argparse
import os
import sys

from mmreid.utils import (
    OptionAction,
    exit_with_message,
    read_config,
    whole_number,
)
from mmreid.utils.files import write_json


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'input',
        metavar='CONFIG|FOLDER',
        help='a config, or CONFIG.py:ROW: its domains, validation and test; '
        'or a folder of images, the first folders in which are the cameras',
    )
    parser.add_argument(
        '--threads',
        type=whole_number(1),
        help='that read (default: one per core)',
    )
    parser.add_argument('--out', help='write the report to this JSON file')
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionAction, default={}
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    # Not at the top: --help need not wait for it.
    from mmreid.datasets.check import (
        check_images,
        parts_of_config,
        parts_of_folder,
    )
    from mmreid.utils.config_check import check_config

    problems = []
    if os.path.isdir(args.input):
        parts = parts_of_folder(args.input)
    else:
        cfg = read_config(args.input, args.cfg_options)
        check_config(cfg, args.cfg_options)
        parts, problems = parts_of_config(cfg)
    report = check_images(parts, problems, args.threads)
    print(report)
    if args.out:
        write_json(report.to_dict(), args.out)
    if report.problems:
        sys.exit(1)


if __name__ == '__main__':
    with exit_with_message():
        main()
