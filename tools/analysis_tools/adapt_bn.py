"""Control for any claim of adaptation: re-estimate the batch norms.

Writes a checkpoint whose normalisation statistics are those of the target's
training images, with nothing trained; score it with tools/test.py.
"""

import argparse

from mmengine.config import DictAction
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint

from mmreid.apis import adapt_bn, init_model
from mmreid.registry import DATASETS
from mmreid.utils import exit_with_message, read_config
from mmreid.utils.checkpoint import WHOLE_FILES


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of a config, or CONFIG.py:ROW')
    parser.add_argument('checkpoint', help='such as stage_pretrain.pth')
    parser.add_argument('out', help='checkpoint to write')
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--seed', type=int, default=0, help='of the order')
    parser.add_argument('--device', default='cpu')
    parser.add_argument(
        '--amp',
        action='store_true',
        help='run the backbone in bfloat16, channels last',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = read_config(args.config, args.cfg_options)
    cfg.model.amp = args.amp
    init_default_scope(cfg.default_scope)
    images = DATASETS.build(cfg.train_dataloader.dataset).images('target')
    model = init_model(cfg, args.checkpoint, args.device)
    adapt_bn(
        model,
        images,
        args.batch_size,
        num_workers=cfg.train_dataloader.get('num_workers', 0),
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
