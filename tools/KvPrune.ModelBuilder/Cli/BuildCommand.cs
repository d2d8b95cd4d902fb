using System.CommandLine;
using Spectre.Console;

namespace KvPrune.ModelBuilder.Cli;

/// <summary>The command line of the model builder.</summary>
internal static class BuildCommand
{
    private static readonly Dictionary<string, WeightPrecision> Precisions = new()
    {
        ["fp32"] = WeightPrecision.Fp32, ["fp16"] = WeightPrecision.Fp16,
        ["int4"] = WeightPrecision.Int4, ["int4-fp16"] = WeightPrecision.Int4Fp16,
    };

    private static readonly Dictionary<string, AttentionLayout> Layouts = new()
    {
        ["packed"] = AttentionLayout.Packed, ["separate"] = AttentionLayout.Separate,
        ["outer-rotary"] = AttentionLayout.OuterRotary, ["multi-head"] = AttentionLayout.MultiHead,
    };

    public static RootCommand Create(IAnsiConsole console, IAnsiConsole errors)
    {
        var output = new Argument<string>("output") { Description = "The model folder to write." };
        var model = new Option<string?>("--model", "-m") 
        {
            Description = "Source: a Hugging Face folder (config.json, model.safetensors or its shards, tokenizer files) of one of the families "
                + string.Join(", ", Enum.GetNames<Architecture>()) + ".",
            HelpName = "folder",
        };
        var random = new Option<string?>("--random")
        {
            Description = "Or, for tests and benchmarks: random weights in the sizes of one of the named shapes.",
            HelpName = string.Join('|', ModelShapes.Named.Keys),
        };
        var precision = new Option<string>("--precision", "-p")
        {
            Description = "How weights and activations are stored; int4 keeps fp32 around its 4-bit weights, int4-fp16 keeps fp16.",
            DefaultValueFactory = _ => "fp32",
        };
        precision.AcceptOnlyFromAmong([.. Precisions.Keys]);
        var block = new Option<int>("--block")
        {
            Description = "With int4 and int4-fp16: weights that share a scale, 32 or 128.",
            DefaultValueFactory = _ => 32,
            HelpName = "number",
        };
        var attention = new Option<string>("--attention")
        {
            Description = "The nodes of an attention layer: as in CPU and CUDA folders, without QKV fusion, with rotary positions outside, "
                + "or MultiHeadAttention.",
            DefaultValueFactory = _ => "packed",
        };
        attention.AcceptOnlyFromAmong([.. Layouts.Keys]);
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

        var command = new RootCommand("Builds a model folder for ONNX Runtime GenAI from a Hugging Face checkpoint or from random weights.")
        {
            output, model, random, precision, block, attention, seed, heads, layers, hidden, intermediate, vocabulary, context, overwrite,
        };
        command.Validators.Add(result =>
        {
            if ((result.GetValue(model) is null) == (result.GetValue(random) is null))
                result.AddError("Name the source: either --model FOLDER or --random SHAPE.");
            else if (result.GetValue(random) is { } name && !ModelShapes.Named.ContainsKey(name))
                result.AddError($"--random {name}: the shapes are {string.Join(", ", ModelShapes.Named.Keys)}.");
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
            var options = new BuildOptions
            {
                Precision = Precisions[parsed.GetValue(precision)!],
                BlockSize = parsed.GetValue(block),
                Attention = Layouts[parsed.GetValue(attention)!],
                Overwrite = parsed.GetValue(overwrite),
            };
            // A task of its own: on Ctrl+C it is the task that the command line waits for, so the call has to return at once.
            return Task.Run(() => Run(console, errors, folder, progress =>
            {
                if (parsed.GetValue(model) is { } checkpoint)
                {
                    HuggingFaceModel.Build(checkpoint, folder, options, progress, cancellation);
                    return;
                }

                var shape = ModelShapes.Named[parsed.GetValue(random)!];
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
                RandomModel.Build(folder, shape, parsed.GetValue(seed), options, progress, cancellation);
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
            Line(errors, Directory.Exists(OutputFolder.PartialFolder(folder))
                ? $"Stopped; the same command goes on from {OutputFolder.PartialFolder(folder)}."
                : "Stopped; nothing was written.");
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
