"""Draws a person as a camera sees him: a small skeleton, then the sensor."""

from functools import lru_cache

import cv2
import numpy as np

from mmreid.errors import InputError

from .colour import lab_to_bgr, seeded
from .domain import Camera
from .identity import Cloth, Identity, Print

SHIFT = 4  # cv2 takes coordinates in 1/16 pixel
ROUND = ((1, 0), (0.7, 0.7), (0, 1), (-0.7, 0.7), (-1, 0))
PLATE = (400, 480)  # height and width of a camera's background


class _Canvas:
    """A BGRA picture, twice the final size, and the way into it.

    A person stands in a box of height 1: x to his left, y down from the top
    of the head, z forward. Alpha marks the person.

    Args:
        image (np.ndarray): Background ``(H, W, 4)``, alpha 0.
        yaw (float): View angle in degrees: 0 front, 90 side, 180 back.
        tilt (float): How far the camera looks down.
        scale (float): Pixels per person's height.
        origin (tuple[float, float]): Pixel of the top of the head.
        lean (float): Sideways shift of the feet.
    """

    def __init__(self, image, yaw, tilt, scale, origin, lean):
        self.image = image
        self.cos = float(np.cos(np.deg2rad(yaw)))
        self.sin = float(np.sin(np.deg2rad(yaw)))
        self.tilt, self.scale, self.lean = tilt, scale, lean
        self.origin = origin

    def depth(self, x: float, z: float) -> float:
        """How much nearer to the camera than the body's axis."""
        return z * self.cos - x * self.sin

    def girth(self, width: float, thickness: float) -> float:
        """Projected half width of an ellipse around the body's axis."""
        return float(np.hypot(width * self.cos, thickness * self.sin))

    def point(self, x: float, y: float, z: float = 0.0) -> tuple:
        """Pixel of a point of the body."""
        return self.flat(
            x * self.cos + z * self.sin, y + self.tilt * self.depth(x, z)
        )

    def flat(self, x: float, y: float) -> tuple:
        """Pixel of a point that is already projected."""
        # What is higher is nearer to a camera that looks down.
        near = 1 + 0.5 * self.tilt * (0.5 - y)
        return (
            self.origin[0] + self.scale * (x * near + self.lean * y),
            self.origin[1] + self.scale * y,
        )

    def polygon(self, points, paint) -> None:
        """Fill pixels, with a colour or with a texture of the same size."""
        points = np.round(np.float32(points) * 2**SHIFT).astype(np.int32)
        if isinstance(paint, tuple):
            cv2.fillPoly(self.image, [points], (*paint, 255), shift=SHIFT)
            return
        mask = np.zeros(self.image.shape[:2], np.uint8)
        cv2.fillPoly(mask, [points], 255, shift=SHIFT)
        cv2.copyTo(paint, mask, self.image)

    def ellipse(self, x, y, rx, ry, colour) -> None:
        """Fill an ellipse around a projected point."""
        cv2.ellipse(
            self.image,
            np.round(np.multiply(self.flat(x, y), 2**SHIFT)).astype(int),
            np.round(
                np.multiply((rx, ry), self.scale * 2**SHIFT)
            ).astype(int),
            0, 0, 360, (*colour, 255), -1, shift=SHIFT,
        )  # fmt: skip

    def limb(self, start, end, r0: float, r1: float, paint) -> None:
        """A tapered limb between two pixels, radii in body heights."""
        start, end = np.asarray(start), np.asarray(end)
        along = end - start
        normal = np.array((-along[1], along[0])) / (np.hypot(*along) + 1e-6)
        r0, r1 = normal * r0 * self.scale, normal * r1 * self.scale
        # Half an octagon rounds the joint at which the limb starts.
        back = np.array((-r0[1], r0[0]))
        cap = [start + c * r0 + d * back for c, d in ROUND]
        self.polygon((*cap, end - r1, end + r1), paint)


