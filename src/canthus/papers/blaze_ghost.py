"""Blaze_ghost for 68 points on WFLW (Yu et al., 2023, Tables 5 and 6).

Run:    canthus reproduce blaze_ghost --scale quick --data DIR    # 300w/ and ytf/; 80 minutes on two cores
        canthus reproduce blaze_ghost --scale full --data DIR     # wflw/; a GPU, days

Differs: the paper compares four cells of backbone x loss x optimizer; all eight are run.  It names no settings of SGD.
"""

from canthus.reproduce.values import (
    FULL,
    PLAIN,
    QUICK,
    SIZE,
    TIME,
    Claim,
    Column,
    Entry,
    Learned,
    Paper,
    PaperTable,
    Plan,
    Scale,
    printed,
)  # fmt: skip

FULL_RECIPE, QUICK_RECIPE = "blaze_ghost_wflw", "blaze_ghost_68"

# The loss is given in pixels of the input, so its widths shrink with the input: 64/112 of 10, 2 and 1.
QUICK_CHANGES = (
    "size=64",
    "epochs=10",
    "faces_per_epoch=2000",
    "validate_every=5",
    "schedule.name=cosine",
    "augmentation.rotation_deg=15.0",
    "augmentation.scale=0.1",
)
QUICK_HUBER = ("loss_settings={width=5.714,curvature=1.143,delta=0.571}",)
FULL_WING = ("loss=wing", "loss_settings={width=10.0,curvature=2.0}", "pose.branch=false")
QUICK_WING = ("loss=wing", "loss_settings={width=5.714,curvature=1.143}", "pose.branch=false")
# The best of 0.001, 0.01 and 0.05 after two epochs of 2,000 faces.
SGD = ("optimizer.name=sgd", "optimizer.learning_rate=0.01", "optimizer.settings={momentum=0.9}")


def _entry(label: str, model: tuple[str, ...], *, wing: bool = False, sgd: bool = False, seeds: int = 1) -> Entry:
    """A network with the paper's loss and optimizer, or with those of its ablation."""
    optimizer = SGD if sgd else ()
    full = (*model, *(FULL_WING if wing else ()), *optimizer)
    quick = (*model, *QUICK_CHANGES, *(QUICK_WING if wing else QUICK_HUBER), *optimizer)
    return Entry(
        label=label,
        plans={FULL: Plan(FULL_RECIPE, full, seeds=seeds), QUICK: Plan(QUICK_RECIPE, quick, seeds=seeds)},
        cost=Plan(FULL_RECIPE, full),
    )


PFLD = ("model=pfld", "model_settings={width=0.25}")
RESNET = ("model=resnet50",)
GHOST = ("model=blaze_ghost",)
LANDMARK = ("model=blaze_landmark",)

NME, FR = Column("nme_ion", "NME", digits=4), Column("fr_10", "FR at 10 %", digits=3)

TABLE_5 = PaperTable(
    title="backbones with Huber-wing and Adadelta",
    where="Table 5",
    rows=("pfld", "resnet50", "blaze_ghost"),
    columns=(NME, FR, SIZE, TIME),
    published=printed(
        ("NME", "FR at 10 %", "size, MB", "time, ms"),
        {
            "pfld": (0.062, 0.125, 1.1, 121),
            "resnet50": (0.053, 0.073, 122.27, 304),
            "blaze_ghost": (0.056, 0.073, 5.66, 141),
        },
    ),
    claims=(
        Claim("Blaze_ghost has a smaller error than PFLD", "blaze_ghost", "pfld", "NME"),
        Claim("Blaze_ghost fails less often than PFLD", "blaze_ghost", "pfld", "FR at 10 %"),
        Claim("ResNet-50 has a smaller error than Blaze_ghost", "resnet50", "blaze_ghost", "NME"),
        Claim("Blaze_ghost is faster than ResNet-50", "blaze_ghost", "resnet50", "time, ms"),
        Claim("PFLD is faster than Blaze_ghost", "pfld", "blaze_ghost", "time, ms"),
    ),
    note=(
        "The published ResNet-50 has the size of a ResNeSt-50; ours is a ResNet-50. PFLD has a quarter of its width, "
        "which fits the printed size. Size and time are those of the networks at 112 pixels; time is that of a whole "
        "step, from picture and box to points, for one face on one thread."
    ),
)

