"""The program that renders the chart, as a module: it lies beside the chart, in no package."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

from tests.documents import ROOT


def _charts() -> ModuleType:
    path = ROOT / "deploy" / "charts.py"
    spec = importlib.util.spec_from_file_location("charts", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["charts"] = module
    spec.loader.exec_module(module)
    return module


charts = _charts()
