"""ragstream's contracts: messages, settings, codecs and the join. Imports nothing else of ours."""