def _texture(canvas: _Canvas, cloth: Cloth, top: float, bottom: float):
    """A plain colour, or a BGRA picture of the cloth's pattern."""
    ground, accent = lab_to_bgr(cloth.lab), lab_to_bgr(cloth.accent)
    if cloth.pattern == 'plain':
        return ground
    height, width = canvas.image.shape[:2]
    texture = np.empty_like(canvas.image)
    texture[:] = (*ground, 255)
    accent = (*accent, 255)

    def row(y: float) -> int:
        return round(canvas.flat(0, y)[1])

    if cloth.pattern == 'block':
        edge = top + (0.3 + 0.4 * cloth.phase) * (bottom - top)
        texture[max(row(edge), 0) :] = accent
    if cloth.pattern in ('stripes', 'checks'):
        y = top + (cloth.phase - 1) * cloth.period
        while y < bottom + cloth.period:
            end = y + cloth.duty * cloth.period
            texture[max(row(y), 0) : max(row(end), 0)] = accent
            y += cloth.period
    if cloth.pattern in ('bars', 'checks', 'dots'):
        # Bars hang on the body: they turn with it, so that the pattern that
        # is seen depends on the view only as a real one does.
        angles = np.arange(0, 2 * np.pi, cloth.period * 9)
        angles = angles + cloth.phase * cloth.period * 9
        half = cloth.duty * cloth.period * 0.5
        for angle in angles:
            x, z = np.sin(angle), np.cos(angle)
            front = canvas.depth(x, z)
            if front < 0.15:
                continue
            x = 0.105 * (x * canvas.cos + z * canvas.sin)
            if cloth.pattern == 'dots':
                y = top + cloth.phase * cloth.period
                while y < bottom:
                    cv2.circle(
                        texture,
                        np.round(canvas.flat(x, y)).astype(int),
                        round(0.6 * half * canvas.scale) + 2,
                        accent,
                        -1,
                    )
                    y += cloth.period
                continue
            left = round(canvas.flat(x - half * front, 0.4)[0])
            right = round(canvas.flat(x + half * front, 0.4)[0])
            texture[:, max(left, 0) : max(right, 0)] = accent
    return texture


def _legs(canvas: _Canvas, who: Identity, phase: float, hip: float) -> None:
    lower = _texture(canvas, who.lower, hip, 1.0)
    skin = lab_to_bgr(who.skin)
    bare = who.bottom == 'skirt' or who.top == 'dress'
    covered = 0.0 if bare else who.leg
    length = 0.965 - hip
    thick = 0.047 * (0.6 + 0.4 * who.build)
    # The far leg first, so that the near one covers it.
    for side in sorted((-1, 1), key=lambda s: canvas.depth(s, 0)):
        swing = 0.42 * side * np.sin(phase)
        bend = 0.6 * max(0.0, side * np.cos(phase))
        x = side * 0.047 * who.build
        knee = (x, hip + 0.5 * length * np.cos(swing),
                0.5 * length * np.sin(swing))  # fmt: skip
        ankle = (x, knee[1] + 0.5 * length * np.cos(swing - bend),
                 knee[2] + 0.5 * length * np.sin(swing - bend))  # fmt: skip
        joints = [canvas.point(x, hip), canvas.point(*knee),
                  canvas.point(*ankle)]  # fmt: skip
        radii = (1.25 * thick, 0.78 * thick, 0.5 * thick)
        loose = 1.0 if covered < 0.9 else 1.15
        _sleeve(canvas, joints, radii, covered, loose, lower, skin)
        if who.side_stripe and covered and side * canvas.sin < 0.5:
            edge = 0.6 * side * (1 if canvas.cos > 0 else -1) * thick
            offset = np.array((edge * canvas.scale * abs(canvas.cos), 0))
            stripe = [joint + offset for joint in joints]
            _sleeve(
                canvas, stripe, (0.012, 0.012, 0.012), covered, 1.0,
                lab_to_bgr(who.side_stripe), None,
            )  # fmt: skip
        shoe = lab_to_bgr(who.shoes)
        shin = np.asarray(joints[1]) - joints[2]
        if who.boots:
            canvas.limb(
                joints[2] + 0.7 * shin, joints[2],
                0.85 * thick, 0.65 * thick, shoe,
            )  # fmt: skip
        elif who.socks and covered < 0.9:
            canvas.limb(
                joints[2] + 0.35 * shin, joints[2],
                0.65 * thick, 0.55 * thick, lab_to_bgr(who.socks),
            )  # fmt: skip
        heel = canvas.point(ankle[0], ankle[1] + 0.012, ankle[2] - 0.02)
        toe = canvas.point(ankle[0], ankle[1] + 0.022, ankle[2] + 0.065)
        canvas.limb(heel, toe, 0.028, 0.022, shoe)
        canvas.ellipse(
            (ankle[0] * canvas.cos + (ankle[2] + 0.01) * canvas.sin),
            ankle[1] + 0.012, 0.03, 0.022, shoe,
        )  # fmt: skip


