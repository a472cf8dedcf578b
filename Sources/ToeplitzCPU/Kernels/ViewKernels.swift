import CToeplitzKernels
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

extension Reshape: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let (x, shape) = (inputs[0], outputs[0].shape)
    if !x.isContiguous, let strides = strides(x, shape) {
      return [x.view(shape: shape, strides: strides, offset: x.offset)]
    }
    let flat = try x.dense()
    return [flat.view(shape: shape, strides: shape.contiguousStrides, offset: flat.offset)]
  }

  package func bound(_ call: BoundCall) throws -> BoundComputation? {
    // Only what is copied gets here.
    guard call.results[0].isContiguous else { return nil }
    let shape = call.operands[0].shape
    let copy = ElementCopy(
      from: call.operands[0],
      to: call.results[0].view(shape: shape, strides: shape.contiguousStrides, offset: call.results[0].offset))
    return { copy.run() }
  }

  /// The strides with which `x` can be seen in another shape without a copy, if only axes of size 1 come or go.
  private func strides(_ x: Tensor, _ shape: TensorShape) -> [Int]? {
    let kept = x.shape.indices.filter { x.shape[$0] != 1 }
    guard shape.filter({ $0 != 1 }) == kept.map({ x.shape[$0] }) else { return nil }
    var rest = kept.makeIterator()
    return shape.map { $0 == 1 ? 1 : rest.next().map { x.strides[$0] } ?? 1 }
  }
}

extension Permute: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = inputs[0]
    return [x.view(shape: outputs[0].shape, strides: try axes(x.shape).map { x.strides[$0] }, offset: x.offset)]
  }
}

extension Slice: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = inputs[0]
    let axis = try x.shape.normalizedAxis(axis, operation: name)
    var strides = x.strides
    let offset = x.offset + (outputs[0].shape[axis] == 0 ? 0 : range.lowerBound * strides[axis])
    strides[axis] *= outputs[0].shape[axis] > 1 ? step : 1
    return [x.view(shape: outputs[0].shape, strides: strides, offset: offset)]
  }
}

extension Unfold: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let axis = try inputs[0].shape.normalizedAxis(axis, operation: name)
    let x = try low == 0 && high == 0 ? inputs[0] : inputs[0].padded([(axis: axis, low: low, high: high)])
    var strides = x.strides
    strides.insert(strides[axis], at: axis + 1)
    strides[axis] *= step
    return [x.view(shape: outputs[0].shape, strides: strides, offset: x.offset)]
  }
}

extension Reinterpret: CPUKernel {
  package var flushesSubnormals: Bool { false }

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = inputs[0]
    return [Tensor(storage: x.storage, shape: x.shape, strides: x.strides, offset: x.offset, dtype: dtype)]
  }
}

extension Flip: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = inputs[0]
    var strides = x.strides
    var offset = x.offset
    for axis in Set(try axes.map { try x.shape.normalizedAxis($0, operation: name) }) where x.shape[axis] > 0 {
      offset += (x.shape[axis] - 1) * strides[axis]
      strides[axis] = -strides[axis]
    }
    return [x.view(shape: x.shape, strides: strides, offset: offset)]
  }
}

extension Expand: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let (x, shape) = (inputs[0], outputs[0].shape)
    return [x.view(shape: shape, strides: x.broadcastStrides(to: shape), offset: x.offset)]
  }
}

extension StopGradient: CPUKernel {
  package var flushesSubnormals: Bool { false }
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] { inputs }
}

extension Recomputed: CPUKernel {
  package var flushesSubnormals: Bool { false }
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] { inputs }
}
