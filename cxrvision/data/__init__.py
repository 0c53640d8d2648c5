"""From a data set on disk to pixels of studies: manifest, views, reading, cache."""
