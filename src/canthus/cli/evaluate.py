"""``canthus evaluate``: errors of a model, or of anybody's predictions, on a dataset."""

from canthus.cli import evaluation_options as options
from canthus.cli.options import DetectorModelOption, DetectorOption, DetectorSizeOption
from canthus.errors import ConfigError


def evaluate(
    model: options.ModelOption = None,
    predictions: options.PredictionsOption = None,
    dataset: options.DatasetOption = None,
    root: options.RootOption = None,
    split: options.SplitOption = None,
    boxes: options.BoxesOption = None,
    detector: DetectorOption = None,
    detector_model: DetectorModelOption = None,
    detector_size: DetectorSizeOption = None,
    detector_tiles: options.TilesOption = None,
    min_overlap: options.OverlapOption = None,
    box_jitter: options.JitterOption = None,
    seed: options.SeedOption = None,
    scheme: options.SchemeOption = None,
    json: options.JsonOption = None,
    out: options.OutOption = None,
    rows: options.RowsOption = None,
    worst: options.WorstOption = None,
    threads: options.ThreadsOption = None,
    passes: options.PassesOption = None,
    jitter_report: options.JitterReportOption = None,
    tolerance: options.ToleranceOption = None,
    occlusion: options.OcclusionOption = None,
) -> None:
    """Evaluate a landmark model, or a file of predictions, on a dataset."""
    from canthus.cli.evaluation_output import Outputs, run_covered, run_evaluation
    from canthus.cli.evaluation_request import Request

    models, files = model or [], predictions or []
    if occlusion is None and max(len(models), len(files)) > 1:
        raise ConfigError("Several --model or --predictions are compared with --occlusion only; give one")
    request = Request(
        model=next(iter(models), None), predictions=next(iter(files), None),
        dataset=dataset, root=root, split=split, boxes=boxes, detector=detector,
        detector_model=detector_model, detector_size=detector_size, detector_tiles=detector_tiles,
        min_overlap=min_overlap, box_jitter=box_jitter, seed=seed, scheme=scheme, threads=threads, passes=passes,
        tolerance=tolerance,
    )  # fmt: skip
    outputs = Outputs(json=json, rows=rows, out=out, worst=worst, jitter_report=jitter_report)
    if occlusion is None:
        run_evaluation(request, outputs)
    else:
        run_covered(request, outputs, occlusion, models, files)
