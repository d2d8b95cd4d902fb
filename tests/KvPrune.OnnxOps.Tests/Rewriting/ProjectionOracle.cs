using Google.Protobuf;
using KvPrune.OnnxOps.Onnx;
using KvPrune.OnnxOps.Rewriting;
using Microsoft.ML.OnnxRuntime;

namespace KvPrune.OnnxOps.Tests.Rewriting;

/// <summary>What ONNX Runtime makes of a projection: it multiplies the identity matrix.</summary>
internal static class ProjectionOracle
{
    /// <summary>The projection behind an attention node's output, as [inputs][outputs].</summary>
    /// <param name="modelPath">A model whose folder holds its external weights.</param>
    /// <param name="attended">The attention node's output.</param>
    /// <param name="projected">What the product makes of it.</param>
    /// <param name="inputs">Channels of all query heads.</param>
    public static float[][] Weights(string modelPath, string attended, string projected, int inputs)
    {
        var model = ModelProto.Parser.ParseFrom(File.ReadAllBytes(modelPath));
        Cut(model.Graph, attended, projected, inputs, out var half);
        foreach (var node in model.Graph.Node.Where(node => node.OpType == "MatMulNBits"))
        {
            // Levels above 0 round the input.
            if (node.Attribute.FirstOrDefault(a => a.Name == "accuracy_level") is { } level)
                level.I = 0;
        }

        using var options = new SessionOptions();
        options.AddSessionConfigEntry(
            "session.model_external_initializers_file_folder_path", Path.GetDirectoryName(Path.GetFullPath(modelPath))!);
        using var session = new InferenceSession(model.ToByteArray(), options);
        var identity = new float[inputs * inputs];
        for (var i = 0; i < inputs; i++)
            identity[(i * inputs) + i] = 1;
        long[] dims = [1, inputs, inputs];
        using var input = half
            ? OrtValue.CreateTensorValueFromMemory(Array.ConvertAll(identity, x => (Float16)x), dims)
            : OrtValue.CreateTensorValueFromMemory(identity, dims);
        using var run = new RunOptions();
        using var outputs = session.Run(run, [attended], [input], [projected]);
        var values = outputs[0].GetTensorTypeAndShape().ElementDataType == Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Float16
            ? Array.ConvertAll(outputs[0].GetTensorDataAsSpan<Float16>().ToArray(), x => (float)x)
            : outputs[0].GetTensorDataAsSpan<float>().ToArray();
        return [.. values.Chunk(values.Length / inputs)];
    }

    /// <summary>[KV heads, channels, channels]: Σ over the group's heads and the outputs of w[i]·w[j].</summary>
    public static double[] Gram(float[][] weights, int kvHeads, int headSize)
    {
        var gram = new double[kvHeads * headSize * headSize];
        var group = weights.Length / headSize / kvHeads;
        for (var input = 0; input < weights.Length; input++)
        {
            var head = input / headSize;
            for (var other = head * headSize; other < (head + 1) * headSize; other++)
            {
                var sum = 0.0;
                for (var output = 0; output < weights[input].Length; output++)
                    sum += (double)weights[input][output] * weights[other][output];
                gram[(((head / group * headSize) + (input % headSize)) * headSize) + (other % headSize)] += sum;
            }
        }

        return gram;
    }

    // Leaves what makes `projected` of `attended`.
    private static void Cut(GraphProto graph, string attended, string projected, int inputs, out bool half)
    {
        var index = new GraphIndex(graph);
        var needed = new HashSet<NodeProto>();
        var open = new Queue<string>([projected]);
        while (open.TryDequeue(out var value))
        {
            if (value == attended || index.Producer(value) is not { } node || !needed.Add(node))
                continue;
            foreach (var read in node.Reads())
                open.Enqueue(read);
        }

        var nodes = graph.Node.Where(needed.Contains).ToArray();
        half = (index.TensorType(attended) ?? index.TensorType("past_key_values.0.key"))!.ElemType
            == (int)TensorProto.Types.DataType.Float16;
        var type = half ? TensorProto.Types.DataType.Float16 : TensorProto.Types.DataType.Float;
        var initializers = graph.Initializer.Where(tensor => nodes.Any(node => node.Input.Contains(tensor.Name))).ToArray();
        graph.Node.Clear();
        graph.Node.Add(nodes);
        graph.Initializer.Clear();
        graph.Initializer.Add(initializers);
        graph.ValueInfo.Clear();
        graph.Input.Clear();
        graph.Input.Add(Graphs.GraphBuilder.Value(attended, type, 1, inputs, inputs));
        graph.Output.Clear();
        graph.Output.Add(new ValueInfoProto { Name = projected });
    }
}
