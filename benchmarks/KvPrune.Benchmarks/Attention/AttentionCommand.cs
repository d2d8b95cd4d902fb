using KvPrune.Benchmarks.Measuring;
using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using KvPrune.OnnxOps;
using Microsoft.ML.OnnxRuntime;
using Spectre.Console;

namespace KvPrune.Benchmarks.Attention;

/// <summary>The command line of the attention benchmark.</summary>
internal static class AttentionCommand
{
    private const int Pairs = 31;
    private const int QuickPairs = 15;

    private static readonly Option<int[]> Context = new("--context")
    {
        Description = "Tokens attended to; several are allowed.",
        AllowMultipleArgumentsPerToken = true,
        DefaultValueFactory = _ => [8192],
    };

    private static readonly Option<string[]> Shape = new("--shape")
    {
        Description = "QUERYHEADS/KVHEADS/HEADSIZE; several are allowed. Default: 32/8/64 and 28/4/128.",
        AllowMultipleArgumentsPerToken = true,
    };

    private static readonly Option<string[]> Format = new("--format")
    {
        Description = $"Formats to measure: {string.Join(", ", AttentionFormats.All)}. Default: all.",
        AllowMultipleArgumentsPerToken = true,
    };

    private static readonly Option<int> Threads = new("--threads")
    {
        Description = "Threads of one operator.",
        DefaultValueFactory = _ => 1,
    };

    private static readonly Option<string?> Kernels = new("--kernels")
    {
        Description = "Kernels to measure: scalar, avx2, avx512 or avx512_bf16. Default: the best that this CPU runs.",
    };

    private static readonly Option<bool> Quick = new("--quick")
    {
        Description = "Under a minute: by default only 32/8/64 and four formats, with fewer repetitions.",
    };

    private static readonly Option<bool> Json = new("--json") { Description = "Print rows as JSON and nothing else." };

    public static Command Create()
    {
        Context.Validators.Add(result =>
        {
            // Below two windows there is nothing sealed to read.
            if (result.GetValueOrDefault<int[]>()?.Any(tokens => tokens is < 192 or > 1 << 20) ?? false)
                result.AddError("--context takes 192 to 1048576 tokens.");
        });
        Threads.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() is < 1 or > 1024)
                result.AddError("--threads takes 1 to 1024.");
        });
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
        var command = new Command("attention", "One decode step of attention against ONNX Runtime's GroupQueryAttention in 32-bit floats.")
        {
            Context, Shape, Format, Threads, Kernels, Quick, Json,
        };
        command.SetAction(Run);
        return command;
    }

    private static int Run(ParseResult parsed)
    {
        var quick = parsed.GetValue(Quick);
        var json = parsed.GetValue(Json);
        var threads = parsed.GetValue(Threads);
        var shapes = parsed.GetValue(Shape) is { Length: > 0 } given ? given : quick ? ["32/8/64"] : ["32/8/64", "28/4/128"];
        var formats = parsed.GetValue(Format) is { Length: > 0 } chosen ? chosen : quick ? AttentionFormats.Quick : AttentionFormats.All;
        var flush = new CacheFlush();
        var benchmark = new AttentionBenchmark(flush, threads, quick ? QuickPairs : Pairs);
        var rows = new List<AttentionRow>();
        try
        {
            KvPruneOps.UseKernels(parsed.GetValue(Kernels));
            foreach (var shape in shapes.Select(AttentionShape.Parse))
            {
                foreach (var context in parsed.GetValue(Context)!)
                {
                    var inputs = new AttentionInputs(shape, context);
                    using var stock = new StockAttention(inputs, threads);
                    foreach (var format in formats)
                    {
                        if (!json)
                            Console.Error.WriteLine($"{shape}, {context} tokens, {format} ...");
                        rows.Add(benchmark.Run(format, inputs, stock));
                    }
                }
            }
        }
        catch (Exception e) when (e is InvalidOperationException or KvCacheException or OnnxRuntimeException)
        {
            Console.Error.WriteLine(e.Message);
            return 1;
        }

        if (json)
            Console.WriteLine(JsonSerializer.Serialize(rows));
        else
            Print(rows, flush, benchmark);
        return 0;
    }

    private static void Print(List<AttentionRow> rows, CacheFlush flush, AttentionBenchmark benchmark)
    {
        var table = new Table().Border(TableBorder.Simple);
        foreach (var column in new[] { "shape", "context", "threads", "format", "stock µs", "µs", "× stock", "quartiles", "bytes/dense16", "GB/s" })
            table.AddColumn(new TableColumn(column).NoWrap().RightAligned());
        foreach (var row in rows)
        {
            table.AddRow(
                row.Shape, Text(row.Context), Text(row.Threads), row.Format,
                Text(row.StockMedian.TotalMicroseconds, "f0"), Text(row.Median.TotalMicroseconds, "f0"),
                Text(row.RatioVsStock, "f2"), $"{Text(row.LowerQuartile, "f2")}-{Text(row.UpperQuartile, "f2")}",
                Text(row.BytesVsDense16, "f3"), Text(row.Gbps, "f1"));
        }

        // A file has no width to break lines at.
        if (Console.IsOutputRedirected)
            AnsiConsole.Profile.Width = Math.Max(AnsiConsole.Profile.Width, 200);
        AnsiConsole.Write(table);
        AnsiConsole.MarkupLineInterpolated(
            $"Kernels: {KvPruneOps.Kernels}. Times are medians of {benchmark.TimeKind}. Before each step {flush.BufferBytes >> 20} MiB of other data are read (last-level cache: {flush.LastLevelBytes >> 20} MiB), at {benchmark.ReadBandwidth / 1e9:f1} GB/s with one thread, so the cache rows come from memory.");
    }

    private static string Text(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);

    private static string Text(int value) => value.ToString(CultureInfo.InvariantCulture);
}
