"""Fuzzing: mutated inputs, what must hold for each of them, and a driver (README.md)."""
