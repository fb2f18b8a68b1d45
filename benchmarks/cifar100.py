"""CIFAR-100 with ResNet-18 at equal images: any methods and their variants, seed after seed.

    python benchmarks/cifar100.py --data 'parquet:PATH/*.parquet' --minutes 25

Meant for a GPU: 200 epochs of 50,000 images each. Runs what is missing under --runs until the
minutes are over; a run that is cut off goes on from its checkpoint next time. Each finished run
adds its row to the results. `torchbake compare RUNS` makes the table of finished runs.
"""

import argparse
import time
from pathlib import Path

import torch
from provenance import write_results
from rich.console import Console

from torchbake.analysis.comparison import read_runs
from torchbake.analysis.experiments import plan
from torchbake.training.loop import train

MAIN = "cross-entropy,label-smoothing,bake,bake:affinity_temperature=0.1"
RIVALS = "cs-kd,cs-kd:symmetric=true,ps-kd,dlb,ddgsd,byot,tf-kd-virtual,tf-kd-self,mixskd"
MIXED = "cross-entropy:data.cutmix=1,cross-entropy:data.mixup=1,bake:data.cutmix=1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="cifar100/resnet18-bake")
    parser.add_argument("--data", default="cifar100")
    parser.add_argument("--methods", default=",".join([MAIN, RIVALS, MIXED]))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=25, help="start no run after these")
    parser.add_argument("--runs", type=Path, default=Path("runs/cifar100"))
    parser.add_argument(
        "--override", nargs=2, action="append", default=[], metavar=("KEY", "VALUE")
    )
    options = parser.parse_args()
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    precision = "bf16" if torch.cuda.is_available() else "float32"
    common = [
        ("data", options.data),
        ("training.precision", precision),
        ("training.channels_last", "true"),
        *map(tuple, options.override),
    ]
    budget = "anchors" if options.recipe.endswith("-paper") else "images"
    variants = options.methods.split(",")
    runs = plan(options.recipe, common, variants, options.seeds, budget, options.runs)
    start = time.monotonic()
    finished = []
    for run in runs:
        if time.monotonic() - start > 60 * options.minutes:
            print(f"out of time before {run.folder.path.name}")
            return
        final = train(run.recipe, run.folder.path, resume=True, console=Console(quiet=True))
        finished.append(run.folder)
        print(
            f"{run.folder.path.name:40} {final['images']:,} images  top-1 {final['top1']:.2f}%  "
            f"NLL {final['nll']:.3f}  ECE {final['ece']:.2f}%  {final['seconds']:.0f} s",
            flush=True,
        )
        write_results("cifar100", read_runs(finished))


if __name__ == "__main__":
    main()
