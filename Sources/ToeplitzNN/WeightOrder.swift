import ToeplitzCheckpoint
import ToeplitzTensor

/// In which order of axes, and under which names, a state dictionary has the weights of convolutions.
public enum WeightOrder: String, Sendable, Hashable, CaseIterable {
  /// PyTorch's: `[out, in / groups, k…]`, transposed `[in, out / groups, k…]`.
  case pytorch
  /// Modular MAX's: `[k…, in / groups, out]`, transposed `[k…, out / groups, in]`. The weight may be named `filter` too,
  /// and the bias of a layer with weight norm is `conv.bias`.
  case max
}

extension Module {
  /// All parameters and buffers by their dotted names, in the given order of axes.
  ///
  /// - Throws: ``ToeplitzError`` if a weight cannot be reordered.
  public func stateDictionary(weightOrder: WeightOrder) throws -> [String: Tensor] {
    var state = stateDictionary()
    guard weightOrder == .max else { return state }
    for entry in maxEntries() {
      guard let tensor = state.removeValue(forKey: entry.key) else { continue }
      state[entry.maxKey] = try entry.order.map { try tensor.permuted($0).contiguous() } ?? tensor
    }
    return state
  }

  /// Sets all parameters and buffers from a state dictionary whose convolution weights have the given order of axes.
  ///
  /// - Throws: As ``load(_:strict:)-([String:Tensor],_)``; of kind `checkpoint` that names the weight also if one has not the
  ///   shape that the order gives it.
  @discardableResult
  public func load(
    _ state: [String: Tensor], weightOrder: WeightOrder, strict: Bool = true
  ) throws -> LoadReport {
    try load(weightOrder == .max ? inPyTorchOrder(state) : state, strict: strict)
  }

  /// Sets all parameters and buffers from a checkpoint whose convolution weights have the given order of axes.
  ///
  /// - Throws: As ``load(_:weightOrder:strict:)-([String:Tensor],_,_)``.
  @discardableResult
  public func load(_ checkpoint: Checkpoint, weightOrder: WeightOrder, strict: Bool = true) throws -> LoadReport {
    try load(checkpoint.tensors, weightOrder: weightOrder, strict: strict)
  }

  /// Sets all parameters and buffers from the checkpoint at `path`, whose convolution weights have the given order of axes.
  ///
  /// - Throws: As ``load(_:weightOrder:strict:)-([String:Tensor],_,_)`` and if the file cannot be read.
  @discardableResult
  public func load(contentsOf path: String, weightOrder: WeightOrder, strict: Bool = true) throws -> LoadReport {
    try load(Checkpoint(contentsOf: path), weightOrder: weightOrder, strict: strict)
  }

  /// A value of a convolution that MAX keeps in another order of axes or under another name.
  private struct MAXEntry {
    /// Its name in PyTorch.
    var key: String
    /// Its name in MAX.
    var maxKey: String
    /// Another name that is accepted.
    var alias: String?
    /// The shape in PyTorch.
    var shape: TensorShape
    /// The axes of PyTorch's tensor in MAX's order; nil where the order is the same.
    var order: [Int]?
  }

  private func maxEntries() -> [MAXEntry] {
    namedModules().flatMap { path, module -> [MAXEntry] in
      guard let layer = module as? ConvolutionLayer else { return [] }
      let base = join(path, layer.name ?? "")
      let (shape, order) = (layer.geometry.weightShape, layer.maxOrder)
      let weight = join(base, "weight")
      guard layer.weight.isNormalized else {
        return [MAXEntry(key: weight, maxKey: weight, alias: join(base, "filter"), shape: shape, order: order)]
      }
      var entries = [MAXEntry(key: weight + "_v", maxKey: weight + "_v", shape: shape, order: order)]
      if let bias = layer.bias {
        entries.append(
          MAXEntry(
            key: join(base, "bias"), maxKey: join(base, "conv.bias"), alias: join(base, "bias"),
            shape: bias.value.shape))
      }
      return entries
    }
  }

  private func inPyTorchOrder(_ state: [String: Tensor]) throws -> [String: Tensor] {
    var state = state
    for entry in maxEntries() {
      let names = [entry.maxKey, entry.alias].compactMap { $0 }
      guard let name = names.first(where: { state[$0] != nil }), let tensor = state.removeValue(forKey: name) else {
        continue
      }
      guard let order = entry.order else {
        state[entry.key] = tensor
        continue
      }
      let expected = TensorShape(order.map { entry.shape[$0] })
      guard tensor.shape == expected else {
        throw ToeplitzError(
          .checkpoint, "load", expected: "'\(name)' in MAX's order, of shape \(expected)",
          got: "shape \(tensor.shape)"
            + (tensor.shape == entry.shape ? ", PyTorch's order (weightOrder: .pytorch)" : ""))
      }
      var back = [Int](repeating: 0, count: order.count)
      for (index, axis) in order.enumerated() { back[axis] = index }
      state[entry.key] = try tensor.permuted(back).contiguous()
    }
    return state
  }
}

// MARK: - Saving

extension Module {
  /// Writes all parameters and buffers to a file, which appears when it is complete: safetensors, or `.npz` if the path ends
  /// so.
  ///
  /// - Parameters:
  ///   - path: the file to create or replace.
  ///   - weightOrder: the order of axes of convolution weights.
  /// - Throws: ``ToeplitzError`` of kind `file` if the file cannot be written; of kind `unsupported` for PyTorch's formats,
  ///   which are read only.
  public func save(to path: String, weightOrder: WeightOrder = .pytorch) throws {
    try requireVisibleState()
    let state = try stateDictionary(weightOrder: weightOrder)
    if let ending = [".pt", ".pth", ".ckpt", ".bin"].first(where: path.hasSuffix) {
      throw ToeplitzError(
        .unsupported, path, expected: "a file name that ends in .safetensors or .npz (PyTorch reads both)", got: ending)
    }
    if path.hasSuffix(".npz") { return try NumPy.writeArchive(state, to: path) }
    try Safetensors.write(state, to: path)
  }

  /// Moves all parameters and buffers to `device`.
  ///
  /// - Returns: This module.
  /// - Throws: ``ToeplitzError`` of kind `device` if there is no such device.
  @discardableResult
  public func to(_ device: Device) throws -> Self {
    try device.requirePresent("\(displayName).to")
    return self
  }
}

// MARK: - One weight

extension ConvolutionLayer {
  /// The axes of PyTorch's weight in MAX's order: `[k…, in / groups, out]`, transposed `[k…, out / groups, in]`.
  var maxOrder: [Int] { Array(2..<(geometry.rank + 2)) + [1, 0] }

  /// The weight in MAX's order: `[k…, in / groups, out]`, transposed `[k…, out / groups, in]`.
  public func weightInMAXOrder() throws -> Tensor { try weight.value.permuted(maxOrder).contiguous() }

  /// Sets the weight from MAX's order.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` if the shape is not that of ``weightInMAXOrder()``.
  public func setWeight(inMAXOrder tensor: Tensor) throws {
    let expected = TensorShape(maxOrder.map { geometry.weightShape[$0] })
    guard tensor.shape == expected else {
      throw ToeplitzError(
        .shape, geometry.name, expected: "a weight in MAX order of shape \(expected)", got: "\(tensor.shape)",
        path: path)
    }
    var back = [Int](repeating: 0, count: tensor.rank)
    for (index, axis) in maxOrder.enumerated() { back[axis] = index }
    try weight.assign(tensor.permuted(back).contiguous())
  }
}
