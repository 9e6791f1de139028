"""The card beside a merged model: of what, by what, and how to make it again."""

from __future__ import annotations

from importlib.metadata import version

import yaml

from harness.canonical import Json
from harness.merge.direct import Given, Made, Request


def model_card(request: Request, made: Made, title: str, command: str) -> str:
    """Markdown with the front matter that the hub reads."""
    loaded = next(p for p in request.bound.plugins if p.plugin.name in request.bound.arm.plugins)
    plugin, data = loaded.plugin, {"data": list(request.data)} if request.data else {}
    options: Json = {plugin.name: request.bound.options_of(loaded), **data, "seed": request.seed}
    paper = f" ({plugin.paper})" if plugin.paper else ""
    return f"""\
---
{_yaml(_front(request))}
---

# {title}

Merged by instruct-harness {version("instruct-harness")} with the plug-in `{plugin.name}` {plugin.version}{paper}.

| model | weight | weights as of |
|---|---|---|
{_rows(request, made)}

```yaml
{_yaml(options)}
```

```bash
{command}
```
"""


def _front(request: Request) -> dict[str, Json]:
    on_hub = [model.name.partition("@")[0] for model in request.given if model.commit]
    parents = {"base_model": on_hub, "base_model_relation": "merge"} if on_hub else {}
    return {**parents, "library_name": "transformers", "tags": ["merge", "instruct-harness"]}


def _rows(request: Request, made: Made) -> str:
    rows = [(model, str(made.shares.get(model.name, "not chosen"))) for model in request.models]
    rows += [(request.base, "base")] if request.base else []
    return "\n".join(f"| {model.name} | {weight} | {_version(model)} |" for model, weight in rows)


def _version(model: Given) -> str:
    """Its commit, or the SHA-256 of its files."""
    if model.commit:
        return f"commit {model.commit}"
    return ", ".join(f"{name} {digest}" for name, digest in model.digests().items())


def _yaml(value: Json) -> str:
    return yaml.safe_dump(value, sort_keys=False).strip()
