// The five likeliest classes of a picture: Classify RESNET50.safetensors LABELS.txt PICTURE
import Foundation
import ToeplitzModels

@main struct Classify {
  static func main() throws {
    let arguments = CommandLine.arguments
    guard arguments.count == 4 else { return print("usage: Classify RESNET50.safetensors LABELS.txt PICTURE") }
    let model = try ResNet(.resNet50, generator: .zeros)
    try model.load(contentsOf: arguments[1])
    model.eval()

    let labels = try String(contentsOfFile: arguments[2], encoding: .utf8).split(separator: "\n")
    let picture = try Picture(contentsOf: arguments[3])
    let x = try picture.tensor(mean: [0.485, 0.456, 0.406], standardDeviation: [0.229, 0.224, 0.225])

    let scores = try softmax(model(x), axis: -1)[0]
    let best = try scores.topK(5)
    for (share, index) in zip(try best.values.scalars(of: Float.self), try best.indices.scalars(of: Int.self)) {
      let label = index < labels.count ? labels[index] : "class \(index)"
      print(String(format: "%5.1f %%  ", 100 * share) + label)
    }
  }
}
