"""Photographs that the training folders of 300-W hold under more than one name.

LFPW was collected by web search, so one photograph came in as several files: other sizes, other colours, a poster
with a caption.  HELEN has one photograph twice, once with its colours reworked.  All were found by correlating the
aligned faces of the training folders with one another and looking at every pair (``canthus.data.copies``).

The first of each row names the group.  Where the copies would lie on both sides of ``fit``/``validation``, the first
is one of the ``fit`` side, so that validation only shrinks.  The test folders are not covered; copies between the
official training and test folders are the set's own affair.
"""

LFPW_COPIES = (
    (3, 52), (11, 44), (35, 53), (43, 317), (86, 118), (121, 122), (134, 140, 155), (154, 176), (163, 192), (164, 187),
    (188, 190), (251, 252), (279, 313, 321), (342, 343, 366), (344, 351), (345, 384), (349, 392), (374, 376),
    (407, 454), (413, 415, 445, 458), (419, 449), (436, 420), (439, 435), (453, 426), (482, 494, 503), (491, 516),
    (502, 518), (544, 548, 583), (573, 592, 598),
    (601, 617, 622, 623, 631, 633, 635, 639, 647, 648, 651, 658),
    (636, 641), (680, 698, 724), (682, 204, 704), (685, 719), (686, 727), (691, 692), (708, 710), (712, 683, 695, 730),
    (733, 743), (809, 825, 847), (816, 824, 856, 858), (827, 843),
)  # fmt: skip
"""Numbers of the files in ``lfpw/trainset``."""

HELEN_COPIES = ((1207662328, 1218567979),)
"""Numbers of the photos in ``helen/trainset``."""

_FIRST = {
    **{f"lfpw/trainset/image_{n:04d}": f"lfpw/trainset/image_{row[0]:04d}" for row in LFPW_COPIES for n in row},
    **{f"photo/{n}": f"photo/{row[0]}" for row in HELEN_COPIES for n in row},
}


def first_copy(group: str) -> str:
    """The group of the photograph that ``group`` shows: itself, unless the photograph has several names."""
    return _FIRST.get(group, group)
