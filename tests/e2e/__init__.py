"""Tests with a real browser, a real Jupyter and a real OpenID provider.

``op.mjs`` is the provider, ``processes`` starts it and Jupyter, ``driver`` works a notebook in Chromium and ``sign_in``
walks the provider's pages. ``npm ci`` in this folder first.
"""
