"""The runner of the kit: it asks a reader about the vectors and judges the answers (PROTOCOL.md)."""
