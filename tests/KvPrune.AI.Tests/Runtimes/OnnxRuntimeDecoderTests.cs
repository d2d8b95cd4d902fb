using KvPrune.AI.Models;
using KvPrune.AI.Runtimes;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Tests.Runtimes;

public sealed class OnnxRuntimeDecoderTests : IDisposable
{
    // Chunks and batches change the shapes of matrix products and with them the order of sums in fp32.
    private const float Tolerance = 2e-3f;

    private readonly OnnxRuntimeDecoder _decoder = BundledModel.LoadDecoder();

    public static TheoryData<string, int> PoliciesAndChunks
    {
        get
        {
            var data = new TheoryData<string, int>();
            foreach (string policy in new[] { "exact", "dense", "compact" })
            {
                foreach (int chunk in new[] { 61, 64, 200 }) data.Add(policy, chunk);
            }
            return data;
        }
    }

    [Fact]
    public void Logits_are_those_of_the_reference_implementation()
    {
        using KvDecoderSequence sequence = _decoder.CreateSequence(PruningPolicy.Exact);
        AssertClose(BundledModel.ReferencePrompt.Logits, Read(sequence, BundledModel.ReferencePrompt.Tokens, int.MaxValue));
    }

    [Theory]
    [MemberData(nameof(PoliciesAndChunks))]
    public void Whole_in_chunks_or_forked_a_prompt_goes_on_alike(string policyName, int chunk)
    {
        PruningPolicy policy = PruningPolicy.FromName(policyName);
        int[] tokens = BundledModel.ReferencePrompt.Tokens;
        using KvDecoderSequence whole = _decoder.CreateSequence(policy), chunked = _decoder.CreateSequence(policy);
        float[] wholeLogits = Read(whole, tokens, int.MaxValue);
        float[] chunkedLogits = Read(chunked, tokens, chunk);
        using IDecoderSequence forked = whole.Fork();
        AssertClose(wholeLogits, chunkedLogits);
        float[] forkedLogits = [.. wholeLogits];
        for (int step = 0; step < 80; step++)
        {
            // All three are fed the whole one's choice, so a near tie cannot make the comparison meaningless.
            int token = Array.IndexOf(wholeLogits, wholeLogits.Max());
            wholeLogits = Decode([whole], [token])[0];
            chunkedLogits = Decode([chunked], [token])[0];
            forkedLogits = Decode([forked], [token])[0];
            Assert.Equal(wholeLogits, forkedLogits);
            AssertClose(wholeLogits, chunkedLogits, policyName == "exact" ? Tolerance : 0.2f);
        }
    }

    [Fact]
    public void The_output_projection_is_read_for_the_first_policy_that_weighs_values()
    {
        var weighing = new PruningPolicy { ValueSparsity = 0.5, ValueScore = ValueScore.OutputWeight };
        KvModelShape shape = _decoder.Shape;
        long bytes = 4L * shape.Layers * shape.KvHeads * shape.HeadSize * shape.HeadSize;
        _decoder.CreateSequence(PruningPolicy.Compact).Dispose();
        Assert.Equal(0, _decoder.GetStatistics().WeightBytes);

        for (int i = 0; i < 2; i++)
        {
            _decoder.CreateSequence(weighing).Dispose();
            Assert.Equal(bytes, _decoder.GetStatistics().WeightBytes);
        }
        using OnnxRuntimeDecoder prepared = OnnxRuntimeDecoder.Load(GenAIModelFolder.Load(BundledModel.Folder), null, threads: 1, weighing);
        Assert.Equal(bytes, prepared.GetStatistics().WeightBytes);
    }

    [Fact]
    public void A_ragged_batch_gives_each_sequence_what_it_gets_alone()
    {
        int[] tokens = BundledModel.ReferencePrompt.Tokens;
        int[] lengths = [1, 63, 150, 438];
        IDecoderSequence[] together = [.. lengths.Select(_ => _decoder.CreateSequence(PruningPolicy.Compact))];
        float[][] logits = [.. together.Select((sequence, i) => Read(sequence, tokens[..lengths[i]], 512))];
        IDecoderSequence[] alone = [.. together.Select(sequence => sequence.Fork())];
        for (int step = 0; step < 70; step++)
        {
            int[] next = [.. logits.Select(row => Array.IndexOf(row, row.Max()))];
            logits = Decode(together, next);
            for (int i = 0; i < alone.Length; i++) AssertClose(Decode([alone[i]], [next[i]])[0], logits[i], 0.2f);
        }
        foreach (IDecoderSequence sequence in together.Concat(alone)) sequence.Dispose();
        Assert.Equal(0, _decoder.GetStatistics().TotalBytes);
    }

    [Fact]
    public void Evicting_while_decoding_bounds_the_cache_of_a_long_answer()
    {
        PruningPolicy policy = PruningPolicy.NearLossless with
        {
            Eviction = new() { Score = TokenScore.AccumulatedAttention, TokenBudget = 256, WhileDecoding = true },
        };
        int[] tokens = BundledModel.ReferencePrompt.Tokens;
        using KvDecoderSequence sequence = _decoder.CreateSequence(policy), all = _decoder.CreateSequence(PruningPolicy.NearLossless);
        float[] logits = Read(sequence, tokens, 200);
        Read(all, tokens, 200);
        IDecoderSequence? fork = null;
        long most = 0;
        for (int step = 1; step <= 500; step++)
        {
            int token = Array.IndexOf(logits, logits.Max());
            logits = Decode([sequence], [token])[0];
            float[] whole = Decode([all], [token])[0];
            if (step == 150) fork = sequence.Fork();
            else if (fork is not null) Assert.Equal(logits, Decode([fork], [token])[0]);
            Assert.Equal(Array.TrueForAll(whole, float.IsFinite), Array.TrueForAll(logits, float.IsFinite));
            if (step == 250) most = sequence.GetInfo().SealedBytes;
        }
        // A bit for each token and head comes on top, and the scores are in the tail's bytes. The checkpoint at the prompt's end
        // holds what was kept of the prompt besides.
        Assert.InRange(sequence.GetInfo().SealedBytes, most / 2, most + (most / 20));
        Assert.InRange(sequence.GetInfo().SealedBytes, 0, all.GetInfo().SealedBytes * 3 / 4);
        Assert.True(sequence.GetInfo().TotalBytes <= _decoder.EstimateBytes(policy, tokens.Length, 500, 200).ResidentBytes);
        fork!.Dispose();
    }

