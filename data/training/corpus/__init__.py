"""What the bundled model reads: a small language, a world of facts, tasks over it, prompts, and how they become tokens."""
