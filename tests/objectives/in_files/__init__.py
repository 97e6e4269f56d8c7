"""An objective whose text is in files, with a plain seed and a judge that shows whole windows to two rooms."""
