using System.CommandLine;
using KvPrune.Benchmarks.Attention;

var root = new RootCommand("Measures KvPrune against the operators of ONNX Runtime.")
{
    AttentionCommand.Create(),
};
return root.Parse(args).Invoke();
