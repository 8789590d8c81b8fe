"""A domain: the distributions that identities and cameras come from."""

from dataclasses import dataclass

import numpy as np

from .colour import choose, lab_to_bgr, sample_lab, seeded


@dataclass(frozen=True)
class Camera:
    """One camera: how it looks at people and what it does to pixels.

    Args:
        gains (tuple[float, float, float]): White balance, factors on B, G, R.
        gamma (float): Exponent on the values in [0, 1].
        saturation (float): 0 is grey, 1 keeps the colours.
        exposure (float): Factor before the exponent.
        blur (float): Standard deviation in pixels of a 128 pixel high crop.
        resolution (float): Height at which the crop was seen, relative to
            the height at which it is stored; at most 1.
        noise (float): Standard deviation, of 255.
        quality (int): JPEG quality.
        tilt (float): How far the camera looks down; 0 is level.
        light (float): Shading from the left (negative) or right.
        views (tuple[float, ...]): Probabilities of front, right, back, left.
        crop_error (float): Standard deviation of the detector's box, as a
            part of the person's height.
        occlusion (float): Probability of an occluder.
        scene (tuple): Seed keys of the background, and its colours.
    """

    gains: tuple[float, float, float]
    gamma: float
    saturation: float
    exposure: float
    blur: float
    resolution: float
    noise: float
    quality: int
    tilt: float
    light: float
    views: tuple[float, ...]
    crop_error: float
    occlusion: float
    scene: tuple

    def sample_yaw(self, rng: np.random.Generator) -> float:
        """Draw a view angle in degrees: 0 front, 90 side, 180 back."""
        view = np.searchsorted(np.cumsum(self.views), rng.random())
        return float(90 * min(view, 3) + rng.normal(0, 16))


@dataclass(frozen=True)
class Domain:
    """Distributions over identities and cameras.

    Every mapping holds weights that need not add up to 1; every pair holds
    the bounds of a uniform distribution.

    Args:
        name (str): Also seeds the drawing, so that two domains of different
            names share no identity and no camera.
        upper (dict[str, float]): Colour names of upper-body clothes.
        lower (dict[str, float]): Colour names of lower-body clothes.
        extra (dict[str, float]): Colour names of carried things and patterns.
        lightness (float): Added to L of the clothes' colours.
        chroma (float): Factor on a and b of the clothes' colours.
        tops (dict[str, float]): tank, tshirt, shirt, jacket, coat, dress.
        bottoms (dict[str, float]): trousers, shorts, skirt.
        patterns (dict[str, float]): plain, stripes, bars, checks, dots,
            block: of the upper-body clothes.
        prints (float): Probability of a printed patch, for front and back.
        carried (dict[str, float]): Probabilities of backpack, bag, handbag.
        hats (dict[str, float]): none, cap, beanie, brim.
        female (float): Probability.
        ages (tuple[float, ...]): Weights of young, teenager, adult, old.
        warmth (tuple[float, float]): Mean log gain on blue and on red.
        cast (float): Standard deviation of the log gains.
        gamma, saturation, exposure, blur, resolution, noise, quality, tilt
            (tuple[float, float]): Bounds of the values of :class:`Camera`.
        views (tuple[float, ...]): Dirichlet parameters of front, right,
            back, left.
        crop_error (tuple[float, float]): Bounds.
        occlusion (tuple[float, float]): Bounds.
        ground (dict[str, float]): Colour names of the ground.
        wall (dict[str, float]): Colour names of what stands behind.
        clutter (tuple[float, float]): Bounds of the number of objects in the
            background.
    """

    name: str
    upper: dict[str, float]
    lower: dict[str, float]
    extra: dict[str, float]
    lightness: float
    chroma: float
    tops: dict[str, float]
    bottoms: dict[str, float]
    patterns: dict[str, float]
    prints: float
    carried: dict[str, float]
    hats: dict[str, float]
    female: float
    ages: tuple[float, ...]
    warmth: tuple[float, float]
    cast: float
    gamma: tuple[float, float]
    saturation: tuple[float, float]
    exposure: tuple[float, float]
    blur: tuple[float, float]
    resolution: tuple[float, float]
    noise: tuple[float, float]
    quality: tuple[float, float]
    tilt: tuple[float, float]
    views: tuple[float, ...]
    crop_error: tuple[float, float]
    occlusion: tuple[float, float]
    ground: dict[str, float]
    wall: dict[str, float]
    clutter: tuple[float, float]

    def camera(self, seed: int, index: int) -> Camera:
        """The camera number ``index`` (from 0), a pure function of both."""
        rng = seeded(seed, self.name, 'camera', index)
        gains = rng.normal(0, self.cast, 3)
        gains += (self.warmth[0], 0, self.warmth[1])
        colours = [
            lab_to_bgr(sample_lab(rng, weights, chroma=0.6))
            for weights in (self.ground, self.wall, self.wall, self.wall)
        ]
        return Camera(
            gains=tuple(np.exp(gains - gains.mean()).tolist()),
            gamma=rng.uniform(*self.gamma),
            saturation=rng.uniform(*self.saturation),
            exposure=rng.uniform(*self.exposure),
            blur=rng.uniform(*self.blur),
            resolution=rng.uniform(*self.resolution),
            noise=rng.uniform(*self.noise),
            quality=int(rng.uniform(*self.quality)),
            tilt=rng.uniform(*self.tilt),
            light=rng.uniform(-0.35, 0.35),
            views=tuple(rng.dirichlet(self.views).tolist()),
            crop_error=rng.uniform(*self.crop_error),
            occlusion=rng.uniform(*self.occlusion),
            scene=(
                (seed, self.name, 'scene', index),
                tuple(colours),
                int(rng.uniform(*self.clutter)),
            ),
        )

    def top(self, rng: np.random.Generator, female: bool) -> str:
        """Draw the kind of upper-body clothes; men wear no dress."""
        weights = dict(self.tops)
        if not female:
            weights['dress'] = 0.0
        return choose(rng, weights)


