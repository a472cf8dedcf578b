// Pictures are what front ends of networks read; who imports the networks has them.
@_exported import ToeplitzImage
