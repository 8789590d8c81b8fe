"""What a checkpoint of MAR would mine, compared with the target's labels.

For choosing scale s and mining ratio p before a long run. Features of all
target training images in eval mode; for each s and p the threshold T over
all their pairs, and random batches mined with it. The labels are read here,
for this table only.
"""

import argparse
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.config import DictAction
from mmengine.registry import init_default_scope
from sklearn.metrics import roc_auc_score
from torch import Tensor

from mmreid.apis import init_model
from mmreid.datasets.samplers import DomainSampler
from mmreid.engine import extract
from mmreid.errors import InputError
from mmreid.models import MAR, SoftMultilabelMiner, kth_largest_agreement
from mmreid.registry import DATASETS
from mmreid.utils import exit_with_message, read_config
from mmreid.utils.files import write_json

COLUMNS = dict(
    scale='s',
    ratio='p',
    threshold='T',
    positives='positives',
    purity_positives='same person %',
    negatives='negatives',
    purity_negatives='same person %',
    auc='AUC',
    same_camera='same camera %',
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='Columns: s, p and T; mean number per batch of positives and '
        'of hard negatives, each with the part that shows one person; AUC of '
        'the agreement as a guess of which similar pairs show one person; '
        'part of the similar pairs that one camera took.',
    )
    parser.add_argument(
        'config', help='path of a config of MAR, or CONFIG.py:ROW'
    )
    parser.add_argument('checkpoint', help='such as stage_pretrain.pth')
    parser.add_argument(
        '--ratios',
        type=float,
        nargs='+',
        default=[0.001, 0.002, 0.005],
        help='mining ratios p (default: 0.001 0.002 0.005)',
    )
    parser.add_argument(
        '--scales',
        type=float,
        nargs='+',
        default=[10.0, 30.0],
        help='scales s on the cosines (default: 10 30)',
    )
    parser.add_argument('--batches', type=int, default=40)
    parser.add_argument('--seed', type=int, default=0, help='of the batches')
    parser.add_argument('--out', help='write the table to this JSON file')
    parser.add_argument('--device', default='cpu')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}
    )
    return parser.parse_args()


def build(args: argparse.Namespace) -> tuple:
    """The model, the labelled target and the size of its batches."""
    cfg = read_config(args.config, args.cfg_options)
    init_default_scope(cfg.default_scope)
    model = init_model(cfg, args.checkpoint, args.device)
    data = cfg.train_dataloader.dataset
    stage = cfg.train_cfg.stages.get('main', dict(batch_size={}))
    batch_size = stage['batch_size'].get('target')
    if not isinstance(model, MAR) or 'target' not in data or not batch_size:
        raise InputError(
            f"'{args.config}' mines nothing: name a config of MAR with a "
            'train_dataloader.dataset.target and a '
            'train_cfg.stages.main.batch_size.target.'
        )
    pipeline, target = data.get('pipeline'), data.target
    # Its labels, which training erases, are what this table is about.
    dataset = DATASETS.build(
        dict(type=data.type, pipeline=pipeline, target=target)
    ).labelled('target')
    return model, dataset, batch_size


def measure(
    features: Tensor,
    soft_multilabel: Tensor,
    person_id: Tensor,
    camera_id: Tensor,
    ratio: float,
    batches: Sequence[list[int]],
) -> dict:
    """Mine the batches, each with the T of the whole set.

    Args:
        features (Tensor): Unit-norm target features, (N, D).
        soft_multilabel (Tensor): (N, N_p).
        person_id (Tensor): (N, ).
        camera_id (Tensor): (N, ).
        ratio (float): Mining ratio p.
        batches (Sequence[list[int]]): Images of each batch.

    Returns:
        dict: The columns of the table but the scale; None where there are
        no pairs to average over.

    Raises:
        InputError: If the ratio gives no pair.
    """
    miner = SoftMultilabelMiner(ratio).to(features.device)
    size = len(batches[0])
    if not miner.num_similar(size):
        raise InputError(
            f'--ratios: {ratio} of the {size * (size - 1) // 2} pairs of '
            f'{size} target images in a batch is less than one pair: ask for '
            'a larger one.'
        )
    threshold = kth_largest_agreement(
        soft_multilabel, miner.num_similar(len(features))
    )
    mined = []
    for batch in batches:
        batch = torch.tensor(batch, device=features.device)
        # In training it then follows the batches.
        miner.threshold.copy_(threshold)
        pairs = miner(features[batch], soft_multilabel[batch])
        first, second = batch[pairs.first], batch[pairs.second]
        distance = soft_multilabel[first] - soft_multilabel[second]
        mined.append(
            torch.stack(
                [
                    pairs.positive,
                    person_id[first] == person_id[second],
                    camera_id[first] == camera_id[second],
                    1 - distance.abs().sum(1) / 2,
                ]
            )
        )
    positive, same, same_camera, agreement = torch.cat(mined, 1).cpu()
    positive, same = positive.bool(), same.bool()

    def percent(values: Tensor) -> float | None:
        return 100 * values.double().mean().item() if len(values) else None

    both = same.any() and not same.all()
    return dict(
        ratio=ratio,
        threshold=threshold.item(),
        positives=positive.sum().item() / len(batches),
        purity_positives=percent(same[positive]),
        negatives=(~positive).sum().item() / len(batches),
        purity_negatives=percent(same[~positive]),
        auc=float(roc_auc_score(same, agreement)) if both else None,
        same_camera=percent(same_camera),
    )


def print_table(rows: list[dict]) -> None:
    """One line per scale and ratio."""
    digits = dict(scale='g', ratio='g', threshold='.4f', auc='.3f')
    print('  '.join(title.rjust(6) for title in COLUMNS.values()))
    for row in rows:
        cells = []
        for key, title in COLUMNS.items():
            value = row[key]
            text = (
                '-' if value is None else f'{value:{digits.get(key, ".1f")}}'
            )
            cells.append(text.rjust(max(6, len(title))))
        print('  '.join(cells))


@torch.inference_mode()
def main() -> None:
    args = parse_args()
    if args.batches < 1:
        raise InputError(f'--batches must be 1 or more, got {args.batches}.')
    model, dataset, batch_size = build(args)
    sampler = DomainSampler(
        dict(target=range(len(dataset))), dict(target=batch_size), args.seed
    )
    batches = [sampler.batch(k) for k in range(args.batches)]
    target = extract(model, dataset.images('target'), 'target')
    features = F.normalize(target.features)
    cosine = model.head.reference_cosine(features)
    rows = []
    for scale in args.scales:
        model.head.scale.fill_(scale)
        soft_multilabel = model.head.log_soft_multilabel(cosine).exp_()
        for ratio in args.ratios:
            row = measure(
                features,
                soft_multilabel,
                target.person_id,
                target.camera_id,
                ratio,
                batches,
            )
            rows.append(dict(scale=scale, **row))
    print(
        f'{args.batches} batches of {batch_size} of {len(dataset)} images, '
        f'seed {args.seed}'
    )
    print_table(rows)
    if args.out:
        write_json(rows, args.out)


if __name__ == '__main__':
    with exit_with_message():
        main()
