"""Which structure a table asks for: candidates, judged on runs left out."""
