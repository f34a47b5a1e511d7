"""The keyword index: BM25 over the passages of the local view, on disk (Tantivy) or in memory.

Knows passages and where they belong; who may read them is the view's business.
"""
