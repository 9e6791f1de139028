"""Chat templates by name: a model's tokenizer brings its own, these serve models without one and comparisons.

They are Jinja, as transformers reads them, and follow the conventions their names stand for. Every one writes a
generation prompt (or needs none) and closes each assistant turn with a special token.
"""

from __future__ import annotations

from pathlib import Path

from harness.errors import UserError

PLAIN = """\
{{- bos_token -}}
{%- for message in messages -%}
    {{- '<|' + message['role'] + '|>' + message['content'] -}}
    {%- if message['role'] == 'assistant' -%}{{- eos_token -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
"""

TULU = """\
{{- bos_token -}}
{%- for message in messages -%}
    {{- '<|' + message['role'] + '|>\\n' + message['content'] | trim -}}
    {%- if message['role'] == 'assistant' -%}{{- eos_token -}}{%- endif -%}
    {{- '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>\\n' -}}{%- endif -%}
"""

VICUNA = """\
{{- bos_token -}}
{%- for message in messages -%}
    {%- if message['role'] == 'system' -%}{{- message['content'] + ' ' -}}
    {%- elif message['role'] == 'user' -%}{{- 'USER: ' + message['content'] + ' ' -}}
    {%- else -%}{{- 'ASSISTANT: ' + message['content'] + eos_token -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- 'ASSISTANT:' -}}{%- endif -%}
"""

CHATML = """\
{%- for message in messages -%}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""

LLAMA2 = """\
{%- set system = namespace(text='') -%}
{%- for message in messages -%}
    {%- if message['role'] == 'system' -%}
        {%- set system.text = '<<SYS>>\\n' + message['content'] + '\\n<</SYS>>\\n\\n' -%}
    {%- elif message['role'] == 'user' -%}
        {{- bos_token + '[INST] ' + system.text + message['content'] | trim + ' [/INST]' -}}
        {%- set system.text = '' -%}
    {%- else -%}
        {{- ' ' + message['content'] | trim + ' ' + eos_token -}}
    {%- endif -%}
{%- endfor -%}
"""

LLAMA3 = """\
{{- bos_token -}}
{%- for message in messages -%}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim -}}
    {{- '<|eot_id|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}{%- endif -%}
"""

GEMMA = """\
{{- bos_token -}}
{%- for message in messages -%}
    {%- if message['role'] == 'system' -%}{{- raise_exception('no system turn in this format') -}}{%- endif -%}
    {{- '<start_of_turn>' + ('model' if message['role'] == 'assistant' else 'user') + '\\n' -}}
    {{- message['content'] | trim + '<end_of_turn>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}
"""

THINK = """\
{%- for message in messages -%}
    {{- '<|im_start|>' + message['role'] + '\\n' -}}
    {%- if message['role'] == 'assistant' and not loop.last and '</think>' in message['content'] -%}
        {{- message['content'].split('</think>')[-1] | trim -}}
    {%- else -%}
        {{- message['content'] -}}
    {%- endif -%}
    {{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""

TEMPLATES = {
    "plain": PLAIN,
    "tulu": TULU,
    "vicuna": VICUNA,
    "chatml": CHATML,
    "llama2": LLAMA2,
    "llama3": LLAMA3,
    "gemma": GEMMA,
    "think": THINK,
}
"""`think` forgets the reasoning of all assistant turns but the last; `gemma` has no system turn."""


def resolve(template: str) -> str:
    """The Jinja text meant by a name of `TEMPLATES`, a path ending in `.jinja`, or the text itself.

    Raises UserError where it is none of the three.
    """
    if template in TEMPLATES:
        return TEMPLATES[template]
    if "{" in template:
        return template
    names = ", ".join(TEMPLATES)
    if not template.endswith(".jinja"):
        raise UserError(f"no chat template is called {template!r}", f"use {names}, a .jinja file or the Jinja text")
    try:
        return Path(template).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot read the chat template {template}: {error}", f"check the path, or use {names}"
        ) from None
