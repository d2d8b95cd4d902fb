using System.Text.Json;

namespace KvPrune.ModelBuilder.HuggingFace;

/// <summary>
/// The rotary positions of a checkpoint. Older ones have the base and the partial factor at the top and the rest in rope_scaling,
/// newer ones everything in rope_parameters.
/// </summary>
internal static class RopeConfig
{
    public static double Theta(JsonFile config) => Find(config, "rope_theta") ?? 10_000;

    public static double PartialFactor(JsonFile config) => Find(config, "partial_rotary_factor") ?? 1;

    public static RopeScaling? Scaling(JsonFile config, Architecture architecture)
    {
        if (Section(config) is not { } section)
            return null;
        var (property, rope) = section;
        var type = rope.TryGetProperty("rope_type", out var name) || rope.TryGetProperty("type", out name) ? name.ToString() : "?";
        switch (type)
        {
            case "default":
                return null;
            case "linear":
                return new LinearRopeScaling(Number("factor"));
            case "llama3":
                return new Llama3RopeScaling(
                    Number("factor"), Number("low_freq_factor"), Number("high_freq_factor"), OriginalContext());
            // Phi-3's checkpoints call it su at first.
            case "longrope" or "su" when architecture == Architecture.Phi3:
                return new LongRopeScaling(
                    Numbers("short_factor"), Numbers("long_factor"), OriginalContext(), Magnitude("short_mscale"), Magnitude("long_mscale"));
            default:
                throw config.Wrong(property, $"rotary positions of type \"{type}\" are not supported for {architecture}; "
                    + "supported are default, linear, llama3 and, for Phi3, longrope.");
        }

        double Number(string entry) => rope.TryGetProperty(entry, out var value)
            ? config.Double(value, $"{property}.{entry}")
            : throw config.Wrong($"{property}.{entry}", "the property is missing.");

        double? Magnitude(string entry) => rope.TryGetProperty(entry, out var own) ? config.Double(own, $"{property}.{entry}")
            : rope.TryGetProperty("attention_factor", out var both) ? config.Double(both, $"{property}.attention_factor")
            : null;

        double[] Numbers(string entry) => rope.TryGetProperty(entry, out var list) && list.ValueKind == JsonValueKind.Array
            ? [.. list.EnumerateArray().Select(value => config.Double(value, $"{property}.{entry}"))]
            : throw config.Wrong($"{property}.{entry}", "is not a list of numbers.");

        int OriginalContext()
        {
            const string entry = "original_max_position_embeddings";
            if (config.FindInt(entry) is { } context)
                return context;
            var number = Number(entry);
            return number is >= 1 and <= int.MaxValue && number == Math.Floor(number)
                ? (int)number
                : throw config.Wrong($"{property}.{entry}", $"{number} is not a whole number of at least 1.");
        }
    }

    private static double? Find(JsonFile config, string entry)
    {
        if (config.Find(entry) is { } top)
            return config.Double(top, entry);
        return Section(config) is var (property, rope) && rope.TryGetProperty(entry, out var value)
            ? config.Double(value, $"{property}.{entry}")
            : null;
    }

    private static (string Property, JsonElement Rope)? Section(JsonFile config)
    {
        foreach (var property in (string[])["rope_parameters", "rope_scaling"])
        {
            if (config.Find(property) is { } rope)
                return rope.ValueKind == JsonValueKind.Object ? (property, rope) : throw config.Wrong(property, $"{rope} is not an object.");
        }

        return null;
    }
}
