using KvPrune.AI.Runtimes;
using KvPrune.AI.Sampling;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Engine;

/// <summary>
/// One loaded model: a runtime and the scheduler that runs it for all requests at once. Safe for use from several
/// threads; several chat clients may share one.
/// </summary>
public sealed class InferenceEngine : IDisposable
{
    private readonly IDecoderRuntime _runtime;
    private readonly EngineTelemetry _telemetry;
    private readonly Scheduler _scheduler;
    private int _disposed;

    internal InferenceEngine(IDecoderRuntime runtime, EngineSettings settings, string modelId, QuietLogger logger)
    {
        _runtime = runtime;
        ContextLength = settings.ContextLength;
        ModelId = modelId;
        _telemetry = new EngineTelemetry(modelId);
        _scheduler = new Scheduler(runtime, settings, _telemetry, logger);
        _telemetry.Observe(this);
    }

    /// <summary>The model's name in responses and telemetry.</summary>
    public string ModelId { get; }

    /// <summary>Tokens that prompt and answer may have together.</summary>
    public int ContextLength { get; }

    /// <summary>Heads, layers and longest sequence of the model.</summary>
    public KvModelShape Shape => _runtime.Shape;

    /// <summary>Logits of one position: token ids are below it.</summary>
    public int VocabularySize => _runtime.VocabularySize;

    /// <summary>Requests being computed.</summary>
    public int RunningRequests => _scheduler.RunningRequests;

    /// <summary>Requests waiting for memory or for the step in progress.</summary>
    public int QueuedRequests => _scheduler.QueuedRequests;

    /// <summary>Bytes of KV cache in use now, cached prompts included; shared tiles count once.</summary>
    /// <exception cref="ObjectDisposedException">The engine was disposed.</exception>
    public KvCacheStatistics GetCacheStatistics()
    {
        ObjectDisposedException.ThrowIf(IsDisposed, this);
        return _runtime.GetStatistics();
    }

    internal bool IsDisposed => Volatile.Read(ref _disposed) != 0;

    /// <summary>A sampler for a request's answer, which has to follow a grammar; the request's once that is submitted.</summary>
    /// <inheritdoc cref="IDecoderRuntime.Guide" path="/exception"/>
    internal IGuidedSampler Guide(Guidance guidance, SamplingOptions sampling) => _runtime.Guide(guidance, sampling);

    /// <summary>Starts a request. When it throws, the request's sampler stays the caller's.</summary>
    /// <inheritdoc cref="Scheduler.Submit" path="/exception"/>
    internal void Submit(GenerationRequest request) => _scheduler.Submit(request);

    /// <summary>Ends every unfinished request with an <see cref="ObjectDisposedException"/> and releases the model.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0) return;
        _scheduler.Dispose(); // the requests it ends are still measured
        _telemetry.Dispose();
        _runtime.Dispose();
    }
}
