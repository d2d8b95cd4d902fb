using KvPrune.OnnxOps.Tests.Graphs;
using KvPrune.OnnxOps.Tests.Reference;

namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>Every policy computes what its definition says, on plain and on the best kernels.</summary>
[Collection(KernelChoice.Name)]
public sealed class PolicyReferenceTests : IDisposable
{
    private static readonly AttentionShape[] Shapes =
    [
        new(4, 4, 64), new(8, 2, 64), new(8, 1, 128), new(6, 2, 96), new(8, 2, 64, Rotary: true),
    ];

    // The last prompts of a case see all of what their windows end in: sealed tiles, the tail, one row.
    private static readonly AttentionShape[] Variants =
    [
        new(8, 2, 64, Rotary: true) { Window = 100, Softcap = 4, HeadSink = true, RotarySize = 32 },
        new(6, 2, 32, Rotary: true) { Window = 20, SmoothSoftmax = true, Interleaved = true },
        new(4, 1, 80, Rotary: true) { Softcap = 20, Window = 64, Packed = true },
        new(4, 2, 160) { HeadSink = true, Window = 65 },
        new(2, 1, 256, Rotary: true) { Softcap = 1, Window = 1 },
    ];

    internal static readonly PruningPolicy[] Policies =
    [
        .. PruningPolicy.Presets.Values.Where(preset => !preset.NeedsDeferredSegment),
        new() { KeySparsity = 0.5, ValueSparsity = 0.5 },
        new() { KeySparsity = 0.7, ValueSparsity = 0.7, KeyStorage = KvStorage.Int8, ValueStorage = KvStorage.Int8 },
        new() { KeySparsity = 0.5, KeyStorage = KvStorage.Float32, ValueStorage = KvStorage.Float32, RecentWindow = 0 },
        new() { KeyChannelSparsity = 0.3, KeySparsity = 0.6, ValueSparsity = 0.2, ValueStorage = KvStorage.Float32 },
        new() { KeyChannelSparsity = 0.75, KeyStorage = KvStorage.Float32, ObservationWindow = 5, RecentWindow = 7 },
        new() { KeySparsity = 0.999, ValueSparsity = 0.999, ValueStorage = KvStorage.Int8, RecentWindow = 1 },
        Both(KvStorage.Float16),
        Both(KvStorage.Float16) with { KeyChannelSparsity = 0.4, KeySparsity = 0.5, ValueSparsity = 0.7 },
        Both(KvStorage.Int4),
        Both(KvStorage.Int4) with { KeyChannelSparsity = 0.4, RecentWindow = 0 },
        Both(KvStorage.Int4) with { KeySparsity = 0.5, ValueSparsity = 0.7 },
        new() { KeyStorage = KvStorage.Int4, KeyChannelSparsity = 0.3, ValueStorage = KvStorage.Float16, ValueSparsity = 0.5 },
        new() { KeyStorage = KvStorage.Float16, KeyChannelSparsity = 0.6, ValueStorage = KvStorage.Int4, RecentWindow = 3 },
        new() { KeyStorage = KvStorage.Int8, KeySparsity = 0.3, ValueStorage = KvStorage.Int4 },
        new() { KeyStorage = KvStorage.Int4, ValueStorage = KvStorage.Float32, ValueSparsity = 0.7 },
        new() { KeyStorage = KvStorage.Float32, KeyChannelSparsity = 0.2, ValueStorage = KvStorage.Int4, ValueSparsity = 0.4 },
        new() { ValueChannelSparsity = 0.4, RecentWindow = 0 },
        Both(KvStorage.Int8) with { KeyChannelSparsity = 0.4, ValueChannelSparsity = 0.3, KeySparsity = 0.5, ValueSparsity = 0.5 },
        Both(KvStorage.Int4) with { ValueChannelSparsity = 0.5, KeyScore = KeyScore.QueryRms, KeySparsity = 0.6 },
        PerChannel(Both(KvStorage.Float32)),
        PerChannel(Both(KvStorage.Int8)) with { KeyChannelSparsity = 0.4, ValueScore = ValueScore.Attention },
        PerChannel(Both(KvStorage.Int4)) with { ValueChannelSparsity = 0.25, ObservationWindow = 5 },
        PerChannel(Both(KvStorage.Float16)) with { ValueScore = ValueScore.Attention, RecentWindow = 5 },
        PerChannel(new()) with { KeyPattern = SparsityPattern.PerToken, KeyScore = KeyScore.QueryMagnitude },
        new() { KeySparsity = 0.5, KeyScore = KeyScore.QueryMagnitude, ValueSparsity = 0.5, ValueScore = ValueScore.OutputWeight },
        Both(KvStorage.Int8) with { KeySparsity = 0.7, KeyScore = KeyScore.QueryRms, KeyChannelSparsity = 0.2 },
        Both(KvStorage.Int4) with { ValueSparsity = 0.7, ValueScore = ValueScore.OutputWeight, ValueChannelSparsity = 0.2 },
        Both(KvStorage.Int8) with { ValueSparsity = 0.3, Layers = [new() { KeyChannelSparsity = 0.5, ValueSparsity = 0.6 }] },
    ];

