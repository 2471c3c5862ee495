"""One language model: text-only base, structured prompt, model, joint tuning, answers (paper section 3.4 and C5)."""
