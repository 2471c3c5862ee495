"""The other systems, under the same folds and the same selection rule (DESIGN.md section 6)."""
