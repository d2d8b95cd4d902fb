using System.Diagnostics;
using System.Globalization;
using KvPrune.OnnxOps.Tests.Graphs;
using KvPrune.OnnxOps.Tests.Ops;
using Microsoft.ML.OnnxRuntime;

namespace KvPrune.OnnxOps.Tests.Cache;

/// <summary>
/// What a process really takes while a prompt of 8,192 tokens is read, measured in a process of its own that does nothing
/// else. Inputs and outputs of the graph are there before.
/// </summary>
[Collection(KernelChoice.Name)] // not beside tests that keep the cores busy
public class PrefillMemoryTests
{
    private const int Tokens = 8192;

    // Beside the cache: the stock kernel's transposed slices, ONNX Runtime's arena, the allocator, .NET.
    private const long Slack = 16L << 20;

    // What KvBytesEstimate says of models with a softcap.
    private const long Logits = 64L << 20;

    private const string ResultVariable = "KVPRUNE_TEST_MEMORY_RESULT", ChunkVariable = "KVPRUNE_TEST_MEMORY_CHUNK",
        SoftcapVariable = "KVPRUNE_TEST_MEMORY_SOFTCAP";

    [Theory]
    [InlineData(0, 0)]
    [InlineData(512, 0)]
    [InlineData(0, 20)]
    public async Task The_peak_is_the_estimate(int chunk, int softcap)
    {
        var result = Path.GetTempFileName();
        var start = new ProcessStartInfo("dotnet")
        {
            ArgumentList =
            {
                typeof(PrefillMemoryTests).Assembly.Location, "--explicit", "only",
                "--filter-method", $"{typeof(PrefillMemoryTests).FullName}.{nameof(Measure)}",
            },
            Environment =
            {
                [ResultVariable] = result,
                [ChunkVariable] = $"{chunk}",
                [SoftcapVariable] = $"{softcap}",
            },
            RedirectStandardOutput = true,
        };
        using var process = Process.Start(start)!;
        var output = await process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.True(process.ExitCode == 0, output);
        var grown = long.Parse(await File.ReadAllTextAsync(result, TestContext.Current.CancellationToken), CultureInfo.InvariantCulture);
        File.Delete(result);

        var expected = KvCacheManager.EstimateBytes(ModelShape(), PruningPolicy.Dense, Tokens, chunkTokens: chunk).PrefillPeakBytes
            + (softcap > 0 ? Logits : 0);
        TestContext.Current.SendDiagnosticMessage($"{grown} bytes, expected {expected}");
        Assert.InRange(grown, expected * 9 / 10, expected + Slack);
    }

    /// <summary>What the process of <see cref="The_peak_is_the_estimate"/> runs.</summary>
    [Fact(Explicit = true)]
    public void Measure()
    {
        var result = Environment.GetEnvironmentVariable(ResultVariable);
        Assert.SkipWhen(result is null, "It measures for another test.");
        var chunk = Number(ChunkVariable);
        var shape = Shape(Number(SoftcapVariable));
        using var manager = new KvCacheManager(ModelShape());
        using var session = Sessions.Create(ModelFolder.Load(AttentionGraph.Build(shape)).Rewrite(manager.Id, LogitsPositions.All));
        var rows = TokenRows.Random(shape, Tokens, seed: 1);
        var outputs = Enumerable.Range(0, shape.Layers).Select(_ => new float[rows.Query.Length]).ToArray();
        foreach (var output in outputs)
            Array.Fill(output, 1);
        // Whatever is loaded and compiled by a first run.
        using (var first = manager.CreateSequence(PruningPolicy.Dense))
            Read(session, first, rows[..200], outputs, 100);
        GC.Collect();

        File.WriteAllText("/proc/self/clear_refs", "5"); // the peak begins anew
        var before = StatusBytes("VmRSS");
        using var sequence = manager.CreateSequence(PruningPolicy.Dense);
        Read(session, sequence, rows, outputs, chunk > 0 ? chunk : Tokens);
        File.WriteAllText(result, $"{StatusBytes("VmHWM") - before}");
    }

    private static AttentionShape Shape(float softcap) => new(8, 8, 32, Layers: 2) { Softcap = softcap };

    private static KvModelShape ModelShape() => new(2, 8, 8, 32, Tokens);

    private static int Number(string variable) =>
        int.Parse(Environment.GetEnvironmentVariable(variable)!, CultureInfo.InvariantCulture);

    private static void Read(InferenceSession session, KvSequence sequence, TokenRows rows, float[][] outputs, int chunk)
    {
        sequence.OpenSegment(rows.Count);
        for (var done = 0; done < rows.Count; done += chunk)
        {
            var count = Math.Min(chunk, rows.Count - done);
            // Query, key, value and output are equally wide.
            var width = rows.Shape.QueryWidth;
            OrtValue Tensor(float[] values) => OrtValue.CreateTensorValueFromMemory(
                OrtMemoryInfo.DefaultInstance, values.AsMemory(done * width, count * width), [1, count, width]);

            using var step = KvStep.Begin(sequence, count);
            using var query = Tensor(rows.Query);
            using var key = Tensor(rows.Key);
            using var value = Tensor(rows.Value);
            using var handles = OrtValue.CreateTensorValueFromMemory(new[] { sequence.Handle }, [1]);
            using var lengths = OrtValue.CreateTensorValueFromMemory(new[] { done + count - 1 }, [1]);
            using var total = OrtValue.CreateTensorValueFromMemory(new[] { done + count }, [1]);
            OrtValue[] results = [.. outputs.Select(Tensor)];
            using var options = new RunOptions();
            session.Run(
                options,
                ["query", "key", "value", KvPruneOps.SequenceHandlesInput, "seqlens_k", "total_sequence_length"],
                [query, key, value, handles, lengths, total],
                [.. outputs.Select((_, layer) => $"output.{layer}")],
                results);
            foreach (var output in results)
                output.Dispose();
            step.Commit();
        }
    }

    private static long StatusBytes(string name)
    {
        var line = File.ReadLines("/proc/self/status").Single(line => line.StartsWith(name + ":", StringComparison.Ordinal));
        return 1024 * long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);
    }
}