    // The kernels that this CPU runs.
    private static readonly string[] Kernels = [.. new[] { "scalar", "avx2", "avx512", "avx512_bf16" }.Where(Runs)];

    private readonly Dictionary<AttentionShape, PrunedAttentionModel> _models = [];

    public static TheoryData<int> Cases => [.. Enumerable.Range(0, Policies.Length)];

    [Fact]
    public void The_best_kernels_are_among_those_that_are_compared()
    {
        Assert.Equal("scalar", Kernels[0]);
        Assert.Contains(KvPruneOps.Kernels, Kernels);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Output_and_kept_rows_equal_the_reference(int policyIndex)
    {
        var policy = Policies[policyIndex];
        var random = new Random(policyIndex);
        int[] lengths = [1, 31, 32, 33, 63, 64, 65, 95, 96, 97, 127, 128, 129, random.Next(130, 260)];
        foreach (var (index, length) in lengths.Index())
            Compare(Shapes[(index + policyIndex) % Shapes.Length], policy, length, generated: 2, second: 0, seed: index);

        // Generated tokens cross a tile's border, and a second prompt follows over sealed rows.
        var (first, second) = (random.Next(60, 130), random.Next(30, 140));
        Compare(Shapes[policyIndex % Shapes.Length], policy, first, generated: 100, second, seed: 77);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Windows_softcaps_and_sinks_equal_the_reference(int policyIndex)
    {
        foreach (var (index, shape) in Variants.Index())
        {
            var random = new Random(100 * policyIndex + index);
            Compare(shape, Policies[policyIndex], random.Next(100, 230), generated: 70, random.Next(2, 140), seed: index);
        }
    }

    [Fact]
    public void Every_head_size_equals_the_reference()
    {
        for (var size = 8; size <= 256; size += 8)
        {
            Compare(
                new AttentionShape(4, 2, size), Policies[size / 8 % Policies.Length], prompt: 100, generated: 5, second: 10, seed: size);
        }
    }

    private static PruningPolicy PerChannel(PruningPolicy policy) => policy with
    {
        KeyPattern = SparsityPattern.PerChannel,
        KeySparsity = 0.5,
        ValuePattern = SparsityPattern.PerChannel,
        ValueSparsity = 0.7,
    };

    private static PruningPolicy Both(KvStorage storage) => new() { KeyStorage = storage, ValueStorage = storage };

    public void Dispose()
    {
        KvPruneOps.UseKernels(null);
        foreach (var model in _models.Values)
            model.Dispose();
    }

    private void Compare(AttentionShape shape, PruningPolicy policy, int prompt, int generated, int second, int seed)
    {
        var gram = RandomGram.Of(shape, seed: 5);
        if (!_models.TryGetValue(shape, out var model))
        {
            _models[shape] = model = new PrunedAttentionModel(shape);
            model.Manager.SetOutputGram(0, gram);
        }

        var reference = new ReferenceSequence(shape, policy, 0, gram);
        var sequences = Kernels.ToDictionary(kernels => kernels, _ => model.Manager.CreateSequence(policy));
        var rows = TokenRows.Random(shape, prompt + (2 * generated) + second, seed);
        var done = 0;
        var phases = new[] { (prompt, true), (generated, false), (second, true), (generated, false) };
        foreach (var (count, isPrompt) in second == 0 ? phases[..2] : phases)
        {
            var part = rows[done..(done + count)];
            done += count;
            var expected = isPrompt ? reference.Prompt(part) : reference.Decode(part);
            foreach (var (kernels, sequence) in sequences)
            {
                KvPruneOps.UseKernels(kernels);
                var what = $"{policy} with {kernels}, {shape}, {count} tokens up to {done}";
                var actual = isPrompt ? model.Prompt(sequence, part) : model.Decode(sequence, part);
                Close.Rows(expected, actual, shape.HeadSize, Tolerance(shape, policy, kernels), what);
                foreach (var (head, own) in reference.Heads.Index())
                    StoredRows.AreThoseOf(own, model, sequence, 0, head, what);
            }
        }

        foreach (var sequence in sequences.Values)
            sequence.Dispose();
    }

    /// <summary>How far outputs may be from the reference's, relative to the largest of a row.</summary>
    // Most kernels compute in float. For integers the vector ones round queries and weights too, to 15 and 16 bits, for
    // bfloat16 those of the bf16 instructions to bfloat16. Rotation in single precision may move an entry that is decoded by a
    // whole step of its storage.
    internal static double Tolerance(AttentionShape shape, PruningPolicy policy, string kernels)
    {
        KvStorage[] storages = [policy.KeyStorage, policy.ValueStorage];
        return kernels != "scalar" && storages.Any(storage => storage is KvStorage.Int8 or KvStorage.Int4) ? 2e-3
            : kernels == "avx512_bf16" && storages.Contains(KvStorage.BFloat16) ? 0.01
            : shape.Rotary && storages.Any(storage => storage != KvStorage.Float32) ? 2e-4
            : 2e-5;
    }

    private static bool Runs(string kernels)
    {
        try
        {
            KvPruneOps.UseKernels(kernels);
            return true;
        }
        catch (KvCacheException e) when (e.Status == KvCacheStatus.Unsupported)
        {
            return false;
        }
        finally
        {
            KvPruneOps.UseKernels(null);
        }
    }
}
