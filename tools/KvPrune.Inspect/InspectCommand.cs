using System.CommandLine;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using KvPrune.AI;
using KvPrune.AI.Models;

namespace KvPrune.Inspect;

/// <summary>The command line of the inspector. Ends with 0 when the folder can be run, else with 1.</summary>
internal static class InspectCommand
{
    private static readonly JsonSerializerOptions JsonFormat = new()
    {
        WriteIndented = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.CamelCase) },
    };

    public static RootCommand Create(TextWriter output, TextWriter errors)
    {
        var folder = new Argument<string>("folder") { Description = "A model folder in ONNX Runtime GenAI's format." };
        var json = new Option<bool>("--json") { Description = "Prints all that was found as JSON." };
        var command = new RootCommand("Says what a model folder holds, what its KV cache takes under each policy, and what stands in the way of running it.")
        {
            folder, json,
        };
        command.SetAction(parsed =>
        {
            try
            {
                ModelInspection inspection = KvPruneModel.Inspect(parsed.GetValue(folder)!);
                if (parsed.GetValue(json)) output.WriteLine(JsonSerializer.Serialize(inspection, JsonFormat));
                else InspectionReport.Write(inspection, output);
                return inspection.Obstacles.Count == 0 ? 0 : 1;
            }
            catch (Exception error) when (error is ArgumentException or DllNotFoundException or IOException or UnauthorizedAccessException)
            {
                errors.WriteLine(error.Message);
                return 1;
            }
        });
        return command;
    }
}
