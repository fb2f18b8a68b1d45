"""Pages that are one HTML file each, without any other files."""

import re
from typing import Any

import jinja2
from markupsafe import Markup, escape


def render(template: str, **values: Any) -> str:
    """Fill in a page of `templates/`; values are shown as text, never as HTML.

    Characters of a file's name that are not Unicode become question marks.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("torchbake.analysis.pages"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["breakable"] = make_breakable
    page = environment.get_template(template).render(**values)
    return page.encode("utf-8", "replace").decode()


def make_breakable(name: str) -> Markup:
    """A name that may be broken after /, _ and -, but not within a file's suffix."""
    stem, dot, suffix = name.rpartition(".")
    if not stem or not re.fullmatch(r"\w{1,5}", suffix):
        stem, dot, suffix = name, "", ""
    parts = re.split(r"(?<=[/_-])", stem)
    end = Markup('<wbr><span class="suffix">{}</span>').format(dot + suffix) if dot else ""
    return Markup("<wbr>").join(escape(part) for part in parts) + end
