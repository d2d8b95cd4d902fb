using KvPrune.AI.Runtimes;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Engine;

/// <summary>One decode step over all running sequences, with the failing ones singled out.</summary>
internal sealed class DecodeBatch(IDecoderRuntime runtime)
{
    private readonly List<ActiveGeneration> _stepped = [];
    private IDecoderSequence[] _sequences = [];
    private int[] _tokens = [];
    private float[] _logits = [];

    /// <summary>The generations that took the step, in the order of <see cref="Logits"/>.</summary>
    public ReadOnlySpan<ActiveGeneration> Stepped => System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_stepped);

    /// <summary>Logits [vocabulary] of a generation that took the step; the next step overwrites them.</summary>
    public Span<float> Logits(int index) => LogitRows(index, 1);

    /// <summary>
    /// Feeds every generation's pending token, in as few batches as the runtime takes. When a batch fails each of its
    /// generations is tried alone, so that one bad sequence does not take the others down; the first that finds no memory
    /// ends the step, so that one is enough.
    /// </summary>
    /// <returns>The generations that failed, with the reason.</returns>
    public List<(ActiveGeneration Generation, Exception Error)> Run(
        IReadOnlyList<ActiveGeneration> generations, Action<Action> withMemory)
    {
        Prepare(generations.Count);
        List<(ActiveGeneration, Exception)> failed = [];
        foreach (ActiveGeneration[] batch in generations.Chunk(Math.Min(generations.Count, runtime.MaxDecodeBatch)))
        {
            RunBatch(batch, withMemory, failed);
            if (LacksMemory(failed)) break;
        }
        return failed;
    }

    private static bool LacksMemory(List<(ActiveGeneration, Exception Error)> failed) =>
        failed is [.., (_, KvCacheException { Status: KvCacheStatus.OutOfMemory })];

    private void RunBatch(ActiveGeneration[] batch, Action<Action> withMemory, List<(ActiveGeneration, Exception)> failed)
    {
        try
        {
            withMemory(() => Step(batch));
            foreach (ActiveGeneration generation in batch) MarkStepped(generation);
        }
        catch (Exception error) when (batch.Length == 1)
        {
            failed.Add((batch[0], error));
        }
        catch (Exception batchError)
        {
            foreach (ActiveGeneration generation in batch)
            {
                try
                {
                    if (generation.Sequence.GetInfo().Length != generation.Position)
                        throw new GenerationException("A failed batch left the sequence at another length.", batchError);
                    withMemory(() => Step([generation]));
                    MarkStepped(generation);
                }
                catch (Exception error)
                {
                    failed.Add((generation, error));
                    // What it held may be enough for the others. They wait until it is gone.
                    if (LacksMemory(failed)) return;
                }
            }
        }
    }

    private void Prepare(int count)
    {
        _stepped.Clear();
        if (_tokens.Length >= count) return;
        int capacity = Math.Max(count, 2 * _tokens.Length);
        _sequences = new IDecoderSequence[capacity];
        _tokens = new int[capacity];
        _logits = new float[capacity * runtime.VocabularySize];
    }

    private void Step(ReadOnlySpan<ActiveGeneration> generations)
    {
        int first = _stepped.Count;
        int count = generations.Length;
        for (int i = 0; i < count; i++)
        {
            _sequences[first + i] = generations[i].Sequence;
            _tokens[first + i] = generations[i].PendingToken;
        }
        runtime.Decode(_sequences.AsSpan(first, count), _tokens.AsSpan(first, count), LogitRows(first, count));
    }

    private void MarkStepped(ActiveGeneration generation)
    {
        generation.AdvanceDecode();
        _stepped.Add(generation);
    }

    private Span<float> LogitRows(int start, int count) =>
        _logits.AsSpan(start * runtime.VocabularySize, count * runtime.VocabularySize);
}
