"""The generator of the vectors: it shares no code with any reader."""
