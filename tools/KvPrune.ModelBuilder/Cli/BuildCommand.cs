using System.CommandLine;
using Spectre.Console;

namespace KvPrune.ModelBuilder.Cli;

/// <summary>The command line of the model builder.</summary>
internal static class BuildCommand
{
    public static RootCommand Create(IAnsiConsole console, IAnsiConsole errors)
    {
        var output = new Argument<string>("output") { Description = "The folder to write." };
        var model = new Option<string?>("--model", "-m") { Description = "A Hugging Face folder with a Llama checkpoint." };
        var random = new Option<string?>("--random")
        {
            Description = $"Random weights instead, in a named shape: {string.Join(", ", LlamaShape.Named.Keys)}.",
        };
        var precision = new Option<string>("--precision", "-p")
        {
            Description = "How linear layers are stored.",
            DefaultValueFactory = _ => "fp32",
        };
        precision.AcceptOnlyFromAmong("fp32", "int4");
        var seed = new Option<int>("--seed") { Description = "Seed of the random weights.", DefaultValueFactory = _ => 1 };
        var heads = new Option<(int Query, int Kv, int Size)?>("--heads")
        {
            Description = "Random: query heads, KV heads and head size, for example 6/2/96.",
            CustomParser = HeadsArgument.Parse,
        };
        var layers = new Option<int?>("--layers") { Description = "Random: number of layers." };
        var hidden = new Option<int?>("--hidden") { Description = "Random: width of the residual stream." };
        var intermediate = new Option<int?>("--intermediate") { Description = "Random: width of the feed-forward layer." };
        var vocabulary = new Option<int?>("--vocabulary") { Description = "Random: number of token ids." };
        var context = new Option<int?>("--context") { Description = "Random: longest sequence in tokens." };
        var overwrite = new Option<bool>("--overwrite") { Description = "Replace files of the same name in a folder that is not empty." };

        var command = new RootCommand("Builds a model folder for ONNX Runtime GenAI from a Hugging Face Llama checkpoint or from random weights.")
        {
            output, model, random, precision, seed, heads, layers, hidden, intermediate, vocabulary, context, overwrite,
        };
        command.Validators.Add(result =>
        {
            if ((result.GetValue(model) is null) == (result.GetValue(random) is null))
                result.AddError("Name the source: either --model FOLDER or --random SHAPE.");
            else if (result.GetValue(random) is { } name && !LlamaShape.Named.ContainsKey(name))
                result.AddError($"--random {name}: the shapes are {string.Join(", ", LlamaShape.Named.Keys)}.");
            else if (result.GetValue(model) is not null)
            {
                foreach (var option in (Option[])[seed, heads, layers, hidden, intermediate, vocabulary, context])
                {
                    if (result.GetResult(option) is { Implicit: false })
                        result.AddError($"{option.Name} goes with --random only; a checkpoint has its own sizes.");
                }
            }
        });
        command.SetAction((parsed, cancellation) =>
        {
            var folder = parsed.GetValue(output)!;
            var weights = parsed.GetValue(precision) == "int4" ? WeightPrecision.Int4 : WeightPrecision.Fp32;
            var replace = parsed.GetValue(overwrite);
            return Task.FromResult(Run(console, errors, folder, progress =>
            {
                if (parsed.GetValue(model) is { } checkpoint)
                {
                    HuggingFaceLlama.Build(checkpoint, folder, weights, replace, progress, cancellation);
                    return;
                }

                var shape = LlamaShape.Named[parsed.GetValue(random)!];
                if (parsed.GetValue(heads) is { } h)
                    shape = shape.WithHeads(h.Query, h.Kv, h.Size);
                shape = shape with
                {
                    Layers = parsed.GetValue(layers) ?? shape.Layers,
                    Hidden = parsed.GetValue(hidden) ?? shape.Hidden,
                    Intermediate = parsed.GetValue(intermediate) ?? shape.Intermediate,
                    Vocabulary = parsed.GetValue(vocabulary) ?? shape.Vocabulary,
                    ContextLength = parsed.GetValue(context) ?? shape.ContextLength,
                };
                RandomLlama.Build(folder, shape, parsed.GetValue(seed), weights, replace, progress, cancellation);
            }));
        });
        return command;
    }

    private static int Run(IAnsiConsole console, IAnsiConsole errors, string folder, Action<IProgress<BuildProgress>> build)
    {
        try
        {
            console.Progress().Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn())
                .Start(context =>
                {
                    var task = context.AddTask("Writing weights");
                    build(new TaskProgress(task));
                    task.Value = task.MaxValue;
                });
            var bytes = Directory.EnumerateFiles(folder).Sum(f => new FileInfo(f).Length);
            Line(console, FormattableString.Invariant($"Wrote {folder}, {bytes / 1e6:F1} MB in all its files."));
            return 0;
        }
        catch (OperationCanceledException)
        {
            Line(errors, "Stopped; nothing was written.");
            return 130;
        }
        catch (Exception e) when (e is ModelSourceException or ArgumentException or IOException or UnauthorizedAccessException)
        {
            Line(errors, e.Message);
            return 1;
        }
    }

    // Past Spectre's word wrap, which would break a path in two.
    private static void Line(IAnsiConsole console, string text) => console.Profile.Out.Writer.WriteLine(text);

    // Not Progress<T>: that posts to the thread pool and could report after the end.
    private sealed class TaskProgress(ProgressTask task) : IProgress<BuildProgress>
    {
        public void Report(BuildProgress value)
        {
            task.MaxValue = value.TotalWeights;
            task.Value = value.Weights;
        }
    }
}
