"""The templates: escaped by default, and a name that is not given is a mistake, never a blank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined

if TYPE_CHECKING:
    from serving.console.frame import Visit

ENVIRONMENT: Final = Environment(
    loader=PackageLoader("serving.console", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def with_query(visit: Visit, **changed: object) -> str:
    """The address's query with some parameters replaced."""
    kept = [(k, v) for k, v in visit.request.query_params.multi_items() if k not in changed]
    return urlencode([*kept, *((k, str(v)) for k, v in changed.items())])


def roles_text(visit: Visit) -> str:
    """The visitor's roles in words."""
    names = [visit.words(f"role.{r}") for r in sorted(visit.session.roles)]
    return visit.words("list.separator").join(names)


def up_is_red(visit: Visit) -> bool:
    """Red is up for readers of A-shares: those who read Chinese, or whose book is Chinese."""
    engine = visit.service.engine if visit.service.started else None
    return visit.language == "zh" or (engine is not None and engine.world.policy.kind == "cn")


def tag_of(text: str) -> str:
    """The language tag of a text that is shown as it was written, like a citation."""
    return "zh-Hans" if any("\u4e00" <= c <= "\u9fff" for c in text) else "en"


ENVIRONMENT.globals.update(
    tag_of=tag_of, with_query=with_query, roles_text=roles_text, up_is_red=up_is_red
)
