using System.Text.Json.Nodes;
using KvPrune.AI.Models;
using KvPrune.AI.Runtimes;
using KvPrune.AI.Runtimes.GenAI;
using KvPrune.AI.Sampling;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Tests.Runtimes.GenAI;

public sealed class GenAIDecoderTests : IDisposable
{
    private static readonly int[] Prompt = BundledModel.ReferencePrompt.Tokens;

    private readonly GenAIDecoder _decoder = TestDecoders.LoadGenAI(BundledModel.Folder);

    public void Dispose() => _decoder.Dispose();

    [Fact]
    public void A_run_that_is_stopped_leaves_the_sequence_as_it_was()
    {
        int[] tokens = [.. Enumerable.Repeat(Prompt, 10).SelectMany(t => t)];
        using IDecoderSequence sequence = _decoder.CreateSequence(PruningPolicy.Compact);
        using IDecoderSequence other = _decoder.CreateSequence(PruningPolicy.Compact);
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
        Assert.Equal(expected, logits);
        Assert.Equal(_decoder.Add(other, 5), _decoder.Add(sequence, 5));
    }

    [Fact]
    public void A_run_that_fails_leaves_the_sequence_as_it_was()
    {
        using IDecoderSequence sequence = _decoder.CreateSequence(PruningPolicy.Exact);
        var logits = new float[_decoder.VocabularySize];
        sequence.OpenSegment(Prompt.Length);
        int[] broken = [.. Prompt[..5], 99_999];
        Assert.Throws<GenAIException>(() => _decoder.Prefill(sequence, broken, logits, CancellationToken.None));
        Assert.Equal(0, sequence.GetInfo().Length);
        _decoder.Prefill(sequence, Prompt, logits, CancellationToken.None);
        Assert.Equal(TestDecoders.ArgMax(BundledModel.ReferencePrompt.Logits), TestDecoders.ArgMax(logits));
        Assert.Throws<GenAIException>(() => _decoder.Add(sequence, 99_999));
        Assert.Equal(Prompt.Length, sequence.GetInfo().Length);

        using IDecoderSequence whole = _decoder.CreateSequence(PruningPolicy.Exact);
        Assert.Equal(_decoder.Read(whole, Prompt), logits);
        Assert.Equal(_decoder.Add(whole, 5), _decoder.Add(sequence, 5));
    }

    [Theory]
    [InlineData(0.3)] // of the memory is taken: an early chunk does not fit
    [InlineData(0.01)] // only the last one, which compresses
    public void A_step_without_memory_can_be_repeated(double share)
    {
        int[] tokens = [.. Prompt, .. Prompt];
        long needed = _decoder.EstimateBytes(PruningPolicy.Compact, tokens.Length, 1, 64).PrefillPeakBytes;
        using GenAIDecoder small = TestDecoders.LoadGenAI(BundledModel.Folder, kvByteLimit: needed);
        var logits = new float[small.VocabularySize];
        using IDecoderSequence sequence = small.CreateSequence(PruningPolicy.Compact);
        using (IDecoderSequence other = small.CreateSequence(PruningPolicy.Exact))
        {
            small.Read(other, tokens[..(int)(tokens.Length * share)]);
            var error = Assert.Throws<KvCacheException>(() => small.Read(sequence, tokens, 64));
            Assert.Equal(KvCacheStatus.OutOfMemory, error.Status);
        }
        KvSequenceInfo info = sequence.GetInfo();
        if (info.OpenSegmentTokens == 0) sequence.OpenSegment(tokens.Length - (int)info.Length);
        foreach (int[] chunk in tokens[(int)info.Length..].Chunk(64)) small.Prefill(sequence, chunk, logits, CancellationToken.None);

        using IDecoderSequence unhindered = _decoder.CreateSequence(PruningPolicy.Compact);
        Assert.Equal(_decoder.Read(unhindered, tokens, 64), logits);
    }

