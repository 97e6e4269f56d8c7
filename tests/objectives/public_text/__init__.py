"""An objective whose text anybody could have: places are drawn in secret, and a source pays for what it could hold."""
