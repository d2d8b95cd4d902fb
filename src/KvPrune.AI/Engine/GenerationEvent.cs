using Microsoft.Extensions.AI;

namespace KvPrune.AI.Engine;

/// <summary>What the engine tells about a request, in order; the last one is <see cref="Finished"/>.</summary>
internal abstract record GenerationEvent
{
    internal sealed record Prefilled(PrefillProgress Progress) : GenerationEvent;

    internal sealed record Text(string Value) : GenerationEvent;

    internal sealed record Finished(ChatFinishReason Reason, GenerationStatistics Statistics) : GenerationEvent;
}
