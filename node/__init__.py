"""The node: one process that researches, replicates and gossips. It never imports torch; run processes do."""
