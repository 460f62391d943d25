"""A page out of a template of this folder: every text in it is escaped, drawings alone are taken as they are."""

from typing import Any

from ..terminal import plain


def template(name: str) -> Any:
    """One of the package's templates; everything is escaped but the figures."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader(__package__ or "workbench_app.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(plain=plain, drawn=Markup)
    return environment.get_template(name)
