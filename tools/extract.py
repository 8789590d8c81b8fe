"""Write the features of images to a .npz file.

Its arrays are paths (N,), and features (N, D) float32.
"""

import argparse

import numpy as np

from mmreid.apis import ReIDInferencer
from mmreid.utils import config_parser, exit_with_message, load_config
from mmreid.utils.files import whole_file


def parse_args() -> argparse.Namespace:
    parser = config_parser(__doc__)
    parser.add_argument(
        'checkpoint',
        help="path of a checkpoint, or 'none': the weights that the config "
        'starts from',
    )
    parser.add_argument(
        'inputs', nargs='+', help='image files, or folders of them'
    )
    parser.add_argument('--out', required=True, help='.npz file to write')
    parser.add_argument(
        '--batch-size', type=int, help="default: the config's test_dataloader"
    )
    parser.add_argument('--workers', type=int, default=0, help='that load')
    parser.add_argument('--device', help='default: a GPU if there is one')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    inferencer = ReIDInferencer(
        cfg,
        None if args.checkpoint == 'none' else args.checkpoint,
        args.device,
        args.batch_size
        or cfg.get('test_dataloader', {}).get('batch_size', 128),
        args.workers,
    )
    found = inferencer(args.inputs)
    # By a handle, for NumPy would add .npz to a name without it.
    with whole_file(args.out) as file:
        np.savez(
            file,
            paths=np.array(found.paths),
            features=found.features.cpu().numpy(),
        )
    print(
        f'{len(found)} features of length {found.features.shape[1]}: '
        f'{args.out}'
    )


if __name__ == '__main__':
    with exit_with_message():
        main()
