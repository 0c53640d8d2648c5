"""The review: a web application in which people read studies, and what goes in and out of it.

`creation` makes a review from a sample, `server` runs it, `export` and `exchange` write and read
its readings. The rest serves these.
"""
