using System.Text.Json;
using System.Text.Json.Nodes;

namespace KvPrune.ModelBuilder;

/// <summary>Writes genai_config.json with the fields that GenAI's own model builder writes.</summary>
internal static class GenAIConfigFile
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true, IndentSize = 4 };

    public static void Write(string folder, ModelShape shape, BuildOptions options, ModelSettings settings)
    {
        var (tokens, search) = settings;
        var inputs = new JsonObject { ["input_ids"] = "input_ids", ["attention_mask"] = "attention_mask" };
        if (options.RotaryOutside)
            inputs["position_ids"] = "position_ids";
        inputs["past_key_names"] = "past_key_values.%d.key";
        inputs["past_value_names"] = "past_key_values.%d.value";
        var config = new JsonObject
        {
            ["model"] = new JsonObject
            {
                ["bos_token_id"] = tokens.Bos,
                ["context_length"] = shape.ContextLength,
                ["decoder"] = new JsonObject
                {
                    ["session_options"] = new JsonObject
                    {
                        ["log_id"] = "onnxruntime-genai",
                        ["provider_options"] = new JsonArray(),
                    },
                    ["filename"] = "model.onnx",
                    ["head_size"] = shape.HeadSize,
                    ["hidden_size"] = shape.Hidden,
                    ["inputs"] = inputs,
                    ["outputs"] = new JsonObject
                    {
                        ["logits"] = "logits",
                        ["present_key_names"] = "present.%d.key",
                        ["present_value_names"] = "present.%d.value",
                    },
                    ["num_attention_heads"] = shape.QueryHeads,
                    ["num_hidden_layers"] = shape.Layers,
                    ["num_key_value_heads"] = shape.KvHeads,
                },
                // GenAI writes a single end token as a number and several as a list.
                ["eos_token_id"] = tokens.Eos.Count == 1 ? tokens.Eos[0] : new JsonArray([.. tokens.Eos]),
                ["pad_token_id"] = tokens.Pad,
                ["type"] = shape.Architecture.ToString().ToLowerInvariant(),
                ["vocab_size"] = shape.Vocabulary,
            },
            ["search"] = new JsonObject
            {
                ["diversity_penalty"] = 0.0,
                ["do_sample"] = search.Sample,
                ["early_stopping"] = true,
                ["length_penalty"] = 1.0,
                ["max_length"] = shape.ContextLength,
                ["min_length"] = 0,
                ["no_repeat_ngram_size"] = 0,
                ["num_beams"] = 1,
                ["num_return_sequences"] = 1,
                ["past_present_share_buffer"] = options.Attention != AttentionLayout.MultiHead,
                ["repetition_penalty"] = search.RepetitionPenalty,
                ["temperature"] = search.Temperature,
                ["top_k"] = search.TopK,
                ["top_p"] = search.TopP,
            },
        };
        File.WriteAllText(Path.Combine(folder, "genai_config.json"), config.ToJsonString(Indented) + "\n");
    }
}
