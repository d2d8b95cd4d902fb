using System.Globalization;
using System.Text.Json;
using KvPrune.AI.Engine;
using KvPrune.AI.Sampling;
using KvPrune.OnnxOps;
using Microsoft.Extensions.AI;

namespace KvPrune.AI.Chat;

/// <summary>What a request can say, and a response tells, about the KV cache.</summary>
public static class KvPruneChatExtensions
{
    /// <summary>
    /// The name in ChatMessage.AdditionalProperties of a bool: whether the message is a document that several requests share.
    /// </summary>
    public const string SharedDocumentKey = "kvprune.shared_document";

    private const string PolicyKey = "kvprune.policy";
    private const string GuidanceKey = "kvprune.guidance";
    private const string ProgressKey = "kvprune.prefill_progress";
    private const string LogitBiasKey = "logit_bias"; // the name that other clients use
    private const string StatisticsKey = "kvprune.statistics";

    /// <summary>
    /// Marks a message as a document that several requests share. What comes before its end, earlier messages included, is
    /// compressed without the question, and every later request that begins alike continues from it, as far as
    /// <see cref="KvPruneOptions.MaxCachedPrompts"/> keeps it. Of messages in a row the last one ends the document.
    /// </summary>
    /// <remarks>
    /// It has no effect with a policy that evicts tokens by a prompt's last queries (<see cref="PruningPolicy.IsQueryAware"/>),
    /// which compresses at the end of the whole prompt, nor where the chat template writes the message differently when others
    /// follow.
    /// </remarks>
    /// <returns>The same message.</returns>
    public static ChatMessage AsSharedDocument(this ChatMessage message)
    {
        ArgumentNullException.ThrowIfNull(message);
        (message.AdditionalProperties ??= [])[SharedDocumentKey] = true;
        return message;
    }

    /// <summary>Prunes this request's KV cache by another policy than the client's.</summary>
    /// <returns>The same options.</returns>
    public static ChatOptions WithPruningPolicy(this ChatOptions options, PruningPolicy policy)
    {
        ArgumentNullException.ThrowIfNull(policy);
        return options.With(PolicyKey, policy);
    }

    /// <summary>
    /// Keeps the answer within a grammar. Needs <see cref="DecoderRuntimeKind.GenAI"/>; not together with a JSON
    /// ResponseFormat, which is a grammar too, or with tools. An answer that MaxOutputTokens ends is only the beginning of a
    /// text of the grammar.
    /// </summary>
    /// <returns>The same options.</returns>
    public static ChatOptions WithGuidance(this ChatOptions options, Guidance guidance)
    {
        ArgumentNullException.ThrowIfNull(guidance);
        return options.With(GuidanceKey, guidance);
    }

    /// <summary>Reports while the prompt is read, once for each run of the model.</summary>
    /// <param name="options">The request's options.</param>
    /// <param name="progress">
    /// Called from a thread-pool thread; <see cref="Progress{T}"/> returns to the context in which it was created.
    /// </param>
    /// <returns>The same options.</returns>
    public static ChatOptions WithPrefillProgress(this ChatOptions options, IProgress<PrefillProgress> progress)
    {
        ArgumentNullException.ThrowIfNull(progress);
        return options.With(ProgressKey, progress);
    }

    /// <summary>What the answer took; null if it came from another client.</summary>
    public static GenerationStatistics? GetKvPruneStatistics(this ChatResponse response)
    {
        ArgumentNullException.ThrowIfNull(response);
        // Updates that were put together outside the client leave them with the message.
        return Statistics(response.AdditionalProperties)
            ?? response.Messages.Select(message => Statistics(message.AdditionalProperties)).LastOrDefault(found => found is not null);
    }

    /// <summary>What the answer took; null on all updates but the last one.</summary>
    public static GenerationStatistics? GetKvPruneStatistics(this ChatResponseUpdate update)
    {
        ArgumentNullException.ThrowIfNull(update);
        return Statistics(update.AdditionalProperties);
    }

    /// <exception cref="ArgumentException">The property is no bool.</exception>
    internal static bool IsSharedDocument(this ChatMessage message)
    {
        object? value = null;
        if (message.AdditionalProperties?.TryGetValue(SharedDocumentKey, out value) is not true) return false;
        return value switch
        {
            null => false,
            bool shared => shared,
            JsonElement { ValueKind: JsonValueKind.True or JsonValueKind.False } json => json.GetBoolean(),
            _ => throw new ArgumentException($"ChatMessage.AdditionalProperties[\"{SharedDocumentKey}\"] is {value.GetType().Name}; it must be a bool."),
        };
    }

    internal static PruningPolicy? GetPruningPolicy(this ChatOptions options) => options.Get<PruningPolicy>(PolicyKey);

    internal static Guidance? GetGuidance(this ChatOptions options) => options.Get<Guidance>(GuidanceKey);

    internal static IProgress<PrefillProgress>? GetPrefillProgress(this ChatOptions options) =>
        options.Get<IProgress<PrefillProgress>>(ProgressKey);

    /// <summary>Token ids and what is added to their logits; null if the request says nothing of it.</summary>
    /// <exception cref="ArgumentException">The property is of another kind.</exception>
    internal static IReadOnlyDictionary<int, float>? GetLogitBias(this ChatOptions options)
    {
        object? value = null;
        if (options.AdditionalProperties?.TryGetValue(LogitBiasKey, out value) is not true || value is null) return null;
        return value switch
        {
            IReadOnlyDictionary<int, float> bias => bias,
            JsonElement { ValueKind: JsonValueKind.Object } json => json.EnumerateObject().ToDictionary(ReadToken, ReadBias),
            _ => throw new ArgumentException($"ChatOptions.AdditionalProperties[\"{LogitBiasKey}\"] is {value.GetType().Name}; it must be a dictionary from token id (int) to bias (float), or a JSON object."),
        };

        static int ReadToken(JsonProperty entry) => int.TryParse(entry.Name, NumberStyles.None, CultureInfo.InvariantCulture, out int token)
            ? token : throw new ArgumentException($"ChatOptions.AdditionalProperties[\"{LogitBiasKey}\"] has the entry '{entry.Name}', which is no token id.");

        static float ReadBias(JsonProperty entry) => entry.Value.ValueKind == JsonValueKind.Number
            ? entry.Value.GetSingle() : throw new ArgumentException($"ChatOptions.AdditionalProperties[\"{LogitBiasKey}\"] gives token {entry.Name} a bias that is no number.");
    }

    internal static void SetStatistics(this ChatResponseUpdate update, GenerationStatistics statistics) =>
        (update.AdditionalProperties ??= [])[StatisticsKey] = statistics;

    internal static void LiftStatistics(this ChatResponse response)
    {
        if (response.GetKvPruneStatistics() is { } statistics) (response.AdditionalProperties ??= [])[StatisticsKey] = statistics;
    }

    private static GenerationStatistics? Statistics(AdditionalPropertiesDictionary? properties) =>
        properties?.TryGetValue(StatisticsKey, out GenerationStatistics? statistics) is true ? statistics : null;

    private static ChatOptions With(this ChatOptions options, string key, object value)
    {
        ArgumentNullException.ThrowIfNull(options);
        (options.AdditionalProperties ??= [])[key] = value;
        return options;
    }

    private static T? Get<T>(this ChatOptions options, string key) where T : class
    {
        object? value = null;
        if (options.AdditionalProperties?.TryGetValue(key, out value) is not true || value is null) return null;
        return value as T ?? throw new ArgumentException($"ChatOptions.AdditionalProperties[\"{key}\"] is {value.GetType().Name}; it must be {typeof(T).Name}.");
    }
}
