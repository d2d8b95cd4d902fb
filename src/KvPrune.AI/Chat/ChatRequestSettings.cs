using KvPrune.AI.Engine;
using KvPrune.AI.Sampling;
using KvPrune.OnnxOps;
using Microsoft.Extensions.AI;

namespace KvPrune.AI.Chat;

/// <summary>What ChatOptions and the model's defaults come to for one request.</summary>
internal sealed record ChatRequestSettings(
    SamplingOptions Sampling, int MaxOutputTokens, IReadOnlyList<string> StopSequences, PruningPolicy Policy,
    Guidance? Guidance, IProgress<PrefillProgress>? Progress, OfferedTools? Tools = null)
{
    /// <exception cref="NotSupportedException">An option asks for what cannot be done; ignoring it would change the answer.</exception>
    /// <exception cref="ArgumentException">A value is out of its range.</exception>
    public static ChatRequestSettings Read(ChatOptions? options, ChatModel model, IChatClient client)
    {
        if (options is null) return new(model.Sampling, model.MaxOutputTokens, [], model.Policy, null, null);
        Guidance? guidance = ReadGuidance(options, model.Runtime);
        RefuseUnsupported(options);
        if (options.ModelId is { } modelId && modelId != model.Engine.ModelId)
            throw new NotSupportedException($"ModelId is '{modelId}', but this client runs '{model.Engine.ModelId}'. Leave it unset, or ask that model's client.");
        SamplingOptions sampling = ReadSampling(options, model.Sampling, client);
        sampling.Validate();
        foreach (int token in sampling.LogitBias?.Keys ?? [])
        {
            if (token >= model.Engine.VocabularySize)
                throw new ArgumentException($"LogitBias names token {token}; the model has {model.Engine.VocabularySize} tokens.", nameof(options));
        }
        int maxOutputTokens = options.MaxOutputTokens ?? model.MaxOutputTokens;
        if (maxOutputTokens < 1) throw new ArgumentException($"MaxOutputTokens is {maxOutputTokens}; it must be at least 1.", nameof(options));
        string[] stops = [.. options.StopSequences ?? []];
        if (stops.Any(string.IsNullOrEmpty)) throw new ArgumentException("StopSequences holds an empty string.", nameof(options));
        PruningPolicy policy = options.GetPruningPolicy() ?? model.Policy;
        policy.Validate();
        return new(sampling, maxOutputTokens, stops, policy, guidance, options.GetPrefillProgress(), OfferedTools.Read(options, model.Tools));
    }

    /// <summary>
    /// The values that <see cref="SamplingOptions"/> describes, from RawRepresentationFactory before the options' own. A
    /// raw representation of another type is meant for another client and is ignored, as clients do.
    /// </summary>
    internal static SamplingOptions ReadSampling(ChatOptions options, SamplingOptions defaults, IChatClient client)
    {
        var own = options.RawRepresentationFactory?.Invoke(client) as SamplingOptions ?? new SamplingOptions();
        var asked = new SamplingOptions
        {
            Temperature = own.Temperature ?? options.Temperature,
            TopK = own.TopK ?? options.TopK,
            TopP = own.TopP ?? options.TopP,
            MinP = own.MinP,
            Seed = own.Seed ?? options.Seed,
            RepetitionPenalty = own.RepetitionPenalty ?? defaults.RepetitionPenalty,
            FrequencyPenalty = own.FrequencyPenalty ?? options.FrequencyPenalty,
            PresencePenalty = own.PresencePenalty ?? options.PresencePenalty,
            LogitBias = (own.LogitBias ?? options.GetLogitBias())?.ToDictionary(), // the caller may change his
        };
        bool draws = asked.Temperature is not null || asked.TopK is not null || asked.TopP is not null || asked.MinP is not null;
        // What a greedy folder says of top_k and top_p was never meant to be drawn from.
        return draws && defaults.IsGreedy ? asked : asked with
        {
            Temperature = asked.Temperature ?? defaults.Temperature,
            TopK = asked.TopK ?? defaults.TopK,
            TopP = asked.TopP ?? defaults.TopP,
        };
    }

    /// <summary>The grammar that the answer has to follow, from WithGuidance or ResponseFormat.</summary>
    private static Guidance? ReadGuidance(ChatOptions options, DecoderRuntimeKind runtime)
    {
        Guidance? guidance = options.GetGuidance();
        string asker = "WithGuidance";
        if (options.ResponseFormat is ChatResponseFormatJson format)
        {
            if (guidance is not null)
                throw new NotSupportedException("Both ResponseFormat and WithGuidance ask for a grammar; an answer follows one only.");
            guidance = Guidance.JsonSchema(format.Schema is { } schema ? ClosedSchema.Of(schema) : """{"type":"object"}""");
            asker = "ResponseFormat";
        }
        if (guidance is null) return null;
        if (options.Tools is { Count: > 0 } && options.ToolMode is not NoneChatToolMode)
            throw new NotSupportedException($"{asker} asks for a grammar, within which the model could not call the request's tools. Set ToolMode to None, or leave {asker} out.");
        if (runtime != DecoderRuntimeKind.GenAI)
            throw new NotSupportedException($"{asker} asks for a grammar ({guidance.Kind}), which the runtime {runtime} cannot enforce. Load the model with Runtime = GenAI, or leave {asker} out and ask in the prompt.");
        return guidance;
    }

    private static void RefuseUnsupported(ChatOptions options)
    {
        if (options.ConversationId is { } conversation)
            throw new NotSupportedException($"ConversationId is '{conversation}': the client keeps no conversations. Send all messages; what is cached of them is not read again.");
        if (options.ContinuationToken is not null)
            throw new NotSupportedException("ContinuationToken is set; background responses are not supported.");
    }
}
