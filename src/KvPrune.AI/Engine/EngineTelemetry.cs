using System.Diagnostics;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.AI;

namespace KvPrune.AI.Engine;

/// <summary>
/// Meter and ActivitySource <c>KvPrune.AI</c>. Names follow OpenTelemetry's semantic conventions for generative AI
/// servers where these have one. Spans queue, prefill and decode hang below the caller's span; there is none per token.
/// What a listener throws is swallowed: its fault must not end an answer.
/// </summary>
internal sealed class EngineTelemetry : IDisposable
{
    public const string Name = "KvPrune.AI";

    private static readonly ActivitySource Source = new(Name);

    private readonly Meter _meter = new(Name);
    private readonly KeyValuePair<string, object?> _model;
    private readonly Histogram<double> _duration;
    private readonly Histogram<double> _timeToFirstToken;
    private readonly Histogram<double> _timePerOutputToken;
    private readonly Counter<long> _promptTokens;

    public EngineTelemetry(string modelId)
    {
        _model = new("gen_ai.request.model", modelId);
        _duration = _meter.CreateHistogram<double>("gen_ai.server.request.duration", "s", "Time from submission to the end of an answer.");
        _timeToFirstToken = _meter.CreateHistogram<double>("gen_ai.server.time_to_first_token", "s", "Time from submission to the first token.");
        _timePerOutputToken = _meter.CreateHistogram<double>("gen_ai.server.time_per_output_token", "s", "Time per token after the first.");
        _promptTokens = _meter.CreateCounter<long>("kvprune.prompt.tokens", "{token}", "Prompt tokens, read or taken from an earlier prompt's cache.");
    }

    /// <summary>Adds the instruments that are read on demand.</summary>
    public void Observe(InferenceEngine engine)
    {
        _meter.CreateObservableUpDownCounter("kvprune.requests", () => new Measurement<int>[]
        {
            Measure(engine.RunningRequests, "running"),
            Measure(engine.QueuedRequests, "queued"),
        }, "{request}", "Requests in the engine.");
        _meter.CreateObservableUpDownCounter("kvprune.kv.size", () =>
        {
            if (engine.IsDisposed) return [];
            var statistics = engine.GetCacheStatistics();
            return new Measurement<long>[]
            {
                Measure(statistics.SealedBytes, "sealed"),
                Measure(statistics.TailBytes, "tail"),
                Measure(statistics.StagingBytes, "staging"),
            };
        }, "By", "Bytes of KV cache, cached prompts included.");
    }

    public void Admitted(ActiveGeneration generation) => Quietly(() =>
    {
        Span(generation, "queue", generation.Request.SubmittedAt, generation.AdmittedAt);
        _promptTokens.Add(generation.CachedTokens, _model, new("kvprune.cached", true));
        _promptTokens.Add(generation.Request.Prompt.Length - generation.CachedTokens, _model, new("kvprune.cached", false));
    });

    public void FirstToken(ActiveGeneration generation) => Quietly(() =>
    {
        _timeToFirstToken.Record(Seconds(generation.Request.SubmittedAt, generation.FirstTokenAt), _model);
        Span(generation, "prefill", generation.AdmittedAt, generation.FirstTokenAt);
    });

    public void Finished(ActiveGeneration generation, GenerationStatistics statistics, ChatFinishReason reason) => Quietly(() =>
    {
        long now = Stopwatch.GetTimestamp();
        _duration.Record(Seconds(generation.Request.SubmittedAt, now), _model, new("gen_ai.response.finish_reason", reason.Value));
        if (statistics.GeneratedTokens > 1)
            _timePerOutputToken.Record(statistics.Decode.TotalSeconds / (statistics.GeneratedTokens - 1), _model);
        Span(generation, "decode", generation.FirstTokenAt, now);
    });

    /// <summary>A request ended without an answer, whether it had been started or not.</summary>
    public void Failed(GenerationRequest request, Exception error)
    {
        Exception cause = error is GenerationException { InnerException: { } inner } ? inner : error;
        Quietly(() => _duration.Record(
            Seconds(request.SubmittedAt, Stopwatch.GetTimestamp()), _model, new("error.type", cause.GetType().FullName)));
    }

    public void Dispose() => _meter.Dispose();

    private static void Span(ActiveGeneration generation, string name, long from, long to)
    {
        if (!Source.HasListeners()) return;
        // Without a parent a span takes the thread's current one; a listener that throws leaves its span there.
        Activity.Current = null;
        DateTimeOffset end = DateTimeOffset.UtcNow - Stopwatch.GetElapsedTime(to);
        using Activity? span = Source.StartActivity(
            name, ActivityKind.Internal, generation.Request.Parent, startTime: end - Stopwatch.GetElapsedTime(from, to));
        span?.SetTag("kvprune.prompt.tokens", generation.Request.Prompt.Length);
        span?.SetEndTime(end.UtcDateTime);
    }

    private static void Quietly(Action record)
    {
        try
        {
            record();
        }
        catch (Exception)
        {
            // There is no other place to report it.
        }
    }

    private static double Seconds(long from, long to) => Stopwatch.GetElapsedTime(from, to).TotalSeconds;

    private Measurement<T> Measure<T>(T value, string state) where T : struct => new(value, _model, new("state", state));
}
