"""Import paths of 0.1 whose modules were merged: they work until 0.3 and warn.

``import canthus`` loads this file, so it imports neither ``typing`` nor ``collections.abc``.
"""

import importlib
import sys
import warnings
from importlib.machinery import ModuleSpec
from types import ModuleType

MERGED = {
    "lookup": "optional",
    "schemes": "conversions",
    "runtime.cards": "runtime.card runtime.detector_card runtime.confidence runtime.quantization",
    "runtime.sessions": "runtime.session runtime.detector_session runtime.onnx_files",
    "runtime.landmarker": "runtime.crop_model",
    "runtime.canthus_detector": "runtime.detections",
    "runtime.detectors": "runtime.detector runtime.tiled_detector",
    "runtime.tracker": "runtime.plausibility",
    "runtime.records": "runtime.track_records",
    "runtime.label_pictures": "evaluation.pseudo_labels",
    "fatigue.measures": "fatigue.observation fatigue.ratios fatigue.glasses",
    "fatigue.person": "fatigue.baseline",
    "fatigue.blinks": "fatigue.lids",
    "fatigue.state": "fatigue.perclos",
    "fatigue.monitor": "fatigue.subject",
    "fatigue.film": "runtime.draw_gauges",
    "fatigue.report": "fatigue.timeline fatigue.plots",
    "data.ibug_300w": "data.ibug_300w_copies",
    "data.widerface": "data.retinaface_points data.widerface_subsets",
    "data.formats": "data.pts data.matlab data.face_lists",
    "data.check": "data.copies data.check_scenes data.report data.problems",
    "data.splits": "data.face_kinds",
    "data.folder": "data.labels",
    "data.label_tables": "data.point_columns",
    "data.packs": "data.crops data.scene_packs",
    "data.occlusion": "data.occlusion_fills",
    "data.occluders": "data.occlusion_face data.occlusion_shapes",
    "data.synthetic": "data.synthetic_shape data.synthetic_paint",
    "data.transforms": "data.lids",
    "evaluation.rows": "evaluation.protocols",
    "evaluation.detectors": "evaluation.detection_run",
    "evaluation.reliability": "evaluation.calibration",
    "evaluation.occlusion": "evaluation.occlusion_report",
    "evaluation.covered_sheets": "evaluation.mask_sheet",
    "evaluation.detection_report": "evaluation.detection_figures",
    "evaluation.wider_face": "evaluation.wider_files",
    "evaluation.plots": "evaluation.detection_plots evaluation.reliability_plot",
    "evaluation.timing": "evaluation.cost evaluation.whole_step",
    "evaluation.benchmark": "evaluation.machine",
    "evaluation.onnx_counts": "evaluation.graph",
    "evaluation.sheets": "evaluation.worst evaluation.detection_worst",
    "losses.landmarks": "losses.regression losses.wing losses.heatmaps losses.spread",
    "losses.weights": "losses.points",
    "models.blaze_ghost": "models.blaze_landmark",
    "models.heads": "models.spread models.pose_branch models.heatmap_decoding",
    "models.output": "models.maps",
    "models.weights": "models.onnx_weights",
    "models.backbones": "models.mobilenet_v1",
    "training.loader": "training.detection_loader",
    "training.task": "training.pose_guide",
    "training.record": "training.curves",
    "export.onnx": "export.card_entry export.detector_onnx export.verify",
    "compression.plan": "compression.layers",
    "compression.reach": "compression.probe compression.graph",
    "compression.scores": "compression.importance",
    "compression.prune": "compression.outputs",
    "recipes.config": "recipes.detector_config recipes.sources",
    "recipes.build": "recipes.pruned recipes.start recipes.objective",
    "recipes.export": "recipes.export_detector",
    "recipes.train": "recipes.train_detector",
    "recipes.held_out": "recipes.calibrate",
    "reproduce.values": "recipes.experiments",
    "reproduce.run": "recipes.reproduce recipes.costs",
    "reproduce.measure": "recipes.measure",
    "reproduce.tables": "recipes.paper_tables recipes.paper_folds",
    "reproduce.plots": "recipes.paper_plots",
    "papers.mobile_distill_prune": "papers.mobile_distill_prune_rows",
}
"""Module of today -> modules of 0.1 that it holds, all below ``canthus``."""

_HOMES = {f"canthus.{old}": f"canthus.{new}" for new, merged in MERGED.items() for old in merged.split()}


class MovedModules:
    """Finder of the modules in ``MERGED``; it comes last on ``sys.meta_path``, so all other imports never meet it."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Spec of a module that was merged; None for any other."""
        return ModuleSpec(fullname, self) if fullname in _HOMES else None  # type: ignore[arg-type]  # a loader by protocol

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Leave the making of the module to Python."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Give the old module the names of the new one."""
        old, new = module.__name__, _HOMES[module.__name__]
        warnings.warn(f"{old} is now {new}; the old path goes in canthus 0.3", DeprecationWarning, stacklevel=2)
        names = vars(importlib.import_module(new))
        vars(module).update({name: value for name, value in names.items() if not name.startswith("__")})


def keep_moved_modules() -> None:
    """Let imports find merged modules by their old paths."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules())
