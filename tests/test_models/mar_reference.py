"""MAR's equations as slow loops, the second reading the tests compare with.

Written from the paper (Sec. 3) and the tables of open choices, without
vectorisation: one Python loop per sum of the paper, gradients by autograd.
Every function takes float64 tensors; ``features`` and ``agents`` are raw
unless a docstring says that they have unit norm.
"""

import math

import torch

torch.set_num_threads(1)


def assert_same(ours, reference, *inputs):
    """Values and gradients of two functions of the same leaves, to 1e-6.

    A leaf that a function does not use has gradient zero.
    """
    results = []
    for function in (ours, reference):
        leaves = [x.detach().clone().requires_grad_() for x in inputs]
        value = function(*leaves)
        results.append(
            (
                value.detach(),
                torch.autograd.grad(value, leaves, allow_unused=True),
            )
        )
    (value, grads), (value_ref, grads_ref) = results
    close(value, value_ref)
    for grad, grad_ref in zip(grads, grads_ref, strict=True):
        if grad is None or grad_ref is None:
            # No path in one, no term of the sum in the other.
            assert all(g is None or not g.any() for g in (grad, grad_ref))
        else:
            close(grad, grad_ref)


def close(ours, reference):
    torch.testing.assert_close(ours, reference, rtol=1e-6, atol=1e-12)