def _sleeve(canvas, joints, radii, covered, loose, paint, skin) -> None:
    """An arm or a leg of two parts, clothed down to ``covered`` of it."""
    parts = zip(joints, joints[1:], radii, radii[1:], (0, 0.5), strict=False)
    for start, end, r0, r1, begin in parts:
        if skin:
            canvas.limb(start, end, r0, r1, skin)
        part = float(np.clip((covered - begin) * 2, 0, 1))
        if part > 0:
            stop = np.asarray(start) + part * np.subtract(end, start)
            r1 = r0 + part * (r1 - r0)
            canvas.limb(start, stop, loose * r0, loose * r1, paint)


def _arm(canvas, who, phase, side, shoulder, hip, paint) -> tuple:
    """Draw an arm; returns the hand in body coordinates."""
    swing = -0.38 * side * np.sin(phase)
    top = (side * shoulder, 0.205, 0.0)
    length = 0.95 * (hip - 0.16)
    elbow = (top[0] + side * 0.02, top[1] + 0.48 * length * np.cos(swing),
             0.48 * length * np.sin(swing))  # fmt: skip
    hand = (elbow[0], elbow[1] + 0.48 * length * np.cos(swing + 0.35),
            elbow[2] + 0.48 * length * np.sin(swing + 0.35))  # fmt: skip
    thick = 0.034 * (0.5 + 0.5 * who.build)
    joints = [canvas.point(*p) for p in (top, elbow, hand)]
    skin = lab_to_bgr(who.skin)
    loose = 1.25 if who.top in ('jacket', 'coat') else 1.08
    _sleeve(canvas, joints, (thick, 0.85 * thick, 0.7 * thick),
            who.sleeve, loose, paint, skin)  # fmt: skip
    end = np.asarray(joints[2])
    canvas.limb(end, end + 0.35 * (end - joints[1]) / 2, 0.02, 0.016, skin)
    return hand


def _print(canvas: _Canvas, patch: Print, facing: float, depth: float):
    """A patch on the chest (facing 1) or on the back (facing -1)."""
    shown = facing * canvas.cos
    if shown < 0.2:
        return
    x = patch.x * canvas.cos + facing * depth * canvas.sin
    half, y = patch.width * shown, patch.y
    rise = patch.height
    colour = lab_to_bgr(patch.lab)
    if patch.shape == 'disc':
        canvas.ellipse(x, y, half, rise, colour)
        return
    if patch.shape == 'bar':
        half, rise = 0.1 * shown, 0.4 * rise
    corners = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    if patch.shape == 'diamond':
        corners = ((0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0))
    canvas.polygon(
        [canvas.flat(x + u * half, y + v * rise) for u, v in corners], colour
    )


