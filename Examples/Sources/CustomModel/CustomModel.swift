// A module of one's own with weights from PyTorch: CustomModel BLOCK.pt
//
//     class Block(torch.nn.Module):
//         def __init__(self, c, k, d=1):
//             super().__init__()
//             self.conv1 = torch.nn.Conv1d(c, 2 * c, k, padding=d * (k - 1) // 2, dilation=d)
//             self.conv2 = torch.nn.Conv1d(2 * c, c, 1)
//         def forward(self, x):
//             return x + 0.5 * self.conv2(torch.relu(self.conv1(x)))
//
//     torch.save(Block(64, 7).state_dict(), "block.pt")
import Toeplitz

final class Block: Module, UnaryLayer {
  let conv1, conv2: Conv1d

  init(_ c: Int, kernel k: Int, dilation d: Int = 1) throws {
    conv1 = try Conv1d(c, 2 * c, kernelSize: k, padding: d * (k - 1) / 2, dilation: d)
    conv2 = try Conv1d(2 * c, c, kernelSize: 1)
  }

  func forward(_ x: Tensor) throws -> Tensor { try x + 0.5 * conv2(relu(conv1(x))) }
}

@main struct CustomModel {
  static func main() throws {
    let model = try Block(64, kernel: 7).eval()
    if CommandLine.arguments.count > 1 {
      try print(model.load(contentsOf: CommandLine.arguments[1]))
    }
    print(model, try model.summary(inputShape: [1, 64, 100]), separator: "\n")

    let fast = try Executable(tracing: model)
    let x = try Generator(seed: 1).normal([1, 64, 100])
    print(try fast(x)[0..., 0, (-16)...])
  }
}
