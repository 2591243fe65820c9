"""Weights of others in, ours out: formats, names, and what fits what.

A *source* opens a path as lazily read arrays by their names there; a *mapping*
is a table of their names and ours that works both ways; `weights` puts the two
together for training, captioning, scoring and `vidlm convert`.
"""
