import ToeplitzCheckpoint
import ToeplitzOps
import ToeplitzTensor

/// Samples that are trained with.
public protocol Dataset {
  /// How many samples there are.
  var count: Int { get }

  /// The tensors of a batch, samples on axis 0.
  ///
  /// - Parameters:
  ///   - indices: which samples.
  ///   - random: where changes at random come from; the same for the same batch of a run.
  func batch(_ indices: [Int], random: inout RandomSource) throws -> [Tensor]
}

/// Samples that lie in memory, as tensors with one size on axis 0.
public struct TensorDataset: Dataset {
  /// The tensors, such as images and their classes.
  public let tensors: [Tensor]
  private let augment: (([Tensor], inout RandomSource) throws -> [Tensor])?

  /// Samples of tensors.
  ///
  /// - Parameter augment: changes a batch at random.
  /// - Throws: ``ToeplitzError`` of kind `shape` unless all have one size on axis 0.
  public init(
    _ tensors: [Tensor], augment: ((_ batch: [Tensor], _ random: inout RandomSource) throws -> [Tensor])? = nil
  ) throws {
    guard let count = tensors.first?.shape.first, tensors.allSatisfy({ $0.shape.first == count }) else {
      throw ToeplitzError(
        .shape, "TensorDataset", expected: "tensors of one size on axis 0", got: "\(tensors.map(\.spec))")
    }
    (self.tensors, self.augment) = (tensors, augment)
  }

  /// Samples of tensors.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` unless all have one size on axis 0.
  public init(_ tensors: Tensor...) throws { try self.init(tensors) }

  /// The size of axis 0.
  public var count: Int { tensors[0].shape[0] }

  /// The samples, changed if there is something that changes them.
  public func batch(_ indices: [Int], random: inout RandomSource) throws -> [Tensor] {
    let index = try Tensor(indices.map { Int64($0) })
    let batch = try tensors.map { try $0.gathered(index) }
    return try augment?(batch, &random) ?? batch
  }

  /// The samples of the given numbers, in their order.
  public func subset(_ indices: [Int]) throws -> TensorDataset {
    let index = try Tensor(indices.map { Int64($0) })
    return try TensorDataset(tensors.map { try $0.gathered(index) }, augment: augment)
  }
}

/// Changes of images `[N, C, H, W]` at random.
public enum ImageAugmentation {
  /// Each image moved by up to `most` pixels along both axes, with zeros where there is none.
  public static func shifted(_ images: Tensor, most: Int, random: inout RandomSource) throws -> Tensor {
    guard images.rank == 4, most >= 0 else {
      throw ToeplitzError(.shape, "shifted", expected: "images [N, C, H, W]", got: "\(images.spec)")
    }
    guard most > 0 else { return images }
    let (height, width) = (images.shape[2], images.shape[3])
    let padded = try images.padded([(axis: 2, low: most, high: most), (axis: 3, low: most, high: most)])
    let moved = try (0..<images.shape[0]).map { index in
      let (y, x) = (Int(random.nextUnit() * Double(2 * most + 1)), Int(random.nextUnit() * Double(2 * most + 1)))
      return try padded.slice(axis: 0, index..<(index + 1)).slice(axis: 2, y..<(y + height))
        .slice(axis: 3, x..<(x + width))
    }
    return try Tensor.concatenate(moved)
  }

  /// Each image mirrored or not.
  public static func flipped(_ images: Tensor, random: inout RandomSource) throws -> Tensor {
    guard images.rank == 4 else {
      throw ToeplitzError(.shape, "flipped", expected: "images [N, C, H, W]", got: "\(images.spec)")
    }
    return try Tensor.concatenate(
      (0..<images.shape[0]).map { index in
        let image = try images.slice(axis: 0, index..<(index + 1))
        return random.nextUnit() < 0.5 ? try image.flipped([3]) : image
      })
  }
}

/// Shares of samples in which every class has its part.
public struct StratifiedSplit: Sendable, Hashable {
  /// The samples to train with.
  public let training: [Int]
  /// The samples that are held out.
  public let heldOut: [Int]

  /// Holds out a share of the samples of each class, drawn from a seed.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` unless the share is in 0..<1.
  public init(classes: [Int], heldOut share: Double, seed: UInt64) throws {
    guard (0..<1).contains(share) else {
      throw ToeplitzError(.argument, "StratifiedSplit", expected: "a share in 0..<1", got: "\(share)")
    }
    var random = RandomSource(seed: seed)
    var (training, heldOut): ([Int], [Int]) = ([], [])
    for (_, members) in Dictionary(grouping: classes.indices, by: { classes[$0] }).sorted(by: { $0.key < $1.key }) {
      var members = members.sorted()
      for index in stride(from: members.count - 1, to: 0, by: -1) {
        members.swapAt(index, Int(random.nextUnit() * Double(index + 1)))
      }
      let count = Int((Double(members.count) * share).rounded())
      heldOut += members.prefix(count)
      training += members.dropFirst(count)
    }
    (self.training, self.heldOut) = (training.sorted(), heldOut.sorted())
  }
}
