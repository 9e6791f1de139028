"""lm-eval tasks as YAML; plain `lm_eval --include_path tasks` runs them too."""
