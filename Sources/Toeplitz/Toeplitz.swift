@_exported import ToeplitzTensor
@_exported import ToeplitzOps
@_exported import ToeplitzCPU
@_exported import ToeplitzGraph
@_exported import ToeplitzCheckpoint
@_exported import ToeplitzNN
