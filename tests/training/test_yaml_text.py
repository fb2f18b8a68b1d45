import time
import tracemalloc

import pytest
import yaml
from benchmarks.measure.torture_config import HOSTILE, draw_recipes, draw_texts
from benchmarks.measure.trials import Fault, try_to
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torchbake.errors import UserError
from torchbake.training.recipe_files import load_recipe
from torchbake.training.yaml_text import LARGEST, read_yaml, read_yaml_file

RANDOM = st.randoms(use_true_random=False)
FUZZED = settings(
    max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)

# Texts that YAML reads as something else than text, and plain ones.
# PyYAML itself folds these line ends, where it is to write Unicode as it is.
CHARACTERS = st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029")
TEXTS = st.text(CHARACTERS, max_size=12) | st.sampled_from(
    ["1e-3", "no", "null", "2001-01-01", "=", "<<", "&a", "*a", "!x", "0x1f", "1:30", "", "."]
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


def bomb(depth, width=9):
    lines = ["a0: &a0 [x]"]
    lines += [f"a{k + 1}: &a{k + 1} [{', '.join([f'*a{k}'] * width)}]" for k in range(depth)]
    return "\n".join(lines)


def merging_bomb(depth):
    lines = ["a0: &a0 {k: 1}"]
    lines += [f"a{k + 1}: &a{k + 1} {{<<: [*a{k}, *a{k}]}}" for k in range(depth)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb(12), "more than 500,000 characters with its anchors"),
        (merging_bomb(40), "more than 500,000 characters with its anchors"),
        ("a: &a [x, *a]", "line 1, column 11: the anchor 'a' holds itself"),
        ("a: &a {<<: *a}", "the anchor 'a' holds itself"),
        ("a: *b", "undefined alias"),
        ("[" * 100_000, "more than 20 lists or mappings in each other"),
        ("- " * 100_000, "more than 20 lists or mappings in each other"),
        ("{a: " * 5000, "more than 20 lists or mappings in each other"),
        ("a: " + "x" * LARGEST, "more than 500,000 characters"),
        ("a: " + "1" * 5000, "line 1, column 4: a number of 5,000 characters; at most 40"),
        ("a: 0x" + "f" * 5000, "a number of 5,002 characters"),
        ("a: 1" + ":59" * 5000, "a number of 15,001 characters"),
        ("a: 1\nb: 2\na: 3", "line 3, column 1: the key 'a' is there already, at line 1, column 1"),
        ("a: {b: 1, 'b': 2}", "the key 'b' is there already"),
        ("a: {1: x, 1.0: y}", "the key '1.0' is there already"),
        ("a: !!python/object/apply:os.system [id]", "tags such as .*os.system' are not read"),
        ("a: !!binary aGFsbG8=", "tags such as .*binary' are not read"),
        ("a: !!int x", "tags such as .*int' are not read"),
        ("? [a]\n: 1", "found unhashable key"),
        ("a: \x00", "control characters are not allowed"),
        ("a: \ud800", "surrogates not allowed"),
        ("a: b: c", "line 1, column 5: mapping values are not allowed"),
        ("a: 1\n---\nb: 2", "line 2, column 1: but found another document"),
    ],
)
def test_what_costs_too_much_or_is_ambiguous_is_refused(text, message):
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(UserError, match=message) as caught:
            read_yaml(text)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 5
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


@given(PLAIN)
@settings(FUZZED)
def test_what_was_dumped_is_read_back(value):
    assert read_yaml(yaml.safe_dump(value, allow_unicode=True)) == value


def test_anchors_merge_keys_and_dates_as_text():
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {d: {<<: {y: 1, z: 4}}, e: *a}\nf: 2001-99-99"
    assert read_yaml(text) == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": {"d": {"y": 1, "z": 4}, "e": {"x": 1, "y": 2}},
        "f": "2001-99-99",
    }
    # A mapping that was merged into another one before its own keys were looked at.
    text = "a: &a {x: 1}\ntop: {l: [&b {<<: *a, x: 2}], c: {<<: *b}}"
    assert read_yaml(text)["top"] == {"l": [{"x": 2}], "c": {"x": 2}}


def test_all_class_names_of_imagenet_21k_fit(tmp_path):
    names = [f"n{number:08}" for number in range(21_843)]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"data": {"classes": names}}))
    assert load_recipe(str(tmp_path / "own.yaml")).data.classes == tuple(names)


def test_files_that_cannot_be_read_are_named(tmp_path):
    path = tmp_path / "own.yaml"
    for content, message in (
        (b"\xff\xfe", "own.yaml: not valid YAML: not UTF-8 at byte 0"),
        (b"1: 2", "own.yaml: expected a mapping of keys"),
        (b"a: [\n", "own.yaml: not valid YAML: line 2, column 1: "),
        (b"a: 1\na: 2", "own.yaml: line 2, column 1: the key 'a' is there already"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            read_yaml_file(path)
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read_yaml_file(tmp_path)


def test_chains_of_files_have_an_end(tmp_path):
    for number in range(1200):
        (tmp_path / f"{number}.yaml").write_text(f"extends: {number + 1}.yaml\n")
    (tmp_path / "1200.yaml").write_text("extends: digits/bake\n")
    assert load_recipe(str(tmp_path / "1185.yaml")) == load_recipe("digits/bake")
    with pytest.raises(UserError, match="more than 20 files that extend each other"):
        load_recipe(str(tmp_path / "0.yaml"))
    (tmp_path / "0.yaml").write_text("extends: [digits/bake]\n")
    with pytest.raises(UserError, match=r"0\.yaml: extends: expected the name"):
        load_recipe(str(tmp_path / "0.yaml"))


@given(RANDOM)
@settings(FUZZED)
def test_fuzzed_files_are_a_recipe_or_a_clear_mistake(tmp_path_factory, source):
    (attempt,) = draw_texts(source, 1, tmp_path_factory.getbasetemp() / "fuzzed")
    start = time.process_time()
    try_to(attempt)
    assert time.process_time() - start < 5


@given(RANDOM)
@settings(FUZZED)
def test_fuzzed_keys_and_values_are_a_recipe_or_a_clear_mistake(source):
    (attempt,) = draw_recipes(source, 1)
    try_to(attempt)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_a_recipe_or_a_clear_mistake(tmp_path, text):
    (tmp_path / "own.yaml").write_text(text)
    try_to(lambda: load_recipe(str(tmp_path / "own.yaml")))


def test_a_trial_finds_faults():
    def fail(error):
        raise error

    with pytest.raises(Fault, match="TypeError: 'x'"):
        try_to(lambda: fail(TypeError("x")))
    for message in ("", "two\n\nlines", "x" * 2000, "\x1b[31m"):
        with pytest.raises(Fault, match="no clear line"):
            try_to(lambda message=message: fail(UserError(message)))
    assert str(try_to(lambda: fail(UserError("fine")))) == "fine"
    assert try_to(lambda: 3) == 3


def test_overrides_are_read_within_the_same_limits():
    for key, value, message in (
        ("seed", "1" * 6000, "^seed: line 1, column 1: a number of 6,000 characters"),
        ("training", "{epochs: 1, epochs: 2}", "^training: line 1, column 13: the key 'epochs'"),
        ("method" + ".x" * 5000, "1", "^method.x: unknown key"),
        ("x" * 5000, "1", "^x{53} … x{20}: unknown key"),
        ("data.classes", f"[{'1, ' * 100}1]", "and more$"),
        ("data.crop", "x" * 5000, "got 'x{52} … x{19}'$"),
    ):
        with pytest.raises(UserError, match=message):
            load_recipe("digits/bake", [(key, value)])
