"""Contact data in prompts: what would let a reader of a data set reach a person. By form alone; names are not found."""

from __future__ import annotations

import re
from typing import Final

_FORMS: Final = {
    "email": re.compile(r"[\w.+-]+\s?(?:@|\(at\)|\[at\])\s?[\w-]+(?:\.[\w-]+)+", re.I),
    "handle": re.compile(r"(?<![\w@.])@[A-Za-z_][\w.]{2,}"),
    "link": re.compile(r"\bhttps?://\S|\bwww\.\w", re.I),
    "phone": re.compile(r"(?<![\w.,-])(?:\+|00|\(?0)(?:[\s()/-]*\d){8,14}(?![\w-])"),
}


def find_contact_data(text: str) -> list[str]:
    """The kinds of contact data in a text: `email`, `handle`, `link`, `phone`."""
    return [kind for kind, form in _FORMS.items() if form.search(text)]