def double(*shape, seed=0):
    """Normal float64 numbers."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def unit(vectors):
    """Each row over its Euclidean norm (Sec. 3.1, unit norm constraint)."""
    return [v / (v * v).sum().sqrt() for v in vectors]


def soft_multilabel(feature, agents, scale):
    """Eq. 1 on unit vectors, the inner products multiplied by ``scale``."""
    likelihoods = [torch.exp(scale * (a * feature).sum()) for a in agents]
    return torch.stack([p / sum(likelihoods) for p in likelihoods])


def agreement(label_i, label_j):
    """Eq. 2: the sum over the reference persons of the smaller entry."""
    return sum(
        torch.minimum(p, q) for p, q in zip(label_i, label_j, strict=True)
    )


def squared_distance(a, b):
    return ((a - b) * (a - b)).sum()


def all_pairs(num):
    """The M = N (N - 1) / 2 unordered pairs of N images."""
    return [(i, j) for i in range(num) for j in range(i + 1, num)]


def kth_largest_agreement(labels, k):
    """Agreement of the k-th of all M pairs in descending order."""
    values = [
        float(agreement(labels[i], labels[j]))
        for i, j in all_pairs(len(labels))
    ]
    return sorted(values, reverse=True)[k - 1]


def similar_pairs(features, k):
    """The k pairs nearest by Euclidean distance, nearest first."""
    pairs = all_pairs(len(features))
    features = [f.detach() for f in features]
    pairs.sort(
        key=lambda p: float(squared_distance(features[p[0]], features[p[1]]))
    )
    return pairs[:k]


def mine(features, labels, k, threshold, strict=True):
    """Eq. 3: similar pairs above (or at) T, and the other similar pairs."""
    positive, negative = [], []
    for i, j in similar_pairs(features, k):
        value = float(agreement(labels[i], labels[j]))
        above = value > threshold or (value == threshold and not strict)
        (positive if above else negative).append((i, j))
    return positive, negative


def mine_by_feature(features, k):
    """The baseline of Sec. 4.4: the nearer half (and middle) is positive."""
    pairs = similar_pairs(features, k)
    half = math.ceil(k / 2)
    return pairs[:half], pairs[half:]


def mean_affinity(features, pairs):
    values = [
        torch.exp(-squared_distance(features[i], features[j]))
        for i, j in pairs
    ]
    return sum(values) / len(values)


def mdl_loss(features, positive, negative):
    """Eq. 4; without positives P = 1, without negatives N = 0.5."""
    if not positive and not negative:
        return 0 * features[0].sum()
    one = torch.ones((), dtype=torch.float64)
    p = mean_affinity(features, positive) if positive else one
    n = mean_affinity(features, negative) if negative else one / 2
    return -torch.log(p / (p + n))


def log_soft_multilabels(features, agents, scale):
    """(N, N_p) log of Eq. 1 for unit features and agents."""
    rows = [torch.log(soft_multilabel(f, agents, scale)) for f in features]
    return torch.stack(rows)


def camera_statistics(log_labels, cameras):
    """(mean, unbiased std) vectors of each camera with two images or more."""
    statistics = []
    for camera in sorted(set(cameras)):
        rows = [
            y for y, c in zip(log_labels, cameras, strict=True) if c == camera
        ]
        if len(rows) < 2:
            continue
        mean = sum(rows) / len(rows)
        var = sum((y - mean) ** 2 for y in rows) / (len(rows) - 1)
        statistics.append((mean, var.sqrt()))
    return statistics


def mean_over_cameras(statistics):
    """The reference mean and std: mean over cameras of per-camera values."""
    mean = sum(m for m, _ in statistics) / len(statistics)
    std = sum(s for _, s in statistics) / len(statistics)
    return mean.detach(), std.detach()


def cml_step(log_labels, cameras, mean, std, momentum):
    """Update the reference mean and std, then Eq. 6; (loss, mean, std)."""
    statistics = camera_statistics(log_labels, cameras)
    if not statistics:
        return 0 * log_labels.sum(), mean, std
    batch_mean, batch_std = mean_over_cameras(statistics)
    mean = (1 - momentum) * mean + momentum * batch_mean
    std = (1 - momentum) * std + momentum * batch_std
    return distance_of_cameras(statistics, mean, std), mean, std


def distance_of_cameras(statistics, mean, std):
    """Eq. 6, the mean over both terms of every camera."""
    terms = []
    for camera_mean, camera_std in statistics:
        terms.append(squared_distance(camera_mean, mean))
        terms.append(squared_distance(camera_std, std))
    return sum(terms) / len(terms)


def cml_of_batch(log_labels, cameras):
    """Eq. 6 with mu and sigma of the whole batch, which have gradient too."""
    statistics = camera_statistics(log_labels, cameras)
    if not statistics:
        return 0 * log_labels.sum()
    ((mean, std),) = camera_statistics(log_labels, [0] * len(log_labels))
    return distance_of_cameras(statistics, mean, std)


def cross_entropy(logits, ids):
    """Mean over the images of -log softmax of their own class."""
    terms = []
    for row, w in zip(logits, ids, strict=True):
        terms.append(-torch.log(torch.exp(row[w]) / torch.exp(row).sum()))
    return sum(terms) / len(terms)


def al_loss(features, agents, ids, scale):
    """Eq. 7 on s times the cosine; ``scale=None``: raw inner products."""
    if scale is not None:
        features, agents = unit(features), unit(agents)
    logits = [
        torch.stack([(scale or 1) * (a * f).sum() for a in agents])
        for f in features
    ]
    return cross_entropy(logits, ids)


def rj_loss(source, target, agents, ids, margin=1.0):
    """Eq. 8 with the auxiliary negatives, for unit vectors and fixed agents.

    A source image whose person is not among ``agents`` has no term.
    """
    agents = [a.detach() for a in agents]
    terms = []

    def push(feature, own):
        near = []
        for index, agent in enumerate(agents):
            close = float((agent * feature).sum().detach()) > 1 - margin / 2
            if index != own and close:
                hinge = margin - squared_distance(agent, feature)
                near.append(torch.clamp(hinge, min=0))
        if near:
            terms.append(sum(near) / len(near))

    for feature, own in zip(source, ids, strict=True):
        if own < len(agents):
            terms.append(squared_distance(agents[own], feature))
            push(feature, own)
    for feature in target:
        push(feature, None)
    if not terms:
        return 0 * source[0].sum()
    return sum(terms) / len(terms)


class Memory:
    """One soft multilabel per target image: store, then 0.9 old + 0.1 new."""

    def __init__(self, momentum=0.9):
        self.momentum = momentum
        self.rows = {}

    def update(self, indices, labels):
        """Rows of the batch after the update."""
        used = []
        for index, label in zip(indices, labels, strict=True):
            label = label.detach()
            if index in self.rows:
                old = self.momentum * self.rows[index]
                label = old + (1 - self.momentum) * label
            self.rows[index] = label
            used.append(label)
        return used


class MARStep:
    """The published order of one main-stage step, with its state.

    Args:
        memory: Soft multilabels for the mining come from a memory; else the
            batch's own.
        threshold: ``'ema'`` or ``'batch'`` (the paper's text).
        guide: ``'agreement'`` or ``'feature'`` (baseline of Sec. 4.4).
        references: The first N agents make the soft multilabels and L_RJ.
        mean, std: Of L_CML as the stage begins; None: those of each batch.
    """

    def __init__(
        self,
        scale,
        mean,
        std,
        value,
        memory=True,
        threshold='ema',
        guide='agreement',
        ratio=0.005,
        references=None,
        margin=1.0,
    ):
        self.scale, self.mean, self.std = scale, mean, std
        self.value, self.threshold, self.guide = value, threshold, guide
        self.memory = Memory() if memory else None
        self.ratio, self.references = ratio, references
        self.margin = margin

    def __call__(
        self, source, target, agents, ids, cameras, indices, with_mdl
    ):
        """Unweighted losses from raw features ``source`` and ``target``."""
        losses = dict(al=al_loss(source, agents, ids, self.scale))
        source, target = unit(source), unit(target)
        # L_AL alone teaches the agents
        fixed = [a.detach() for a in unit(agents)][: self.references]
        losses['rj'] = rj_loss(source, target, fixed, ids, self.margin)

        log_labels = log_soft_multilabels(target, fixed, self.scale)
        momentum = (len(source) + len(target)) / 10000
        if self.mean is None:
            losses['cml'] = cml_of_batch(log_labels, cameras)
        else:
            losses['cml'], self.mean, self.std = cml_step(
                log_labels, cameras, self.mean, self.std, momentum
            )
        if not with_mdl:
            return losses

        labels = [y.exp().detach() for y in log_labels]
        if self.memory is not None:
            labels = self.memory.update(indices, labels)
        k = math.floor(self.ratio * len(all_pairs(len(target))))
        positive, negative = [], []
        if k and self.guide == 'feature':
            positive, negative = mine_by_feature(target, k)
        elif k:
            batch = kth_largest_agreement(labels, k)
            old = batch if self.threshold == 'batch' else self.value
            strict = self.threshold == 'ema'
            positive, negative = mine(target, labels, k, old, strict)
            if strict:
                self.value = 0.9 * self.value + 0.1 * batch
        losses['mdl'] = mdl_loss(target, positive, negative)
        return losses


def total(losses, lambda1, lambda2, beta):
    """Eq. 9 and 10."""
    loss = lambda1 * losses['cml']
    loss = loss + lambda2 * (losses['al'] + beta * losses['rj'])
    return loss + losses['mdl'] if 'mdl' in losses else loss


def crop_flip_normalise(image, flip, top, left, padding, mean, std):
    """One (H, W, C) image: zero padding, window at (top, left), flip, z-score.

    ``top`` and ``left`` are offsets into the padded image.
    """
    height, width, channels = len(image), len(image[0]), len(mean)
    out = torch.zeros(channels, height, width, dtype=torch.float64)
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                column = width - 1 - x if flip else x
                row_at, column_at = y + top - padding, column + left - padding
                inside = 0 <= row_at < height and 0 <= column_at < width
                pixel = float(image[row_at][column_at][c]) if inside else 0.0
                out[c, y, x] = (pixel - mean[c]) / std[c]
    return out
