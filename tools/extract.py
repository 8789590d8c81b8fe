"""Write the features of images to a .npz file.

Its arrays are paths (N,), and features (N, D) float32; with --camera-mean also
cameras (N,), the names of the cameras.
"""

import argparse
import os.path as osp
from dataclasses import replace

import numpy as np

from mmreid.apis import ReIDInferencer
from mmreid.datasets import ReIDFolder
from mmreid.engine import extract
from mmreid.errors import InputError
from mmreid.evaluation import center_cameras
from mmreid.evaluation.functional import unit_vectors
from mmreid.structures import FeatureSet
from mmreid.utils import (
    checkpoint_path,
    config_parser,
    exit_with_message,
    load_config,
    whole_number,
)
from mmreid.utils.files import whole_file


def parse_args() -> argparse.Namespace:
    parser = config_parser(__doc__)
    parser.add_argument(
        'checkpoint',
        type=checkpoint_path,
        help="path of a checkpoint, or 'none': the weights that the config "
        'starts from',
    )
    parser.add_argument(
        'inputs', nargs='+', help='image files, or folders of them'
    )
    parser.add_argument('--out', required=True, help='.npz file to write')
    parser.add_argument(
        '--batch-size',
        type=whole_number(1),
        help="default: the config's test_dataloader",
    )
    parser.add_argument(
        '--workers', type=whole_number(0), default=0, help='that load'
    )
    parser.add_argument('--device', help='default: a GPU if there is one')
    parser.add_argument(
        '--camera-mean',
        action='store_true',
        help="subtract from each feature the mean of its camera's images (of "
        'unit vectors, where the config ranks by the cosine); inputs is then '
        'one folder, which has a folder for each camera',
    )
    parser.add_argument(
        '--camera-pattern',
        metavar='REGEX',
        help='of --camera-mean: what says the camera in place of its folder, '
        "searched in the path below inputs, such as '_c(?P<camera>[0-9]+)'",
    )
    return parser.parse_args()


def camera_folder(
    inputs: list[str], pattern: str | None, pipeline: list[dict]
) -> ReIDFolder:
    """The images whose camera means are subtracted.

    Raises:
        FileNotFoundError: If there is no image.
        InputError: If the camera of an image is unknown, or a camera has one
            image only.
    """
    if len(inputs) != 1 or not osp.isdir(inputs[0]):
        raise InputError(
            '--camera-mean needs one folder, with a folder of images for '
            f'each camera, got {", ".join(inputs)}: name the folder above '
            'those of the cameras.'
        )
    images = ReIDFolder(inputs[0], pattern, pipeline=pipeline)
    first = images.get_data_info(0)['img_path']
    if pattern is None and osp.samefile(osp.dirname(first), inputs[0]):
        raise InputError(
            f"--camera-mean: no camera is known of the images in '{inputs[0]}'"
            ': put them into a folder for each camera and name the folder '
            'above, or say by --camera-pattern what in the names is the '
            'camera.'
        )
    cameras = [
        images.get_data_info(i)['camera_id'] for i in range(len(images))
    ]
    names = images.metainfo['camera_names']
    alone = [names[i] for i, n in enumerate(np.bincount(cameras)) if n == 1]
    if alone:
        raise InputError(
            f"--camera-mean: camera '{alone[0]}' has one image, of which its "
            'own mean would leave nothing: leave the camera out, or give '
            'more of its images.'
        )
    return images


def without_camera_means(found: FeatureSet, metric: str) -> FeatureSet:
    """Subtract each camera's mean over the images themselves."""
    if metric == 'cosine':
        features = unit_vectors('features', found.features)
        found = replace(found, features=features)
    return center_cameras(found)


def main() -> None:
    args = parse_args()
    if args.camera_pattern is not None and not args.camera_mean:
        raise InputError('--camera-pattern needs --camera-mean.')
    cfg = load_config(args)
    inferencer = ReIDInferencer(
        cfg,
        args.checkpoint,
        args.device,
        args.batch_size
        or cfg.get('test_dataloader', {}).get('batch_size', 128),
        args.workers,
    )
    arrays, note = {}, ''
    if args.camera_mean:
        images = camera_folder(
            args.inputs, args.camera_pattern, inferencer.pipeline
        )
        found = extract(
            inferencer.model,
            images,
            batch_size=inferencer.batch_size,
            num_workers=inferencer.num_workers,
        )
        found = without_camera_means(found, inferencer.metric)
        names = np.array(images.metainfo['camera_names'])
        arrays['cameras'] = names[found.camera_id.cpu().numpy()]
        note = f' less the means of {len(names)} cameras'
    else:
        found = inferencer(args.inputs)
    # By a handle, for NumPy would add .npz to a name without it.
    with whole_file(args.out) as file:
        np.savez(
            file,
            paths=np.array(found.paths),
            features=found.features.cpu().numpy(),
            **arrays,
        )
    print(
        f'{len(found)} features of length {found.features.shape[1]}{note}: '
        f'{args.out}'
    )


if __name__ == '__main__':
    with exit_with_message():
        main()
