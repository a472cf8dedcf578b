// Who imports this target has tensors, layers and executables with it.
@_exported import Toeplitz
