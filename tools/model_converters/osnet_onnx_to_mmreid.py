"""Convert an OSNet in ONNX, as people publish it, to weights to train from.

An export has the batch norms folded into the convolutions before them. They
are taken apart again by the statistics of images without labels, those of the
config's target: the network computes what it did, and in training, where the
statistics are those of a batch, nearly so.
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence

import torch
from mmengine.dataset import default_collate
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader, RandomSampler

from mmreid.apis import target_images
from mmreid.errors import InputError
from mmreid.registry import MODELS
from mmreid.utils import exit_with_message, read_config
from mmreid.utils.checkpoint import WHOLE_FILES
from mmreid.utils.progress import progress

# Images that the statistics are taken of.
NUM_IMAGES = 2048
OPERATORS = {nn.Conv2d: 'Conv', nn.Linear: 'Gemm'}
BATCH_NORM = 'BatchNormalization'
Layer = tuple[str, list[Tensor]]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config', help='of a model on that OSNet, with a target'
    )
    parser.add_argument('src', help='ONNX file')
    parser.add_argument('dst', help='checkpoint to write')
    return parser.parse_args()


def read_layers(path: str) -> list[Layer]:
    """Operators with weights, in the order of the graph.

    Returns:
        list[tuple[str, list[Tensor]]]: The operator and its weights.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If the package onnx is not there, or the file is none of
            it.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise InputError(
            f'ONNX files are read by a package that is not installed '
            f'({error}): pip install onnx.'
        ) from error
    try:
        graph = onnx.load(path).graph
    except DecodeError as error:
        raise InputError(
            f"'{path}' is no ONNX file: {error}. Copy it again."
        ) from error
    values = {
        value.name: torch.from_numpy(onnx.numpy_helper.to_array(value).copy())
        for value in graph.initializer
    }
    known = (*OPERATORS.values(), BATCH_NORM)
    try:
        return [
            (node.op_type, [values[name] for name in node.input[1:]])
            for node in graph.node
            if node.op_type in known
        ]
    except KeyError as error:
        raise InputError(
            f"'{path}' has no values of the weight {error}: export the "
            'network with its parameters.'
        ) from error


def calls_of(network: nn.Module) -> list[nn.Module]:
    """The layers that have weights, in the order in which they are called."""
    calls: list[nn.Module] = []
    handles = [
        module.register_forward_hook(lambda module, *_: calls.append(module))
        for module in network.modules()
        if isinstance(module, (*OPERATORS, _BatchNorm))
    ]
    network.eval()(torch.zeros(1, 3, 64, 32))
    for handle in handles:
        handle.remove()
    return calls


@torch.no_grad()
def fill(network: nn.Module, layers: Sequence[Layer]) -> list[_BatchNorm]:
    """Give a network the weights of an export of the same network.

    Args:
        network (nn.Module): Changed in place.
        layers (Sequence[tuple[str, list[Tensor]]]): What
            :func:`read_layers` gives.

    Returns:
        list[_BatchNorm]: The batch norms that had been folded. They add what
        the convolution before them lacks, and do nothing else.

    Raises:
        InputError: If it is of another network.
    """
    rest = iter(layers)
    filled: set[int] = set()
    folded: list[_BatchNorm] = []
    shift: Tensor | None = None
    names = {module: name for name, module in network.named_modules()}

    def put(
        module: nn.Module, names_of: Sequence[str], values: Sequence
    ) -> None:
        for name, value in zip(names_of, values, strict=True):
            own = getattr(module, name)
            if own.shape != value.shape:
                raise InputError(
                    f"has {tuple(value.shape)} values where '{names[module]}."
                    f"{name}' has {tuple(own.shape)}: name an export of the "
                    "config's OSNet, of its width."
                )
            own.copy_(value)
            filled.add(id(own))

    for module in calls_of(network):
        if isinstance(module, _BatchNorm):
            keys = ('weight', 'bias', 'running_mean', 'running_var')
            if shift is not None:
                zero, one = torch.zeros_like(shift), torch.ones_like(shift)
                put(module, keys, (one, shift, zero, one - module.eps))
                folded.append(module)
                shift = None
                continue
            wanted, given = BATCH_NORM, keys
        else:
            wanted = OPERATORS[type(module)]
            given = ('weight',) + ('bias',) * (module.bias is not None)
        found, values = next(rest, ('nothing', []))
        # A bias that the layer lacks is that of the batch norm behind it.
        if len(values) == 2 and given == ('weight',):
            values, shift = values[:1], values[1]
        if found != wanted or len(values) != len(given):
            raise InputError(
                f"has {found} where '{names[module]}' has {wanted}: name an "
                "export of the config's OSNet."
            )
        put(module, given, values)
    unknown = [
        name
        for name, value in network.named_parameters()
        if id(value) not in filled
    ]
    if unknown:
        raise InputError(
            f"has no '{unknown[0]}': name an export of the config's OSNet."
        )
    # Of the classifier.
    if [found for found, _ in rest] not in ([], ['Gemm']):
        raise InputError(
            "has more layers than the config's OSNet: name an export of it."
        )
    return folded


