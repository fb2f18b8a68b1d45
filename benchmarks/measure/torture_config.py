"""Trials of what is read as text: recipes, YAML, run files, Parquet files; see torture.py."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure.torture_tables import draw_parquet
from benchmarks.measure.trials import count_outcomes, damage_bytes

from torchbake.methods import METHODS
from torchbake.methods.settings import make_settings_model
from torchbake.recipe import Recipe
from torchbake.training.named_recipes import list_recipes
from torchbake.training.recipe_files import dump_recipe, load_recipe, make_recipe
from torchbake.training.recipe_keys import list_keys
from torchbake.training.run_folder import RunFolder
from torchbake.training.yaml_text import read_yaml

USUAL = ("0", "1", "2", "4", "0.1", "0.5", "0.9", "true", "false", "null", "[0.5, 0.5, 0.5]", "a")

VALUES = (
    *("0", "1", "-1", "2", "3", "0.5", "1e-3", "-0.1", "1e308", "1e-320", "-1e-320", "1e400"),
    *(".inf", "-.inf", ".nan", "nan", "1" * 30, "1" * 5000, "0x" + "f" * 30, "0b", "1:59", "007"),
    *("true", "no", "null", "~", "''", "[]", "{}", "[1, 2]", "[0.5]", "{a: 1}", "{name: bake}"),
    *("bake", "digits", "cross-entropy", "kd", "adamw", "one-cycle", "resized", "pad", "cpu"),
    *("meta", "cuda:9", "imagefolder:x", "parquet:*", "hf:", "os:system", "a:b", ":", "=", "<<"),
    *(
        "2001-99-99",
        "*a",
        "&a 1",
        "&a [*a]",
        "!!python/name:os.system x",
        "!x",
        "a: b: c",
        "[" * 99,
    ),
    *("\x00", "\x1b[31m", "\udcff", "é", "𝔸", "\u2028", "x" * 10_000, "- a", "? b", "%", "@", "`"),
)
"""Texts in place of values."""

HOSTILE = (
    "a: &a [x, x]\nb: &b [*a, *a, *a]\nc: &c [*b, *b, *b]\nd: [*c, *c]\n",
    "data: &d {name: digits, mean: *d}\n",
    "training: &t {<<: *t}\n",
    "method: " + "[" * 3000,
    "method: " + "{a: " * 500 + "}" * 500,
    "\n".join(" " * depth + "a:" for depth in range(300)),
    "training: {epochs: 1}\ntraining: {batch_size: 64}\n",
    "optimizer: {lr: 0.1, lr: 0.2}\n",
    "seed: " + "9" * 5000 + "\n",
    "schedule: {milestones: [0.5, 0.7, 0.9]}\nmodel: {<<: {name: small_cnn}, drop_rate: 0.1}\n",
    "extends: digits/bake\nmethod:\n  omega: 0.9\ntraining:\n  epochs: 50\n",
    "extends: [digits/bake]\n",
    "extends: own.yaml\n",
    "description: !!binary aGFsbG8=\n",
    "? [a, b]\n: 1\n",
    "data: {name: 'imagefolder:\\uDCFF'}\n",
    "--- a\n--- b\n",
    "%YAML 9.9\n---\nseed: 1\n",
)
"""Texts that other ones are made of."""

PIECES = (
    *("&a ", "*a", "<<: ", "[", "]", "{", "}", "- ", "? ", ": ", ", ", "\n", "  ", "\t", "'", '"'),
    *("|\n", ">-\n", "!!", "!", "#", "---\n", "...\n", "\\u", "\x00", "\ufeff", "é", "1e999", "0x"),
)

JSON_VALUES = ("null", "true", "0", "-1", "1e999", "NaN", '""', '"\\ud800"', "[]", "{}", "[" * 2000)


def run(count: int, seed: int, folder: Path) -> list[dict[str, Any]]:
    """Rows of `count` recipes, and of a twentieth as many of each other kind of file."""
    few = max(1, count // 20)
    made = make_run(folder / "run")
    return [
        count_outcomes("recipes", draw_recipes(random.Random(seed), count)),
        count_outcomes("YAML texts", draw_texts(random.Random(seed), few, folder)),
        count_outcomes("run files", draw_run_files(random.Random(seed), few, made)),
        count_outcomes("Parquet files", draw_parquet(random.Random(seed), few // 25 + 1, folder)),
    ]


def draw_recipes(source: random.Random, count: int) -> Iterator[Callable[[], Any]]:
    """Shipped recipes with a few keys set to something; of four recipes, one is dumped and read."""
    names = list_recipes()
    settings = [f"method.{key}" for kind in METHODS.values() for key in _list_settings(kind)]
    keys = [*list_keys(), *sorted(set(settings)), *Recipe.__dataclass_fields__]

    def attempt(name: str, overrides: list[tuple[str, str]], again: bool) -> Callable[[], Any]:
        def act() -> Recipe:
            recipe = load_recipe(name, overrides)
            if again:
                assert make_recipe(read_yaml(dump_recipe(recipe))) == recipe
            return recipe

        return act

    for _ in range(count):
        overrides = []
        for _ in range(source.choice((1, 1, 2, 3))):
            key = source.choice(keys)
            if source.random() < 0.1:
                key = damage_bytes(source, key.encode()).decode(errors="replace")
            overrides.append((key, source.choice(source.choice((USUAL, VALUES)))))
        yield attempt(source.choice(names), overrides, source.random() < 0.25)


def _list_settings(kind: type) -> list[str]:
    return list(make_settings_model(kind).model_fields)


def draw_texts(source: random.Random, count: int, folder: Path) -> Iterator[Callable[[], Any]]:
    """Files of hostile YAML: whole, cut, doubled, flipped, mixed, and bytes of any kind."""
    folder.mkdir(exist_ok=True)
    path = folder / "own.yaml"
    shipped = [dump_recipe(load_recipe(name)) for name in ("digits/bake", "imagenet/resnet50-bake")]
    for _ in range(count):
        text = source.choice([*HOSTILE, *shipped])
        kind = source.randrange(5)
        if kind == 0:
            content = damage_bytes(source, text.encode())
        elif kind == 1:
            content = "".join(source.choices([*PIECES, *VALUES], k=source.randint(1, 60))).encode(
                "utf-8", "surrogatepass"
            )
        elif kind == 2:
            value = source.choice(VALUES)
            words = text.split(" ")
            words[source.randrange(len(words))] = value
            content = " ".join(words).encode("utf-8", "surrogatepass")
        elif kind == 3:
            content = (text + source.choice(HOSTILE)).encode()
        else:
            content = source.randbytes(source.randint(0, 200))

        def act(content: bytes = content) -> Recipe:
            path.write_bytes(content)
            return load_recipe(str(path))

        yield act


def make_run(path: Path) -> RunFolder:
    """A run folder as a finished run leaves it, without its tensors."""
    run = RunFolder(path)
    path.mkdir(parents=True)
    recipe = load_recipe("digits/bake")
    run.recipe.write_text(dump_recipe(recipe), encoding="utf-8")
    figures = {"top1": 91.25, "top5": 99.5, "nll": 0.31, "ece": 2.5}
    environment = {"command": ["torchbake", "train"], "commit": None, "started": "2026-01-01"}
    run.environment.write_text(json.dumps(environment), encoding="utf-8")
    ended = {"kind": "eval", "step": 4, "images": 256, **figures}
    trained = {"kind": "train", "step": 2, "images": 128, "loss": 2.5, "lr": 0.1}
    trained |= {"train_top1": 50.0, "images_per_second": 900.0, "seconds_left": 1.5}
    lines = [json.dumps(record) + "\n" for record in (trained, ended)]
    run.metrics.write_text("".join(lines), encoding="utf-8")
    counts = ("step", "images", "forwards", "peak_memory", "teacher_images")
    result: dict[str, Any] = dict.fromkeys((*counts, "parameters", "trained_parameters"), 256)
    result |= {"seconds": 1.5, "last": figures, "best_on_test": ended}
    run.result.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return run


READERS: dict[str, Callable[[RunFolder], Any]] = {
    "recipe.yaml": RunFolder.read_recipe,
    "environment.json": RunFolder.read_environment,
    "metrics.jsonl": RunFolder.read_metrics,
    "result.json": RunFolder.read_result,
}


def draw_run_files(
    source: random.Random, count: int, run: RunFolder
) -> Iterator[Callable[[], Any]]:
    """Each file that a run writes as text, damaged, and read."""
    whole = {name: (run.path / name).read_bytes() for name in READERS}
    for _ in range(count):
        name = source.choice(list(READERS))
        content = damage_json(source, whole[name])

        def act(name: str = name, content: bytes = content) -> Any:
            path = run.path / name
            path.write_bytes(content)
            try:
                return READERS[name](run)
            finally:
                path.write_bytes(whole[name])

        yield act


def damage_json(source: random.Random, content: bytes) -> bytes:
    """Bytes damaged, or one of the values replaced by another."""
    if source.random() < 0.6:
        return damage_bytes(source, content)
    text = content.decode()
    if source.random() < 0.2:
        return source.choice(JSON_VALUES).encode()
    places = [k for k, c in enumerate(text) if c == ":"]
    start = source.choice(places) + 1
    end = min(k for k in (text.find(c, start) for c in (",", "}", "\n")) if k > 0)
    return (text[:start] + " " + source.choice(JSON_VALUES) + text[end:]).encode()
