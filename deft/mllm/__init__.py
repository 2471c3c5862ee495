"""One language model: text-only base, structured prompt, model, joint tuning, answers (claim C5)."""
