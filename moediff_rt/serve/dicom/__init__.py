"""The DICOM server: a storage SCP that sharpens each finished series and sends the result on.

Everything it has said yes to is on disk first, in the spool, and goes from state to state by
renaming a folder: a crash loses nothing and repeats at most what it was at.
"""
