#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

// The names are written out, unlike those of Tensor's methods: inside a method of its own name a function of the C
// library could not be called without naming the library, which differs between systems.

extension Double {
  /// e to the power of this number.
  @inlinable package func exponential() -> Double { exp(self) }
  /// e to the power of this number, less 1, also exact near 0.
  @inlinable package func exponentialMinusOne() -> Double { expm1(self) }
  /// The natural logarithm.
  @inlinable package func logarithm() -> Double { log(self) }
  /// The natural logarithm of 1 plus this number, also exact near 0.
  @inlinable package func logarithmOfOnePlus() -> Double { log1p(self) }
  /// The sine of this angle in radians.
  @inlinable package func sine() -> Double { sin(self) }
  /// The cosine of this angle in radians.
  @inlinable package func cosine() -> Double { cos(self) }
  /// The hyperbolic tangent.
  @inlinable package func hyperbolicTangent() -> Double { tanh(self) }
  /// The error function.
  @inlinable package func errorFunction() -> Double { erf(self) }
  /// 1 less the error function, also exact where that is near 1.
  @inlinable package func complementaryErrorFunction() -> Double { erfc(self) }
  /// The tangent of this angle in radians.
  @inlinable package func tangent() -> Double { tan(self) }
  /// The angle in radians whose sine this is.
  @inlinable package func arcSine() -> Double { asin(self) }
  /// The angle in radians whose cosine this is.
  @inlinable package func arcCosine() -> Double { acos(self) }
  /// The angle in radians whose tangent this is.
  @inlinable package func arcTangent() -> Double { atan(self) }
  /// The hyperbolic sine.
  @inlinable package func hyperbolicSine() -> Double { sinh(self) }
  /// The hyperbolic cosine.
  @inlinable package func hyperbolicCosine() -> Double { cosh(self) }
  /// The number whose hyperbolic sine this is.
  @inlinable package func inverseHyperbolicSine() -> Double { asinh(self) }
  /// The number whose hyperbolic cosine this is.
  @inlinable package func inverseHyperbolicCosine() -> Double { acosh(self) }
  /// The number whose hyperbolic tangent this is.
  @inlinable package func inverseHyperbolicTangent() -> Double { atanh(self) }
}
