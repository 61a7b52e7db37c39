"""Blaze_ghost for 68 points on WFLW (Yu et al., 2023, Tables 5 and 6).

Run:    canthus reproduce blaze_ghost --scale quick --data DIR    # 300w/ and ytf/; an hour on two cores
        canthus reproduce blaze_ghost --scale cpu --data DIR      # the same sets; a night on two cores
        canthus reproduce blaze_ghost --scale full --data DIR     # wflw/; a GPU, days

Differs: the paper compares four cells of backbone x loss x optimizer; at the scales quick and full all eight are run.
It names no settings of SGD.
"""

from canthus.reproduce.values import (
    CPU,
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
CPU_CHANGES = (
    "epochs=30",
    "validate_every=10",
    "schedule.name=cosine",
    "augmentation.rotation_deg=15.0",
    "augmentation.scale=0.1",
)
HUBER = ("loss_settings={width=10.0,curvature=2.0,delta=1.0}",)
WING = ("loss=wing", "loss_settings={width=10.0,curvature=2.0}")
# With points in sides of the crop the same numbers mean 1,120 and 224 pixels, so that nearly all errors lie where the
# wing loss is a straight line and the Huber loss is small beside it.
SIDES = (*HUBER, "loss_unit=sides")
QUICK_LOSSES = {
    HUBER: ("loss_settings={width=5.714,curvature=1.143,delta=0.571}",),
    WING: ("loss=wing", "loss_settings={width=5.714,curvature=1.143}"),
    SIDES: SIDES,
}
# Squared distances, class weights as eq. 2 of PFLD adds them, and its pose term, which trains the branch alone.
OWN_LOSS = (
    "loss=l2",
    "loss_settings={}",
    "class_weights=true",
    "class_weight_sum=true",
    "pose.face_weights=as_printed",
    "pose.loss_weight=0.0",
)
# The best of 0.001, 0.01 and 0.05 after two epochs of 2,000 faces.
SGD = ("optimizer.name=sgd", "optimizer.learning_rate=0.01", "optimizer.settings={momentum=0.9}")


def _entry(
    label: str,
    model: tuple[str, ...],
    *,
    loss: tuple[str, ...] = HUBER,
    sgd: bool = False,
    seeds: int = 1,
    cpu_seeds: int = 0,
) -> Entry:
    """A network with the paper's loss and optimizer, or with others; pose branch and pose weights are in every row.

    Args:
        cpu_seeds: number of trainings at the scale ``cpu``; 0 to leave the row out there.
    """
    full = (*model, *loss, *(SGD if sgd else ()))
    quick = (*model, *QUICK_CHANGES, *QUICK_LOSSES.get(loss, loss), *(SGD if sgd else ()))
    plans = {FULL: Plan(FULL_RECIPE, full, seeds=seeds), QUICK: Plan(QUICK_RECIPE, quick, seeds=seeds)}
    if cpu_seeds:
        plans[CPU] = Plan(QUICK_RECIPE, (*full, *CPU_CHANGES), seeds=cpu_seeds)
    return Entry(label, plans, cost=Plan(FULL_RECIPE, full))


PFLD = ("model=pfld", "model_settings={width=0.25}")
RESNET = ("model=resnet50",)
GHOST = ("model=blaze_ghost",)
LANDMARK = ("model=blaze_landmark",)

NME, FR = Column("nme_ion", "NME", digits=4), Column("fr_10", "FR at 10 %", digits=3)

TABLE_5 = PaperTable(
    title="backbones with Huber-wing and Adadelta",
    where="Table 5",
    rows=("pfld", "pfld_own_loss", "resnet50", "blaze_ghost"),
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
        Claim("PFLD has a smaller error with Huber-wing than with its own loss", "pfld", "pfld_own_loss", "NME"),
        Claim("Blaze_ghost is faster than ResNet-50", "blaze_ghost", "resnet50", "time, ms"),
        Claim("PFLD is faster than Blaze_ghost", "pfld", "blaze_ghost", "time, ms"),
    ),
    note=(
        "The published ResNet-50 has the size and the name, in the code it comes from, of a ResNeSt-50; ours is a "
        "ResNet-50. The printed size of Blaze_ghost contains a layer of 3.6 MB that the network never calls; ours does "
        "not. PFLD has a quarter of its width, which fits the printed size; its row with its own loss is not in the "
        "paper. Size and time are those of the networks at 112 pixels; time is that of a whole "
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
        "ghost_sides_adadelta",
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
        "The first four rows are the paper's; the fifth has Huber-wing on points in sides of the crop, which is the "
        "wing loss but for 2 %; the others fill up the eight cells of backbone, loss and optimizer. Pose branch and "
        "pose weights are in every row."
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
            learned=Learned("nme_ion", 0.08),
        ),
        CPU: Scale(
            name=CPU,
            sets=("300w/validation", "ytf/validation"),
            budget=(
                "Trained on 300w and ytf, 30 epochs of 6,400 faces (12,000 steps of 16), 112 pixels, cosine schedule: "
                "the same for every row. The last epoch is measured, truth boxes, NME over the inter-ocular distance. "
                "A ResNet-50 with random weights learns too little in that time and is left out."
            ),
            learned=Learned("nme_ion", 0.08),
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
        "pfld": _entry("MobileNetV2 (PFLD 0.25)", PFLD, seeds=3, cpu_seeds=3),
        "pfld_own_loss": _entry("PFLD 0.25 with its own loss", PFLD, loss=OWN_LOSS, cpu_seeds=3),
        "resnet50": _entry("ResNet-50", RESNET),
        "blaze_ghost": _entry("Blaze_ghost, Huber-wing, Adadelta", GHOST, seeds=3, cpu_seeds=6),
        "ghost_sides_adadelta": _entry("Blaze_ghost, Huber-wing in sides, Adadelta", GHOST, loss=SIDES, cpu_seeds=3),
        "landmark_wing_sgd": _entry("BlazeLandmark, wing, SGD", LANDMARK, loss=WING, sgd=True, seeds=3, cpu_seeds=3),
        "ghost_wing_sgd": _entry("Blaze_ghost, wing, SGD", GHOST, loss=WING, sgd=True, seeds=3, cpu_seeds=3),
        "ghost_wing_adadelta": _entry("Blaze_ghost, wing, Adadelta", GHOST, loss=WING, seeds=3, cpu_seeds=6),
        "landmark_huber_sgd": _entry("BlazeLandmark, Huber-wing, SGD", LANDMARK, sgd=True),
        "ghost_huber_sgd": _entry("Blaze_ghost, Huber-wing, SGD", GHOST, sgd=True),
        "landmark_wing_adadelta": _entry("BlazeLandmark, wing, Adadelta", LANDMARK, loss=WING),
        "landmark_huber_adadelta": _entry("BlazeLandmark, Huber-wing, Adadelta", LANDMARK),
    },
    tables={"table_5": TABLE_5, "table_6": TABLE_6},
)