    [Fact]
    public void A_cancelled_run_leaves_the_sequence_as_it_was()
    {
        int[] tokens = [.. Enumerable.Repeat(BundledModel.ReferencePrompt.Tokens, 10).SelectMany(t => t)];
        using KvDecoderSequence sequence = _decoder.CreateSequence(PruningPolicy.Compact), other = _decoder.CreateSequence(PruningPolicy.Compact);
        var logits = new float[_decoder.VocabularySize];
        sequence.OpenSegment(tokens.Length);
        _decoder.Prefill(sequence, tokens.AsSpan(0, 100), logits, CancellationToken.None);
        using var cancellation = new CancellationTokenSource(TimeSpan.FromMilliseconds(30));
        Assert.ThrowsAny<OperationCanceledException>(
            () => _decoder.Prefill(sequence, tokens.AsSpan(100, tokens.Length - 101), logits, cancellation.Token));
        Assert.Equal(100, sequence.GetInfo().Length);
        _decoder.Prefill(sequence, tokens.AsSpan(100), logits, CancellationToken.None);

        other.OpenSegment(tokens.Length);
        var expected = new float[_decoder.VocabularySize];
        _decoder.Prefill(other, tokens.AsSpan(0, 100), expected, CancellationToken.None);
        _decoder.Prefill(other, tokens.AsSpan(100), expected, CancellationToken.None);
        AssertClose(expected, logits);
    }

    [Fact]
    public void A_failed_run_leaves_the_sequence_as_it_was()
    {
        int[] tokens = BundledModel.ReferencePrompt.Tokens;
        using KvDecoderSequence sequence = _decoder.CreateSequence(PruningPolicy.Exact);
        var logits = new float[_decoder.VocabularySize];
        sequence.OpenSegment(tokens.Length);
        int[] broken = [.. tokens[..5], 99_999];
        Assert.Throws<Microsoft.ML.OnnxRuntime.OnnxRuntimeException>(() => _decoder.Prefill(sequence, broken, logits, CancellationToken.None));
        Assert.Equal(0, sequence.GetInfo().Length);
        _decoder.Prefill(sequence, tokens, logits, CancellationToken.None);
        AssertClose(BundledModel.ReferencePrompt.Logits, logits);
    }

    [Fact]
    public void One_reading_serves_every_policy_and_one_batch_decodes_them()
    {
        int[] tokens = BundledModel.ReferencePrompt.Tokens;
        PruningPolicy[] policies = [.. PruningPolicy.Presets.Values.Where(preset => !preset.NeedsProbes)];
        using KvDecoderSequence source = _decoder.CreateSequence(PruningPolicy.Exact);
        var first = new float[_decoder.VocabularySize];
        source.OpenDeferredSegment(tokens.Length, policies, probeTokens: 20);
        foreach (int[] part in tokens.Chunk(200)) _decoder.Prefill(source, part, first, CancellationToken.None);
        IDecoderSequence[] later = [.. policies.Select(source.SealAs)], direct = [.. policies.Select(_decoder.CreateSequence)];
        foreach (IDecoderSequence sequence in direct) Assert.Equal(first, Read(sequence, tokens, 200));

        int next = Array.IndexOf(first, first.Max());
        float[] probed = [.. first];
        _decoder.Probe(source, [next], probed, CancellationToken.None);
        Assert.Equal(tokens.Length, source.GetInfo().Length);
        using IDecoderSequence continued = direct[Array.IndexOf(policies, PruningPolicy.Exact)].Fork();
        AssertClose(Decode([continued], [next])[0], probed);

        int[] fed = [.. policies.Select(_ => next)];
        for (int step = 0; step < 40; step++)
        {
            float[][] expected = Decode(direct, fed), found = Decode(later, fed);
            Assert.Equal(expected, found);
            fed = [.. expected.Select(row => Array.IndexOf(row, row.Max()))];
        }
        foreach (IDecoderSequence sequence in later.Concat(direct)) sequence.Dispose();
    }

    public void Dispose() => _decoder.Dispose();

    private float[] Read(IDecoderSequence sequence, int[] tokens, int chunk)
    {
        var logits = new float[_decoder.VocabularySize];
        sequence.OpenSegment(tokens.Length);
        foreach (int[] part in tokens.Chunk(chunk)) _decoder.Prefill(sequence, part, logits, CancellationToken.None);
        return logits;
    }

    private float[][] Decode(IDecoderSequence[] sequences, int[] tokens)
    {
        var logits = new float[sequences.Length * _decoder.VocabularySize];
        _decoder.Decode(sequences, tokens, logits);
        return [.. logits.Chunk(_decoder.VocabularySize)];
    }

    private static void AssertClose(float[] expected, float[] actual, float tolerance = Tolerance)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            if (!(Math.Abs(expected[i] - actual[i]) <= tolerance))
                Assert.Fail($"logit {i}: {expected[i]} expected, {actual[i]} found");
        }
    }
}
