"""Pictures of how features lie to each other."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.typing import ColorType
from rich.console import Console
from torch import Tensor

from mmreid.errors import InputError

__all__ = ['draw_tsne', 'embed_tsne']

# As many as MSMT17 has cameras.
_MARKERS = 'os^DvPX<>p*hd8H'
_FRAME = '#BBBBBB'
_MAX_LEGEND = 20


def embed_tsne(features: Tensor, metric: str = 'cosine') -> np.ndarray:
    """Place features in the plane by t-SNE, the same at each call.

    It starts from the principal components. The perplexity is scikit-learn's
    30, or a third of the other images where there are fewer than 90 of them.

    Args:
        features (Tensor): (N, D).
        metric (str): ``'cosine'``: of the features on the unit sphere; or
            ``'euclidean'``. Defaults to 'cosine'.

    Returns:
        np.ndarray: (N, 2).

    Raises:
        InputError: If there are fewer than four images.
    """
    # A second or two, which those who draw rank lists need not wait for.
    from sklearn.manifold import TSNE

    if len(features) < 4:
        raise InputError(
            f't-SNE needs four images or more, got {len(features)}.'
        )
    features = features.detach().cpu().float()
    if metric == 'cosine':
        features = F.normalize(features)
    tsne = TSNE(
        perplexity=min(30, (len(features) - 1) / 3),
        init='pca',
        random_state=0,
    )
    # How far it is, scikit-learn does not tell.
    with Console(stderr=True).status(f't-SNE of {len(features)} images'):
        return tsne.fit_transform(features.numpy())


def draw_tsne(
    embeddings: Sequence[np.ndarray],
    names: Sequence[str],
    person_ids: Sequence[int],
    camera_ids: Sequence[int],
    out_file: str | Path,
) -> None:
    """Draw embeddings of the same images side by side (Fig. 4 of TJ-AIDL).

    A person is a colour, a camera is a marker (with more than 15 cameras all
    have the same one).

    Args:
        embeddings (Sequence[np.ndarray]): One (N, 2) per panel.
        names (Sequence[str]): Title of each panel.
        person_ids (Sequence[int]): Person of each image. Shape (N,).
        camera_ids (Sequence[int]): Camera of each image. Shape (N,).
        out_file (str): The picture to write, for instance a .png. Its
            folder is made if it is missing.

    Raises:
        InputError: If lengths disagree.
    """
    if len(names) != len(embeddings):
        raise InputError(
            f'names must hold one title per panel, {len(embeddings)}, got '
            f'{len(names)}.'
        )
    for embedding in embeddings:
        if not len(embedding) == len(person_ids) == len(camera_ids):
            raise InputError(
                f'Each image needs one point, person and camera, got '
                f'{len(embedding)} points, {len(person_ids)} person_ids and '
                f'{len(camera_ids)} camera_ids.'
            )
    persons, person_index = np.unique(person_ids, return_inverse=True)
    cameras, camera_index = np.unique(camera_ids, return_inverse=True)
    if len(persons) <= 10:
        colors = colormaps['tab10'](np.arange(len(persons)))
    else:
        colors = colormaps['turbo'](np.linspace(0, 1, len(persons)))
    markers = _MARKERS if len(cameras) <= len(_MARKERS) else 'o' * len(cameras)

    width = 3.6 * len(embeddings)
    figure = Figure(figsize=(width, 4.4), dpi=150, layout='constrained')
    FigureCanvasAgg(figure)
    for axes, embedding, name in zip(
        figure.subplots(1, len(embeddings), squeeze=False)[0],
        embeddings,
        names,
        strict=True,
    ):
        for camera, marker in enumerate(markers[: len(cameras)]):
            mask = camera_index == camera
            axes.scatter(
                *embedding[mask].T,
                s=34,
                c=colors[person_index[mask]],
                marker=marker,
                edgecolor='white',
                linewidth=0.5,
            )
        # Of t-SNE only who is near whom means anything.
        axes.set(xticks=[], yticks=[], box_aspect=1)
        axes.margins(0.07)
        axes.spines[:].set_color(_FRAME)
        axes.set_title(name, fontsize=11)

    handles = []
    if len(persons) <= _MAX_LEGEND:
        handles += [
            _handle('o', color, f'person {person}')
            for person, color in zip(persons, colors, strict=True)
        ]
    if len(cameras) <= len(_MARKERS):
        handles += [
            _handle(marker, 'black', f'camera {camera}')
            for camera, marker in zip(cameras, markers, strict=False)
        ]
    if handles:
        figure.legend(
            handles=handles,
            loc='outside lower center',
            ncols=min(len(handles), int(width / 1.1)),
            frameon=False,
            fontsize=8,
            handletextpad=0.2,
            columnspacing=1.2,
        )
    Path(out_file).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_file)


def _handle(marker: str, color: ColorType, label: str) -> Line2D:
    return Line2D(
        [],
        [],
        linestyle='',
        marker=marker,
        color=color,
        label=label,
        markersize=6,
        markeredgecolor='white',
        markeredgewidth=0.5,
    )
