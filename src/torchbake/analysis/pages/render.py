"""Pages that need nothing but themselves."""

from typing import Any

import jinja2


def render(template: str, **values: Any) -> str:
    """A page of `templates/`; what it is given is shown as text, never as HTML.

    Of a file's name that is not Unicode, what cannot be shown becomes a question mark.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("torchbake.analysis.pages"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template(template).render(**values)
    return page.encode("utf-8", "replace").decode()