def _torso(canvas: _Canvas, who: Identity, shoulder, hip, upper) -> None:
    build = who.build
    belly = 0.012 if who.age >= 3 else 0.0
    thick = 0.066 * build
    end = hip + who.hem * (1 - hip)
    loose = 1.12 if who.top in ('jacket', 'coat') else 1.0
    waist = 0.080 if who.female else 0.090
    flare = 1.45 if who.top == 'dress' else 1.08
    levels = [
        (0.160, 0.030, 0.030),
        (0.190, shoulder, 0.8 * thick),
        (0.270, 0.105 * build, 1.05 * thick),
        (0.400, waist * build * loose, thick + belly),
        (hip, 0.096 * build * loose, 1.08 * thick + belly),
        (end, 0.098 * build * loose * flare, 1.1 * thick * flare),
    ]
    if who.bottom == 'skirt' and who.top != 'dress':
        stop = hip + who.leg * 0.8 * (1 - hip)
        skirt = [(0.42, waist * build, thick), (hip, 0.1 * build, thick),
                 (stop, 0.13 * build, 1.5 * thick)]  # fmt: skip
        _solid(canvas, skirt, _texture(canvas, who.lower, 0.42, stop))
    _solid(canvas, levels, upper)
    if who.inner and canvas.cos > 0.1:
        x, w = thick * canvas.sin, 0.028 * canvas.cos
        canvas.polygon(
            [canvas.flat(x - w, 0.17), canvas.flat(x + w, 0.17),
             canvas.flat(x + 1.3 * w, end), canvas.flat(x - 1.3 * w, end)],
            lab_to_bgr(who.inner),
        )  # fmt: skip
    patch = who.front if canvas.cos > 0 else who.back
    if patch:
        _print(canvas, patch, 1 if canvas.cos > 0 else -1, thick)
    if who.belt:
        y = 0.43 if who.top in ('coat', 'dress') else min(hip, 0.47)
        _solid(
            canvas, [(y - 0.012, waist * build * 1.1, thick * 1.1),
                     (y + 0.014, waist * build * 1.12, thick * 1.12)],
            lab_to_bgr(who.belt),
        )  # fmt: skip
    if who.collar:
        _solid(
            canvas, [(0.15, 0.042, 0.045), (0.185, 0.06, 0.055)],
            lab_to_bgr(who.collar),
        )  # fmt: skip


def _solid(canvas: _Canvas, levels, paint) -> None:
    """A body of elliptic sections: (y, half width, half thickness)."""
    halves = [(y, canvas.girth(a, b)) for y, a, b in levels]
    canvas.polygon(
        [canvas.flat(-half, y) for y, half in halves]
        + [canvas.flat(half, y) for y, half in reversed(halves)],
        paint,
    )


def _backpack(canvas: _Canvas, who: Identity) -> None:
    z = -(0.066 * who.build + 0.045)
    half = canvas.girth(0.085, 0.05)
    x, y = z * canvas.sin, canvas.tilt * z * canvas.cos
    box = ((0.2, 0.75), (0.23, 1), (0.42, 1), (0.45, 0.85))
    canvas.polygon(
        [canvas.flat(x - half * w, y + h) for h, w in box]
        + [canvas.flat(x + half * w, y + h) for h, w in reversed(box)],
        lab_to_bgr(who.backpack),
    )
    if canvas.cos < 0:
        pocket = half * 0.7
        canvas.polygon(
            [canvas.flat(x + u * pocket, y + v)
             for u, v in ((-1, 0.33), (1, 0.33), (1, 0.42), (-1, 0.42))],
            lab_to_bgr(who.backpack_pocket),
        )  # fmt: skip


def _straps(canvas: _Canvas, who: Identity) -> None:
    for side in (-1, 1):
        x = side * 0.062 * who.build
        z = 0.06 * who.build
        if canvas.depth(x, z) > 0.01:
            canvas.limb(
                canvas.point(x, 0.185, z), canvas.point(1.15 * x, 0.37, z),
                0.012, 0.012, lab_to_bgr(who.backpack),
            )  # fmt: skip


def _bag(canvas: _Canvas, who: Identity, hip: float) -> None:
    colour = lab_to_bgr(who.bag)
    x = who.side * 0.115 * who.build
    z = 0.05 * (1 if canvas.cos > 0 else -1)
    canvas.limb(
        canvas.point(-0.055 * who.side, 0.18, z),
        canvas.point(x, hip - 0.02, z), 0.010, 0.010, colour,
    )  # fmt: skip
    if canvas.depth(x, 0) > -0.09:
        _box(canvas, (x, hip - 0.03, 0), (0.035, 0.075), 0.105, colour)


