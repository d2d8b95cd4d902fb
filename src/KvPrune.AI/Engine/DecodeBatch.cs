using KvPrune.AI.Runtimes;

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
    /// Feeds every generation's pending token. When the batch fails each generation is tried alone, so that one bad
    /// sequence does not take the others down.
    /// </summary>
    /// <returns>The generations that failed, with the reason.</returns>
    public List<(ActiveGeneration Generation, Exception Error)> Run(
        IReadOnlyList<ActiveGeneration> generations, Action<Action> withMemory)
    {
        Prepare(generations);
        List<(ActiveGeneration, Exception)> failed = [];
        try
        {
            withMemory(() => Step(generations));
            foreach (ActiveGeneration generation in generations) MarkStepped(generation);
        }
        catch (Exception error) when (generations.Count == 1)
        {
            failed.Add((generations[0], error));
        }
        catch (Exception batchError)
        {
            foreach (ActiveGeneration generation in generations)
            {
                try
                {
                    if (generation.Sequence.GetInfo().Length != generation.Position)
                        throw new GenerationException("A failed batch left the sequence at another length.", batchError);
                    int row = _stepped.Count;
                    _sequences[row] = generation.Sequence;
                    _tokens[row] = generation.PendingToken;
                    withMemory(() => runtime.Decode(_sequences.AsSpan(row, 1), _tokens.AsSpan(row, 1), LogitRows(row, 1)));
                    MarkStepped(generation);
                }
                catch (Exception error)
                {
                    failed.Add((generation, error));
                }
            }
        }
        return failed;
    }

    private void Prepare(IReadOnlyList<ActiveGeneration> generations)
    {
        _stepped.Clear();
        if (_tokens.Length >= generations.Count) return;
        int capacity = Math.Max(generations.Count, 2 * _tokens.Length);
        _sequences = new IDecoderSequence[capacity];
        _tokens = new int[capacity];
        _logits = new float[capacity * runtime.VocabularySize];
    }

    private void Step(IReadOnlyList<ActiveGeneration> generations)
    {
        int count = generations.Count;
        for (int i = 0; i < count; i++)
        {
            _sequences[i] = generations[i].Sequence;
            _tokens[i] = generations[i].PendingToken;
        }
        runtime.Decode(_sequences.AsSpan(0, count), _tokens.AsSpan(0, count), LogitRows(0, count));
    }

    private void MarkStepped(ActiveGeneration generation)
    {
        generation.AdvanceDecode();
        _stepped.Add(generation);
    }

    private Span<float> LogitRows(int start, int count) =>
        _logits.AsSpan(start * runtime.VocabularySize, count * runtime.VocabularySize);
}
