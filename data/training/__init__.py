"""How the bundled model is made: a small world, a base that knows it, and behaviours implanted into known experts."""
