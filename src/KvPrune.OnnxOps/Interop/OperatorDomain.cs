using Google.Protobuf;
using KvPrune.OnnxOps.Onnx;
using KvPrune.OnnxOps.Rewriting;
using Microsoft.ML.OnnxRuntime;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Interop;

/// <summary>
/// Makes the operators' domain known to ONNX Runtime. The first session with a domain enters it into a table of the
/// process without a lock, so that of two first sessions created at once one may fail; a session created here and
/// dropped again is the first.
/// </summary>
internal static class OperatorDomain
{
    private static readonly Lock Entering = new();
    private static bool _entered;

    /// <exception cref="DllNotFoundException">The native library is missing or does not load.</exception>
    /// <exception cref="OnnxRuntimeException">ONNX Runtime refused the library.</exception>
    public static void EnsureEntered()
    {
        lock (Entering)
        {
            if (_entered)
                return;
            Enter();
            _entered = true; // a failure may be gone the next time
        }
    }

    private static void Enter()
    {
        using var options = new SessionOptions { IntraOpNumThreads = 1 };
        options.RegisterCustomOpLibrary(NativeLibraryFile.FullPath);
        using var session = new InferenceSession(SmallestModel(), options);
    }

    private static byte[] SmallestModel()
    {
        var one = new TensorProto { Name = "one", DataType = (int)DataType.Float };
        one.FloatData.Add(1);
        var output = new TypeProto.Types.Tensor { ElemType = (int)DataType.Float, Shape = new TensorShapeProto() };
        var node = new NodeProto { OpType = "Identity" };
        node.Input.Add("one");
        node.Output.Add("output");
        var model = new ModelProto { IrVersion = 10, Graph = new GraphProto { Name = "smallest" } };
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = "", Version = 21 });
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = PrunedAttention.Domain, Version = PrunedAttention.Version });
        model.Graph.Initializer.Add(one);
        model.Graph.Node.Add(node);
        model.Graph.Output.Add(new ValueInfoProto { Name = "output", Type = new TypeProto { TensorType = output } });
        return model.ToByteArray();
    }
}
