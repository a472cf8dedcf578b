import ToeplitzOps
import ToeplitzTensor

/// The geometries of the shapes that a node has met, since to check one takes as long as a small convolution.
final class GeometryCache: Sendable {
  /// What belongs to operands of certain shapes.
  struct Form: Sendable {
    var geometry: ConvolutionGeometry
    /// How much the output is extended after all.
    var extra: [(axis: Int, low: Int, high: Int)]
  }

  private let forms = Lock<[(x: Shape, weight: Shape, form: Form)]>([])
  private static let mostShapes = 16

  /// What belongs to operands of these shapes, by `make` where they have not been met.
  func form(
    _ x: Shape, _ weight: Shape, _ make: () throws -> (ConvolutionGeometry, [(axis: Int, low: Int, high: Int)])
  ) throws -> Form {
    if let form = forms.withLock({ $0.last { $0.x == x && $0.weight == weight }?.form }) { return form }
    let (geometry, extra) = try make()
    return forms.withLock { forms in
      // Equal geometries are one object, by which they are told apart quickly.
      let known = forms.first { $0.form.geometry == geometry }?.form.geometry
      let form = Form(geometry: known ?? geometry, extra: extra)
      forms.append((x, weight, form))
      if forms.count > Self.mostShapes { forms.removeFirst() }
      return form
    }
  }
}
