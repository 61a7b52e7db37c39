"""Rows of the tables of mobile-distill-prune (2024): how each gets its model, and what is printed of others."""

from dataclasses import replace

from canthus.reproduce.values import FOLDS, FULL, PRUNE, QUICK, Entry, Plan

TEACHER, STUDENT, DISTILLED = "joint_resnet50_68", "joint_mobilenet_68", "joint_mobilenet_distilled_68"

# The paper's data; ``full`` is the union of the common and the challenging test faces.
FULL_300W = (
    'train=[{dataset="300w",split="train"}]',
    'validation=[{dataset="300w",split="full"}]',
    "faces_per_epoch=3148",
)
FULL_AFLW = (
    "scheme=aflw_19",
    'train=[{dataset="aflw",split="train"}]',
    'validation=[{dataset="aflw",split="full"}]',
    "faces_per_epoch=20000",
)
FULL_CELEBA = (
    "scheme=five",
    'train=[{dataset="celeba",split="fold-{fold}-of-3-train"}]',
    'validation=[{dataset="celeba",split="fold-{fold}-of-3-test"}]',
    "faces_per_epoch=108513",
)
# In so few steps the paper's SGD gets less far: 8.8 % on 300w/validation after three epochs, AdamW 8.2 %.
BUDGET = (
    "size=64",
    "model_settings.heatmap_side=16",
    "loss_settings.scale=100.0",
    "epochs=8",
    "faces_per_epoch=2000",
    "validate_every=8",
    "optimizer={name='adamw',learning_rate=0.001,weight_decay=0.01}",
    "schedule={name='cosine'}",
)
SHORTER = ("epochs=4", "faces_per_epoch=1000", "validate_every=4")
# What stands for the weights of ImageNet at the quick scale: points alone, on faces that no fold of 300-W holds.
QUICK_START = (
    "size=64",
    'train=[{dataset="ytf",split="fit"}]',
    "faces_per_epoch=6400",
    "batch_size=64",
    "model_settings.heatmaps=false",
    "loss=wing",
    "loss_settings={width=5.714,curvature=1.143}",
    "optimizer={name='adamw',weight_decay=0.01}",
    "schedule={name='cosine',warmup_epochs=1.0}",
    "augmentation={rotation_deg=20.0,scale=0.15,shift=0.05,stretch=0.05,light=0.2}",
    "validate_every=4",
)
QUICK_BOTH = (*BUDGET, 'train=[{dataset="300w",split="fit"},{dataset="ytf",split="fit"}]')
QUICK_FOLD = (
    *BUDGET,
    *SHORTER,
    'train=[{dataset="300w",split="fold-{fold}-of-3-train"}]',
    'validation=[{dataset="300w",split="fold-{fold}-of-3-test"}]',
)
FULL_FOLDS, QUICK_FOLDS = ("celeba/fold-{fold}-of-3-test",), ("300w/fold-{fold}-of-3-test",)

POINTS_ONLY = ("model_settings.heatmaps=false", "loss_settings.heatmap_weight=0.0")
HALF = "precision=bf16-mixed"
TAUGHT = "distill.teacher={of}"
LAMBDAS, RATES = (0.2, 0.5, 1.0, 2.0, 5.0), (0.1, 0.3, 0.5, 0.7, 0.9)


def _start(label: str, recipe: str, *changes: str) -> Entry:
    """Weights that the rows of the quick scale start from."""
    return Entry(label, {QUICK: Plan(recipe, (*QUICK_START, *changes))})


def _trained(label: str, recipe: str, *changes: str, of: str = "", shorter: bool = False) -> Entry:
    """A network on 300-W."""
    full = Plan(recipe, (*FULL_300W, *changes), of=of)
    quick = replace(_quick(recipe), changes=(*QUICK_BOTH, *(SHORTER if shorter else ()), *changes), of=of)
    return Entry(label, {FULL: full, QUICK: quick})


def _quick(recipe: str) -> Plan:
    return Plan(recipe, start="start_teacher" if recipe == TEACHER else "start_student")


