using System.CommandLine;
using KvPrune.Benchmarks.Attention;
using KvPrune.Benchmarks.Model;

var root = new RootCommand("Measures KvPrune against ONNX Runtime.")
{
    AttentionCommand.Create(), ModelCommand.Create(),
};
return root.Parse(args).Invoke();
