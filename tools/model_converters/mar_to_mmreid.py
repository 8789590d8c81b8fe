"""Convert weights of MAR's published code to a checkpoint of mmreid's MAR.

Reads a state dict with the names of torchvision's ResNet-50 and the reference
agents as the classifier's ``fc.weight``, whole or under ``state_dict``. What
the published training keeps besides is left out.
"""

import argparse

import torch
from mmengine.runner import save_checkpoint
from torch import Tensor

from mmreid.errors import InputError
from mmreid.models.backbones import LinearEndResNet
from mmreid.utils import exit_with_message
from mmreid.utils.checkpoint import WHOLE_FILES, load_state_dict

# s on the cosines, a constant of the published code.
SCALE = 30.0
# By the last part of the name: the published network computes without the
# bias, and the rest is state of its losses, which a stage measures anew.
LEFT_OUT = {
    'fc.bias',
    'multilabel_memory',
    'initialized',
    'center_mean',
    'center_std',
    'threshold',
    'n_pos_pairs',
    'rate_TP',
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', help='weights to convert, a file of torch')
    parser.add_argument('dst', help='checkpoint to write')
    return parser.parse_args()


def convert(source: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Rename the parameters, and make float32 of half precision.

    Args:
        source (dict[str, Tensor]): With the names of torchvision's ResNet-50,
            and ``fc.weight`` (num_agents, 2048).

    Returns:
        tuple[dict[str, Tensor], list[str]]: The state dict of :class:`MAR`,
        and the names that were left out.

    Raises:
        InputError: If parameters are missing, of another shape, or of
            another network.
    """
    backbone = LinearEndResNet(depth=50)
    target = {}
    for name, expected in backbone.state_dict().items():
        # PyTorch has counted batches only since 0.4.1.
        default = expected if name.endswith('num_batches_tracked') else None
        value = source.get(name, default)
        if value is None:
            raise InputError(
                f"lacks '{name}', which ResNet-50 has: copy the file again, "
                "or name weights with the names of torchvision's ResNet-50."
            )
        if value.shape != expected.shape:
            raise InputError(
                f"has '{name}' of shape {tuple(value.shape)}, but "
                f'{tuple(expected.shape)} was expected: name weights of '
                'ResNet-50.'
            )
        target[f'backbone.{name}'] = value.to(expected.dtype)
    agents = source.get('fc.weight')
    length = backbone.feat_dim
    if agents is None or agents.ndim != 2 or agents.shape[1] != length:
        found = 'none' if agents is None else tuple(agents.shape)
        raise InputError(
            "needs the reference agents as 'fc.weight', of shape "
            f'(persons, {length}), but has {found}: name weights that the '
            "auxiliary set's identities were trained with."
        )
    target['head.agents'] = agents.float()
    target['head.scale'] = torch.tensor(SCALE)
    rest = [
        name
        for name in source
        if f'backbone.{name}' not in target and name != 'fc.weight'
    ]
    unknown = [
        name for name in rest if not LEFT_OUT & {name, name.rsplit('.', 1)[-1]}
    ]
    if unknown:
        raise InputError(
            f"has {len(unknown)} parameters that MAR's network has not, such "
            f"as '{unknown[0]}': name weights of a ResNet-50 with the "
            'classifier fc.'
        )
    return target, rest


def main() -> None:
    args = parse_args()
    source = load_state_dict(args.src)
    try:
        state_dict, left_out = convert(source)
    except ValueError as error:
        raise InputError(f"'{args.src}' {error}") from error
    save_checkpoint(
        dict(state_dict=state_dict),
        args.dst,
        backend_args=WHOLE_FILES,
    )
    num = len(state_dict['head.agents'])
    print(
        f"'{args.dst}', for dict(type='MAR') with head.num_agents={num}; "
        f'left out: {", ".join(left_out) or "nothing"}'
    )


if __name__ == '__main__':
    with exit_with_message():
        main()
