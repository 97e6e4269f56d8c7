"""Other people's repositories as objectives: what a folder is, recognised by its files, and an objective.toml for it.

One module a family. Each reads the folder and says what it took for what; nothing of a folder is run, and nothing in
it is changed but objective.toml. What is read is a stranger's: texts are bounded, links that lead outside are not
followed.
"""
