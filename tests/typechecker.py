"""The checker behind the shape annotations while tests run."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""``beartype`` that takes an ``int`` where a ``float`` is asked for, as Python's typing does."""
