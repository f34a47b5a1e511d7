"""Edit-stable structural chunking: a small edit of a text leaves all of its chunks alone but those it touches. Pure."""

from flows.chunking.chunker import Chunk, Chunker, ChunkLimits, Tokenizer

__all__ = ["Chunk", "ChunkLimits", "Chunker", "Tokenizer"]