def _box(canvas: _Canvas, place, halves, height, colour) -> None:
    """A box hanging from a point of the body."""
    left, top = place[0] * canvas.cos + place[2] * canvas.sin, place[1]
    half = canvas.girth(*halves)
    canvas.polygon(
        [canvas.flat(left - 0.85 * half, top),
         canvas.flat(left + 0.85 * half, top),
         canvas.flat(left + half, top + height),
         canvas.flat(left - half, top + height)],
        colour,
    )  # fmt: skip


def _head(canvas: _Canvas, who: Identity) -> None:
    skin, hair = lab_to_bgr(who.skin), lab_to_bgr(who.hair_lab)
    cos, sin = canvas.cos, canvas.sin
    rx, ry = canvas.girth(0.052, 0.062) * who.head, 0.074 * who.head
    y = 0.152 - ry
    x = 0.015 * sin
    canvas.limb(canvas.flat(0, 0.12), canvas.flat(0, 0.18), 0.026, 0.032, skin)
    if who.hair == 'long':
        _solid(
            canvas,
            [(y, 0.055, 0.05), (0.17, 0.065, 0.04), (0.245, 0.055, 0.035)],
            hair,
        )
    if who.hair == 'bald':
        canvas.ellipse(x, y, rx, ry, skin)
    else:
        canvas.ellipse(x - 0.006 * sin, y - 0.006, 1.08 * rx, ry, hair)
    if who.hair == 'bun':
        canvas.ellipse(x - 0.05 * sin, y - 0.06, 0.028, 0.024, hair)
    if who.hair == 'ponytail' and cos < 0.75:
        tail = canvas.flat(x - 0.055 * sin, y - 0.02)
        end = canvas.flat(x - 0.075 * sin, 0.235)
        canvas.limb(tail, end, 0.02, 0.012, hair)
    face = np.clip(cos + 0.45, 0, 1) * 0.046 * who.head
    if face > 0.008:
        shift = x + 0.034 * sin * who.head
        canvas.ellipse(shift, y + 0.016, face, 0.8 * ry, skin)
        if who.beard:
            canvas.ellipse(shift, y + 0.05, 0.8 * face, 0.022, hair)
        if who.glasses:
            canvas.limb(
                canvas.flat(shift - face, y + 0.004),
                canvas.flat(shift + face, y + 0.004),
                0.009, 0.009, (25, 25, 25),
            )  # fmt: skip
    if who.hat == 'none':
        return
    colour = lab_to_bgr(who.hat_lab)
    dome = 1.0 if who.hat == 'beanie' else 0.82
    edge = y - (0.0 if who.hat == 'beanie' else 0.018)
    angles = np.linspace(np.pi, 2 * np.pi, 9)
    canvas.polygon(
        [canvas.flat(x + 1.15 * rx * np.cos(t), edge + dome * ry * np.sin(t))
         for t in angles],
        colour,
    )  # fmt: skip
    if who.hat == 'cap':
        peak = x + (0.075 * sin if abs(sin) > 0.4 else 0)
        if cos > -0.4:
            canvas.ellipse(peak, edge + 0.004, 0.05, 0.014, colour)
    if who.hat == 'brim':
        canvas.ellipse(x, edge, 0.105, 0.022, colour)


def _person(canvas: _Canvas, who: Identity, phase: float) -> None:
    hip = 1.0 - who.legs - 0.01
    shoulder = (0.108 if who.female else 0.122) * (0.4 + 0.6 * who.build)
    if who.top in ('jacket', 'coat'):
        shoulder *= 1.07
    upper = _texture(canvas, who.upper, 0.17, hip + who.hem * (1 - hip))
    sleeve = upper
    if who.sleeve_lab != who.upper.lab:
        sleeve = lab_to_bgr(who.sleeve_lab)
    hands = {}
    far = [s for s in (-1, 1) if canvas.depth(s, 0) < -0.35]
    for side in far:
        hands[side] = _arm(canvas, who, phase, side, shoulder, hip, sleeve)
    if who.handbag and who.side in far:
        _box(canvas, hands[who.side], (0.03, 0.07), 0.1,
             lab_to_bgr(who.handbag))  # fmt: skip
    _legs(canvas, who, phase, hip)
    if who.backpack and canvas.cos >= 0:
        _backpack(canvas, who)
    _torso(canvas, who, shoulder, hip, upper)
    if who.bag:
        _bag(canvas, who, hip)
    if who.backpack:
        _straps(canvas, who)
        if canvas.cos < 0:
            _backpack(canvas, who)
    _head(canvas, who)
    for side in {-1, 1}.difference(far):
        hands[side] = _arm(canvas, who, phase, side, shoulder, hip, sleeve)
    if who.handbag and who.side not in far:
        _box(canvas, hands[who.side], (0.03, 0.07), 0.1,
             lab_to_bgr(who.handbag))  # fmt: skip


