using KvPrune.OnnxOps.Tests.Graphs;
using KvPrune.OnnxOps.Tests.Ops;

namespace KvPrune.OnnxOps.Tests.Cache;

/// <summary>Bytes reported are bytes estimated, to the byte.</summary>
public class KvBytesTests
{
    private static readonly AttentionShape Shape = new(4, 2, 32, Layers: 3);

    private static readonly Dictionary<string, PruningPolicy> Policies = new(PruningPolicy.Presets.Where(preset => !preset.Value.NeedsDeferredSegment))
    {
        ["bitmaps"] = new() { KeySparsity = 0.5, ValueSparsity = 0.7, ValueStorage = KvStorage.Int8 },
        ["float16"] = new() { KeyStorage = KvStorage.Float16, ValueStorage = KvStorage.Float16, ValueSparsity = 0.4 },
        ["int4"] = new() { KeyStorage = KvStorage.Int4, ValueStorage = KvStorage.Int4, KeyChannelSparsity = 0.4 },
        ["int4 bitmaps"] = new() { KeyStorage = KvStorage.Int4, KeySparsity = 0.3, ValueStorage = KvStorage.Int4, ValueSparsity = 0.7 },
        ["no window"] = new() { RecentWindow = 0, KeyStorage = KvStorage.Float32 },
        ["wide windows"] = PruningPolicy.Compact with { RecentWindow = 100, ObservationWindow = 200 },
    };

