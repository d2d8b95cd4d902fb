using System.CommandLine;
using System.Text.Json;
using KvPrune.Benchmarks.Measuring;
using KvPrune.OnnxOps;
using Microsoft.ML.OnnxRuntime;

namespace KvPrune.Benchmarks.Attention;

/// <summary>The command line of the attention benchmark.</summary>
internal static class AttentionCommand
{
    private const int Pairs = 31;
    private const int QuickPairs = 11;

    private static readonly Option<int[]> Context = new("--context")
    {
        Description = "Tokens attended to; several are allowed.",
        AllowMultipleArgumentsPerToken = true,
        DefaultValueFactory = _ => [8192],
    };

    private static readonly Option<string[]> Shape = new("--shape")
    {
        Description = "QUERYHEADS/KVHEADS/HEADSIZE; several are allowed.",
        AllowMultipleArgumentsPerToken = true,
        DefaultValueFactory = _ => ["32/8/64", "28/4/128"],
    };

    private static readonly Option<string[]> Format = new("--format")
    {
        Description = $"Formats to measure: {string.Join(", ", AttentionFormats.All)}. Default: all.",
        AllowMultipleArgumentsPerToken = true,
    };

    private static readonly Option<int> NewTokens = new("--new-tokens")
    {
        Description = "The last tokens of the context that one step reads: 1 is decoding, more a follow-up prompt, 0 the whole context.",
        DefaultValueFactory = _ => 1,
    };

    private static readonly Option<int> Chunk = new("--chunk")
    {
        Description = "New tokens that one run takes at most. Default: all.",
    };

    private static readonly Option<float> Softcap = new("--softcap")
    {
        Description = "Bound of the attention logits, as in Gemma 2. Default: none.",
    };

    private static readonly Option<int[]> Threads = new("--threads")
    {
        Description = "Threads of one operator. Several are allowed: their speed-up is over the first.",
        AllowMultipleArgumentsPerToken = true,
        DefaultValueFactory = _ => [1],
    };

    private static readonly Option<int[]> Batch = new("--batch")
    {
        Description = "Sequences that one step decodes together; several are allowed.",
        AllowMultipleArgumentsPerToken = true,
        DefaultValueFactory = _ => [1],
    };

    private static readonly Option<string[]> Kernels = new("--kernels")
    {
        Description = "Kernels to measure: scalar, avx2, avx512 or avx512_bf16; several are allowed. Default: the best that this CPU runs; "
            + "without --format also avx2, where a goal is set for it.",
        AllowMultipleArgumentsPerToken = true,
    };

    private static readonly Option<bool> Quick = new("--quick")
    {
        Description = "Under a minute: fewer repetitions, and by default the formats that a goal is set for.",
    };

    private static readonly Option<bool> Json = new("--json") { Description = "Print rows as JSON and nothing else." };

    public static Command Create()
    {
        // Below two windows there is nothing sealed to read.
        Context.Between(192, 1 << 20);
        Batch.Between(1, 256);
        Threads.Between(1, 1024);
        NewTokens.Between(0, 1 << 20);
        Chunk.Between(1, 1 << 20);
        Softcap.Between(0, 1000);
        Format.AcceptOnlyFromAmong([.. AttentionFormats.All]);
        Shape.Validators.Add(result =>
        {
            try
            {
                _ = result.Tokens.Select(token => AttentionShape.Parse(token.Value)).ToArray();
            }
            catch (FormatException e)
            {
                result.AddError(e.Message);
            }
        });
        var command = new Command("attention", "A step of attention against ONNX Runtime's GroupQueryAttention in 32-bit floats.")
        {
            Context, Batch, NewTokens, Chunk, Softcap, Shape, Format, Threads, Kernels, Quick, Json,
        };
        command.SetAction(Run);
        return command;
    }

