using KvPrune.AI.Models;
using KvPrune.AI.Runtimes.GenAI.Interop;

namespace KvPrune.AI.Tests.Runtimes.GenAI;

/// <summary>GenAI as it comes: an untouched folder, stock attention, its own KV cache and its own greedy loop.</summary>
internal sealed class StockGenerator : IDisposable
{
    private readonly GeneratorHandle _generator;
    private readonly int _vocabularySize;

    public StockGenerator(string folder)
    {
        NativeGenAI.Require();
        var description = GenAIModelFolder.Load(folder);
        _vocabularySize = description.VocabularySize;
        NativeMethods.OgaCreateConfig(folder, out ConfigHandle config).ThrowOnFailure();
        using (config)
        {
            NativeMethods.OgaConfigOverlay(config, """{"model":{"decoder":{"session_options":{"intra_op_num_threads":1}}}}""").ThrowOnFailure();
            NativeMethods.OgaCreateModelFromConfig(config, out ModelHandle model).ThrowOnFailure();
            using (model)
            {
                NativeMethods.OgaCreateGeneratorParams(model, out GeneratorParamsHandle parameters).ThrowOnFailure();
                using (parameters)
                {
                    NativeMethods.OgaGeneratorParamsSetSearchNumber(parameters, "max_length", description.ContextLength).ThrowOnFailure();
                    NativeMethods.OgaGeneratorParamsSetSearchBool(parameters, "do_sample", false).ThrowOnFailure();
                    NativeMethods.OgaCreateGenerator(model, parameters, out _generator).ThrowOnFailure();
                }
            }
        }
    }

    public int Length => (int)NativeMethods.OgaGenerator_TokenCount(_generator);

    public void Append(params int[] tokens) =>
        NativeMethods.OgaGenerator_AppendTokens(_generator, tokens, (nuint)tokens.Length).ThrowOnFailure();

    public void RewindTo(int length) => NativeMethods.OgaGenerator_RewindTo(_generator, (nuint)length).ThrowOnFailure();

    /// <summary>Logits after the last token; runs it if it was generated.</summary>
    public unsafe float[] Logits()
    {
        NativeMethods.OgaGenerator_GetLogits(_generator, out TensorHandle tensor).ThrowOnFailure();
        using (tensor)
        {
            NativeMethods.OgaTensorGetData(tensor, out void* data).ThrowOnFailure();
            return new ReadOnlySpan<float>(data, _vocabularySize).ToArray();
        }
    }

    public unsafe int GenerateNextToken()
    {
        NativeMethods.OgaGenerator_GenerateNextToken(_generator).ThrowOnFailure();
        NativeMethods.OgaGenerator_GetNextTokens(_generator, out int* tokens, out nuint count).ThrowOnFailure();
        Assert.Equal(1u, count);
        return *tokens;
    }

    public void Dispose() => _generator.Dispose();
}
