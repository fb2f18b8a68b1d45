"""What a shipped recipe says of itself: its protocol, figures, cost and command."""

from textwrap import wrap

from .named_recipes import NamedRecipe, find_named


def write_notes(name: str) -> list[str]:
    """Lines for people, which `--print-recipe` puts before the recipe as comments.

    Args:
        name: of a shipped recipe.
    """
    named = find_named()[name]
    paragraphs = [_describe_protocol(named), _report_figures(named), _describe_cost(named)]
    paragraphs += _collect_remarks(named)
    lines = [line for text in paragraphs if text for line in wrap(text, 98, break_on_hyphens=False)]
    return [*lines, *(f"    {command}" for command in _make_commands(named))]


def describe_cost(images: int, multiply_adds: int) -> str:
    """What a run computes, counted: forward once and backward twice, two operations each."""
    operations = 6 * images * multiply_adds
    prefix, unit = ("exa", 1e18) if operations >= 1e18 else ("peta", 1e15)
    return (
        f"Cost, counted and not timed: {round_digits(images / 1e6)} million images × 3 × 2 × "
        f"{round_digits(multiply_adds / 1e9)} G multiply-adds, "
        f"{round_digits(operations / unit)} {prefix}FLOPs."
    )


def round_digits(value: float) -> str:
    """Rounded to two significant digits, or to a whole number."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:#.2g}"


def format_reported(named: NamedRecipe) -> str:
    """The paper's top-1 accuracy in percent, with its decimals; empty where there is none."""
    figure = named.row.get("reported")
    return "" if figure is None else f"{figure:.{named.data.get('decimals', 2)}f}"


def _describe_protocol(named: NamedRecipe) -> str:
    training = {} if not named.form else named.make_overlay()["training"]
    if named.form == "bake":
        return (
            f"Equal images: {training['epochs']} epochs of the {named.data['images']:,} training "
            f"images, for BAKE and for its baseline alike. By the paper's protocol (arXiv "
            f"2104.13298; {named.name}-paper), BAKE sees {named.count_times()} the images."
        )
    if named.form == "bake-paper":
        result = (
            "The best epoch on the test set stands for the run, so it is chosen on the test set."
            if training.get("report") == "best-on-test"
            else "The last epoch stands for the run, as in the published code."
        )
        return (
            f"The paper's protocol (arXiv 2104.13298, by its published code): {training['epochs']} "
            f"epochs of anchors. Each anchor brings its partners, so that BAKE sees "
            f"{named.count_times()} the images of a baseline of {training['epochs']} epochs. "
            f"{result}"
        )
    ours = f"{named.name.removesuffix(named.form)}bake"
    if named.form == "cross-entropy":
        return f"The baseline of {ours}: all but the method is the same."
    if named.form == "bake-plus":
        return (
            f"{ours} without class groups, with affinities that sharpen during the run "
            "(docs/methods/bake-plus.md), on the same number of images."
        )
    return ""


def _report_figures(named: NamedRecipe) -> str:
    """The paper's figure and ours, as far as there are any."""
    told = []
    figure = format_reported(named)
    if figure and named.form == "bake-paper":
        error = f"{100 - float(figure):.{named.data.get('decimals', 2)}f}"
        told.append(f"Reported: {figure} % top-1 ({error} % error).")
    elif figure and named.form == "bake":
        told.append(f"Reported by the paper's protocol: {figure} % top-1.")
    elif "reported" in named.row and named.form.startswith("bake"):
        told.append("Reported: no figure that we know of.")
    measured = named.row.get("measured", {}).get(named.form)
    if measured:
        told.append(
            f"Measured: {measured['top1']:.2f} ± {measured['standard_error']:.2f} % top-1 over "
            f"{measured['seeds']} seeds (docs/comparison.md)."
        )
    elif "reported" in named.row:
        told.append("Not yet measured here.")
    return " ".join(told)


def _describe_cost(named: NamedRecipe) -> str:
    counted = named.row.get("multiply_adds")
    return describe_cost(named.count_images(), counted) if counted else ""


def _collect_remarks(named: NamedRecipe) -> list[str]:
    """What the table notes of the data set and the row, and where the images are looked for."""
    if not named.form:
        return [named.row["notes"]]
    both = (named.row.get("notes", {}), named.data.get("notes", {}))
    remarks = [notes[key] for notes in both for key in ("all", named.form) if key in notes]
    kind, _, folder = named.make_overlay()["data"]["name"].partition(":")
    if kind == "imagefolder":
        publisher = named.name.partition("/")[0]
        remarks.append(
            f"Images: {folder}, which `torchbake prepare {publisher} --source DIR` makes."
        )
    return remarks


def _make_commands(named: NamedRecipe) -> list[str]:
    if not named.form:
        return [named.row["command"]]
    commands = [f"{named.data.get('launch', 'torchbake')} train {named.name}"]
    if named.form == "bake-paper" and "launch" not in named.data:
        commands.append(f"torchbake compare {named.name} --unequal")
    return commands