    private static int Run(ParseResult parsed)
    {
        if (parsed.GetValue(NewTokens) != 1 && parsed.GetValue(Batch)!.Any(sequences => sequences > 1))
        {
            parsed.InvocationConfiguration.Error.WriteLine("--batch is for decoding; with --new-tokens a step has one sequence.");
            return 1;
        }

        var json = parsed.GetValue(Json);
        var flush = new CacheFlush();
        var rows = new List<AttentionRow>();
        var timeKinds = new SortedSet<string>(StringComparer.Ordinal);
        try
        {
            foreach (var inputs in AllInputs(parsed))
            {
                var firstRow = rows.Count;
                PruningPolicy[] policies =
                [
                    .. Formats(parsed).Where(AttentionFormats.Policies.ContainsKey).Select(format => AttentionFormats.Policies[format])
                        .Where(policy => !AttentionFormats.ObservesWholePrompt(policy)),
                ];
                using var past = new FilledPast(inputs, policies, inputs.Past);
                foreach (var threads in parsed.GetValue(Threads)!)
                {
                    var benchmark = new AttentionBenchmark(flush, threads, parsed.GetValue(Quick) ? QuickPairs : Pairs);
                    timeKinds.Add(benchmark.TimeKind);
                    using var stock = new StockAttention(inputs, threads);
                    foreach (var format in Formats(parsed))
                    {
                        if (!json)
                            parsed.InvocationConfiguration.Error.WriteLine($"{inputs.Shape}, {inputs.Tokens} tokens, {format} ...");
                        foreach (var row in benchmark.Run(format, KernelsFor(parsed, format), past, stock))
                            rows.Add(WithSpeedup(row, rows[firstRow..]));
                    }
                }
            }
        }
        catch (Exception e) when (e is InvalidOperationException or KvCacheException or OnnxRuntimeException)
        {
            parsed.InvocationConfiguration.Error.WriteLine(e.Message);
            return 1;
        }
        finally
        {
            KvPruneOps.UseKernels(null);
        }

        if (rows.Count == 0)
        {
            parsed.InvocationConfiguration.Error.WriteLine(
                $"There is nothing to measure: {AttentionFormats.StockInt8} only decodes, one sequence and without softcap; "
                + "formats that observe a whole prompt need --new-tokens 0.");
            return 1;
        }

        if (json)
        {
            parsed.InvocationConfiguration.Output.WriteLine(JsonSerializer.Serialize(rows));
            return 0;
        }

        AttentionRowTable.Print(rows);
        parsed.InvocationConfiguration.Output.WriteLine(FormattableString.Invariant(
            $"Times are medians of {string.Join(" or ", timeKinds)}. Before each step {flush.BufferBytes >> 20} MiB of other data are read (last-level cache: {flush.LastLevelBytes >> 20} MiB), so that the cache rows come from memory, which one thread reads at {flush.OneThreadBandwidth / 1e9:f1} GB/s and {Environment.ProcessorCount} at {flush.AllThreadsBandwidth / 1e9:f1}."));
        return 0;
    }

    private static IEnumerable<AttentionInputs> AllInputs(ParseResult parsed)
    {
        foreach (var shape in parsed.GetValue(Shape)!)
        {
            foreach (var context in parsed.GetValue(Context)!)
            {
                foreach (var batch in parsed.GetValue(Batch)!)
                {
                    yield return new AttentionInputs(
                        AttentionShape.Parse(shape), context, parsed.GetValue(NewTokens), parsed.GetValue(Chunk), batch, parsed.GetValue(Softcap));
                }
            }
        }
    }

    private static IReadOnlyList<string> Formats(ParseResult parsed) =>
        parsed.GetValue(Format) is { Length: > 0 } chosen ? chosen : parsed.GetValue(Quick) ? AttentionFormats.Quick : AttentionFormats.All;

    private static string[] KernelsFor(ParseResult parsed, string format)
    {
        if (parsed.GetValue(Kernels) is { Length: > 0 } chosen)
            return chosen;
        KvPruneOps.UseKernels(null);
        var best = KvPruneOps.Kernels;
        var narrower = best.StartsWith("avx512", StringComparison.Ordinal) && parsed.GetValue(Format) is not { Length: > 0 }
            && AttentionGoals.Avx2Formats.Contains(format);
        return narrower ? [best, "avx2"] : [best];
    }

    private static AttentionRow WithSpeedup(AttentionRow row, IEnumerable<AttentionRow> others)
    {
        var fewest = others.FirstOrDefault(other => other.Format == row.Format && other.Kernels == row.Kernels);
        return fewest is null ? row : row with { Speedup = Math.Round(fewest.Median / row.Median, 3) };
    }
}
