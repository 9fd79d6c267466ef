"""A seeded generator of English-like text, numbers and code-like lines: training text that this repository may ship.

Everything here was written for this project. Each document mixes prose, notes, arithmetic, tables and code, so that a
byte-level model sees letters, digits, punctuation and line structure in changing proportions.
"""

import random

NOUNS = (
    "river bridge window garden letter engine tensor kernel cache router expert token block tower station lantern harbour orchard "
    "notebook signal matrix filter channel buffer valley mountain market library winter summer morning evening teacher captain "
    "baker painter doctor engineer neighbour stranger sailor farmer child cat dog heron fox owl train boat clock map road storm"
).split()
ADJECTIVES = (
    "small large quiet bright narrow wide old new early late cold warm heavy light careful honest sudden steady hidden broken "
    "green blue grey silver golden wooden round empty full gentle strange clever patient curious"
).split()
VERBS = (
    "carries follows measures repairs watches finds loses opens closes paints counts keeps sends reads writes compares moves "
    "holds turns passes remembers answers crosses builds mends hides lights"
).split()
ADVERBS = "slowly quickly often rarely again together quietly almost always never today twice".split()
PLACES = "in near behind above below beside beyond across from under".split()
NAMES = "Ada Bo Clara Dmitri Elif Femi Goran Hana Ines Jonas Kofi Lena Mira Nils Olga Pavel Quinn Rosa Sven Tara Ugo Vera Wim Yara".split()
LINKS = "and but so because while until although when before after".split()
UNITS = "km kg ms GB litres degrees hours tokens rows bytes".split()
FUNCTIONS = "load scale shift norm merge split round clamp gather route project rotate".split()
VARIABLES = "x y z q k v row col step rate bias gate state head".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()


def document(rng: random.Random) -> str:
    """One document of a few paragraphs."""
    makers = (_paragraph, _paragraph, _paragraph, _arithmetic, _code, _table, _dialogue, _log)
    return "\n".join(rng.choice(makers)(rng) for _ in range(rng.randint(2, 5)))


def corpus(seed: int, size_bytes: int) -> list[str]:
    """Documents of about `size_bytes` bytes in all; the same seed gives the same text on every machine."""
    rng = random.Random(seed)
    documents: list[str] = []
    total = 0
    while total < size_bytes:
        documents.append(document(rng))
        total += len(documents[-1].encode())
    return documents


def _noun_phrase(rng: random.Random) -> str:
    article = rng.choice(("the", "the", "a", "one", "every", "this", "that", "no"))
    words = [article, *rng.sample(ADJECTIVES, rng.choice((0, 1, 1, 2))), rng.choice(NOUNS)]
    if words[0] == "a" and words[1][0] in "aeiou":
        words[0] = "an"
    return " ".join(words)


def _clause(rng: random.Random) -> str:
    subject = rng.choice(NAMES) if rng.random() < 0.3 else _noun_phrase(rng)
    parts = [subject, rng.choice(VERBS), _noun_phrase(rng)]
    if rng.random() < 0.4:
        parts += [rng.choice(PLACES), _noun_phrase(rng)]
    if rng.random() < 0.3:
        parts.append(rng.choice(ADVERBS))
    return " ".join(parts)


def _sentence(rng: random.Random) -> str:
    text = _clause(rng)
    if rng.random() < 0.4:
        text += rng.choice((", ", " ")) + rng.choice(LINKS) + " " + _clause(rng)
    return text[0].upper() + text[1:] + rng.choice((".", ".", ".", "!", "?"))


def _paragraph(rng: random.Random) -> str:
    return " ".join(_sentence(rng) for _ in range(rng.randint(2, 5)))


def _arithmetic(rng: random.Random) -> str:
    lines = []
    for _ in range(rng.randint(2, 4)):
        a, b = rng.randint(0, 99), rng.randint(0, 99)
        sign, result = rng.choice((("+", a + b), ("-", a - b), ("*", a * b)))
        lines.append(f"{a} {sign} {b} = {result}")
    return "\n".join(lines)


def _code(rng: random.Random) -> str:
    name, arg = rng.choice(FUNCTIONS), rng.choice(VARIABLES)
    lines = [f"function {name}_{arg}({arg}) {{"]
    for _ in range(rng.randint(1, 3)):
        target, call = rng.choice(VARIABLES), rng.choice(FUNCTIONS)
        lines.append(f"  const {target}{rng.randint(0, 9)} = {call}({arg}, {rng.randint(1, 64) / 8});")
    lines += [f"  return {arg} {rng.choice('+-*')} {rng.randint(1, 9)};", "}"]
    return "\n".join(lines)


def _table(rng: random.Random) -> str:
    lines = [f"{rng.choice(NOUNS)},{rng.choice(UNITS)},{rng.choice(UNITS)}"]
    for _ in range(rng.randint(2, 4)):
        lines.append(f"{rng.choice(NAMES)},{rng.randint(1, 999)},{rng.randint(0, 9999) / 100:.2f}")
    return "\n".join(lines)


def _dialogue(rng: random.Random) -> str:
    return "\n".join(f'{rng.choice(NAMES)}: "{_sentence(rng)}"' for _ in range(rng.randint(2, 3)))


def _log(rng: random.Random) -> str:
    lines = []
    for _ in range(rng.randint(2, 3)):
        time = f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"
        when = f"{rng.choice(DAYS)} {time}"
        what = f"{rng.choice(NOUNS)} {rng.randint(1, 40)}: {rng.randint(1, 500)} {rng.choice(UNITS)}"
        lines.append(f"[{when}] {what}")
    return "\n".join(lines)
