"""Convert weights of MobileNetV1 (width 1) to the names of mmreid.

Knows the names of TF-slim ports (``Conv2d_1_depthwise.0.weight``), of timm's
``mobilenetv1_100`` (``blocks.0.0.conv_dw.weight``) and of PyTorch ports that
are one sequence (``model.1.0.weight`` or ``features.1.0.weight``). The
classifier is left out.
"""

import argparse
from collections.abc import Iterator

from mmengine.runner import save_checkpoint
from torch import Tensor

from mmreid.errors import InputError
from mmreid.models.backbones import MobileNetV1
from mmreid.utils import exit_with_message
from mmreid.utils.checkpoint import WHOLE_FILES, load_state_dict

# Number of separable convolutions in each of timm's stages.
TIMM_STAGES = (1, 2, 2, 6, 2)
# What the backbone has to be built with, for the origin's activations.
PYTORCH = "padding='symmetric', norm_cfg=dict(type='BN', eps=1e-5)"
SETTINGS = {
    'TF-slim': "padding='same'",
    'timm': PYTORCH,
    'model': f"{PYTORCH}, act_cfg=dict(type='ReLU')",
    'features': f"{PYTORCH}, act_cfg=dict(type='ReLU')",
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', help='weights to convert, a file of torch')
    parser.add_argument('dst', help='checkpoint to write')
    return parser.parse_args()


def layer_names(layout: str) -> Iterator[tuple[str, str]]:
    """Names of each convolution and its norm, from the image upwards."""
    if layout == 'TF-slim':
        yield 'Conv2d_0.0', 'Conv2d_0.1'
        for i in range(1, 14):
            for kind in ('depthwise', 'pointwise'):
                yield f'Conv2d_{i}_{kind}.0', f'Conv2d_{i}_{kind}.1'
    elif layout == 'timm':
        yield 'conv_stem', 'bn1'
        for stage, depth in enumerate(TIMM_STAGES):
            for i in range(depth):
                block = f'blocks.{stage}.{i}'
                yield f'{block}.conv_dw', f'{block}.bn1'
                yield f'{block}.conv_pw', f'{block}.bn2'
    else:
        yield f'{layout}.0.0', f'{layout}.0.1'
        for i in range(1, 14):
            yield f'{layout}.{i}.0', f'{layout}.{i}.1'
            yield f'{layout}.{i}.3', f'{layout}.{i}.4'


def find_layout(source: dict[str, Tensor]) -> str:
    """The first layout whose first convolution is there.

    Raises:
        InputError: If there is none.
    """
    first = {next(layer_names(x))[0] + '.weight': x for x in SETTINGS}
    for name, layout in first.items():
        if name in source:
            return layout
    raise InputError(
        f'is in no known layout: expected one of {", ".join(first)}, but the '
        f'first names are {list(source)[:3]}; rename its parameters to one '
        'of these layouts.'
    )


def convert(source: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Rename the parameters, and make float32 of half precision.

    Args:
        source (dict[str, Tensor]): In any layout of ``SETTINGS``.

    Returns:
        tuple[dict[str, Tensor], str]: The state dict of
        :class:`MobileNetV1`, and the layout that was found.

    Raises:
        InputError: If the layout is unknown, or if parameters are missing,
            of another shape, or of another network.
    """
    layout = find_layout(source)
    names = {}
    for i, (conv, norm) in enumerate(layer_names(layout)):
        names[f'layers.{i}.conv'] = conv
        names[f'layers.{i}.bn'] = norm
    target, used = {}, set()
    for key, expected in MobileNetV1().state_dict().items():
        module, parameter = key.rsplit('.', 1)
        name = f'{names[module]}.{parameter}'
        used.add(name)
        # PyTorch has counted batches only since 0.4.1.
        default = expected if parameter == 'num_batches_tracked' else None
        value = source.get(name, default)
        if value is None:
            raise InputError(
                f"lacks '{name}', which MobileNetV1 has in the {layout} "
                'layout: copy the file again, or name one of MobileNetV1.'
            )
        if value.shape != expected.shape:
            raise InputError(
                f"has '{name}' of shape {tuple(value.shape)}, but "
                f'{tuple(expected.shape)} was expected: name weights of '
                'MobileNetV1 at width 1.'
            )
        target[key] = value.to(expected.dtype)
    unknown = [
        name
        for name in source
        if name not in used and name.split('.')[0] not in ('classifier', 'fc')
    ]
    if unknown:
        raise InputError(
            f'has {len(unknown)} parameters that MobileNetV1 has not, such '
            f"as '{unknown[0]}': name weights of MobileNetV1."
        )
    return target, layout


def main() -> None:
    args = parse_args()
    source = load_state_dict(args.src)
    try:
        state_dict, layout = convert(source)
    except ValueError as error:
        raise InputError(f"'{args.src}' {error}") from error
    save_checkpoint(
        dict(state_dict=state_dict),
        args.dst,
        backend_args=WHOLE_FILES,
    )
    print(
        f"{layout} layout: '{args.dst}', for dict(type='MobileNetV1', "
        f'{SETTINGS[layout]})'
    )


if __name__ == '__main__':
    with exit_with_message():
        main()
