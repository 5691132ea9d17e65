"""What the model is taught to paint, how a request for it is worded, and which combinations are kept from training."""

from __future__ import annotations

import random
from dataclasses import dataclass

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (45, 160, 70),
    "blue": (45, 90, 215),
    "yellow": (250, 215, 50),
    "orange": (245, 140, 30),
    "purple": (130, 60, 180),
    "pink": (250, 150, 195),
    "white": (250, 250, 250),
    "black": (18, 18, 20),
    "gray": (135, 137, 140),
    "brown": (125, 75, 40),
    "cyan": (70, 210, 225),
}

SHAPES = ("circle", "square", "triangle", "star", "heart", "ring", "diamond", "cross")

# Chosen for silhouettes that differ from each other and survive sixteen pixels.
OBJECTS = (
    "apple", "tree", "house", "sailboat", "rocket", "fish", "mushroom", "car", "cat", "pumpkin", "umbrella", "duck",
    "dog", "flower", "penguin", "castle", "whale", "frog", "robot", "balloon",
)  # fmt: skip

# The colours an object may be asked for in; its own colours need no word.
TINTS = ("red", "green", "blue", "yellow", "purple", "pink", "orange", "white")

PLACES = ("mountains", "beach", "sea", "forest", "desert", "city", "meadow", "snow", "space")
TIMES = ("day", "sunset", "night")

SYNONYMS: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "circle", "disc", "ball"),
    "square": ("square", "square", "box"),
    "star": ("star",),
    "heart": ("heart",),
    "ring": ("ring", "ring", "hoop"),
    "diamond": ("diamond", "diamond", "rhombus"),
    "cross": ("cross", "cross", "plus sign"),
    "tree": ("tree", "tree", "pine tree"),
    "house": ("house", "house", "home", "cottage"),
    "sailboat": ("sailboat", "boat", "sailing boat", "ship"),
    "rocket": ("rocket", "rocket", "spaceship"),
    "car": ("car", "car", "automobile"),
    "cat": ("cat", "cat", "kitten", "cat face"),
    "pumpkin": ("pumpkin", "pumpkin", "jack-o-lantern", "halloween pumpkin"),
    "mushroom": ("mushroom", "mushroom", "toadstool"),
    "duck": ("duck", "duck", "bird"),
    "dog": ("dog", "dog", "puppy", "dog face"),
    "flower": ("flower", "flower", "tulip"),
    "gray": ("gray", "grey"),
    "cyan": ("cyan", "cyan", "turquoise", "light blue"),
    "purple": ("purple", "purple", "violet"),
}

