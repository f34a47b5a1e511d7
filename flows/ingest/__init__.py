"""The write path: from a change event in `rag.documents` to rows in the vector store and a manifest in the index log."""
