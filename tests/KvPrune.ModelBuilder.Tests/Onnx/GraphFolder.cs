using KvPrune.ModelBuilder.Onnx;

namespace KvPrune.ModelBuilder.Tests.Onnx;

/// <summary>Writes model.onnx and model.onnx.data alone, from any weights.</summary>
internal static class GraphFolder
{
    public static void Write(string folder, ModelShape shape, IWeightSource weights, BuildOptions? options = null, WriteLimits? limits = null)
    {
        using var journal = BuildJournal.Open(folder, "test");
        DecoderGraph.Write(folder, shape, options ?? new BuildOptions(), weights, journal, limits ?? new WriteLimits(), null, default);
        journal.Delete();
    }
}
