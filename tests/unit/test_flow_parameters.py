"""Prefect can check the parameters of every flow: what a form or a command gives is judged before a run begins."""

import importlib
from pathlib import Path

import prefect
import pytest

FLOWS = sorted(path.stem for path in (Path(__file__).parents[2] / "flows").glob("*.py") if path.stem != "__init__")
ANYTHING = {"string": "0123456789abcdef", "integer": 1, "boolean": True, "array": []}


def flow_of(name: str) -> prefect.Flow:
    module = importlib.import_module(f"flows.{name}")
    found = [value for value in vars(module).values() if isinstance(value, prefect.Flow)]
    return next(one for one in found if one.fn.__module__ == module.__name__)


@pytest.mark.parametrize("name", FLOWS)
def test_what_a_flow_needs_is_checked_before_it_runs(name: str) -> None:
    flow = flow_of(name)
    schema = flow.parameters.model_dump()
    given = {each: ANYTHING[schema["properties"][each].get("type", "string")] for each in schema["required"]}
    assert flow.validate_parameters(given).keys() == schema["properties"].keys()


def test_a_choice_that_there_is_not_is_refused() -> None:
    with pytest.raises(prefect.exceptions.ParameterTypeError, match="'m3ter' or 'chargebee'"):
        flow_of("sync_usage").validate_parameters({"mapping": "x", "to": "nowhere"})