def _pruned(
    label: str, rate: float, *, of: str = "distilled", changes: tuple[str, ...] = (), shorter: bool = False
) -> Entry:
    """A trained network of another row with fewer channels."""
    full = Plan(way=PRUNE, of=of, rate=rate, changes=changes, layer_epochs=1.0, final_epochs=60)
    quick = replace(full, layer_epochs=0.1, final_epochs=6)
    if shorter:
        quick = replace(quick, changes=(*changes, "faces_per_epoch=1000"), layer_epochs=0.064, final_epochs=2)
    return Entry(label, {FULL: full, QUICK: quick})


def _pruned_longer(label: str, rate: float) -> Entry:
    """At the quick scale, with more epochs after the last layer."""
    return Entry(label, {QUICK: replace(_pruned(label, rate).plans[QUICK], final_epochs=16)})


def _trained_on(label: str) -> Entry:
    """The distilled student with the further epochs of the pruned ones, and no pruning."""
    full = Plan(DISTILLED, (*FULL_300W, TAUGHT), of="teacher", start="distilled")
    return Entry(label, {FULL: full, QUICK: replace(full, changes=(*QUICK_BOTH, TAUGHT))})


def _cross_validated(label: str, recipe: str, *changes: str, of: str = "") -> Entry:
    """Three networks, each tested on the third that it has not seen: of CelebA, or of the training faces of 300-W."""
    full = Plan(recipe, (*FULL_CELEBA, *changes), seeds=FOLDS, of=of, sets=FULL_FOLDS)
    quick = replace(_quick(recipe), changes=(*QUICK_FOLD, *changes), seeds=FOLDS, of=of, sets=QUICK_FOLDS)
    return Entry(label, {FULL: full, QUICK: quick})


def _cross_pruned(label: str, rate: float, *, of: str) -> Entry:
    pruned = dict(_pruned(label, rate, of=of, shorter=True).plans)
    pruned[QUICK] = replace(pruned[QUICK], final_epochs=4)
    folds = {FULL: FULL_FOLDS, QUICK: QUICK_FOLDS}
    return Entry(label, {scale: replace(plan, seeds=FOLDS, sets=folds[scale]) for scale, plan in pruned.items()})


def _aflw(label: str, plan: Plan) -> Entry:
    """On AFLW, which has no quick counterpart among the sets that are easily had."""
    return Entry(label, {FULL: replace(plan, sets=("aflw/full",))})


LITERATURE = {
    # Row: IPN and ION of the common, challenging and full test faces of 300-W; AFLW; zero where not printed.
    "RCPR": (6.18, 17.26, 8.35, 0, 0, 0, 5.43),
    "CFAN": (5.50, 16.78, 7.69, 0, 0, 0, 0),
    "ESR": (5.28, 17.00, 7.58, 0, 0, 0, 0),
    "SDM": (5.57, 15.40, 7.50, 0, 0, 0, 4.05),
    "LBF": (4.95, 11.98, 6.32, 0, 0, 0, 4.25),
    "CFSS": (4.73, 9.98, 5.76, 0, 0, 0, 3.92),
    "3DDFA": (6.15, 10.59, 7.01, 0, 0, 0, 0),
    "TCDCN": (4.80, 8.60, 5.54, 0, 0, 0, 0),
    "MDM": (4.83, 10.14, 5.88, 0, 0, 0, 0),
    "SeqMT": (4.84, 9.93, 5.74, 0, 0, 0, 0),
    "RAR": (4.12, 8.35, 4.94, 0, 0, 0, 0),
    "DVLN": (3.94, 7.62, 4.66, 0, 0, 0, 0),
    "CPM": (3.39, 8.14, 4.36, 0, 0, 0, 2.33),
    "DCFE": (3.83, 7.54, 4.55, 0, 0, 0, 0),
    "TSR": (4.36, 7.56, 4.99, 0, 0, 0, 2.17),
    "LAB": (3.42, 6.98, 4.12, 0, 0, 0, 0),
    "PIFA-CNN": (0, 0, 0, 5.43, 9.88, 6.30, 0),
    "RDR": (0, 0, 0, 5.03, 8.95, 5.80, 0),
    "PCD-CNN": (0, 0, 0, 3.67, 7.62, 4.44, 2.40),
    "SAN": (0, 0, 0, 3.34, 6.60, 3.98, 1.91),
    "CDM": (0, 0, 0, 0, 0, 0, 3.73),
    "ERT": (0, 0, 0, 0, 0, 0, 4.35),
    "CCL": (0, 0, 0, 0, 0, 0, 2.72),
    "Binary-CNN": (0, 0, 0, 0, 0, 0, 2.85),
    "PFLD 0.25X": (3.38, 6.83, 4.02, 3.03, 5.15, 3.45, 2.07),
    "PFLD 1X": (3.32, 6.56, 3.95, 3.01, 5.08, 3.40, 1.88),
}
OURS = {
    "pruned_75": (3.36, 6.78, 3.98, 3.02, 5.14, 3.44, 2.06),
    "distilled": (3.24, 6.54, 3.89, 2.98, 5.04, 3.38, 1.86),
    "teacher": (3.20, 6.48, 3.87, 2.96, 4.96, 3.34, 1.84),
}
ALL = LITERATURE | OURS

