using System.Text.Json;

namespace KvPrune.ModelBuilder.HuggingFace;

/// <summary>Which layers of a checkpoint see a window of their past only.</summary>
internal static class SlidingWindowConfig
{
    /// <returns>The window in tokens and the layers that have it, null for the architecture's own; a null window for none.</returns>
    public static (int? Window, IReadOnlyList<int>? Layers) Read(JsonFile config, Architecture architecture, int layers)
    {
        const string property = "sliding_window";
        var window = config.FindInt(property);
        switch (architecture)
        {
            case Architecture.Llama when window is not null:
                throw config.Wrong(property, "a Llama has no sliding window.");
            case Architecture.Qwen2 or Architecture.Qwen3 when !config.Flag("use_sliding_window", whenMissing: false):
                return (null, null);
            case Architecture.Mistral or Architecture.Gemma2 or Architecture.Qwen2 or Architecture.Qwen3 when !config.Has(property):
                window = 4_096;
                break;
        }

        if (window is null)
            return (null, null);
        if (config.Find("layer_types") is { } types)
            return (window, LayersOf(config, types, layers));
        if (architecture is not (Architecture.Qwen2 or Architecture.Qwen3))
            return (window, null);
        var first = config.FindInt("max_window_layers") ?? 28;
        return (window, [.. Enumerable.Range(0, Math.Max(0, layers)).Where(layer => layer >= first)]);
    }

    private static List<int> LayersOf(JsonFile config, JsonElement types, int layers)
    {
        if (types.ValueKind != JsonValueKind.Array || types.GetArrayLength() != layers)
            throw config.Wrong("layer_types", $"is not a list of {layers} entries, one per layer.");
        var windowed = new List<int>();
        foreach (var (layer, type) in types.EnumerateArray().Index())
        {
            if (type.ValueKind == JsonValueKind.String && type.ValueEquals("sliding_attention"))
                windowed.Add(layer);
            else if (type.ValueKind != JsonValueKind.String || !type.ValueEquals("full_attention"))
                throw config.Wrong("layer_types", $"{type} of layer {layer} is neither full_attention nor sliding_attention.");
        }

        return windowed;
    }
}
