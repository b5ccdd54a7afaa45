"""The MRD (ISMRMRD) streaming server: images in, enhanced images out, over one connection.

The protocol is that of FIRE, OpenRecon and python-ismrmrd-server.
"""
