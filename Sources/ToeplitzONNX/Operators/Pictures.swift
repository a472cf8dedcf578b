import ToeplitzImage
import ToeplitzTensor

extension OperatorTable {
  static let pictures: [String: OperatorMaker] = [
    "ImageDecoder": { node in
      let format = try node.string("pixel_format", "RGB")
      var form = Picture.TensorForm()
      (form.layout, form.dtype) = (.nhwc, .uint8)
      switch format {
      case "RGB": break
      case "BGR": form.order = .bgr
      case "Grayscale": form.channels = 1
      default: throw node.refuse("a pixel format of RGB, BGR or Grayscale", got: "'\(format)'")
      }
      return node.computed { [form] x in
        let bytes = try x(0).cast(to: .uint8).scalars(UInt8.self)
        do {
          let picture = try bytes.withUnsafeBytes { try Picture(bytes: $0, appliesOrientation: false) }
          return [try picture.tensor(form).reshaped([picture.height, picture.width, form.channels])]
        } catch let error as ToeplitzError where error.kind == .format {
          // What is no picture, or a damaged one, becomes an empty one.
          return [try Tensor.zeros([0, 0, 0], dtype: .uint8)]
        }
      }
    }
  ]
}
