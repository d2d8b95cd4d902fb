using System.CommandLine;
using Spectre.Console;

namespace KvPrune.ModelBuilder.Cli;

/// <summary>The command line of the model builder.</summary>
internal static class BuildCommand
{
    public static RootCommand Create(IAnsiConsole console, IAnsiConsole errors)
    {
        var output = new Argument<string>("output") { Description = "The model folder to write." };
        var model = new Option<string?>("--model", "-m") 
        {
            Description = "Source: a Hugging Face folder of a Llama model (config.json, model.safetensors, tokenizer files).",
            HelpName = "folder",
        };
        var random = new Option<string?>("--random")
        {
            Description = "Or, for tests and benchmarks: random weights in the sizes of one of the named shapes.",
            HelpName = string.Join('|', LlamaShape.Named.Keys),
        };
        var precision = new Option<string>("--precision", "-p")
        {
            Description = "How the weights of linear layers are stored: 32-bit, or 4-bit in blocks.",
            DefaultValueFactory = _ => "fp32",
        };
        precision.AcceptOnlyFromAmong("fp32", "int4");
        var seed = new Option<int>("--seed") 
        {
            Description = "With --random: the same seed gives the same weights.",
            DefaultValueFactory = _ => 1,
            HelpName = "number",
        };
        var heads = new Option<(int Query, int Kv, int Size)?>("--heads")
        {
            Description = "With --random: query heads, KV heads and head size, for example 6/2/96.",
            HelpName = "query/kv/size",
            CustomParser = HeadsArgument.Parse,
        };
        var layers = new Option<int?>("--layers") { Description = "With --random: number of layers.", HelpName = "number" };
        var hidden = new Option<int?>("--hidden") { Description = "With --random: hidden size.", HelpName = "number" };
        var intermediate = new Option<int?>("--intermediate") { Description = "With --random: width of the feed-forward layers.", HelpName = "number" };
        var vocabulary = new Option<int?>("--vocabulary") { Description = "With --random: number of token ids.", HelpName = "number" };
        var context = new Option<int?>("--context") { Description = "With --random: longest sequence, prompt and answer, in tokens.", HelpName = "number" };
        var overwrite = new Option<bool>("--overwrite") 
        {
            Description = "Write into a folder that is not empty: replaces the model in it and leaves other files.",
        };

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
            // A task of its own: on Ctrl+C it is the task that the command line waits for, so the call has to return at once.
            return Task.Run(() => Run(console, errors, folder, progress =>
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
            }), CancellationToken.None);
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
