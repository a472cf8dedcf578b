import ToeplitzModels
import ToeplitzOps
import ToeplitzTensor

/// How badly discriminators tell real signals, which should score 1, from generated ones, which should score 0 (least squares;
/// Mao et al., 2017), summed over discriminators.
///
/// - Throws: ``ToeplitzError`` of kind `argument` unless there is a discriminator.
public func discriminatorLoss(
  real: [DiscriminatorOutput], fake: [DiscriminatorOutput]
) throws -> Tensor {
  let losses = try zip(real, fake).map { real, fake in
    try squared(real.score.negated() + 1).mean() + squared(fake.score).mean()
  }
  return try sum(losses, "discriminatorLoss")
}

/// How far generated signals are from scoring 1, summed over discriminators.
///
/// - Throws: ``ToeplitzError`` of kind `argument` unless there is a discriminator.
public func adversarialLoss(fake: [DiscriminatorOutput]) throws -> Tensor {
  try sum(fake.map { try squared($0.score.negated() + 1).mean() }, "adversarialLoss")
}

/// Twice the mean absolute difference of what each layer of the discriminators gives for real and for generated signals, summed
/// over layers (Kumar et al., *MelGAN*, 2019; HiFi-GAN's factor).
///
/// No gradient goes to what is given for real signals.
/// - Throws: ``ToeplitzError`` if shapes differ or there is no discriminator.
public func featureMatchingLoss(real: [DiscriminatorOutput], fake: [DiscriminatorOutput]) throws -> Tensor {
  let losses = try zip(real, fake).flatMap { real, fake in
    try zip(real.features, fake.features).map { try l1($1, $0.stopGradient()) }
  }
  return try sum(losses, "featureMatchingLoss") * 2
}

private func squared(_ x: Tensor) throws -> Tensor { try x * x }

private func sum(_ losses: [Tensor], _ operation: String) throws -> Tensor {
  guard let first = losses.first else {
    throw ToeplitzError(.argument, operation, expected: "at least one discriminator", got: "none")
  }
  return try losses.dropFirst().reduce(first) { try $0 + $1 }
}