@lru_cache(maxsize=64)
def _plate(scene: tuple) -> np.ndarray:
    """The background of a camera, uint8 BGRA ``(400, 480, 4)``, alpha 0."""
    keys, colours, clutter = scene
    rng = seeded(*keys)
    height, width = PLATE
    plate = np.empty((height, width, 3), np.float32)
    horizon = int(height * rng.uniform(0.2, 0.5))
    ground, wall, *things = (np.float32(c) for c in colours)
    plate[:horizon] = wall
    plate[horizon:] = ground
    plate[horizon:] *= np.linspace(0.75, 1.1, height - horizon)[:, None, None]
    # Tiles or kerbs: lines on the ground that run to a vanishing point.
    line = (0.8 * ground).tolist()
    if rng.random() < 0.7:
        centre = int(rng.uniform(0, width))
        for x in range(-2 * width, 3 * width, int(rng.uniform(60, 160))):
            cv2.line(plate, (centre, horizon), (x, height), line, 2)
        for step in np.linspace(0.05, 1, int(rng.integers(3, 8))) ** 2:
            y = int(horizon + step * (height - horizon))
            cv2.line(plate, (0, y), (width, y), line, 2)
    for _ in range(clutter):
        colour = things[rng.integers(len(things))] * rng.uniform(0.5, 1.2)
        x, y = rng.uniform(0, width), rng.uniform(0, horizon * 1.3)
        half, rise = rng.uniform(8, 60), rng.uniform(20, 110)
        kind = rng.integers(3)
        if kind == 0:  # a window, a door, a car
            cv2.rectangle(
                plate, (int(x - half), int(y - rise)),
                (int(x + half), int(y + rise)), colour.tolist(), -1,
            )  # fmt: skip
        elif kind == 1:  # a bush or a tree
            for _ in range(6):
                at = rng.normal((x, y), (half, rise / 2)).astype(int)
                shade = colour * rng.uniform(0.7, 1.2)
                cv2.circle(plate, at, int(half * 0.5), shade.tolist(), -1)
        else:  # a pole or a trunk
            cv2.line(plate, (int(x), 0), (int(x), int(horizon * 1.4)),
                     colour.tolist(), int(rng.uniform(4, 16)))  # fmt: skip
    rough = rng.normal(1, 0.12, (height // 8, width // 8)).astype(np.float32)
    plate *= cv2.resize(rough, (width, height))[..., None]
    plate = cv2.GaussianBlur(plate, (0, 0), 1.5)
    alpha = np.zeros((height, width, 1), np.uint8)
    return np.concatenate((plate.clip(0, 255).astype(np.uint8), alpha), 2)


def _occlude(image: np.ndarray, rng: np.random.Generator) -> None:
    """Put a pole, a car or another person in front, in place."""
    height, width = image.shape[:2]
    colour = (*rng.integers(20, 220, 3).tolist(), 0)
    kind = rng.integers(3)
    if kind == 0:
        x = int(rng.uniform(0.1, 0.9) * width)
        cv2.line(image, (x, 0), (x, height), colour, int(0.12 * width))
    elif kind == 1:
        top = int(rng.uniform(0.62, 0.82) * height)
        cv2.rectangle(image, (0, top), (width, height), colour, -1)
    else:
        x = int(rng.choice((rng.uniform(-0.1, 0.08), rng.uniform(0.92, 1.1)))
                * width)  # fmt: skip
        axes = (int(0.2 * width), int(0.45 * height))
        cv2.ellipse(
            image, (x, int(0.75 * height)), axes, 0, 0, 360, colour, -1
        )


def draw_pedestrian(
    identity: Identity | None,
    camera: Camera,
    rng: np.random.Generator,
    size: tuple[int, int] = (64, 128),
    yaw: float | None = None,
    crop_error: float | None = None,
) -> np.ndarray:
    """Draw one crop of a person.

    Args:
        identity (Identity, optional): Who is seen; None draws the background
            alone, a false alarm of the detector.
        camera (Camera): What sees him.
        rng (np.random.Generator): Source of the walking phase, the view, the
            crop, the light and the noise.
        size (tuple[int, int]): Width and height in pixels, each at least 16.
            Defaults to (64, 128).
        yaw (float, optional): View angle in degrees: 0 front, 90 side, 180
            back. Defaults to None, which draws it from the camera's.
        crop_error (float, optional): Replaces the camera's. Defaults to None.

    Returns:
        np.ndarray: uint8 BGR ``(height, width, 3)``.

    Raises:
        InputError: If the size is below 16 pixels.
    """
    width, height = size
    if min(size) < 16:
        raise InputError(
            f'size is {size}, expected a width and a height of at least 16.'
        )
    box = np.clip(rng.normal(0, 1, 3), -2.5, 2.5) * (
        camera.crop_error if crop_error is None else crop_error
    )
    if yaw is None:
        yaw = camera.sample_yaw(rng)
    phase = rng.uniform(0, 2 * np.pi)
    lean = rng.normal(0, 0.015)
    plate = _plate(camera.scene)
    x = rng.integers(PLATE[1] - 128 + 1)
    y = rng.integers(PLATE[0] - 256 + 1)
    image = plate[y : y + 256, x : x + 128]
    # Drawn at twice the size: halving it is the anti-aliasing.
    image = cv2.resize(image, (2 * width, 2 * height))
    if identity is not None:
        scale = 2 * height * 0.94 * (1 + box[0])
        origin = (
            width + (box[1] - lean / 2) * scale,
            height - 0.5 * scale + 0.7 * box[2] * scale,
        )
        canvas = _Canvas(image, yaw, camera.tilt, scale, origin, lean)
        _person(canvas, identity, phase)
    if rng.random() < camera.occlusion:
        _occlude(image, rng)
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return _sense(image, camera, rng)


def _sense(
    image: np.ndarray, camera: Camera, rng: np.random.Generator
) -> np.ndarray:
    """Light a BGRA picture and take it with the camera, to BGR."""
    height, width = image.shape[:2]
    pixels = image[..., :3].astype(np.float32) / 255
    # Folds and a light from the side: on the person only.
    shade = rng.normal(0, 0.10, (8, 4)).astype(np.float32)
    shade = cv2.resize(shade, (width, height), interpolation=cv2.INTER_CUBIC)
    shade += camera.light * np.linspace(-1, 1, width, dtype=np.float32)
    person = image[..., 3:].astype(np.float32) / 255
    pixels *= 1 + person * shade[..., None]
    # Sun and clouds: no two pictures of a camera have the same light.
    gains = np.exp(rng.normal(0, 0.03, 3) + rng.normal(0, 0.08))
    pixels *= (camera.gains * gains * camera.exposure).astype(np.float32)
    pixels = np.clip(pixels, 0.004, 1) ** np.float32(camera.gamma)
    grey = pixels @ np.float32((0.114, 0.587, 0.299))
    pixels = grey[..., None] + camera.saturation * (pixels - grey[..., None])
    if camera.resolution < 1:
        small = (
            max(8, round(width * camera.resolution)),
            max(8, round(height * camera.resolution)),
        )
        pixels = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
        pixels = cv2.resize(pixels, (width, height))
    pixels = cv2.GaussianBlur(pixels, (0, 0), camera.blur * height / 128)
    pixels = pixels * 255 + rng.standard_normal(
        pixels.shape, np.float32
    ) * np.float32(camera.noise)
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    code = cv2.imencode(
        '.jpg', pixels, (cv2.IMWRITE_JPEG_QUALITY, camera.quality)
    )[1]
    return cv2.imdecode(code, cv2.IMREAD_COLOR)
