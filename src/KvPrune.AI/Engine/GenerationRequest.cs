using System.Diagnostics;
using System.Threading.Channels;
using KvPrune.AI.Sampling;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Engine;

/// <summary>One answer to be generated, and the way its events come back.</summary>
internal sealed class GenerationRequest
{
    // Continuations never run on the scheduler's thread.
    private readonly Channel<GenerationEvent> _events = Channel.CreateUnbounded<GenerationEvent>(
        new UnboundedChannelOptions { SingleReader = true, SingleWriter = true, AllowSynchronousContinuations = false });

    /// <summary>Token ids, at least one.</summary>
    public required int[] Prompt { get; init; }

    /// <summary>Rising lengths at which prompt segments end; the last one is the prompt's length.</summary>
    public required int[] SegmentEnds { get; init; }

    public required PruningPolicy Policy { get; init; }

    public required SamplingOptions Sampling { get; init; }

    /// <summary>Draws the answer's tokens within its grammar; null: any text. Once it was submitted, disposed with the request.</summary>
    public IGuidedSampler? Guided { get; init; }

    /// <summary>The most tokens to draw, before the model's context is taken into account.</summary>
    public required int MaxOutputTokens { get; init; }

    /// <summary>Tokens that end this answer, besides the model's own.</summary>
    public IReadOnlyCollection<int> EndTokens { get; init; } = [];

    public required AnswerText Text { get; init; }

    public CancellationToken Cancellation { get; init; }

    public ChannelReader<GenerationEvent> Events => _events.Reader;

    /// <summary>Span that the engine's spans hang below.</summary>
    public ActivityContext Parent { get; } = Activity.Current?.Context ?? default;

    public long SubmittedAt { get; } = Stopwatch.GetTimestamp();

    public void Post(GenerationEvent generationEvent) => _events.Writer.TryWrite(generationEvent);

    public void Complete(Exception? error = null) => _events.Writer.TryComplete(error);
}
