"""Code Alpaca: instructions and programs written by text-davinci-003 (Chaudhary, 2023).

Id sahil2801/CodeAlpaca, CC BY-NC 4.0. This is the authors' 2,017-example file, not the 20,022 of the full set.
"""

from collections.abc import Mapping

from harness.api import AlpacaColumns, Arm, DataSource, Hub, Plugin, hookimpl

PLUGIN = Plugin(
    name="code_alpaca",
    version="1.0",
    summary="instructions and programs",
    paper="https://github.com/sahil280114/codealpaca",
)


@hookimpl
def data_source(arm: Arm) -> Mapping[str, DataSource]:
    """The 2,017-example file."""
    return {
        "code_alpaca": DataSource(
            Hub("sahil2801/CodeAlpaca", files=("code_alpaca_2k.json",)),
            AlpacaColumns(),
            licence="CC BY-NC 4.0",
            summary="instructions and programs, the 2k file",
        )
    }
