"""Which store serves which URIs: the seam for S3, HTTP and whatever else comes."""

from __future__ import annotations

from collections.abc import Mapping

from connectors.blobs.errors import BlobRejected
from connectors.blobs.files import FileStore
from connectors.blobs.port import BlobStore
from schemas.settings import BlobSettings


class StoreByScheme:
    """Implements `BlobStore` by handing each URI to the store of its scheme."""

    def __init__(self, stores: Mapping[str, BlobStore]) -> None:
        self._stores = dict(stores)

    def fetch(self, uri: str, *, sha256: str | None, max_bytes: int, timeout_s: float) -> bytes:
        scheme = uri.partition(":")[0].lower()
        store = self._stores.get(scheme)
        if store is None:
            detail = f"no store for {scheme!r}; supported: {', '.join(sorted(self._stores))}"
            msg = "unsupported_scheme"
            raise BlobRejected(msg, detail)
        return store.fetch(uri, sha256=sha256, max_bytes=max_bytes, timeout_s=timeout_s)


def open_blob_store(settings: BlobSettings) -> StoreByScheme:
    """The stores that the settings allow."""
    return StoreByScheme({"file": FileStore(settings.file_roots)})
