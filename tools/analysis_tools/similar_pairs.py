"""Draw similar pairs of lowest soft multilabel agreement: MAR's Fig. 5.

Of all pairs of the target's images the p M nearest by feature cosine are the
similar ones (Sec. 3.2; M is the number of pairs); those of lowest agreement
among them are what MAR takes for hard negatives. Right of each image stands
an image of each reference person of its two largest soft multilabel entries.

Where the target's persons are known they give the frames, and nothing else.
"""

import argparse
import os.path as osp

import torch
from torch import Tensor

from mmreid.apis import extract, init_model, target_images
from mmreid.errors import InputError
from mmreid.evaluation import nearest_pairs
from mmreid.models import MAR
from mmreid.registry import DATASETS
from mmreid.structures import FeatureSet
from mmreid.structures.feature_set import count_persons
from mmreid.utils import (
    add_model_arguments,
    exit_with_message,
    model_config,
    picture_path,
)
from mmreid.visualization import SimilarPair, draw_similar_pairs

RATIO = 0.005  # the published code's


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model_arguments(
        parser,
        'path of a config of MAR',
        'path of a checkpoint',
        'show validation identities rather than the training images',
    )
    parser.add_argument(
        '--out', required=True, type=picture_path, help='picture to write'
    )
    parser.add_argument('--num', type=int, default=6, help='of pairs')
    parser.add_argument(
        '--ratio',
        type=float,
        help=f"mining ratio p (default: the config's, else {RATIO})",
    )
    parser.add_argument('--title', help='headline (default: the config)')
    return parser.parse_args()


def reference_images(cfg, num_agents: int) -> list[str]:
    """An image of each reference person, the first of the source's.

    Raises:
        FileNotFoundError: If files of the source are missing.
        InputError: If there is no source, or it is not the agents'.
    """
    data = cfg.train_dataloader.dataset
    if not data.get('source'):
        raise InputError(
            f"'{cfg.filename}' has no source, so there is no image of a "
            'reference person: name the auxiliary set of the checkpoint, '
            'source=dict(type=...).'
        )
    source = DATASETS.build(
        dict(type=data.type, pipeline=data.get('pipeline'), source=data.source)
    )
    num_identities = source.domains['source'].num_identities
    if num_identities != num_agents:
        raise InputError(
            f'The checkpoint has {num_agents} reference persons, but the '
            f"source of '{cfg.filename}' has {num_identities} identities: "
            'name the auxiliary set that it was trained with.'
        )
    image_of: dict[int, str] = {}
    for index in source.domains['source'].span:
        info = source.get_data_info(index)
        image_of.setdefault(info['person_id'], info['img_path'])
    return [image_of[person] for person in range(num_agents)]


def choose(
    model: MAR, images: FeatureSet, ratio: float, num: int
) -> tuple[Tensor, Tensor, Tensor, int]:
    """The similar pairs of lowest agreement.

    Args:
        model (MAR): The model.
        images (FeatureSet): N target images.
        ratio (float): Mining ratio p.
        num (int): How many pairs, fewer if there are fewer similar ones.

    Returns:
        tuple: The pairs, (P, 2), lowest agreement first; cosine and agreement
        of each, (P, ); the number of similar pairs.

    Raises:
        InputError: If the ratio is out of range, or gives no pair.
    """
    num_pairs = len(images) * (len(images) - 1) // 2
    similar = int(ratio * num_pairs)
    if not 0 < similar <= num_pairs:
        raise InputError(
            f'--ratio must be in (0, 1] and give a pair or more, but {ratio} '
            f'of the {num_pairs} pairs of {len(images)} images are {similar}.'
        )
    first, second, distance = nearest_pairs(images, similar)
    agreement = model.pair_agreement(images.features, first, second)
    # Of equal ones the more similar pair.
    order = agreement.sort(stable=True).indices[:num]
    pairs = torch.stack([first, second], 1)[order]
    return pairs, 1 - distance[order], agreement[order], similar


@torch.inference_mode()
def main() -> None:
    args = parse_args()
    if args.num < 1:
        raise InputError(f'--num must be 1 or more, got {args.num}.')
    cfg = model_config(args)
    model = init_model(cfg, args.checkpoint, args.device)
    if not isinstance(model, MAR):
        raise InputError(
            f"'{args.config}' is one of {type(model).__name__}, which has no "
            'soft multilabels: name a config of MAR.'
        )
    ratio = args.ratio
    if ratio is None:
        ratio = model.miner.ratio if model.miner else RATIO
    reference_of = reference_images(cfg, model.head.num_agents)
    dataset, domain = target_images(cfg, args.val)
    images = extract(model, dataset, domain)
    pairs, cosine, agreement, similar = choose(model, images, ratio, args.num)
    shown = images.take(pairs.flatten())
    entries = model.log_soft_multilabel(shown.features).exp_().topk(2)
    references = [
        [(reference_of[k], value) for k, value in zip(*row, strict=True)]
        for row in zip(
            entries.indices.tolist(), entries.values.tolist(), strict=True
        )
    ]
    same_person = [None] * len(pairs)
    # Of one person every pair would be wrong.
    if count_persons(images) > 1:
        left, right = shown.person_id.view(-1, 2).unbind(1)
        same_person = (left == right).tolist()
    drawn = []
    print(
        f'{similar} similar pairs of {len(images)} images (p = {ratio:g}), '
        f'the {len(pairs)} of lowest agreement:'
    )
    print('cosine  agreement  same person  images')
    for i in range(len(pairs)):
        two = slice(2 * i, 2 * i + 2)
        pair = SimilarPair(
            paths=shown.paths[two],
            references=references[two],
            similarity=cosine[i].item(),
            agreement=agreement[i].item(),
            cameras=shown.camera_id[two].tolist(),
            same_person=same_person[i],
        )
        drawn.append(pair)
        known = {None: '-', True: 'yes', False: 'no'}[pair.same_person]
        names = ' '.join(map(osp.basename, pair.paths))
        print(
            f'{pair.similarity:6.3f}  {pair.agreement:9.4f}  {known:>11}  '
            f'{names}'
        )
    title = args.title or osp.splitext(osp.basename(cfg.filename))[0]
    draw_similar_pairs(drawn, args.out, title)
    print(args.out)


if __name__ == '__main__':
    with exit_with_message():
        main()
