"""Content that an event names by a URI instead of carrying it."""

from connectors.blobs.errors import BlobRejected, BlobTroubled
from connectors.blobs.files import FileStore
from connectors.blobs.port import BlobStore
from connectors.blobs.schemes import StoreByScheme, open_blob_store

__all__ = ["BlobRejected", "BlobStore", "BlobTroubled", "FileStore", "StoreByScheme", "open_blob_store"]
