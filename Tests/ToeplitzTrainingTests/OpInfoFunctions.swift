import Toeplitz
import ToeplitzOps
import ToeplitzTestSupport
import ToeplitzTraining

/// PyTorch's functions of elements, losses and spectra, on this library's names.
extension OpInfoCase {
  func activation(_ x: Tensor, _ t: [String: Tensor]) throws -> Tensor {
    func axis() throws -> Int {
      guard let axis = options["dim"].int else { throw LeftOut(reason: "\(name) without an axis") }
      return axis
    }
    switch name {
    case "relu": return try x.relu()
    case "relu6": return try ReLU6()(x)
    case "leaky_relu": return try x.leakyReLU(negativeSlope: number("negative_slope", 0.01))
    case "elu": return try x.elu(alpha: number("alpha", 1))
    case "celu": return try x.celu(alpha: number("alpha", 1))
    case "selu": return try x.selu()
    case "silu": return try x.silu()
    case "gelu": return try x.gelu(approximateTanh: text("approximate", "none") == "tanh")
    case "mish": return try x.mish()
    case "hardswish": return try x.hardswish()
    case "hardsigmoid": return try x.hardsigmoid()
    case "hardtanh": return try x.clip(from: number("min_val", -1), to: number("max_val", 1))
    case "logsigmoid": return try x.logSigmoid()
    case "softsign": return try x.softsign()
    case "tanhshrink": return try x - x.tanh()
    case "softshrink":
      let lambda = number("lambd", 0.5)
      return try x.shrink(lambda: lambda, bias: lambda)
    case "hardshrink": return try x.shrink(lambda: number("lambd", 0.5), bias: 0)
    case "softplus": return try x.softplus(beta: number("beta", 1), threshold: number("threshold", 20))
    case "softmax": return try x.softmax(axis: axis())
    case "softmin": return try x.negated().softmax(axis: axis())
    case "log_softmax": return try x.logSoftmax(axis: axis())
    case "glu": return try x.glu(axis: int("dim", -1))
    case "tanh": return try x.tanh()
    case "sigmoid": return try x.sigmoid()
    case "threshold":
      let isAbove = try x.greater(Tensor.full([], number("threshold", 0), dtype: x.dtype))
      return try Tensor.where(isAbove, x, Tensor.full([], number("value", 0), dtype: x.dtype))
    case "prelu":
      guard let slope = t["weight"], x.rank >= 2 else { throw LeftOut(reason: "prelu of fewer than two axes") }
      return try x.prelu(slope: slope)
    case "pixel_shuffle": return try PixelShuffle(upscaleFactor: int("upscale_factor", 1))(x)
    case "pixel_unshuffle": return try PixelUnshuffle(downscaleFactor: int("downscale_factor", 1))(x)
    default: throw LeftOut(reason: "\(name) is no function of this library")
    }
  }

  /// The loss of this name; nil if it is none of this library's.
  func loss(_ x: Tensor, _ t: [String: Tensor]) throws -> Tensor? {
    let target = t["target"] ?? x
    switch name {
    case "l1_loss": return try l1(x, alike(target, x), reduction: reduction())
    case "mse_loss": return try mse(x, alike(target, x), reduction: reduction())
    case "huber_loss": return try huber(x, alike(target, x), delta: number("delta", 1), reduction: reduction())
    case "smooth_l1_loss": return try smoothL1(x, alike(target, x), beta: number("beta", 1), reduction: reduction())
    case "cross_entropy":
      guard x.rank >= 2 else { throw LeftOut(reason: "cross_entropy of a single sample without a batch axis") }
      return try crossEntropy(
        x, target, weight: t["weight"], ignoreIndex: int("ignore_index", -100),
        labelSmoothing: number("label_smoothing", 0), reduction: reduction())
    case "binary_cross_entropy_with_logits":
      guard t["weight"] == nil else { throw LeftOut(reason: "binary_cross_entropy_with_logits with weight") }
      return try binaryCrossEntropyWithLogits(x, target, posWeight: t["pos_weight"], reduction: reduction())
    case "kl_div":
      guard text("reduction", "mean") == "batchmean" else {
        return try klDivergence(x, target, logTarget: flag("log_target"), reduction: reduction())
      }
      return try klDivergence(x, target, logTarget: flag("log_target"), reduction: .sum)
        / Double(max(1, x.shape.first ?? 1))
    case "cosine_embedding_loss":
      guard let first = t["input1"], let second = t["input2"] else { return nil }
      guard first.rank == 2 else { throw LeftOut(reason: "cosine_embedding_loss without a batch axis") }
      return try cosineEmbedding(
        first, second, target.cast(to: first.dtype), margin: number("margin", 0), reduction: reduction())
    case "ctc_loss":
      guard let logs = t["log_probs"], let targets = t["targets"] else { return nil }
      guard let inputs = options["input_lengths"].ints, let lengths = options["target_lengths"].ints else {
        throw LeftOut(reason: "ctc_loss with lengths as tensors")
      }
      // PyTorch's gradient is that of what the logarithms were made of by a softmax, which changes nothing here.
      return try ctc(
        logs.logSoftmax(axis: 2), targets, inputLengths: inputs, targetLengths: lengths, blank: int("blank", 0),
        zeroInfinity: flag("zero_infinity"), reduction: reduction())
    default: return nil
    }
  }

  /// The target, where both have the same shape: losses here do not broadcast.
  private func alike(_ target: Tensor, _ x: Tensor) throws -> Tensor {
    guard target.shape == x.shape else { throw LeftOut(reason: "losses of targets that are broadcast") }
    return target
  }

  func spectrum(_ x: Tensor, _ window: Tensor?) throws -> Tensor {
    let size = int("n_fft", 0)
    var signal = x.rank == 1 ? try x.unsqueezed(0) : x
    if flag("center", true) { signal = try signal.padded([(axis: 1, low: size / 2, high: size / 2)], mode: .reflect) }
    let frames = try signal.unsqueezed(2).pieceSpectra(
      step: options["hop_length"].int ?? size / 4, window: window.map { try centred($0, size) }, length: size,
      isOneSided: flag("onesided", true))
    let spectra = try frames.transposed(1, 2)
    return x.rank == 1 ? try spectra.squeezed(0) : spectra
  }

  /// A window in the middle of a frame.
  private func centred(_ window: Tensor, _ size: Int) throws -> Tensor {
    let left = (size - window.count) / 2
    return try window.padded([(axis: 0, low: left, high: size - window.count - left)])
  }

  func signal(_ x: Tensor, _ window: Tensor?) throws -> Tensor {
    let size = int("n_fft", 0)
    let spectra = try (x.rank == 3 ? x.unsqueezed(0) : x).transposed(1, 2)
    let signal = try spectra.signal(
      fromSpectraAt: options["hop_length"].int ?? size / 4, window: window.map { try centred($0, size) }, fftSize: size,
      isCentered: flag("center", true), length: options["length"].int, isOneSided: flag("onesided", true))
    return x.rank == 3 ? try signal.squeezed(0) : signal
  }
}
