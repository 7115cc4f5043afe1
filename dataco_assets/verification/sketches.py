"""HLL sketches of users, made from the users themselves and taken apart, so that two can be compared.

Apache DataSketches promises that the same values give the same sketch, but not the same bytes: the order of the values
and the way in which parts were merged leave traces in them. What is the same is the content: up to some number of
users a list of their hashes, beyond it the registers.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from datasketches import HLL_8, hll_sketch  # pyright: ignore[reportAttributeAccessIssue]  # compiled, without stubs

_LG_K = 12
_MODE, _COUNTED, _PER_REGISTER = 7, {0: 8, 1: 12}, 40
_HASH_BYTES = 4


@dataclass(frozen=True)
class SketchContent:
    """What a sketch holds.

    Attributes:
        lg_k: Binary logarithm of the number of registers.
        held: Hashes, sorted and one after another; or the registers.
        users: How many users it stands for, about.
    """

    lg_k: int
    held: bytes
    users: float = field(compare=False)

    def __str__(self) -> str:
        return f"a sketch of about {self.users:,.0f} users"

    __repr__ = __str__


def sketched(users: Iterable[str]) -> SketchContent:
    """The content of a sketch of the users."""
    sketch = hll_sketch(_LG_K, HLL_8)
    for user in users:
        sketch.update(user)
    return _content(sketch)


def content(stored: bytes) -> SketchContent | str:
    """The content of a stored sketch, or in words why it is none."""
    try:
        return _content(hll_sketch.deserialize(stored))
    except (RuntimeError, ValueError, IndexError) as error:
        return f"not a sketch ({str(error)[:100]})"


def _content(sketch: hll_sketch) -> SketchContent:
    held = sketch.serialize_compact()
    begin = _COUNTED.get(held[_MODE] & 3, _PER_REGISTER)
    found = held[begin:]
    if begin != _PER_REGISTER:
        found = b"".join(sorted(found[at : at + _HASH_BYTES] for at in range(0, len(found), _HASH_BYTES)))
    return SketchContent(sketch.lg_config_k, found, sketch.get_estimate())
