using KvPrune.AI.Models;
using KvPrune.AI.Runtimes;
using KvPrune.AI.Runtimes.GenAI;

namespace KvPrune.AI.Tests.Runtimes.GenAI;

/// <summary>Decoders on one thread, and the steps that tests take with them.</summary>
internal static class TestDecoders
{
    public static GenAIDecoder LoadGenAI(string folder, long? kvByteLimit = null)
    {
        NativeGenAI.Require();
        return GenAIDecoder.Load(GenAIModelFolder.Load(folder), kvByteLimit, threads: 1, NativeGenAI.Folder);
    }

    public static OnnxRuntimeDecoder LoadOnnxRuntime(string folder) =>
        OnnxRuntimeDecoder.Load(GenAIModelFolder.Load(folder), kvByteLimit: null, threads: 1);

    /// <summary>Reads a segment; the logits after it.</summary>
    public static float[] Read(this IDecoderRuntime decoder, IDecoderSequence sequence, int[] tokens, int chunk = int.MaxValue)
    {
        var logits = new float[decoder.VocabularySize];
        sequence.OpenSegment(tokens.Length);
        foreach (int[] part in tokens.Chunk(chunk)) decoder.Prefill(sequence, part, logits, CancellationToken.None);
        return logits;
    }

    /// <summary>Adds a token; the logits after it.</summary>
    public static float[] Add(this IDecoderRuntime decoder, IDecoderSequence sequence, int token)
    {
        var logits = new float[decoder.VocabularySize];
        decoder.Decode([sequence], [token], logits);
        return logits;
    }

    public static int ArgMax(float[] logits) => Array.IndexOf(logits, logits.Max());
}
