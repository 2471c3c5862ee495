"""Three small experts (structure, dynamic texture, motion-semantics) and the RGB-only opponent: inputs -> tokens (B,
4, 64).
"""
