"""Points and heatmaps together, distilled and pruned (Huang et al., 2024, Tables 1 to 6 and Figures 4 to 6).

Run:    canthus reproduce mobile_distill_prune --scale quick --data DIR    # 300w/ and ytf/; hours on two cores
        canthus reproduce mobile_distill_prune --scale full --data DIR     # 300w/, aflw/ and celeba/; a GPU, days

Differs: the paper starts from ImageNet weights.  At the full scale networks start at random here; at the quick scale
all students start from one training on YouTube Faces, all teachers from another, so that folds of 300-W stay unseen.
The mean squared errors it prints are of an unstated unit, so ours (points over the side of the crop) compare among
themselves alone.
"""

from canthus.papers.mobile_distill_prune_rows import ALL, ENTRIES, LAMBDAS, LITERATURE, OURS, RATES
from canthus.reproduce.values import FULL, PLAIN, QUICK, Claim, Column, Paper, PaperTable, Scale

METRICS = ("nme_ipn/common", "nme_ipn/challenging", "nme_ipn", "nme_ion/common", "nme_ion/challenging", "nme_ion")
HEADINGS = ("IPN common", "IPN challenging", "IPN full", "ION common", "ION challenging", "ION full")
SIZE = Column("size_bytes", "size, MB", factor=1e-6, per_set=False)
TIME = Column("time_s", "time, ms", factor=1e3, per_set=False)
MSE = Column("mse_unit", "MSE x 1000", factor=1e3, digits=3)
ION = Column("nme_ion", "NME ION, %", factor=100)
IN_PAPER = "MSE as printed"
PRINTED = Column("", IN_PAPER, per_set=False)

TABLE_1 = PaperTable(
    title="NME on 300-W, %",
    where="Table 1",
    rows=(*(name for name, values in LITERATURE.items() if any(values[:6])), *OURS),
    columns=tuple(Column(metric, label, factor=100) for metric, label in zip(METRICS, HEADINGS, strict=True)),
    published={
        (row, label): value
        for row, values in ALL.items()
        for label, value in zip(HEADINGS, values[:6], strict=True)
        if value
    },
    claims=(
        Claim("ResNet-50 has the smallest error", "teacher", "distilled", "ION full"),
        Claim("the pruned student is worse than the whole one", "distilled", "pruned_75", "ION full"),
    ),
    note=(
        "The official test faces are common (554) and challenging (135), together full; at the quick scale the column "
        "'full' holds the error on the held-out faces named above the table."
    ),
)

AFLW_ROWS = {"aflw_pruned": 2.06, "aflw_distilled": 1.86, "aflw_teacher": 1.84}
TABLE_2 = PaperTable(
    title="NME on AFLW-full, %",
    where="Table 2",
    rows=(*(name for name, values in LITERATURE.items() if values[6]), *AFLW_ROWS),
    columns=(Column("nme_box", "NME", factor=100),),
    published={(row, "NME"): values[6] for row, values in LITERATURE.items() if values[6]}
    | {(row, "NME"): value for row, value in AFLW_ROWS.items()},
    claims=(
        Claim("ResNet-50 has the smallest error", "aflw_teacher", "aflw_distilled", "NME"),
        Claim("the pruned student is worse than the whole one", "aflw_distilled", "aflw_pruned", "NME"),
    ),
    sets={FULL: ("aflw/full",), QUICK: ("aflw/full",)},
    note="Visible points of 19, over the size of the truth box. Only the full scale runs it: it needs aflw/.",
)


def _folds_table(
    title: str, where: str, printed: dict[str, tuple[float, str]], claims: tuple[Claim, ...]
) -> PaperTable:
    return PaperTable(
        title=title,
        where=where,
        rows=tuple(printed),
        columns=(PRINTED, MSE, ION),
        published={(row, IN_PAPER): value for row, (value, _) in printed.items()},
        claims=claims,
        sets={FULL: ("celeba/fold-k-of-3-test",), QUICK: ("300w/fold-k-of-3-test",)},
        fold_tests={row: tests for row, (_, tests) in printed.items()},
        note=(
            "Three-fold cross-validation: mean and deviation over the folds. At the quick scale the folds are of the "
            "training faces of 300-W. The unit of the printed errors is unknown; ours are squares of sides of the crop."
        ),
    )


