import Foundation
import Toeplitz
import ToeplitzModels
import ToeplitzTraining

/// Images `[N, C, H, W]` with mean 0 and variance 1, and their classes.
struct LabelledImages {
  let images: Tensor
  let labels: [Int]
  let classCount: Int
  /// The names of the classes, if they have any.
  var names: [String] = []

  /// Reads an npz file, a folder with MNIST's training files, or one with a folder of pictures for each class.
  ///
  /// - Parameter size: the height and width that pictures of a folder get.
  /// - Throws: ``ToeplitzError`` that says what is missing or does not fit.
  init(_ path: String, size: Int) throws {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue else {
      try self.init(contentsOf: path)
      return
    }
    let base = URL(fileURLWithPath: path)
    let idx = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"].map { base.appending(path: $0).path }
    if idx.allSatisfy({ FileManager.default.fileExists(atPath: $0) }) {
      try self.init(IDXFile.read(contentsOf: idx[0]), IDXFile.read(contentsOf: idx[1]), from: path)
      return
    }
    let names = try Folder.names(in: path).filter { name in
      var isClass: ObjCBool = false
      return !name.hasPrefix(".")
        && FileManager.default.fileExists(atPath: base.appending(path: name).path, isDirectory: &isClass)
        && isClass.boolValue
    }
    var (images, labels): ([Tensor], [Int64]) = ([], [])
    for (label, name) in names.enumerated() {
      let folder = base.appending(path: name)
      for file in try Folder.names(in: folder.path)
      where ["png", "jpg", "jpeg"].contains((file as NSString).pathExtension.lowercased()) {
        let picture = try Picture(contentsOf: folder.appending(path: file).path).tensor(channels: 3)
        images.append(
          try picture.resampled(axis: 2, size: size, .linear).resampled(axis: 3, size: size, .linear))
        labels.append(Int64(label))
      }
    }
    guard names.count > 1, !images.isEmpty else {
      throw ToeplitzError(
        .file, path, expected: "a folder with a folder of PNG or JPEG pictures for each of at least 2 classes",
        got: "\(names.count) folders with \(images.count) pictures")
    }
    try self.init(Tensor.concatenate(images), Tensor(labels), from: path)
    self.names = names
  }

  /// Reads `images` and `labels` of an npz file.
  ///
  /// - Throws: ``ToeplitzError`` that says what is missing or does not fit.
  init(contentsOf path: String) throws {
    let archive = try NumPy.readArchive(contentsOf: path)
    try self.init(archive.tensor("images"), archive.tensor("labels"), from: path)
  }

  private init(_ stored: Tensor, _ labels: Tensor, from path: String) throws {
    var images = stored
    if images.rank == 3 { images = try images.unsqueezed(1) }
    guard images.rank == 4, images.count > 0, !images.shape.contains(0) else {
      throw ToeplitzError(.shape, path, expected: "images [N, C, H, W] or [N, H, W]", got: "\(images.spec)")
    }
    guard labels.shape == [images.shape[0]], labels.dtype.isInteger else {
      throw ToeplitzError(.shape, path, expected: "\(images.shape[0]) labels of whole numbers", got: "\(labels.spec)")
    }
    let numbers = try labels.cast(to: .int64).scalars(Int64.self)
    guard let least = numbers.min(), let most = numbers.max(), least >= 0, most < 10_000, most > 0 else {
      throw ToeplitzError(.argument, path, expected: "classes from 0, at most 10000, at least 2", got: "others")
    }
    self.labels = numbers.map { Int($0) }
    classCount = Int(most) + 1
    let plain = try images.cast(to: .float32)
    guard try !plain.hasNonFiniteElements() else {
      throw ToeplitzError(.argument, path, expected: "finite images", got: "NaN or infinite elements")
    }
    let deviation = try plain.variance(correction: 0).sqrt() + 1e-6
    self.images = try (plain - plain.mean()) / deviation
  }
}

extension Tensor {
  fileprivate func hasNonFiniteElements() throws -> Bool {
    try !scalars(Float.self).allSatisfy(\.isFinite)
  }
}
