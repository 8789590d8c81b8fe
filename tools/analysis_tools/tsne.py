"""t-SNE of some test persons' features, for several models side by side.

Fig. 4 of TJ-AIDL. Each model gets a panel with the same images, in the
metric by which its config ranks. Persons are drawn at random among those
with a query and images of two cameras, so distractors are never shown.

    python tools/analysis_tools/tsne.py FULL.py full.pth \\
        FULL.py:identity-only:identity.pth FULL.py:attribute-only:attribute.pth
"""

import argparse
import os.path as osp
from collections import defaultdict

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmreid.apis import init_model
from mmreid.engine import extract
from mmreid.errors import InputError
from mmreid.registry import DATASETS
from mmreid.utils import (
    OptionAction,
    checkpoint_path,
    exit_with_message,
    model_config,
    picture_path,
    ranking_metric,
    use_validation,
    whole_number,
)
from mmreid.visualization import draw_tsne, embed_tsne


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='path of a config, or CONFIG.py:ROW')
    parser.add_argument(
        'checkpoints',
        nargs='+',
        metavar='[CONFIG.py:[ROW:]]CHECKPOINT',
        help='one per panel, with a config of its own where it needs one',
    )
    parser.add_argument(
        '--names',
        nargs='+',
        help='titles of the panels (default: <folder>/<checkpoint>)',
    )
    parser.add_argument(
        '--identities', type=int, default=10, help='how many persons'
    )
    parser.add_argument(
        '--seed',
        type=whole_number(0),
        default=0,
        help='of the choice of persons',
    )
    parser.add_argument(
        '--out',
        default='tsne.png',
        type=picture_path,
        help='picture to write',
    )
    parser.add_argument(
        '--val',
        action='store_true',
        help='show validation identities rather than the test set',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='run the backbones in bfloat16, channels last',
    )
    parser.add_argument('--batch-size', type=whole_number(1), default=64)
    parser.add_argument('--device', default='cpu')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        default={},
        help='settings that replace those of every config, key=value',
    )
    return parser.parse_args()


def load_panel(
    entry: str, args: argparse.Namespace
) -> tuple[Config, str | None]:
    """Config and checkpoint of one panel.

    Raises:
        InputError: If the config has no test set.
    """
    # The config, with its row if it is one, ends before the last colon.
    config, _, checkpoint = entry.rpartition(':')
    if '.py' not in config:
        config, checkpoint = args.config, entry
    cfg = model_config(args, config)
    if args.val:
        use_validation(cfg)
    if cfg.get('test_dataloader') is None:
        raise InputError(
            f"'{config}' has no test set, whose persons could be drawn: give "
            'it a target that has identities.'
        )
    return cfg, checkpoint_path(checkpoint)


def choose_persons(infos: list[dict], num: int, seed: int) -> list[int]:
    """Persons to show, sorted.

    Raises:
        InputError: If there are not as many.
    """
    cameras_of, queried = defaultdict(set), set()
    for info in infos:
        cameras_of[info['person_id']].add(info['camera_id'])
        if info['is_query']:
            queried.add(info['person_id'])
    candidates = sorted(p for p in queried if len(cameras_of[p]) > 1)
    if not 2 <= num <= len(candidates):
        raise InputError(
            f'--identities is {num}, but must be between 2 and '
            f'{len(candidates)}, the persons with a query and images of two '
            'cameras.'
        )
    rng = np.random.default_rng(seed)
    return sorted(rng.choice(candidates, num, replace=False).tolist())


def main() -> None:
    args = parse_args()
    panels = [load_panel(entry, args) for entry in args.checkpoints]
    names = args.names or [
        osp.splitext(osp.join(*osp.abspath(path).split(osp.sep)[-2:]))[0]
        if path
        else 'the weights that the config starts from'
        for _, path in panels
    ]
    if len(names) != len(panels):
        raise InputError(
            f'--names must hold one title per checkpoint, {len(panels)}, '
            f'got {len(names)}.'
        )
    shown, embeddings = [], []
    for cfg, checkpoint in panels:
        init_default_scope(cfg.default_scope)
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        if not dataset.labelled:
            raise InputError(
                f"The test set of '{cfg.filename}' has no identities "
                '(labelled=False), by which the points are coloured.'
            )
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        if not shown:
            persons = choose_persons(infos, args.identities, args.seed)
        indices = [
            i for i, info in enumerate(infos) if info['person_id'] in persons
        ]
        images = [infos[i] for i in indices]
        shown = shown or images
        if [i['img_path'] for i in images] != [i['img_path'] for i in shown]:
            raise InputError(
                f"'{cfg.filename}' tests other images than "
                f"'{panels[0][0].filename}': give all panels the same test "
                'set.'
            )
        found = extract(
            init_model(cfg, checkpoint, args.device),
            dataset.get_subset(indices),
            batch_size=args.batch_size,
            mode='predict',
        )
        embeddings.append(embed_tsne(found.features, ranking_metric(cfg)))
    draw_tsne(
        embeddings,
        names,
        [info['person_id'] for info in shown],
        [info['camera_id'] for info in shown],
        args.out,
    )
    print(
        f'Seed {args.seed}, {len(shown)} images of the persons '
        f'{", ".join(map(str, persons))}: {args.out}'
    )


if __name__ == '__main__':
    with exit_with_message():
        main()