    [Fact]
    public void Probes_choose_the_tokens_that_the_other_runtime_keeps()
    {
        PruningPolicy policy = PruningPolicy.Exact with { Eviction = new() { Score = TokenScore.Reconstruction, Sparsity = 0.5 } };
        using var reference = TestDecoders.LoadOnnxRuntime(BundledModel.Folder);
        using IDecoderSequence own = SealProbed(_decoder), expected = SealProbed(reference);
        Assert.Equal(expected.GetInfo(), own.GetInfo());
        Assert.True(own.GetInfo().SealedBytes > 0);
        for (int step = 0; step < 3; step++) Assert.Equal(reference.Add(expected, 100 + step), _decoder.Add(own, 100 + step));
        Assert.Equal(1, _decoder.GetStatistics().Sequences);

        IDecoderSequence SealProbed(IDecoderRuntime decoder)
        {
            using IDecoderSequence dense = decoder.CreateSequence(policy);
            var logits = new float[decoder.VocabularySize];
            dense.OpenDeferredSegment(Prompt.Length, probeTokens: Prompt.Length);
            foreach (int[] chunk in Prompt.Chunk(100)) decoder.Prefill(dense, chunk, logits, CancellationToken.None);
            decoder.Probe(dense, Prompt.AsSpan(0, 50), logits, CancellationToken.None);
            decoder.Probe(dense, Prompt, logits, CancellationToken.None);
            Assert.Equal(Prompt.Length, dense.GetInfo().Length);
            return dense.Seal();
        }
    }

    [Fact]
    public void Many_sequences_of_different_lengths_take_turns()
    {
        // More than are kept, so that generators are made, made longer, shortened, kept and dropped.
        using var reference = TestDecoders.LoadOnnxRuntime(BundledModel.Folder);
        using IDecoderSequence shared = _decoder.CreateSequence(PruningPolicy.Compact);
        using KvDecoderSequence sharedReference = reference.CreateSequence(PruningPolicy.Compact);
        _decoder.Read(shared, Prompt, 64);
        reference.Read(sharedReference, Prompt, 64);
        for (int round = 0; round < 2; round++)
        {
            List<(IDecoderSequence Own, IDecoderSequence Expected)> forks = [];
            for (int i = 0; i < 12; i++)
            {
                (IDecoderSequence own, IDecoderSequence expected) = (shared.Fork(), sharedReference.Fork());
                int[] more = [.. Prompt.Take(5 * i)];
                if (more.Length > 0) Assert.Equal(reference.Read(expected, more), _decoder.Read(own, more));
                forks.Add((own, expected));
            }
            for (int step = 0; step < 5; step++)
            {
                foreach (var (own, expected) in forks) Assert.Equal(reference.Add(expected, 100 + step), _decoder.Add(own, 100 + step));
            }
            Assert.Equal(13, _decoder.GetStatistics().Sequences);
            foreach (var (own, expected) in forks)
            {
                own.Dispose();
                expected.Dispose();
            }
        }
        Assert.Equal(1, _decoder.GetStatistics().Sequences);
        shared.Dispose();
        Assert.Equal(0, _decoder.GetStatistics().TotalBytes);
    }

    [Fact]
    public void Sequences_may_outlive_their_decoder()
    {
        GenAIDecoder decoder = TestDecoders.LoadGenAI(BundledModel.Folder);
        IDecoderSequence kept = decoder.CreateSequence(PruningPolicy.Compact);
        decoder.Read(kept, Prompt);
        using (IDecoderSequence pooled = kept.Fork()) decoder.Add(pooled, 5);
        decoder.Dispose();
        decoder.Dispose();
        kept.Dispose();
        kept.Dispose();
    }

    [Fact]
    public void A_batch_is_refused()
    {
        using IDecoderSequence one = _decoder.CreateSequence(PruningPolicy.Exact), two = _decoder.CreateSequence(PruningPolicy.Exact);
        Assert.Equal(1, _decoder.MaxDecodeBatch);
        Assert.Throws<ArgumentOutOfRangeException>(() => _decoder.Decode([one, two], [1, 2], new float[2 * _decoder.VocabularySize]));
    }

