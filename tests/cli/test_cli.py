import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.commands import failing
from helpers.images import image_folder
from helpers.processes import run, run_python

from torchbake.cli.main import main
from torchbake.methods import METHODS

README = Path(__file__).parents[2] / "README.md"
SHORT = ["--training.epochs", "2", "--training.eval_every", "2"]


def test_trains_beside_its_baseline_at_equal_images(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["train", *SHORT, "--baseline", "--seed", "3"])
    printed = capsys.readouterr().out
    rows = [re.findall(r"[\w.,-]+", line) for line in printed.splitlines() if line.startswith("│")]
    assert [(row[0], row[1]) for row in rows] == [("bake", "512"), ("cross-entropy", "512")]
    assert (tmp_path / "runs" / "digits-bake-seed3" / "model.safetensors").is_file()
    page = (tmp_path / "runs" / "digits-bake-seed3-cross-entropy" / "report.html").read_text()
    assert f"{rows[1][2]}%" in page
    assert "://" not in page
    assert (tmp_path / "runs" / "digits-bake-seed3" / "environment.json").is_file()
    assert "runs/digits-bake-seed3 exists" in failing(capsys, "train", *SHORT, "--seed", "3")
    main(["train", "--resume", "--out", "runs/digits-bake-seed3"])
    capsys.readouterr()

    main(["evaluate", "runs/digits-bake-seed3"])
    figures = dict(line.split() for line in capsys.readouterr().out.splitlines())
    of_classes = {"balanced_accuracy", "macro_f1"}
    assert figures.keys() - of_classes == {"top1", "top5", "nll", "ece", "nll_scaled", "ece_scaled"}
    assert of_classes < figures.keys()
    assert f"{float(figures['top1']):.2f}" == rows[0][2]
    assert "no model_ema.safetensors" in failing(
        capsys, "evaluate", "runs/digits-bake-seed3", "--ema"
    )


def test_lists_names_one_a_line(capsys):
    main(["list", "methods"])
    assert capsys.readouterr().out.split() == sorted(METHODS)
    main(["list", "recipes"])
    assert "cifar100/resnet18-bake" in capsys.readouterr().out.splitlines()
    main(["list", "models"])
    assert {"preact_resnet18", "resnet50"} <= set(capsys.readouterr().out.splitlines())
    main(["list", "datasets"])
    assert capsys.readouterr().out.splitlines() == [
        "digits",
        "cifar10",
        "cifar100",
        "imagefolder:PATH",
        "table:FILE",
        "parquet:GLOB",
        "hf:NAME",
    ]


def test_prints_the_whole_recipe(capsys):
    main(["train", "digits/bake", "--print-recipe", "--method.omega=0.9", "--seed", "4"])
    printed = capsys.readouterr().out
    assert "omega: 0.9" in printed
    assert "seed: 4" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "digits/bak"], "unknown recipe 'digits/bak'; did you mean 'digits/bake'?"),
        (["train", "--resum"], "unknown option --resum; did you mean '--resume'?"),
        (["train", "--optimzer.lr", "1"], "optimzer: unknown key; did you mean 'optimizer'?"),
        (["train", "--optimizer.lr"], "--optimizer.lr: expected a value"),
        (["train", "--optimizer.lr", "--resume"], "--optimizer.lr: expected a value"),
        (["train", "--method.omega", "1"], "method.omega: input should be less than 1, got 1"),
        (["train", "--baseline", "bake"], "--baseline: the run itself uses bake"),
        (["train", "--baseline", "xyz"], "method.name: unknown method 'xyz'; torchbake list "),
        (["train", "--resume", "--overwrite"], "exclude each other"),
        (["train", "--baseline", "--training.epoch", "anchors"], "--baseline: compares on equal"),
        (["train", "--data", "hf"], "data.name: expected 'hf:NAME', got 'hf'"),
        (["profile", "digits/bak"], "unknown recipe 'digits/bak'; did you mean 'digits/bake'?"),
        (["profile", "--stes", "3"], "unknown option --stes; did you mean '--steps'?"),
        (["profile", "--steps", "0"], "--steps: expected a number of at least 1"),
        (["profile", "--warmup", "-1"], "--warmup: expected a number of at least 0"),
        (["profile", "--training.device", "cuda:7"], "'cuda:7' is not available here"),
        (["evaluate", "nowhere"], "nowhere is not a run folder: it has no recipe.yaml"),
    ],
)
def test_a_mistake_is_one_clear_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    line = failing(capsys, *arguments)
    assert line.startswith("torchbake: error: ")
    assert message in line
    assert "\n" not in line


def test_a_faulty_image_met_in_a_worker_is_one_clear_line(tmp_path):
    """Real processes: the message crosses from a data loader's worker."""

    image_folder(tmp_path / "pets", (16, 16))
    broken = tmp_path / "pets" / "train" / "dog" / "3.png"
    broken.write_bytes(broken.read_bytes()[:60])
    options = ["--data.image_size", "8", "--data.channels", "3", "--training.batch_size", "8"]
    command = [sys.executable, "-m", "torchbake", "train", "--data", "imagefolder:pets", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "torchbake: error: pets/train/dog/3.png: cannot be read as an image"
    )
    assert "Traceback" not in done.stderr


def test_help_needs_no_torch(tmp_path):
    run_python(
        """
        import sys
        from torchbake.cli.main import main
        try:
            main(["--help"])
        except SystemExit as ended:
            assert ended.code == 0
        assert "torch" not in sys.modules
        """,
        tmp_path,
    )


def test_importing_needs_torch_alone(tmp_path):
    """The public names without any package that is not torch's own dependency."""
    run_python(
        """
        import sys
        for name in ("jaxtyping", "timm", "torchvision", "pydantic", "rich", "yaml", "datasets"):
            sys.modules[name] = None
        import torchbake, torch
        targets = torchbake.bake_targets(torch.randn(4, 3), torch.randn(4, 5))
        assert targets.shape == (4, 3)
        assert len(torchbake.ClassGroupedBatchSampler([0, 0, 1, 1], 2)) == 2
        trainer = {"Run", "compare", "load", "train"}  # which need what the trainer needs
        names = set(torchbake.__all__) - trainer
        assert all(hasattr(torchbake, name) for name in names)
        """,
        tmp_path,
    )


def test_the_readmes_test_command_is_that_of_ci():
    (command,) = re.findall(r"^uv run pytest.*$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert command in (README.parent / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_a_terminal_shows_a_bar_and_no_terminal_plain_lines(tmp_path):
    """Under script(1), which gives the process a terminal."""
    command = f"{sys.executable} -m torchbake train --out run --training.epochs 3"
    shown = run(["script", "-qec", command, "/dev/null"], tmp_path)
    assert "\x1b[" in shown
    assert "%" in shown
    assert list((tmp_path / "run" / "checkpoints").iterdir())
    plain = run([*command.split(), "--overwrite"], tmp_path)
    assert "\x1b[" not in plain
    assert plain.count("test top-1") == 2