    public static TheoryData<string> Names => [.. Policies.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public void A_sequence_takes_exactly_what_was_estimated(string name)
    {
        var policy = Policies[name];
        (int Prompt, int Generated, int Chunk)[] cases =
        [
            (0, 0, 0), (0, 3, 0), (0, 170, 0), (1, 0, 0), (95, 0, 0), (96, 0, 0), (96, 64, 0), (97, 130, 40), (200, 0, 0),
            (200, 0, 64), (200, 0, 200), (200, 90, 199), (333, 20, 1000), (333, 20, 100),
        ];
        var rows = TokenRows.Random(Shape, 400, seed: 1);
        foreach (var (prompt, generated, chunk) in cases)
        {
            using var model = new PrunedAttentionModel(Shape);
            var estimate = KvCacheManager.EstimateBytes(model.Manager.Shape, policy, prompt, generated, chunk);
            using var sequence = model.Manager.CreateSequence(policy);
            if (prompt > 0)
            {
                sequence.OpenSegment(prompt);
                for (var done = 0; done < prompt;)
                {
                    var count = Math.Min(chunk == 0 ? prompt : chunk, prompt - done);
                    model.Step(sequence, rows[done..(done + count)]);
                    done += count;
                }

                Assert.Equal(estimate.PrefillPeakBytes, model.Manager.GetStatistics().PeakBytes);
            }

            model.Decode(sequence, rows[prompt..(prompt + generated)]);

            var statistics = model.Manager.GetStatistics();
            Assert.Equal(estimate.ResidentBytes, statistics.TotalBytes);
            Assert.Equal(statistics.SealedBytes, sequence.GetInfo().SealedBytes);
            Assert.Equal(0, statistics.StagingBytes);
        }
    }

    [Fact]
    public void Presets_take_what_their_documentation_says()
    {
        // Llama-3.2-1B, long enough for the dense tail to vanish.
        var shape = new KvModelShape(16, 32, 8, 64, 131072);
        double Share(PruningPolicy policy) =>
            KvCacheManager.EstimateBytes(shape, policy, 131072).ResidentBytes / (double)shape.DenseBytes(131072);

        Assert.InRange(Share(PruningPolicy.Exact), 1.99, 2.01);
        Assert.InRange(Share(PruningPolicy.Dense), 0.99, 1.01);
        Assert.InRange(Share(PruningPolicy.NearLossless), 0.51, 0.53);
        Assert.InRange(Share(PruningPolicy.Balanced), 0.275, 0.29);
        Assert.InRange(Share(PruningPolicy.Compact), 0.18, 0.20);
        Assert.InRange(Share(PruningPolicy.Extreme), 0.09, 0.105);
    }

    [Fact]
    public void Rows_that_no_error_is_measured_for_keep_8_bits()
    {
        var rows = TokenRows.Random(Shape, 170, seed: 2);
        long Sealed(PruningPolicy policy)
        {
            using var model = new PrunedAttentionModel(Shape);
            using var sequence = model.Manager.CreateSequence(policy);
            model.Decode(sequence, rows);
            return sequence.GetInfo().SealedBytes;
        }

        Assert.Equal(Sealed(PruningPolicy.NearLossless), Sealed(PruningPolicy.ForOutputError(0.1)));
        Assert.Equal(Sealed(PruningPolicy.NearLossless), Sealed(PruningPolicy.NearLossless with { OutputError = 0.1 }));
        Assert.Equal(Sealed(PruningPolicy.Dense), Sealed(PruningPolicy.Dense with { OutputError = 0.1 }));
    }

    [Theory]
    [InlineData(KvStorage.Float16, 0, 16)]
    // 4 bits, and 32 for the scale and the zero of 64 values
    [InlineData(KvStorage.Int4, 0, 4.5)]
    // 4 bits for three in ten (19 of 64), one for the mask, 16 for the scale of a row
    [InlineData(KvStorage.Int4, 0.7, (4 * 19 / 64.0) + 1 + (16 / 64.0))]
    [InlineData(KvStorage.Int8, 0.7, (8 * 19 / 64.0) + 1 + (16 / 64.0))]
    public void Every_bit_is_accounted_for(KvStorage storage, double sparsity, double bits)
    {
        var shape = new KvModelShape(1, 2, 2, 64, 1 << 20);
        var policy = new PruningPolicy
        {
            KeyStorage = storage, ValueStorage = storage, KeySparsity = sparsity, ValueSparsity = sparsity, RecentWindow = 0,
        };
        const int tokens = 1 << 19;
        var more = KvCacheManager.EstimateBytes(shape, policy, 2 * tokens).ResidentBytes
            - KvCacheManager.EstimateBytes(shape, policy, tokens).ResidentBytes;

        Assert.Equal(bits / 16, more / (double)shape.DenseBytes(tokens), 0.01);
    }

    [Fact]
    public void Forks_share_sealed_tiles_and_releasing_frees_everything()
    {
        using var model = new PrunedAttentionModel(Shape);
        var rows = TokenRows.Random(Shape, 300, seed: 2);
        var sequence = model.Manager.CreateSequence(PruningPolicy.Compact);
        model.Prompt(sequence, rows);
        var alone = model.Manager.GetStatistics();

        var fork = sequence.Fork();
        var both = model.Manager.GetStatistics();
        Assert.Equal(alone.SealedBytes, both.SealedBytes);
        Assert.Equal(alone.TailBytes + fork.GetInfo().TailBytes, both.TailBytes);
        Assert.Equal(2, both.Sequences);

        sequence.Dispose();
        Assert.Equal(alone.SealedBytes, model.Manager.GetStatistics().SealedBytes);
        fork.Dispose();
        var empty = model.Manager.GetStatistics();
        Assert.Equal((0, 0), (empty.TotalBytes, empty.Sequences));
    }

    [Fact]
    public void The_byte_limit_is_never_passed_and_the_sequence_survives_it()
    {
        var shape = new KvModelShape(Shape.Layers, Shape.QueryHeads, Shape.KvHeads, Shape.HeadSize, AttentionShape.MaxTokens);
        var limit = KvCacheManager.EstimateBytes(shape, PruningPolicy.Compact, 200).PrefillPeakBytes;
        using var model = new PrunedAttentionModel(Shape, limit);
        using var sequence = model.Manager.CreateSequence(PruningPolicy.Compact);
        var rows = TokenRows.Random(Shape, 700, seed: 3);

        sequence.OpenSegment(700);
        Fails.With(KvCacheStatus.OutOfMemory, () => KvStep.Begin(sequence, 700), $"{limit}");
        sequence.Rewind(0);
        model.Prompt(sequence, rows[..200]);
        Fails.With(KvCacheStatus.OutOfMemory, () =>
        {
            for (var i = 0; i < 50; i++)
                _ = model.Manager.CreateSequence(PruningPolicy.Exact);
        });

        Assert.InRange(model.Manager.GetStatistics().PeakBytes, 1, limit);
        model.Step(sequence, rows[200..201]);
        GC.Collect(); // the sequences nobody disposed
    }

    [Fact]
    public void What_the_machine_cannot_map_is_refused_with_the_bytes()
    {
        using var manager = new KvCacheManager(new KvModelShape(512, 512, 512, 256, 1 << 30));
        var huge = new PruningPolicy { KeyStorage = KvStorage.Float32, ValueStorage = KvStorage.Float32, RecentWindow = 1 << 20 };
        var bytes = KvCacheManager.EstimateBytes(manager.Shape, huge, 0).ResidentBytes;
        Assert.True(bytes > 1L << 48);
        Fails.With(KvCacheStatus.OutOfMemory, () => manager.CreateSequence(huge), $"{bytes} bytes");
        Assert.Equal((0, 0), (manager.GetStatistics().TotalBytes, manager.GetStatistics().Sequences));
        manager.CreateSequence(PruningPolicy.Dense with { RecentWindow = 0 }).Dispose();
    }

    [Fact]
    public void A_step_of_a_batch_names_the_sequence_that_finds_no_memory_and_begins_for_none()
    {
        using var model = new PrunedAttentionModel(Shape);
        var tail = KvCacheManager.EstimateBytes(model.Manager.Shape, PruningPolicy.Exact, 0).ResidentBytes;
        using var manager = new KvCacheManager(model.Manager.Shape, byteLimit: 3 * tail + 100);
        KvSequence[] sequences = [.. Enumerable.Range(0, 3).Select(_ => manager.CreateSequence(PruningPolicy.Exact))];
        sequences[2].OpenSegment(1);
        Fails.With(KvCacheStatus.OutOfMemory, () => KvStep.Begin(sequences, 1), "sequence 2 of the step", $"{3 * tail + 100}");
        KvStep.Begin(sequences[..2], 1).Dispose();
        foreach (var sequence in sequences)
            sequence.Dispose();
    }

    [Fact]
    public void Impossible_requests_are_refused()
    {
        var shape = new KvModelShape(2, 4, 2, 32, 1000);
        Assert.Throws<ArgumentOutOfRangeException>(() => KvCacheManager.EstimateBytes(shape, PruningPolicy.Dense, -1));
        Assert.Throws<ArgumentOutOfRangeException>(() => KvCacheManager.EstimateBytes(shape, PruningPolicy.Dense, 1, -1));
        Assert.Throws<ArgumentOutOfRangeException>(() => KvCacheManager.EstimateBytes(shape, new() { KeySparsity = 1 }, 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new KvCacheManager(shape, 0));
        KvModelShape[] broken =
        [
            shape with { Layers = 0 }, shape with { QueryHeads = 3 }, shape with { KvHeads = -2 }, shape with { HeadSize = 0 },
            shape with { HeadSize = 100000 }, shape with { MaxTokens = 0 },
        ];
        foreach (var wrong in broken)
        {
            Fails.With(KvCacheStatus.InvalidArgument, () => KvCacheManager.EstimateBytes(wrong, PruningPolicy.Dense, 1));
            Fails.With(KvCacheStatus.InvalidArgument, () => new KvCacheManager(wrong).Dispose());
        }
    }
}
