"""Draw the gallery images that rank first for some queries.

Queries are spread over the query set; a frame says whether a gallery image
shows the same person.
"""

import argparse
import os.path as osp

import torch

from mmreid.apis import extract, init_model
from mmreid.errors import InputError
from mmreid.evaluation import rank_queries
from mmreid.evaluation.evaluate import get_protocol
from mmreid.registry import DATASETS
from mmreid.utils import (
    add_model_arguments,
    exit_with_message,
    model_config,
    picture_path,
    ranking_evaluators,
    ranking_metric,
    use_validation,
    whole_number,
)
from mmreid.visualization import draw_rank_list


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_model_arguments(
        parser, val='show validation identities rather than the test set'
    )
    parser.add_argument(
        '--out', required=True, type=picture_path, help='picture to write'
    )
    parser.add_argument(
        '--num', type=whole_number(1), default=8, help='of queries'
    )
    parser.add_argument(
        '--neighbours', type=whole_number(1), default=10, help='of each'
    )
    parser.add_argument('--title', help='headline (default: the config)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = model_config(args)
    if args.val:
        use_validation(cfg)
    if cfg.get('test_dataloader') is None:
        raise InputError(
            f"'{args.config}' has no test set, so there is no query; of "
            'images without labels, ReIDInferencer.draw shows the nearest.'
        )
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    model = init_model(cfg, args.checkpoint, args.device)
    images = extract(
        model,
        dataset,
        batch_size=cfg.test_dataloader.batch_size,
        mode='predict',  # as a test, with flip_test
    ).to('cpu')
    is_query = torch.tensor(
        [dataset.get_data_info(i)['is_query'] for i in range(len(dataset))]
    ).bool()
    query, gallery = images.take(is_query), images.take(~is_query)
    spread = torch.linspace(0, len(query) - 1, min(args.num, len(query)))
    query = query.take(spread.long())
    (evaluator,) = ranking_evaluators(cfg)[:1] or [{}]
    protocol = get_protocol(evaluator.get('protocol', 'single-query'))
    ranked = rank_queries(
        query,
        gallery,
        metric=ranking_metric(cfg),
        camera_rule=protocol.camera_rule,
        num_neighbours=args.neighbours,
    )
    title = args.title or osp.splitext(osp.basename(cfg.filename))[0]
    draw_rank_list(query, gallery, ranked.neighbours, args.out, title=title)
    print(args.out)


if __name__ == '__main__':
    with exit_with_message():
        main()
