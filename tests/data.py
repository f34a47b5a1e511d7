"""Larger data sets, which don't come with the repository: RAG_TEST_DATA names the folder that holds them."""

from __future__ import annotations

import os
from pathlib import Path

from _pytest.outcomes import Skipped  # pytest.skip.Exception, by the one name that types know

VARIABLE = "RAG_TEST_DATA"


class DataAbsent(Skipped):
    """A data set is not at hand. Unlike a missing server this skips everywhere: nobody can be asked to install it."""


def data_set(name: str) -> Path:
    """The file `name` of the data folder. Skips the test where it isn't, saying so."""
    folder = os.environ.get(VARIABLE, "")
    path = Path(folder) / name
    if not folder or not path.exists():
        raise DataAbsent(f"{name} is not here: name the folder that holds it with {VARIABLE}")
    return path
