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
from sklearn.metrics import roc_auc_score
from torch import Tensor

from mmreid.apis import extract, init_model, target_images
from mmreid.datasets.samplers import DomainSampler
from mmreid.errors import InputError
from mmreid.models import MAR, SoftMultilabelMiner, kth_largest_agreement
from mmreid.utils import (
    add_model_arguments,
    exit_with_message,
    model_config,
    whole_number,
)
from mmreid.utils.files import write_json
from mmreid.utils.tables import print_table

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
    add_model_arguments(
        parser,
        'path of a config of MAR',
        "such as stage_pretrain.pth, or 'none': the weights that the config "
        'starts from',
    )
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
    parser.add_argument(
        '--seed', type=whole_number(0), default=0, help='of the batches'
    )
    parser.add_argument('--out', help='write the table to this JSON file')
    return parser.parse_args()


def build(args: argparse.Namespace) -> tuple:
    """The model, the labelled target's features, the size of batches."""
    cfg = model_config(args)
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
    target = extract(model, *target_images(cfg))
    # Its labels, which training erases, are what this table is about.
    if target.person_id is None:
        raise InputError(
            f"The target of '{args.config}' has no labels, so nobody can say "
            'which pairs show one person.'
        )
    return model, target, batch_size


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


@torch.inference_mode()
def main() -> None:
    args = parse_args()
    if args.batches < 1:
        raise InputError(f'--batches must be 1 or more, got {args.batches}.')
    model, target, batch_size = build(args)
    sampler = DomainSampler(
        dict(target=range(len(target))), dict(target=batch_size), args.seed
    )
    batches = [sampler.batch(k) for k in range(args.batches)]
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
        f'{args.batches} batches of {batch_size} of {len(target)} images, '
        f'seed {args.seed}'
    )
    digits = dict(scale='g', ratio='g', threshold='.4f', auc='.3f')
    print_table(COLUMNS, rows, digits)
    if args.out:
        write_json(rows, args.out)


if __name__ == '__main__':
    with exit_with_message():
        main()