# Winter on grey streets, seen mostly from the front and from behind.
SOURCE = Domain(
    name='source',
    upper=dict(
        black=26,
        gray=18,
        blue=14,
        brown=10,
        red=9,
        green=7,
        white=7,
        purple=4,
        yellow=3,
        pink=2,
    ),
    lower=dict(black=36, blue=28, gray=16, brown=10, green=4, white=3, red=3),
    extra=dict(
        black=20,
        gray=14,
        brown=14,
        blue=14,
        red=12,
        white=10,
        green=8,
        yellow=4,
        pink=4,
    ),
    lightness=-1.0,
    chroma=0.85,
    tops=dict(tank=1, tshirt=10, shirt=18, jacket=38, coat=28, dress=8),
    bottoms=dict(trousers=80, skirt=12, shorts=8),
    patterns=dict(plain=60, block=12, checks=9, stripes=9, bars=7, dots=3),
    prints=0.3,
    carried=dict(backpack=0.35, bag=0.25, handbag=0.15),
    hats=dict(none=62, beanie=24, cap=9, brim=5),
    female=0.45,
    ages=(3, 40, 45, 12),
    warmth=(0.08, -0.06),
    cast=0.12,
    gamma=(0.8, 1.4),
    saturation=(0.55, 1.05),
    exposure=(0.8, 1.2),
    blur=(0.4, 1.3),
    resolution=(0.5, 1.0),
    noise=(1.0, 6.0),
    quality=(50, 92),
    tilt=(0.0, 0.25),
    views=(2.2, 0.9, 2.2, 0.9),
    crop_error=(0.01, 0.035),
    occlusion=(0.0, 0.15),
    ground=dict(gray=6, white=3, brown=2),
    wall=dict(gray=5, brown=4, black=1, green=1),
    clutter=(3, 8),
)

# Summer on a green campus, seen from all sides by cameras of one make, which
# differ from each other less than the source's do.
TARGET = Domain(
    name='target',
    upper=dict(
        white=20,
        red=11,
        blue=13,
        green=10,
        yellow=8,
        pink=7,
        gray=8,
        black=11,
        orange=6,
        purple=6,
    ),
    lower=dict(
        blue=24,
        black=20,
        gray=14,
        brown=12,
        white=10,
        pink=5,
        green=6,
        yellow=4,
        red=5,
    ),
    extra=dict(
        white=18,
        red=13,
        blue=14,
        black=13,
        yellow=10,
        green=10,
        pink=8,
        orange=7,
        purple=7,
    ),
    lightness=3.0,
    chroma=1.0,
    tops=dict(tank=11, tshirt=50, shirt=16, jacket=6, coat=1, dress=28),
    bottoms=dict(shorts=44, trousers=36, skirt=20),
    patterns=dict(plain=40, stripes=16, bars=10, checks=10, dots=8, block=16),
    prints=0.5,
    carried=dict(backpack=0.25, bag=0.25, handbag=0.15),
    hats=dict(none=72, cap=14, brim=14),
    female=0.5,
    ages=(5, 62, 26, 7),
    warmth=(-0.04, 0.02),
    cast=0.06,
    gamma=(0.85, 1.15),
    saturation=(0.8, 1.1),
    exposure=(0.9, 1.1),
    blur=(0.5, 1.4),
    resolution=(0.45, 0.95),
    noise=(1.5, 7.0),
    quality=(40, 85),
    tilt=(0.05, 0.35),
    views=(0.9, 1.5, 0.9, 1.5),
    crop_error=(0.015, 0.04),
    occlusion=(0.03, 0.2),
    ground=dict(green=4, brown=3, gray=2, red=1),
    wall=dict(green=5, red=3, yellow=1, white=2, gray=1),
    clutter=(5, 12),
)

DOMAINS = dict(source=SOURCE, target=TARGET)