    [Fact]
    public void A_new_generator_grows_to_the_end_of_the_context()
    {
        using AlteredFolder folder = AlteredFolder.WithContext(64);
        using GenAIDecoder decoder = TestDecoders.LoadGenAI(folder.Path);
        using IDecoderSequence sequence = decoder.CreateSequence(PruningPolicy.Exact);
        decoder.Read(sequence, Prompt[..63]);
        using IDecoderSequence fork = sequence.Fork();
        Assert.Equal(decoder.Add(sequence, 5), decoder.Add(fork, 5)); // both keep their generators
        using IDecoderSequence full = fork.Fork();
        foreach (IDecoderSequence each in new[] { sequence, fork, full })
        {
            Assert.ThrowsAny<Exception>(() => decoder.Add(each, 5));
            Assert.Equal(64, each.GetInfo().Length);
        }
    }

    [Theory]
    [InlineData("no-such-type", null)]
    [InlineData(null, 100_000)] // more than the vocabulary; noticed when a generator is made
    public void A_folder_that_GenAI_refuses_is_named(string? type, int? topK)
    {
        using AlteredFolder folder = new AlteredFolder().Change("genai_config.json", root =>
        {
            if (type is not null) root["model"]!["type"] = type;
            if (topK is not null) (root["search"]!["top_k"], root["search"]!["do_sample"]) = (topK, true);
        });
        var error = Assert.Throws<ModelFolderException>(() => TestDecoders.LoadGenAI(folder.Path));
        Assert.Contains(folder.Path, error.Message, StringComparison.Ordinal);
        Assert.IsType<GenAIException>(error.InnerException);
    }

    [Fact]
    public void A_vocabulary_of_another_size_than_the_graphs_is_named()
    {
        using AlteredFolder folder = new AlteredFolder().Change("genai_config.json", root => root["model"]!["vocab_size"] = 4000);
        Assert.Equal("model.vocab_size", Assert.Throws<ModelFolderException>(() => TestDecoders.LoadGenAI(folder.Path)).Entry);
    }

    [Fact]
    public void Weights_lie_beside_the_model_file()
    {
        using AlteredFolder folder = new AlteredFolder().Change("genai_config.json", root => root["model"]!["decoder"]!["filename"] = "onnx/model.onnx");
        Directory.CreateDirectory(Path.Combine(folder.Path, "onnx"));
        foreach (string name in new[] { "model.onnx", "model.onnx.data" })
            File.Move(Path.Combine(folder.Path, name), Path.Combine(folder.Path, "onnx", name));
        using GenAIDecoder below = TestDecoders.LoadGenAI(folder.Path);
        using OnnxRuntimeDecoder other = TestDecoders.LoadOnnxRuntime(folder.Path);
        foreach (IDecoderRuntime decoder in new IDecoderRuntime[] { below, other })
        {
            using IDecoderSequence sequence = decoder.CreateSequence(PruningPolicy.Exact);
            Assert.Equal(TestDecoders.ArgMax(BundledModel.ReferencePrompt.Logits), TestDecoders.ArgMax(decoder.Read(sequence, Prompt)));
        }
        using IGuidedSampler sampler = below.Guide(Guidance.Regex("a"), SamplingOptions.Greedy);
    }

    [Theory]
    [InlineData(null, null, 0)] // ONNX Runtime's choice, as in the other runtime
    [InlineData(null, 3, null)] // the folder's
    [InlineData(2, 3, 2)]
    public void Threads_are_those_of_the_options_or_of_the_folder(int? asked, int? folders, int? expected)
    {
        using AlteredFolder folder = new AlteredFolder().Change("genai_config.json", root =>
        {
            if (folders is not null) root["model"]!["decoder"]!["session_options"]!["intra_op_num_threads"] = folders;
        });
        JsonNode settings = JsonNode.Parse(GenAIDecoder.SessionSettings(GenAIModelFolder.Load(folder.Path), "/a \"b\"\\c.so", asked))!;
        JsonNode session = settings["model"]!["decoder"]!["session_options"]!;
        Assert.Equal(expected, (int?)session["intra_op_num_threads"]);
        Assert.Equal("/a \"b\"\\c.so", (string?)session["custom_ops_library"]);
    }
}
