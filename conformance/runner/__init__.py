"""The runner: it asks a reader about the vectors and judges the answers (PROTOCOL.md)."""