JOINT_TESTS = "t 0.64, 0.93, 0.29; p 0.52, 0.34, 0.76; Levene 0.03, 1.87, 1.28; p of Levene 0.84, 0.34, 0.25"
TABLE_3 = _folds_table(
    "regression alone and with heatmaps",
    "Table 3",
    {
        "folds_points": (
            0.0556,
            "t 0.52, 0.97, 0.44; p 0.59, 0.32, 0.65; Levene 0.73, 1.23, 0.06; p of Levene 0.39, 0.26, 0.80",
        ),
        "folds_joint": (0.0462, JOINT_TESTS),
    },
    (Claim("heatmaps lower the error", "folds_joint", "folds_points", "MSE x 1000"),),
)
TABLE_4 = _folds_table(
    "distillation and pruning",
    "Table 4",
    {
        "folds_teacher": (
            0.0457,
            "t 0.13, 0.48, 0.35; p 0.89, 0.62, 0.72; Levene 1.21, 1.55, 0.02; p of Levene 0.26, 0.21, 0.88",
        ),
        "folds_joint": (0.0462, JOINT_TESTS),
        "folds_distilled": (
            0.0434,
            "t 0.49, 0.54, 0.05; p 0.61, 0.58, 0.95; Levene 0.15, 0.02, 0.29; p of Levene 0.69, 0.88, 0.58",
        ),
        "folds_pruned": (
            0.0445,
            "t 0.18, 0.63, 0.45; p 0.85, 0.52, 0.65; Levene 0.98, 0.42, 0.09; p of Levene 0.34, 0.51, 0.76",
        ),
    },
    (
        Claim("distillation lowers the error", "folds_distilled", "folds_joint", "MSE x 1000"),
        Claim("pruning by half costs some of it", "folds_distilled", "folds_pruned", "MSE x 1000"),
        Claim("the pruned student beats the one without a teacher", "folds_pruned", "folds_joint", "MSE x 1000"),
    ),
)

TABLE_5 = PaperTable(
    title="size and time",
    where="Table 5",
    rows=("SDM", "SAN", "LAB", "PFLD 0.25X", "PFLD 1X", "pruned_75", "distilled", "teacher"),
    columns=(SIZE, TIME),
    published={
        ("SDM", "size, MB"): 10.1,
        ("SDM", "time, ms"): 16,
        ("SAN", "size, MB"): 798.5,
        ("LAB", "size, MB"): 50.7,
        ("LAB", "time, ms"): 2600,
        ("PFLD 0.25X", "size, MB"): 2.1,
        ("PFLD 0.25X", "time, ms"): 1.2,
        ("PFLD 1X", "size, MB"): 12.5,
        ("PFLD 1X", "time, ms"): 6.1,
        ("pruned_75", "size, MB"): 2.5,
        ("pruned_75", "time, ms"): 2,
        ("distilled", "size, MB"): 7.8,
        ("distilled", "time, ms"): 4.5,
    },
    claims=(Claim("pruning makes it 2.25 times as fast", "pruned_75", "distilled", "time, ms", ratio=2.25),),
    note="Published times are of one core of an i7-6700K; ours of a whole step for one face on one thread.",
)

PHONES = {"HUAWEI Mate9 Pro": (87, 31, 19), "Xiaomi MI 9": (63, 18, 13), "HUAWEI P30 Pro": (49, 14, 11)}
TABLE_6 = PaperTable(
    title="time on phones, ms",
    where="Table 6",
    rows=("teacher", "distilled", "pruned_75"),
    columns=tuple(Column("", phone, per_set=False) for phone in PHONES),
    published={
        (row, phone): value
        for phone, values in PHONES.items()
        for row, value in zip(("teacher", "distilled", "pruned_75"), values, strict=True)
    },
    claims=(Claim("the pruned student is the fastest", "pruned_75", "distilled", "HUAWEI P30 Pro"),),
    note="Needs these phones; cannot be run here. The exported files run wherever ONNX Runtime does.",
)


