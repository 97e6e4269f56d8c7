"""A folder of somebody's texts, made into a language-model objective."""