ENTRIES = {
    **{name: Entry(name) for name in LITERATURE},
    "start_teacher": _start("ResNet-50, start", TEACHER, "epochs=14", "optimizer.learning_rate=0.001", HALF),
    "start_student": _start("MobileNet, start", STUDENT, "epochs=12", "optimizer.learning_rate=0.002"),
    "teacher": _trained("ResNet-50", TEACHER, HALF),
    "points": _trained("MobileNet, regression", STUDENT, *POINTS_ONLY),
    "joint": _trained("MobileNet, regression + heatmap", STUDENT),
    "distilled": _trained("mobile-distill-prune 1X", DISTILLED, TAUGHT, of="teacher"),
    "output_distilled": _trained(
        "the same, taught by points",
        DISTILLED,
        TAUGHT,
        "distill.feature_weight=0.0",
        "distill.output_weight=100.0",
        of="teacher",
    ),
    "trained_on": _trained_on("1X, trained on"),
    "pruned_50": _pruned("50 % pruned", 0.5),
    "pruned_75": _pruned("mobile-distill-prune 0.25X", 0.75),
    "pruned_50_longer": _pruned_longer("50 % pruned, 16 epochs at the end", 0.5),
    **{f"rate_{100 * rate:.0f}": _pruned(f"{100 * rate:.0f} %, weight 1", rate, shorter=True) for rate in RATES},
    **{
        f"lambda_rh_{weight:g}": _trained(
            f"{weight:g}", STUDENT, f"loss_settings.heatmap_weight={weight}", shorter=True
        )
        for weight in LAMBDAS
    },
    **{
        f"lambda_dp_{weight:g}": _pruned(
            f"50 %, weight {weight:g}", 0.5, changes=(f"distill.feature_weight={weight}",), shorter=True
        )
        for weight in LAMBDAS
        if weight != 1  # that is the row rate_50
    },
    "folds_points": _cross_validated("MobileNet, regression", STUDENT, *POINTS_ONLY),
    "folds_joint": _cross_validated("MobileNet, regression + heatmap", STUDENT),
    "folds_teacher": _cross_validated("ResNet-50, regression + heatmap", TEACHER, HALF),
    "folds_distilled": _cross_validated(
        "MobileNet, regression + heatmap + distillation", DISTILLED, TAUGHT, of="folds_teacher"
    ),
    "folds_pruned": _cross_pruned("the same + pruning (50 %)", 0.5, of="folds_distilled"),
    "aflw_teacher": _aflw("ResNet-50", Plan(TEACHER, FULL_AFLW)),
    "aflw_distilled": _aflw("mobile-distill-prune-1X", Plan(DISTILLED, (*FULL_AFLW, TAUGHT), of="aflw_teacher")),
    "aflw_pruned": _aflw(
        "mobile-distill-prune-0.25X", Plan(way=PRUNE, of="aflw_distilled", rate=0.75, layer_epochs=1.0, final_epochs=60)
    ),
}