@torch.no_grad()
def unfold(
    network: nn.Module,
    norms: Sequence[_BatchNorm],
    batches: Iterable[Tensor],
) -> None:
    """Give folded batch norms the statistics of images.

    With m and v, mean and variance of what comes in, and b, what they add:
    weight sqrt(v + eps), bias b + m. That is the same function.

    Args:
        network (nn.Module): Changed in place.
        norms (Sequence[_BatchNorm]): What :func:`fill` gave.
        batches (Iterable[Tensor]): Images, (B, 3, H, W) each, normalised.
    """
    sums = {norm: [torch.zeros(())] * 3 for norm in norms}

    def note(norm: nn.Module, inputs: tuple[Tensor], _: Tensor) -> None:
        values = inputs[0].transpose(0, 1).flatten(1).double()
        new = [
            torch.tensor(values.shape[1]),
            values.sum(1),
            values.square().sum(1),
        ]
        sums[norm] = [a + b for a, b in zip(sums[norm], new, strict=True)]

    handles = [norm.register_forward_hook(note) for norm in norms]
    network.eval()
    for images in batches:
        network(images)
    for handle in handles:
        handle.remove()
    for norm, (number, first, second) in sums.items():
        mean = first / number
        variance = (second / number - mean.square()).clamp(min=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.add_(norm.running_mean)


def main() -> None:
    args = parse_args()
    layers = read_layers(args.src)
    cfg = read_config(args.config)
    init_default_scope(cfg.default_scope)
    images, domain = target_images(cfg)
    network = MODELS.build(dict(cfg.model.backbone, init_cfg=None))
    try:
        norms = fill(network, layers)
    except InputError as error:
        raise InputError(f"'{args.src}' {error}") from error
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    generator = torch.Generator().manual_seed(0)
    number = min(NUM_IMAGES, len(images))
    loader = DataLoader(
        images,
        64,
        sampler=RandomSampler(images, False, number, generator),
        collate_fn=default_collate,
    )

    def inputs() -> Iterator[Tensor]:
        task = 'Statistics of the batch norms'
        with progress(task, len(loader)) as advance:
            for batch in loader:
                if domain is not None:
                    batch['domain'] = domain
                yield preprocessor(batch, False)['inputs']
                advance()

    unfold(network, norms, inputs())
    save_checkpoint(
        dict(state_dict=network.state_dict()),
        args.dst,
        backend_args=WHOLE_FILES,
    )
    print(
        f"'{args.dst}', for {type(network).__name__}: {len(norms)} batch "
        f'norms with the statistics of {number} images.'
    )


if __name__ == '__main__':
    with exit_with_message():
        main()
