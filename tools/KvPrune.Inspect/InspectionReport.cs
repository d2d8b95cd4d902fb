using System.Globalization;
using KvPrune.AI.Models;
using Spectre.Console;

namespace KvPrune.Inspect;

/// <summary>Prints an inspection for people.</summary>
internal static class InspectionReport
{
    public static void Write(ModelInspection inspection, TextWriter output)
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(output) });
        console.Write(Facts(inspection));
        if (inspection.KvBytesPer1000Tokens.Count > 0) console.Write(Policies(inspection));
        if (inspection.Obstacles.Count == 0)
        {
            output.WriteLine("Nothing stands in the way of running it.");
            return;
        }
        output.WriteLine("It cannot be run as it is:");
        // Past Spectre's word wrap, which would break a path in two.
        foreach (ModelObstacle obstacle in inspection.Obstacles) output.WriteLine($"- {Name(obstacle.Part)}: {obstacle.Problem}");
        if (inspection.Obstacles.All(obstacle => obstacle.Part is ModelPart.Tokenizer or ModelPart.ChatTemplate)
            && File.Exists(Path.Combine(inspection.Folder, "tokenizer.json")))
            output.WriteLine("The runtime GenAI reads tokenizers and chat templates by itself and may run it.");
    }

    private static Grid Facts(ModelInspection inspection)
    {
        var grid = new Grid().AddColumn(new GridColumn().NoWrap()).AddColumn();
        void Add(string name, FormattableString value) =>
            grid.AddRow(new Text(name), new Text(value.ToString(CultureInfo.InvariantCulture)));
        Add("folder", $"{inspection.Folder}");
        if (inspection.Configuration is { } configuration)
        {
            Add("architecture", $"{(configuration.ModelType.Length > 0 ? configuration.ModelType : "not named")}");
            Add("context", $"{configuration.ContextLength:N0} tokens");
            Add("vocabulary", $"{configuration.VocabularySize:N0} tokens");
            Add("model files", $"{inspection.ModelBytes / 1e6:N1} MB");
            if (configuration.IgnoredSettings.Count > 0) Add("left out", $"{string.Join(", ", configuration.IgnoredSettings)}");
        }
        if (inspection.Shape is { } shape)
        {
            Add("attention", $"{shape.Layers} layers, {shape.QueryHeads} query heads, {shape.KvHeads} KV heads of {shape.HeadSize} channels");
            Add("rewritten", $"{inspection.AttentionNodes.Count} attention nodes, {inspection.AttentionNodes[0]} to {inspection.AttentionNodes[^1]}");
        }
        return grid;
    }

    private static Table Policies(ModelInspection inspection)
    {
        var table = new Table().AddColumn("policy").AddColumn("KV bytes per 1,000 tokens").AddColumn("of dense 16-bit");
        table.Columns[1].RightAligned();
        table.Columns[2].RightAligned();
        foreach ((string name, long bytes) in inspection.KvBytesPer1000Tokens)
        {
            table.AddRow(
                name,
                bytes.ToString("N0", CultureInfo.InvariantCulture),
                ((double)bytes / inspection.DenseKvBytesPer1000Tokens).ToString("0.00", CultureInfo.InvariantCulture));
        }
        return table;
    }

    private static string Name(ModelPart part) => part switch
    {
        ModelPart.Configuration => "configuration",
        ModelPart.Graph => "graph",
        ModelPart.Tokenizer => "tokenizer",
        _ => "chat template",
    };
}
