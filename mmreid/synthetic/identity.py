"""An identity: body, clothes, carried things and small personal detail."""

from dataclasses import dataclass

import numpy as np

from .colour import choose, sample_lab, seeded
from .domain import Domain

Lab = tuple[float, float, float]

SLEEVES = dict(
    tank=(0.0, 0.0),
    tshirt=(0.3, 0.5),
    shirt=(0.9, 1.0),
    jacket=(1.0, 1.0),
    coat=(1.0, 1.0),
    dress=(0.0, 0.4),
)
# Where the clothes end, as a part of the way from the hip to the sole.
HEMS = dict(
    tank=(0.0, 0.06),
    tshirt=(0.02, 0.1),
    shirt=(0.02, 0.1),
    jacket=(0.02, 0.12),
    coat=(0.2, 0.5),
    dress=(0.28, 0.6),
)
LEGS = dict(trousers=(0.92, 1.0), shorts=(0.25, 0.5), skirt=(0.25, 0.7))
AGE_HEADS = (1.3, 1.06, 1.0, 1.0)
SKIN = ((82, 9, 16), (74, 12, 20), (66, 14, 24), (52, 15, 24), (36, 13, 18))
HAIR = dict(black=45, brown=35, yellow=10, red=4, gray=6)


@dataclass(frozen=True)
class Cloth:
    """A colour and what is on it.

    Args:
        lab (tuple[float, float, float]): The ground colour in CIELAB.
        accent (tuple[float, float, float]): The pattern's colour.
        pattern (str): plain, stripes, bars, checks, dots or block.
        period (float): Of the pattern, as a part of the person's height.
        phase (float): In [0, 1), where the pattern starts.
        duty (float): The part of a period that the accent takes.
    """

    lab: Lab
    accent: Lab
    pattern: str
    period: float
    phase: float
    duty: float


@dataclass(frozen=True)
class Print:
    """A printed patch on the chest or on the back."""

    lab: Lab
    shape: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Identity:
    """A drawn person. Lengths are parts of the person's height."""

    female: bool
    age: int
    build: float
    head: float
    legs: float
    skin: Lab
    hair: str
    hair_lab: Lab
    beard: bool
    glasses: bool
    top: str
    upper: Cloth
    sleeve: float
    sleeve_lab: Lab
    hem: float
    inner: Lab | None
    collar: Lab | None
    belt: Lab | None
    bottom: str
    lower: Cloth
    leg: float
    side_stripe: Lab | None
    socks: Lab | None
    shoes: Lab
    boots: bool
    hat: str
    hat_lab: Lab
    backpack: Lab | None
    backpack_pocket: Lab
    bag: Lab | None
    handbag: Lab | None
    side: int
    front: Print | None
    back: Print | None

    @classmethod
    def sample(cls, domain: Domain, seed: int, index: int) -> 'Identity':
        """The person number ``index`` of a domain, a pure function of all.

        Args:
            domain (Domain): What to draw from.
            seed (int): Seed.
            index (int): Number of the person, from 0.
        """
        rng = seeded(seed, domain.name, 'identity', index)

        def cloth_colour(weights: dict[str, float]) -> Lab:
            return sample_lab(rng, weights, domain.lightness, domain.chroma)

        def maybe(probability: float) -> Lab | None:
            colour = cloth_colour(domain.extra)
            return colour if rng.random() < probability else None

        def accent(lab: Lab) -> Lab:
            # An accent that cannot be told from its ground is no detail.
            for _ in range(8):
                other = cloth_colour(domain.extra)
                if np.linalg.norm(np.subtract(other, lab)) > 35:
                    break
            return other

        def cloth(weights: dict[str, float], patterns: dict[str, float]):
            lab = cloth_colour(weights)
            return Cloth(
                lab=lab,
                accent=accent(lab),
                pattern=choose(rng, patterns),
                period=rng.uniform(0.055, 0.11),
                phase=rng.random(),
                duty=rng.uniform(0.35, 0.65),
            )

        def patch(lab: Lab) -> Print | None:
            drawn = Print(
                lab=accent(lab),
                shape=choose(rng, dict(box=1, disc=1, bar=1, diamond=1)),
                x=rng.uniform(-0.025, 0.025),
                y=rng.uniform(0.25, 0.36),
                width=rng.uniform(0.03, 0.07),
                height=rng.uniform(0.03, 0.07),
            )
            return drawn if rng.random() < domain.prints else None

        female = bool(rng.random() < domain.female)
        age = 1 + int(choose(rng, dict(enumerate(domain.ages))))
        top = domain.top(rng, female)
        bottom = choose(rng, domain.bottoms)
        if bottom == 'skirt' and not female:
            bottom = 'trousers'
        upper = cloth(domain.upper, domain.patterns)
        lower = cloth(domain.lower, dict(plain=88, checks=5, bars=4, dots=3))
        hairs = (
            dict(long=45, ponytail=22, bun=13, short=20)
            if female
            else dict(short=78, bald=12, long=6, bun=4)
        )
        skin = SKIN[rng.integers(len(SKIN))]
        return cls(
            female=female,
            age=age,
            build=float(
                np.clip(rng.normal(0.94 if female else 1.04, 0.11), 0.75, 1.4)
            ),
            head=AGE_HEADS[age - 1] * rng.uniform(0.92, 1.08),
            legs=rng.uniform(0.455, 0.515) - (0.03 if age == 1 else 0),
            skin=tuple(float(v) for v in skin + rng.normal(0, 2, 3)),
            hair=choose(rng, hairs),
            hair_lab=sample_lab(
                rng, dict(gray=4, white=3) if age == 4 else HAIR, -8, 0.8
            ),
            beard=bool(not female and age > 1 and rng.random() < 0.2),
            glasses=bool(rng.random() < 0.2),
            top=top,
            upper=upper,
            sleeve=rng.uniform(*SLEEVES[top]),
            sleeve_lab=upper.accent if rng.random() < 0.2 else upper.lab,
            hem=rng.uniform(*HEMS[top]),
            inner=maybe(0.6 if top in ('jacket', 'coat', 'shirt') else 0),
            collar=maybe(0.25),
            belt=maybe(0.3 if top in ('coat', 'dress') else 0.12),
            bottom=bottom,
            lower=lower,
            leg=rng.uniform(*LEGS[bottom]),
            side_stripe=maybe(0.15),
            socks=maybe(0.5),
            shoes=cloth_colour(domain.extra),
            boots=bool(rng.random() < (0.3 if female else 0.15)),
            hat=choose(rng, domain.hats),
            hat_lab=cloth_colour(domain.extra),
            backpack=maybe(domain.carried['backpack']),
            backpack_pocket=cloth_colour(domain.extra),
            bag=maybe(domain.carried['bag']),
            handbag=maybe(domain.carried['handbag']),
            side=int(rng.choice((-1, 1))),
            front=patch(upper.lab),
            back=patch(upper.lab),
        )
