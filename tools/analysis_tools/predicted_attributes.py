"""Draw target images with the attributes that a model sees on them.

As Fig. 3 of TJ-AIDL, which shows annotated images, two of each person: here
they are predicted. Attributes are named as those of the source. Where the
images are annotated, as by
--cfg-options test_dataloader.dataset.attribute_file=FILE.mat, a mark says
what is right, of the attributes that have the same name there.

Persons are spread over the test set, or, without one, images over the
target's training images; of each person two cameras are shown if there are.
"""

import argparse
import os.path as osp

import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from torch.utils.data import DataLoader, Dataset, Subset

from mmreid.apis import init_model, target_images
from mmreid.datasets.attributes import attribute_names
from mmreid.errors import InputError
from mmreid.models import AttributeReID
from mmreid.registry import DATASETS
from mmreid.utils import (
    add_model_arguments,
    exit_with_message,
    model_config,
    picture_path,
    use_validation,
)
from mmreid.visualization import AttributedImage, draw_attributes


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model_arguments(
        parser,
        'path of a config with attributes',
        'path of a checkpoint',
        'show validation identities rather than the test set',
    )
    parser.add_argument(
        '--out', required=True, type=picture_path, help='picture to write'
    )
    parser.add_argument(
        '--num', type=int, default=6, help='of persons, or of images'
    )
    parser.add_argument('--title', help='headline (default: the config)')
    return parser.parse_args()


def predicted_names(cfg: Config, num_attributes: int) -> list[str]:
    """Names of the attributes that a model predicts: those of the source.

    Its files are not read.

    Raises:
        InputError: If there is no annotated source, or it has other ones.
    """
    source = cfg.train_dataloader.dataset.get('source') or {}
    if not isinstance(source, dict):
        source = source[0]
    kind = ''
    if source.get('type'):
        kind = DATASETS.get(source['type']).attribute_kind
    if not kind:
        raise InputError(
            f"'{cfg.filename}' has no source with attributes, which name what "
            'the model predicts: name the one that it was trained with.'
        )
    names = attribute_names(kind, source.get('age', 'adult'))
    if len(names) != num_attributes:
        raise InputError(
            f'The model predicts {num_attributes} attributes, but the source '
            f"of '{cfg.filename}' has {len(names)}: name the one that it was "
            'trained with, and its age.'
        )
    return names


def choose(dataset: Dataset, num: int) -> list[list[int]]:
    """Images to show: of each person two, if possible of two cameras.

    Args:
        dataset (Dataset): The images.
        num (int): How many persons; without them, how many images.

    Returns:
        list[list[int]]: Indices of the images of each person.
    """
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    # The distractors are no person, and an image has none without labels.
    images_of: dict[int, list[int]] = {}
    for i, info in enumerate(infos):
        person = info.get('person_id', -1)
        if person > 0 or (person == 0 and info.get('domain') is not None):
            images_of.setdefault(person, []).append(i)
    if len(images_of) < 2:
        return [[i] for i in spread(range(len(infos)), num)]
    shown = []
    for person in spread(sorted(images_of), num):
        first, *others = images_of[person]
        camera = infos[first]['camera_id']
        # False, another camera, sorts first.
        others.sort(key=lambda i: infos[i]['camera_id'] == camera)
        shown.append([first, *others[:1]])
    return shown


def spread(items: list[int] | range, num: int) -> list[int]:
    """Some of the items, evenly spaced from the first to the last."""
    places = torch.linspace(0, len(items) - 1, min(num, len(items))).long()
    return [items[i] for i in places.tolist()]


def annotation(info: dict, of: list[str], names: list[str]) -> list[int]:
    """An image's labels in the order of other names, -1 where unknown."""
    labels = dict(zip(of, info.get('attributes', ()), strict=False))
    return [int(labels.get(name, -1)) for name in names]


@torch.inference_mode()
def main() -> None:
    args = parse_args()
    if args.num < 1:
        raise InputError(f'--num must be 1 or more, got {args.num}.')
    cfg = model_config(args)
    model = init_model(cfg, args.checkpoint, args.device)
    if not isinstance(model, AttributeReID):
        raise InputError(
            f"'{args.config}' is one of {type(model).__name__}, which "
            'predicts no attributes: name a config of TJ-AIDL.'
        )
    names = predicted_names(cfg, model.attribute_classifier.out_features)
    domain = None
    if args.val:
        use_validation(cfg)
    if 'test_dataloader' in cfg:
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
    else:
        dataset, domain = target_images(cfg)
    rows = choose(dataset, args.num)
    flat = [i for row in rows for i in row]
    loader = DataLoader(Subset(dataset, flat), 64, collate_fn=default_collate)
    scores = []
    for batch in loader:
        batch['domain'] = domain
        data = model.data_preprocessor(batch, False)
        (output,) = model(**data, mode='predict')
        scores += output['attribute_scores'].tolist()
    annotated = getattr(dataset, 'metainfo', {}).get('attribute_names', [])
    images = []
    for index, row in zip(flat, scores, strict=True):
        info = dataset.get_data_info(index)
        images.append(
            AttributedImage(
                info['img_path'],
                row,
                annotation(info, annotated, names) if annotated else None,
                f'camera {info["camera_id"]}',
            )
        )
    known = [
        (score > 0.5) == (label == 1)
        for image in images
        for score, label in zip(
            image.scores, image.labels or [-1] * len(names), strict=True
        )
        if label >= 0
    ]
    if known:
        print(
            f'{100 * sum(known) / len(known):.1f} % of {len(known)} annotated '
            f'attributes of the {len(images)} images are right.'
        )
    parts = iter(images)
    title = args.title or osp.splitext(osp.basename(cfg.filename))[0]
    draw_attributes(
        [[next(parts) for _ in row] for row in rows], names, args.out, title
    )
    print(args.out)


if __name__ == '__main__':
    with exit_with_message():
        main()