_PHRASES: dict[str, tuple[str, ...]] = {
    "mountains": ("the mountains", "the mountains", "mountains"),
    "beach": ("the beach", "a beach", "a sandy beach"),
    "sea": ("the sea", "the sea", "the ocean"),
    "forest": ("the forest", "a forest", "the woods"),
    "desert": ("the desert", "a desert", "sand dunes"),
    "city": ("the city", "a city", "a city skyline"),
    "meadow": ("the meadow", "a meadow", "a green field"),
    "snow": ("the snow", "the snow", "a snowy landscape"),
    "space": ("space", "space", "outer space"),
}
_PREPOSITIONS = {"beach": "on", "sea": "on", "desert": "in", "mountains": "in", "forest": "in", "city": "in"}
_TIME_PHRASES = {
    "day": ("", "", "", "during the day", "on a sunny day"),
    "sunset": ("at sunset", "at sunset", "at dusk", "in the evening"),
    "night": ("at night", "at night", "by night", "under the stars"),
}
_LEADS = ("a picture of", "a drawing of", "an illustration of", "a photo of", "clipart of", "a painting of")
_TAILS = (
    "masterpiece", "best quality", "4k", "highly detailed", "flat design", "minimal", "vector art",
    "trending on artstation", "simple", "beautiful", "centered", "digital art", "sharp",
    "clean lines", "icon", "8k", "colorful", "cute",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spec:
    """One picture, in the model's own terms; an empty word means that the request leaves it open."""

    thing: str = ""
    colour: str = ""
    ground: str = ""
    place: str = ""
    time: str = ""

    @property
    def is_shape(self) -> bool:
        """Whether the thing is a plain shape rather than an object or nothing."""
        return self.thing in SHAPES

    @property
    def held_out(self) -> bool:
        """Whether training must never see this combination.

        Every word appears in training and every pair below does not, so a good score on these means that the words
        were understood one by one rather than remembered together.
        """
        if self.is_shape:
            return (SHAPES.index(self.thing) * 5 + list(COLOURS).index(self.colour) * 7) % 6 == 0
        if not self.thing:
            return False
        thing = OBJECTS.index(self.thing)
        if self.place:
            return (thing * 5 + PLACES.index(self.place) * 7 + TIMES.index(self.time or "day")) % 6 == 0
        if self.colour and (thing * 3 + TINTS.index(self.colour) * 5) % 6 == 0:
            return True
        return bool(self.ground) and (thing * 5 + list(COLOURS).index(self.ground) * 7) % 6 == 0


@dataclass(frozen=True, slots=True)
class Mixture:
    """How often each kind of picture is drawn; the rest, after all three, is landscapes without a thing."""

    shape: float = 0.28
    object_on_colour: float = 0.37
    object_in_place: float = 0.20


def draw_spec(rng: random.Random, mixture: Mixture = Mixture(), *, held_out: bool = False) -> Spec:
    """Draw a picture to paint, from the training combinations or only from the held-out ones."""
    while True:
        spec = _draw(rng, mixture)
        if spec.held_out == held_out or (held_out and not spec.thing):
            return spec


def _draw(rng: random.Random, mixture: Mixture) -> Spec:
    kind = rng.random()
    if kind < mixture.shape:
        colour = rng.choice(list(COLOURS))
        ground = rng.choice([name for name in COLOURS if name != colour])
        if colour != "white" and rng.random() < 0.08:
            ground = ""
        return Spec(thing=rng.choice(SHAPES), colour=colour, ground=ground)
    kind -= mixture.shape
    thing = rng.choice(OBJECTS)
    if kind < mixture.object_on_colour:
        colour = rng.choice(TINTS) if rng.random() < 0.3 else ""
        ground = rng.choice([name for name in COLOURS if name != colour]) if rng.random() < 0.85 else ""
        return Spec(thing=thing, colour="" if colour == "white" and not ground else colour, ground=ground)
    kind -= mixture.object_on_colour
    place = rng.choice(PLACES)
    time = "" if place == "space" else rng.choice(TIMES)
    return Spec(thing=thing if kind < mixture.object_in_place else "", place=place, time=time)


def write_caption(spec: Spec, rng: random.Random, *, plain: bool = False) -> str:
    """Word a request for `spec`; `plain` gives the one ordinary wording, without synonyms or trimmings."""

    def word(name: str) -> str:
        return name if plain else rng.choice(SYNONYMS.get(name, (name,)))

    where = ""
    if spec.place:
        phrase = _PHRASES[spec.place][0] if plain else rng.choice(_PHRASES[spec.place])
        times = _TIME_PHRASES[spec.time or "day"]
        when = (times[0] if plain else rng.choice(times)) if spec.place != "space" else ""
        preposition = _PREPOSITIONS.get(spec.place, "in") + " " if spec.thing else ""
        where = f"{preposition}{phrase} {when}".strip()
    elif spec.ground:
        ground = word(spec.ground)
        where = f"on {_article(ground)} background" if plain or rng.random() < 0.8 else f"on {ground}"
    thing = f"{word(spec.colour)} {word(spec.thing)}".strip() if spec.thing else ""
    text = f"{_article(thing) if thing else ''} {where}".strip()
    if plain:
        return text
    if spec.ground and rng.random() < 0.08:
        text = f"{_article(word(spec.ground))} background with {_article(thing)}"
    if rng.random() < 0.2:
        text = text.removeprefix("a ").removeprefix("an ").removeprefix("the ")
    if rng.random() < 0.08:
        text = f"{rng.choice(_LEADS)} {text}"
    if rng.random() < 0.25:
        text = ", ".join([text, *rng.sample(_TAILS, rng.randint(1, 3))])
    if rng.random() < 0.04:
        # An unknown word must not break the picture, so training meets some.
        text += " " + "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 8)))
    return text


def _article(phrase: str) -> str:
    return f"an {phrase}" if phrase[:1] in "aeiou" else f"a {phrase}"
