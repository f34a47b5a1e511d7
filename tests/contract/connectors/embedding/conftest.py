"""The encoders under test, loaded once a session."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec

import pytest

from connectors.embedding import Embedder, HashingEmbedder, create_embedder
from schemas.settings import EmbeddingSettings

REAL = ["torch-fp32", "torch-auto", "openvino-auto"]
# OpenVINO converts the model first, for as long as a hundred other tests take.
IN_TURN = [pytest.param(name, marks=pytest.mark.slow if name.startswith("openvino") else ()) for name in REAL]

Loader = Callable[[str], Embedder]


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loader]:
    """Loads encoders by backend and precision, each once."""
    data_dir = tmp_path_factory.mktemp("models")
    loaded: dict[str, Embedder] = {"hashing": HashingEmbedder()}

    def load(name: str) -> Embedder:
        if name not in loaded:
            backend, precision = name.split("-")
            if backend == "openvino" and find_spec("openvino") is None:
                pytest.skip("openvino isn't installed: pip install 'ragstream[openvino]'")
            settings = EmbeddingSettings.model_validate({"backend": backend, "precision": precision, "device": "cpu"})
            loaded[name] = create_embedder(settings, data_dir)
        return loaded[name]

    yield load
    for embedder in loaded.values():
        embedder.close()


@pytest.fixture(scope="session", params=["hashing", *IN_TURN])
def embedder(request: pytest.FixtureRequest, load: Loader) -> Embedder:
    """Every encoder in turn."""
    return load(request.param)


@pytest.fixture(scope="session", params=IN_TURN)
def model(request: pytest.FixtureRequest, load: Loader) -> Embedder:
    """Every encoder with a model in turn."""
    return load(request.param)
