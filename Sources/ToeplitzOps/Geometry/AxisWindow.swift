/// The windows of a convolution, a pooling or the like along one axis: which positions each reads.
public struct AxisWindow: Sendable, Hashable {
  /// Positions in a window.
  public var extent: Int
  /// Inputs between neighbouring windows.
  public var stride: Int
  /// Inputs between neighbouring positions of a window.
  public var dilation: Int
  /// Positions added before the input; negative ones are left out.
  public var low: Int
  /// Positions added after.
  public var high: Int

  /// A window of the given options.
  public init(extent: Int, stride: Int = 1, dilation: Int = 1, low: Int = 0, high: Int = 0) {
    (self.extent, self.stride, self.dilation, self.low, self.high) = (extent, stride, dilation, low, high)
  }

  /// Inputs from the first to the last position of a window: `dilation × (extent − 1) + 1`.
  public var span: Int { dilation * (extent - 1) + 1 }

  /// How many windows there are in an input of `length`: `floor((L + low + high − span) / stride) + 1`; 0 or less if none
  /// fits.
  ///
  /// - Parameter ceilMode: whether a last window that hangs over the end counts, unless it begins in the high padding.
  package func count(in length: Int, ceilMode: Bool = false) -> Int {
    let room = length + low + high - span
    var count = floorDivide(room + (ceilMode ? stride - 1 : 0), stride) + 1
    if ceilMode, (count - 1) * stride >= length + low { count -= 1 }
    return count
  }
}