TABLE_6 = PaperTable(
    title="backbone, loss and optimizer",
    where="Table 6",
    rows=(
        "landmark_wing_sgd",
        "ghost_wing_sgd",
        "ghost_wing_adadelta",
        "blaze_ghost",
        "landmark_huber_sgd",
        "ghost_huber_sgd",
        "landmark_wing_adadelta",
        "landmark_huber_adadelta",
    ),
    columns=(NME, FR, SIZE),
    published=printed(
        ("NME", "FR at 10 %", "size, MB"),
        {
            "landmark_wing_sgd": (0.081, 0.197, 7.52),
            "ghost_wing_sgd": (0.077, 0.178, 5.66),
            "ghost_wing_adadelta": (0.057, 0.082, 5.66),
            "blaze_ghost": (0.056, 0.073, 5.66),
        },
    ),
    claims=(
        Claim("Ghost modules lower the error", "ghost_wing_sgd", "landmark_wing_sgd", "NME"),
        Claim("Ghost modules make the network smaller", "ghost_wing_sgd", "landmark_wing_sgd", "size, MB"),
        Claim("Adadelta lowers the error against SGD", "ghost_wing_adadelta", "ghost_wing_sgd", "NME"),
        Claim("Huber-wing lowers the error against wing", "blaze_ghost", "ghost_wing_adadelta", "NME"),
        Claim("Huber-wing lowers the failures against wing", "blaze_ghost", "ghost_wing_adadelta", "FR at 10 %"),
    ),
    note=(
        "The first four rows are the paper's, the others fill up the eight cells of backbone, loss and optimizer. "
        "The pose branch belongs to the pose weights of Huber-wing, so cells with wing loss have none."
    ),
)

BLAZE_GHOST = Paper(
    title="Face Keypoint Detection Method Based on Blaze_ghost Network (2023)",
    measure=PLAIN,
    scales={
        FULL: Scale(
            name=FULL,
            sets=("wflw/test",),
            budget="Trained on WFLW (7,500 faces, 68 points), 100 epochs, batch 16, 112 pixels.",
            conversion="chord",
        ),
        QUICK: Scale(
            name=QUICK,
            sets=("300w/validation", "ytf/validation"),
            budget=(
                "Trained on 300w and ytf, 10 epochs of 2,000 faces, batch 16, 64 pixels, cosine schedule: the same "
                "for every row. The last epoch is measured, truth boxes, NME over the inter-ocular distance. These "
                "1,250 steps hardly move a ResNet-50 with random weights, so its row says nothing about the paper's."
            ),
            learned=Learned("nme_ion", 0.12),
        ),
    },
    entries={
        "pfld": _entry("MobileNetV2 (PFLD 0.25)", PFLD, seeds=3),
        "resnet50": _entry("ResNet-50", RESNET),
        "blaze_ghost": _entry("Blaze_ghost, Huber-wing, Adadelta", GHOST, seeds=3),
        "landmark_wing_sgd": _entry("BlazeLandmark, wing, SGD", LANDMARK, wing=True, sgd=True, seeds=3),
        "ghost_wing_sgd": _entry("Blaze_ghost, wing, SGD", GHOST, wing=True, sgd=True, seeds=3),
        "ghost_wing_adadelta": _entry("Blaze_ghost, wing, Adadelta", GHOST, wing=True, seeds=3),
        "landmark_huber_sgd": _entry("BlazeLandmark, Huber-wing, SGD", LANDMARK, sgd=True),
        "ghost_huber_sgd": _entry("Blaze_ghost, Huber-wing, SGD", GHOST, sgd=True),
        "landmark_wing_adadelta": _entry("BlazeLandmark, wing, Adadelta", LANDMARK, wing=True),
        "landmark_huber_adadelta": _entry("BlazeLandmark, Huber-wing, Adadelta", LANDMARK),
    },
    tables={"table_5": TABLE_5, "table_6": TABLE_6},
)