def _figure(title: str, where: str, printed: dict[str, float], rows: tuple[str, ...], claim: Claim) -> PaperTable:
    published = {(row, IN_PAPER): value for row, value in printed.items()}
    return PaperTable(title, where, rows, (PRINTED, MSE, ION, SIZE), published, (claim,), note="One seed each.")


FIGURE_4 = _figure(
    "weight of the heatmaps",
    "Figure 4",
    {"lambda_rh_1": 0.0462},
    tuple(f"lambda_rh_{weight:g}" for weight in LAMBDAS),
    Claim("equal weights are better than five times the heatmaps", "lambda_rh_1", "lambda_rh_5", "MSE x 1000"),
)
FIGURE_5 = _figure(
    "weight of distillation while pruning by half",
    "Figure 5",
    {"lambda_dp_0.2": 0.0486, "rate_50": 0.0445, "lambda_dp_5": 0.0472},
    ("lambda_dp_0.2", "lambda_dp_0.5", "rate_50", "lambda_dp_2", "lambda_dp_5"),
    Claim("equal weights are better than a fifth of the teacher", "rate_50", "lambda_dp_0.2", "MSE x 1000"),
)
FIGURE_6 = _figure(
    "pruning rate",
    "Figure 6",
    {"rate_10": 0.0438, "rate_50": 0.0445, "rate_90": 0.0478},
    tuple(f"rate_{100 * rate:.0f}" for rate in RATES),
    Claim("a tenth pruned is better than nine tenths", "rate_10", "rate_90", "MSE x 1000"),
)

STEPS = PaperTable(
    title="what each step brings",
    where="Own comparison",
    rows=(
        "teacher",
        "points",
        "joint",
        "distilled",
        "output_distilled",
        "trained_on",
        "pruned_50",
        "pruned_75",
        "pruned_50_longer",
    ),
    columns=(ION, MSE, SIZE, TIME),
    published={},
    claims=(
        Claim("heatmaps lower the error", "joint", "points", "NME ION, %"),
        Claim("distillation lowers the error", "distilled", "joint", "NME ION, %"),
        Claim("pruned by half and retrained for longer, it errs less", "pruned_50_longer", "distilled", "NME ION, %"),
        Claim(
            "pruned by half it errs less than unpruned and trained on", "pruned_50_longer", "trained_on", "NME ION, %"
        ),
        Claim("the pruned student is faster", "pruned_75", "distilled", "time, ms"),
    ),
    note="Not in the paper: the steps on held-out faces, size and time. Equal lengths; pruned students train on.",
)

MOBILE_DISTILL_PRUNE = Paper(
    title="A Robust and Efficient Method for Effective Facial Keypoint Detection (mobile-distill-prune, 2024)",
    measure=PLAIN,
    scales={
        FULL: Scale(name=FULL, sets=("300w/full",), budget="60 epochs at 128 pixels, batch 32, rates 0.01 to 0.0001."),
        QUICK: Scale(
            name=QUICK,
            sets=("300w/validation", "ytf/validation"),
            budget=(
                "From starts on ytf (77,000 faces for the student, 90,000 for the teacher), trained on 300w and ytf, 8 "
                "epochs of 2,000 faces at 64 pixels, batch 32, AdamW from 0.001 on a cosine; pruning retrains for a "
                "tenth of an epoch after each layer and 6 epochs at the end. Folds and figures: 4 epochs of 1,000; "
                "their pruned rows 64 faces a layer and 2,000 (folds: 4,000) at the end. The last epoch is measured, "
                "truth boxes."
            ),
        ),
    },
    entries=ENTRIES,
    tables={
        "table_1": TABLE_1,
        "table_2": TABLE_2,
        "table_3": TABLE_3,
        "table_4": TABLE_4,
        "table_5": TABLE_5,
        "table_6": TABLE_6,
        "figure_4": FIGURE_4,
        "figure_5": FIGURE_5,
        "figure_6": FIGURE_6,
        "steps": STEPS,
    },
)
