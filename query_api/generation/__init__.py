"""Answers written by a language model: the prompt, what goes into it, and the check of the citations that come out.

`factory.create_generation` puts it together.
"""
