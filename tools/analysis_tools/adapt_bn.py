"""Re-estimate the batch norms on the target's images, and train nothing.

The control for any claim of adaptation, and an adaptation for who has a
checkpoint and crops, but no source. Writes a checkpoint.
"""

import argparse

from mmengine.config import Config
from mmengine.runner import save_checkpoint, set_random_seed
from torch.utils.data import Dataset

from mmreid.apis import adapt_bn, init_model
from mmreid.datasets import ImageList, list_images
from mmreid.errors import InputError
from mmreid.registry import DATASETS
from mmreid.utils import (
    add_model_arguments,
    exit_with_message,
    image_pipeline,
    model_config,
    whole_number,
)
from mmreid.utils.checkpoint import WHOLE_FILES


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_model_arguments(parser)
    parser.add_argument('out', help='checkpoint to write')
    parser.add_argument(
        '--images',
        nargs='+',
        help='image files, or folders of them, in place of the training '
        "images of the config's target",
    )
    parser.add_argument(
        '--batch-size',
        type=whole_number(2),
        help='default: 64, or all if they are less',
    )
    parser.add_argument(
        '--seed',
        type=whole_number(0),
        default=0,
        help='of the order, and of weights that are drawn',
    )
    return parser.parse_args()


def images_of(cfg: Config, paths: list[str] | None) -> Dataset:
    """The images that are named, or else the target's. No source is read."""
    if paths:
        return ImageList(list_images(paths), image_pipeline(cfg))
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    if not dataset.get('target'):
        raise InputError(
            f"'{cfg.filename}' has no target: give the images by --images."
        )
    keys = ('type', 'pipeline', 'target')
    alone = {key: dataset[key] for key in keys if key in dataset}
    return DATASETS.build(alone).images('target')


def main() -> None:
    args = parse_args()
    cfg = model_config(args)
    images = images_of(cfg, args.images)
    set_random_seed(args.seed)
    model = init_model(cfg, args.checkpoint, args.device)
    adapt_bn(
        model,
        images,
        args.batch_size or min(64, len(images)),
        num_workers=(cfg.get('train_dataloader') or {}).get('num_workers', 0),
        seed=args.seed,
    )
    save_checkpoint(
        dict(state_dict=model.cpu().state_dict()),
        args.out,
        backend_args=WHOLE_FILES,
    )
    print(f'Statistics of {len(images)} images: {args.out}')


if __name__ == '__main__':
    with exit_with_message():
        main()
