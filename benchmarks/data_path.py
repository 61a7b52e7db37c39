"""Check that augmentation keeps up with training: faces per second of both, measured in one run.

Run:    python benchmarks/data_path.py RECIPE --data DIR [--cache DIR]
Prints: faces per second augmented by one core, by all cores, and consumed by one training process; their ratio.
"""

import argparse
import os
import time
from pathlib import Path

import torch

from canthus.cli.options import dataset_roots
from canthus.data import load_dataset
from canthus.data.packs import load_crops
from canthus.models import create_model
from canthus.recipes.build import objective_of
from canthus.recipes.config import load_recipe
from canthus.runtime.downloads import cache_folder
from canthus.schemes import find_scheme
from canthus.training.loader import CropDataset, MixtureSampler, Source, train_loader
from canthus.training.optimizers import create_optimizer
from canthus.training.task import network_input


def main() -> None:
    """Measure both rates with the data, batch size, network and precision of the recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=cache_folder())
    parser.add_argument("--steps", type=int, default=30)
    arguments = parser.parse_args()
    config = load_recipe(arguments.recipe)
    roots = dataset_roots(arguments.data, [], [s.dataset for s in config.train])
    sources = [
        Source(load_crops(load_dataset(s.dataset, roots[s.dataset], s.split), arguments.cache), weight=s.weight)
        for s in config.train
    ]
    faces = arguments.steps * config.batch_size
    sampler = MixtureSampler(sources, faces=faces, epochs=1, batch_size=config.batch_size, seed=0)
    dataset = CropDataset(sources, config.augmentation, size=config.size, margin=config.margin, seed=0)
    loader = train_loader(dataset, sampler, batch_size=config.batch_size, workers=0)
    for _ in loader:  # the first pass brings the memory-mapped pages in
        pass
    start = time.perf_counter()
    batches = list(loader)
    augmented = faces / (time.perf_counter() - start)

    points = find_scheme(config.scheme).count
    network = create_model(config.model, points=points, size=config.size, settings=config.model_settings)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in its types
    optimizer, objective = create_optimizer(network, config.optimizer), objective_of(config)
    for step, batch in enumerate(batches):
        if step == 3:
            start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16-mixed"):
            output = network(network_input(batch.image))
        value = objective(output, batch.points).mean()
        optimizer.zero_grad()
        torch.autograd.backward(value)
        optimizer.step()
    trained = (len(batches) - 3) * config.batch_size / (time.perf_counter() - start)
    cores = os.cpu_count() or 1
    print(f"augmentation, one core:       {augmented:8.0f} faces/s")
    print(f"augmentation, {cores} cores:        {augmented * cores:8.0f} faces/s (as many worker processes)")
    print(f"training, {torch.get_num_threads()} threads:          {trained:8.0f} faces/s")
    print(f"ratio, same number of cores:  {augmented * cores / trained:8.1f}")


if __name__ == "__main__":
    main()
